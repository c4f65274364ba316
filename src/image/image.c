/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

void image_close(struct image *image)
{
	if (image)
		image->ops->close(image);
}

void image_submit(struct image *image, struct read *read)
{
	image->ops->submit(image, read);
}

void image_cancel(struct image *image, struct read *read)
{
	image->ops->cancel(image, read);
}

bool image_next_extent(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end)
{
	return image->ops->next_extent(image, off, limit, ret_end);
}

static void submit_to_image(void *image, struct read *read)
{
	image_submit(image, read);
}

int image_pread(struct image *image, void *buf, size_t len, uint64_t off, struct deadline until,
		struct err *err)
{
	struct read read = { .off = off, .len = len, .until = until };
	return read_and_wait(submit_to_image, image, &read, buf, err);
}

/* A look at a disk, with an end. */
struct look {
	struct image *disk;
	struct deadline until;
};

static int read_disk(void *user, uint64_t off, void *buf, size_t len, struct err *err)
{
	const struct look *look = user;
	return image_pread(look->disk, buf, len, off, look->until, err);
}

int image_find_partitions(struct image *image, struct deadline until, struct partition_list *ret, struct err *err)
{
	struct look look = { image, until };
	const struct partition_disk disk = { image->size, read_disk, &look };
	return partitions_find(&disk, ret, err);
}
