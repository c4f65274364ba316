/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "crypto/sha256.h"
#include "failing.h"
#include "image/image.h"
#include "mapping/backup.h"
#include "stream/stream.h"
#include "util/bytes.h"

/*
 * Opens a real backup and reads it whole, with the n-th allocation failing, for each n in turn: every
 * run ends with the right bytes or with an error, and the sanitizer of the build sees no leak.
 *
 *   image DATASTORE SNAPSHOT ARCHIVE [KEYFILE]
 */
struct scene {
	char **words;
	uint8_t expected[DIGEST_SIZE], got[DIGEST_SIZE];
	bool is_known; /* what is expected */
};

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

static int run(void *user, struct err *err)
{
	struct scene *scene = user;
	char **words = scene->words;
	const char *repository = words[0];
	struct repository_options options = {
		.repositories = &repository, .n_repositories = 1, .keyfile = words[3],
		.say = say_nothing,
	};
	struct backup *backup = NULL;
	struct failure why = FAILURE_NONE;
	int r = backup_open(&options, words[1], words[2], &backup, &why);
	if (r == 0)
		r = read_backup(backup, scene->got, &why.err);
	*err = why.err;
	backup_close(backup);
	failure_deinit(&why);
	return r;
}

/* The first run was one without a failure. */
static bool is_right(void *user, int r)
{
	struct scene *scene = user;
	if (!scene->is_known)
		memcpy(scene->expected, scene->got, DIGEST_SIZE);
	scene->is_known = true;
	return r < 0 || memcmp(scene->expected, scene->got, DIGEST_SIZE) == 0;
}

int main(int argc, char **argv)
{
	struct scene scene = { .words = argv + 1 };
	const struct failing failing = { .run = run, .is_right = is_right, .user = &scene };
	if (argc < 4) {
		(void) fprintf(stderr, "usage: image DATASTORE SNAPSHOT ARCHIVE [KEYFILE]\n");
		return 2;
	}
	return failing_in_turn(&failing);
}
