/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "image/image.h"
#include "util/bytes.h"

/*
 * A stream as an image.  Behind the stream's end there may be padding, which only block devices
 * need: the few reads that touch it are cut at the end, and get a segment of zeros more.
 */
struct disk {
	struct image image;
	struct stream *stream;
};

static const uint8_t padding[4096]; /* zeros; as long as a block may be */

/* A read that reaches into the padding, on its way through the stream without it. */
struct cut_read {
	struct read inner;
	struct read *outer;
	struct stream *stream;
};

static void disk_close(struct image *image)
{
	free(CONTAINER_OF(image, struct disk, image));
}

/* Hands the inner read's chunks to the outer read, with the padding behind them. */
static void finish_cut(struct read *inner)
{
	struct cut_read *cut = CONTAINER_OF(inner, struct cut_read, inner);
	struct read *outer = cut->outer;
	unsigned n = inner->n_segments;
	outer->result = inner->result;
	outer->err = inner->err;
	outer->n_segments = 0;
	outer->segments = n < READ_INLINE_SEGMENTS ? outer->inline_segments
						   : calloc(n + 1, sizeof *outer->segments);
	if (outer->result == 0 && !outer->segments)
		outer->result = err_set(&outer->err, -ENOMEM, "no memory for a read");
	if (outer->result == 0) {
		for (unsigned i = 0; i < n; i++) {
			outer->segments[i] = inner->segments[i];
			inner->segments[i].chunk = NULL;
		}
		outer->segments[n] = (struct segment){ padding, outer->len - inner->len, NULL };
		outer->n_segments = n + 1;
	}
	read_release(inner);
	free(cut);
	outer->done(outer);
}

static void submit_cut(struct disk *disk, struct read *read, size_t len)
{
	struct cut_read *cut = calloc(1, sizeof *cut);
	read->stream = NULL;
	read->waiters = NULL;
	read->segments = read->inline_segments;
	read->n_segments = 0;
	if (!cut) {
		read->result = err_set(&read->err, -ENOMEM, "no memory for a read");
		read->done(read);
		return;
	}
	cut->outer = read;
	cut->inner.off = read->off;
	cut->inner.len = len;
	cut->inner.priority = read->priority;
	cut->inner.is_kept = read->is_kept;
	cut->inner.until = read->until;
	cut->inner.done = finish_cut;
	stream_submit(disk->stream, &cut->inner);
}

static void disk_submit(struct image *image, struct read *read)
{
	struct disk *disk = CONTAINER_OF(image, struct disk, image);
	uint64_t size = stream_size(disk->stream);
	uint64_t end = read->off + read->len;
	if (end <= size || end > image->size) {
		stream_submit(disk->stream, read);
		return;
	}
	submit_cut(disk, read, read->off < size ? size - read->off : 0);
}

static void disk_cancel(struct image *image, struct read *read)
{
	struct disk *disk = CONTAINER_OF(image, struct disk, image);
	/* The one read that was cut, at the very end, is left to its deadline. */
	if (read->stream)
		stream_cancel(disk->stream, read);
}

static bool disk_next_extent(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end)
{
	struct disk *disk = CONTAINER_OF(image, struct disk, image);
	uint64_t size = stream_size(disk->stream);
	if (off >= size) {
		*ret_end = limit;
		return true;
	}
	bool is_zero = stream_next_extent(disk->stream, off, min_u64(limit, size), ret_end);
	if (*ret_end == size && is_zero)
		*ret_end = limit;
	return is_zero;
}

static const struct image_ops disk_ops = {
	.close = disk_close,
	.submit = disk_submit,
	.cancel = disk_cancel,
	.next_extent = disk_next_extent,
};

int image_disk_open(struct stream *stream, uint32_t pad_to, struct image **ret, struct err *err)
{
	if (pad_to > sizeof padding)
		return err_set(err, -EINVAL, "blocks of %" PRIu32 " bytes are too long", pad_to);
	struct disk *disk = calloc(1, sizeof *disk);
	if (!disk)
		return err_set(err, -ENOMEM, "no memory for an image");
	disk->image.ops = &disk_ops;
	disk->image.size = round_up(stream_size(stream), pad_to);
	disk->stream = stream;
	*ret = &disk->image;
	return 0;
}
