/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "unit.h"
#include "util/bytes.h"
#include "util/file.h"

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

int store_set_up(void **state)
{
	struct store *s = calloc(1, sizeof *s);
	assert_non_null(s);
	strcpy(s->top, "/tmp/pbsmap-unit-XXXXXX");
	assert_non_null(mkdtemp(s->top));
	s->top_fd = open_dir(s->top);
	put_dir(s->top_fd, "store/.chunks");
	(void) snprintf(s->path, sizeof s->path, "%s/store", s->top);
	s->fd = open_dir(s->path);
	s->pool = bufpool_new(4096, 2);
	assert_non_null(s->pool);
	*state = s;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int store_tear_down(void **state)
{
	struct store *s = *state;
	(void) close(s->fd);
	(void) close(s->top_fd);
	bufpool_free(s->pool);
	int r = nftw(s->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(s);
	return r;
}

static void make_parents(int dir_fd, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		char parent[4096];
		(void) snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
		assert_true(mkdirat(dir_fd, parent, 0755) == 0 || errno == EEXIST);
	}
}

void put_dir(int dir_fd, const char *path)
{
	make_parents(dir_fd, path);
	assert_true(mkdirat(dir_fd, path, 0755) == 0 || errno == EEXIST);
}

static int create(int dir_fd, const char *path)
{
	make_parents(dir_fd, path);
	int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	return fd;
}

void put_file(int dir_fd, const char *path, const void *data, size_t len)
{
	CLEANUP(closep) int fd = create(dir_fd, path);
	assert_int_equal(write_full(fd, data, len), 0);
}

void put_text(int dir_fd, const char *path, const char *text)
{
	put_file(dir_fd, path, text, strlen(text));
}

void put_link(int dir_fd, const char *path, const char *to)
{
	make_parents(dir_fd, path);
	assert_int_equal(symlinkat(to, dir_fd, path), 0);
}

void put_fifo(int dir_fd, const char *path)
{
	make_parents(dir_fd, path);
	assert_int_equal(mkfifoat(dir_fd, path, 0644), 0);
}

void put_sparse(int dir_fd, const char *path, uint64_t size)
{
	CLEANUP(closep) int fd = create(dir_fd, path);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

void chunk_path(uint8_t n, const char *ending, char ret[static 128])
{
	uint8_t digest[DIGEST_SIZE];
	char hex[2 * DIGEST_SIZE + 1];
	memset(digest, n, sizeof digest);
	hex_encode(digest, sizeof digest, hex);
	(void) snprintf(ret, 128, ".chunks/%.4s/%s%s", hex, hex, ending);
}

void put_chunk(int dir_fd, uint8_t n, const char *text)
{
	char path[128];
	chunk_path(n, "", path);
	put_text(dir_fd, path, text);
}

static void on_done(struct fetch *fetch)
{
	struct asked *a = CONTAINER_OF(fetch, struct asked, fetch);
	a->done_ns = now_ns();
	(void) sem_post(&a->done);
}

void ask_like(struct store *s, struct source *source, struct asked *a)
{
	(void) sem_init(&a->done, 0, 0);
	a->fetch.pool = s->pool;
	a->fetch.done = on_done;
	list_init(&a->fetch.job.node);
	source_fetch(source, &a->fetch);
}

void ask(struct store *s, struct source *source, struct asked *a, uint8_t n)
{
	*a = (struct asked){ .fetch = { .max_len = MAX_LEN, .until = DEADLINE_NEVER } };
	memset(a->fetch.digest, n, DIGEST_SIZE);
	ask_like(s, source, a);
}

void await(struct asked *a)
{
	while (sem_wait(&a->done) < 0)
		assert_int_equal(errno, EINTR);
	(void) sem_destroy(&a->done);
}

void expect_text(struct store *s, struct asked *a, const char *text)
{
	await(a);
	assert_int_equal(a->fetch.result, 0);
	assert_int_equal(a->fetch.raw_len, strlen(text));
	assert_memory_equal(a->fetch.raw.data, text, strlen(text));
	bufpool_put(s->pool, a->fetch.raw);
}

void expect_failure(struct asked *a, int code, const char *words)
{
	await(a);
	expect(a->fetch.result, &a->fetch.err, code, words);
	assert_null(a->fetch.raw.data);
}

void expect(int r, const struct err *err, int want, const char *words)
{
	if (r != want)
		fail_msg("%d and not %d: %s", r, want, err->msg);
	if (r < 0)
		assert_int_equal(err->code, want);
	if (words && !strstr(err->msg, words))
		fail_msg("'%s' does not say '%s'", err->msg, words);
}
