/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "image/image.h"

/* A range of another image.  It moves reads and has nothing to do with their answers. */
struct part {
	struct image image;
	struct image *whole;
	uint64_t off;
};

static void part_close(struct image *image)
{
	free(CONTAINER_OF(image, struct part, image));
}

static void part_submit(struct image *image, struct read *read)
{
	struct part *part = CONTAINER_OF(image, struct part, image);
	bool is_inside = read->off <= image->size && read->len <= image->size - read->off;
	/* Outside of the whole as well: that says so. */
	read->off = is_inside ? part->off + read->off : part->whole->size;
	image_submit(part->whole, read);
}

static void part_cancel(struct image *image, struct read *read)
{
	image_cancel(CONTAINER_OF(image, struct part, image)->whole, read);
}

static bool part_next_extent(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end)
{
	struct part *part = CONTAINER_OF(image, struct part, image);
	uint64_t end;
	bool is_zero = image_next_extent(part->whole, part->off + off, part->off + limit, &end);
	*ret_end = end - part->off;
	return is_zero;
}

static const struct image_ops part_ops = {
	.close = part_close,
	.submit = part_submit,
	.cancel = part_cancel,
	.next_extent = part_next_extent,
};

int image_part_open(struct image *whole, uint64_t off, uint64_t len, struct image **ret, struct err *err)
{
	if (off > whole->size || len > whole->size - off)
		return err_set(err, -EINVAL, "%" PRIu64 " bytes at %" PRIu64 " are not inside the image", len, off);
	struct part *part = calloc(1, sizeof *part);
	if (!part)
		return err_set(err, -ENOMEM, "no memory for an image");
	part->image.ops = &part_ops;
	part->image.size = len;
	part->whole = whole;
	part->off = off;
	*ret = &part->image;
	return 0;
}
