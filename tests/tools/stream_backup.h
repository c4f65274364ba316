/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image_backup.h"

/* No chunk becomes longer: the reference client's are at most as long. */
#define STREAM_CHUNK_MAX (16u << 20)

/**
 * A dynamic index and its chunks, of a stream that comes piece by piece; who sends it says where a
 * chunk ends.  Chunks are encoded and stored by one thread per processor, while the next one comes.
 * What is held in memory is a few chunks, and the index.
 *
 * Called by one thread.  What failed on the way is said by stream_backup_finish() at the latest.
 */
struct stream_backup;

/* @options: name is "root.pxar.didx", chunk_size is not looked at; all must outlive it. */
int stream_backup_new(const struct image_backup_options *options, struct stream_backup **ret,
		      struct err *err) MUST_CHECK;
void stream_backup_free(struct stream_backup *s);
static inline void stream_backup_freep(struct stream_backup **s)
{
	stream_backup_free(*s);
}

/* More of the stream.  -EFBIG: the chunk would become longer than STREAM_CHUNK_MAX. */
int stream_backup_add(struct stream_backup *s, const void *data, size_t len, struct err *err) MUST_CHECK;

/* Bytes of the chunk that is not at its end yet. */
size_t stream_backup_open_len(const struct stream_backup *s);

/* The chunk ends here; nothing happens when it has no bytes. */
int stream_backup_cut(struct stream_backup *s, struct err *err) MUST_CHECK;

/**
 * stream_backup_finish - the last chunk, and the index in the snapshot's directory
 *
 * @ret_size, @ret_csum:  what the manifest says of it
 */
int stream_backup_finish(struct stream_backup *s, uint64_t *ret_size, uint8_t ret_csum[static DIGEST_SIZE],
			 struct image_backup_stats *ret_stats, struct err *err) MUST_CHECK;
