/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <semaphore.h>

#include "source/source.h"
#include "util/bufpool.h"

/* A temporary directory with a datastore in it, and fetches one can wait for. */
struct store {
	char path[64]; /* of the datastore; what is beside it is the test's own, too */
	char top[32];
	int fd;	    /* of the datastore */
	int top_fd; /* of the directory around it */
	struct bufpool *pool;
};

int store_set_up(void **state);
int store_tear_down(void **state);

/* A test with a struct store as its state, removed whatever happens. */
#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, store_set_up, store_tear_down)

/* Below @dir_fd, with the directories above it. */
void put_dir(int dir_fd, const char *path);
void put_file(int dir_fd, const char *path, const void *data, size_t len);
void put_text(int dir_fd, const char *path, const char *text);
void put_link(int dir_fd, const char *path, const char *to);
void put_fifo(int dir_fd, const char *path);
/* A file of that many bytes that takes no room. */
void put_sparse(int dir_fd, const char *path, uint64_t size);

/* Chunk @n of a test: its digest is 32 times that byte. */
void chunk_path(uint8_t n, const char *ending, char ret[static 128]);
void put_chunk(int dir_fd, uint8_t n, const char *text);

/* A fetch, and its end. */
struct asked {
	struct fetch fetch;
	sem_t done;
	int64_t done_ns;
};

#define MAX_LEN 1000 /* bytes of a blob that a test asks for */

void ask(struct store *s, struct source *source, struct asked *a, uint8_t n);
/* What else it is about: set @a->fetch before. */
void ask_like(struct store *s, struct source *source, struct asked *a);
void await(struct asked *a);
/* Waits, and compares. */
void expect_text(struct store *s, struct asked *a, const char *text);
void expect_failure(struct asked *a, int code, const char *words);

/* Fail unless @r is @want and the message has @words (NULL = any) in it. */
void expect(int r, const struct err *err, int want, const char *words);
