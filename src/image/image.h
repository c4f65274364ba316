/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/partitions.h"
#include "stream/stream.h"

/*
 * A range of bytes that can be exported: a disk, or a part of one.
 * Every layer is one more object of this shape around another.
 */
struct image;

struct image_ops {
	void (*close)(struct image *image);
	void (*submit)(struct image *image, struct read *read);
	void (*cancel)(struct image *image, struct read *read);
	bool (*next_extent)(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end);
};

struct image {
	const struct image_ops *ops;
	uint64_t size; /* bytes */
};

/**
 * image_disk_open - a stream as an image
 *
 * @stream:  lent
 * @pad_to:  zeros behind the end up to a multiple of this (a power of two); 1 = none.  Block
 *           devices need 512
 */
int image_disk_open(struct stream *stream, uint32_t pad_to, struct image **ret,
		    struct err *err) MUST_CHECK;

/* A range of @whole, lent: a partition.  -EINVAL: it is not inside. */
int image_part_open(struct image *whole, uint64_t off, uint64_t len, struct image **ret,
		    struct err *err) MUST_CHECK;
void image_close(struct image *image);

/*
 * As stream_submit(); a read that reaches behind the end is the caller's mistake.  A layer may move it: what
 * read->off is afterwards is not what the caller has set.
 */
void image_submit(struct image *image, struct read *read);
void image_cancel(struct image *image, struct read *read);
/* As stream_next_extent(); @limit is the image's size at most. */
bool image_next_extent(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end);

/* Waits: for set-up and tests.  0 or a negative errno. */
int image_pread(struct image *image, void *buf, size_t len, uint64_t off, struct deadline until,
		struct err *err) MUST_CHECK;

/* Waits as well.  partitions_find(); @until: for all it reads. */
int image_find_partitions(struct image *image, struct deadline until, struct partition_list *ret,
			  struct err *err) MUST_CHECK;
