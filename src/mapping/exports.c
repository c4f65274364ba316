/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/exports.h"

#include <stdlib.h>

#include "util/array.h"
#include "util/buf.h"
#include "util/text.h"

void exports_deinit(struct exports *exports)
{
	for (size_t i = 0; i < exports->n_parts; i++)
		image_close(exports->parts[i]);
	free(exports->parts);
	free(exports->items);
	strv_deinit(&exports->texts);
	*exports = EXPORTS_EMPTY;
}

/* @ret is lent by @exports. */
static int add_text(struct exports *exports, const struct buf *text, const char **ret, struct err *err)
{
	int r = strv_add(&exports->texts, text->data, err);
	if (r == 0)
		*ret = exports->texts.items[exports->texts.n - 1];
	return r;
}

static int add(struct exports *exports, const struct buf *name, const struct buf *about, struct image *image,
	       struct err *err)
{
	struct nbd_export export = { .size = image->size, .image = image };
	int r = array_grow(&exports->items, exports->n, &exports->cap, sizeof export, err);
	if (r == 0)
		r = add_text(exports, name, &export.name, err);
	if (r == 0)
		r = add_text(exports, about, &export.description, err);
	if (r == 0)
		exports->items[exports->n++] = export;
	return r;
}

int exports_add_whole(struct exports *exports, const char *name, const char *about, struct image *disk,
		      struct err *err)
{
	CLEANUP(buf_deinit) struct buf what = BUF_EMPTY;
	CLEANUP(buf_deinit) struct buf says = BUF_EMPTY;
	char size[32];
	int r = buf_puts(&what, name, err);
	if (r == 0)
		r = buf_printf(&says, err, "%s, %s", about, text_size(disk->size, size, sizeof size));
	return r < 0 ? r : add(exports, &what, &says, disk, err);
}

static int add_part(struct exports *exports, const char *name, const char *about, struct image *disk,
		    const struct partition *partition, struct err *err)
{
	CLEANUP(buf_deinit) struct buf what = BUF_EMPTY;
	CLEANUP(buf_deinit) struct buf says = BUF_EMPTY;
	char size[32];
	struct image *image;
	int r = array_grow(&exports->parts, exports->n_parts, &exports->cap_parts, sizeof image, err);
	if (r == 0)
		r = image_part_open(disk, partition->off, partition->len, &image, err);
	if (r < 0)
		return r;
	exports->parts[exports->n_parts++] = image;
	r = buf_printf(&what, err, "%s/p%u", name, partition->number);
	if (r == 0)
		r = buf_printf(&says, err, "%s, partition %u, %s", about, partition->number,
			       text_size(partition->len, size, sizeof size));
	return r < 0 ? r : add(exports, &what, &says, image, err);
}

int exports_add_disk(struct exports *exports, const char *name, const char *about, struct image *disk,
		     struct deadline until, struct err *err)
{
	struct partition_list partitions;
	int r = exports_add_whole(exports, name, about, disk, err);
	if (r < 0)
		return r;
	if (image_find_partitions(disk, until, &partitions, err) < 0)
		return 1;
	for (size_t i = 0; r == 0 && i < partitions.n; i++)
		r = add_part(exports, name, about, disk, &partitions.items[i], err);
	return r;
}
