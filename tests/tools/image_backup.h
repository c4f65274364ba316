/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "crypto/crypt_key.h"
#include "crypto/sha256.h"
#include "format/blob.h"
#include "store.h"
#include "synthetic.h"
#include "util/err.h"

/* Where the bytes of an image come from. */
enum image_input_kind {
	INPUT_FILE,	  /* @fd; holes are not read */
	INPUT_SYNTHETIC,  /* @synthetic */
	INPUT_INDEX_ONLY, /* a few chunks, again and again, between zeros: any size at once */
};

struct image_input {
	enum image_input_kind kind;
	int fd;
	struct synthetic synthetic;
	uint64_t size;
};

struct image_backup_options {
	const struct store *store;
	int snapshot_fd;
	const char *name;	     /* of the index: "drive-scsi0.img.fidx" */
	int64_t time;		     /* the index says that it was made then */
	uint64_t chunk_size;	     /* a power of two */
	int level;		     /* of zstd; 0 = not compressed */
	const struct crypt_key *key; /* encrypts; NULL = not encrypted */
};

struct image_backup_stats {
	uint64_t n_chunks, n_zero; /* of the index */
	uint64_t n_written;	   /* new in the store */
	uint64_t written_bytes;	   /* of them, as stored */
};

/**
 * image_backup - the chunks of an image and its fixed index, on all processors
 *
 * @ret_csum:  what the manifest says of the index
 *
 * Errors:  -EINVAL   the image is empty, or an INPUT_INDEX_ONLY ends inside a chunk
 */
int image_backup(const struct image_backup_options *options, const struct image_input *input,
		 uint8_t ret_csum[static DIGEST_SIZE], struct image_backup_stats *ret_stats,
		 struct err *err) MUST_CHECK;

/**
 * image_backup_put_chunk - encode a chunk and store it, unless there is one of its digest
 *
 * @ret_raw_len:  bytes as stored; 0 = it was there
 *
 * Threads: any number, with a codec each
 */
int image_backup_put_chunk(const struct image_backup_options *o, struct blob_codec *codec,
			   const uint8_t digest[static DIGEST_SIZE], const uint8_t *data, size_t len,
			   size_t *ret_raw_len, struct err *err) MUST_CHECK;
