/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/sha256.h"
#include "image/image.h"
#include "mapping/backup.h"
#include "stream/stream.h"
#include "util/bytes.h"

/*
 * Opens a real backup and reads it whole, with the n-th allocation failing, for each n in turn: every
 * run ends with the right bytes or with an error, and the sanitizer of the build sees no leak.
 *
 *   allocations DATASTORE SNAPSHOT ARCHIVE [KEYFILE]
 *
 * malloc and its like are wrapped by the linker in our own code, not inside the libraries.
 */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static atomic_long n_until_failure; /* fails when it reaches 0 */

static bool fails_now(void)
{
	return atomic_fetch_sub(&n_until_failure, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
	return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails_now() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails_now() ? NULL : __real_strndup(s, n);
}

static void say_nothing(void *user, const char *line)
{
}

static int hash_image(struct image *image, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	static uint8_t piece[1 << 20];
	struct sha256 *hash = NULL;
	int r = sha256_new(&hash, err);
	if (r == 0)
		r = sha256_begin(hash, err);
	for (uint64_t off = 0; r == 0 && off < image->size; off += sizeof piece) {
		size_t len = min_u64(sizeof piece, image->size - off);
		r = image_pread(image, piece, len, off, deadline_in_ms(20000), err);
		if (r == 0)
			r = sha256_add(hash, piece, len, err);
	}
	if (r == 0)
		r = sha256_end(hash, ret, err);
	sha256_free(hash);
	return r;
}

static int read_backup(const struct backup *backup, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	struct stream_shared *shared = NULL;
	struct stream *stream = NULL;
	struct image *image = NULL;
	struct stream_limits limits = { .cache_size = 8u << 20, .n_decoders = 2,
					.typical_chunk = backup->index.max_chunk };
	struct stream_options options = { .source = backup->source, .index = &backup->index,
					  .key = backup->stream_key, .read_ahead = 4u << 20 };
	int r = stream_shared_new(&limits, &shared, err);
	if (r == 0)
		r = stream_open(shared, &options, &stream, err);
	if (r == 0)
		r = image_disk_open(stream, 512, &image, err);
	if (r == 0)
		r = hash_image(image, ret, err);
	image_close(image);
	stream_close(stream);
	stream_shared_free(shared);
	return r;
}

static int run(char **words, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	const char *repository = words[0];
	struct repository_options options = {
		.repositories = &repository, .n_repositories = 1, .keyfile = words[3],
		.say = say_nothing,
	};
	struct backup *backup = NULL;
	struct failure why = FAILURE_NONE;
	int r = backup_open(&options, words[1], words[2], &backup, &why);
	if (r == 0)
		r = read_backup(backup, ret, &why.err);
	*err = why.err;
	backup_close(backup);
	failure_deinit(&why);
	return r;
}

int main(int argc, char **argv)
{
	uint8_t expected[DIGEST_SIZE], got[DIGEST_SIZE];
	struct err err;
	if (argc < 4) {
		(void) fprintf(stderr, "usage: allocations DATASTORE SNAPSHOT ARCHIVE [KEYFILE]\n");
		return 2;
	}
	atomic_store(&n_until_failure, 0);
	if (run(argv + 1, expected, &err) < 0) {
		(void) fprintf(stderr, "without a failure: %s\n", err.msg);
		return 1;
	}
	long n = 0, n_failed = 0;
	do {
		atomic_store(&n_until_failure, ++n);
		int r = run(argv + 1, got, &err);
		n_failed += r < 0;
		if (r == 0 && memcmp(expected, got, DIGEST_SIZE) != 0) {
			(void) fprintf(stderr, "allocation %ld fails: wrong bytes\n", n);
			return 1;
		}
		if (r < 0 && (r != err.code || !err.msg[0])) {
			(void) fprintf(stderr, "allocation %ld fails: %d without words\n", n, r);
			return 1;
		}
	} while (atomic_load(&n_until_failure) <= 0);
	(void) printf("%ld allocations failed in turn, %ld runs said so, the others did without\n",
		      n - 1, n_failed);
	return n_failed > 0 ? 0 : 1;
}
