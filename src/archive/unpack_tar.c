/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/unpack.h"
#include "format/tar.h"
#include "util/array.h"
#include "util/bytes.h"
#include "util/file.h"

/*
 * As a tar archive.  Once a header is written there is no way back, so the data of a file is read before: for
 * a file of up to CHECKED_MAX all of it, to see that it can be had and where its holes are; what comes out of the
 * cache the second time.  Of a larger one only those holes are known that the index tells of, and when its
 * data turns out to be damaged, the archive ends there: it has no end, and no reader takes it for whole.
 */
#define HOLE_MIN ((uint64_t)64 << 10) /* of holes together in a file: fewer are not worth a map */
#define CHECKED_MAX ((uint64_t)64 << 20)
#define RECORD 10240		/* bytes: what a tape had */

struct unpack_tar {
	struct unpacker unpacker;
	int fd;
	uint64_t written;
	struct buf head;
	uint8_t *piece;
	struct tar_extent *extents; /* of the file at hand */
	size_t n_extents, cap_extents;
};

static struct unpack_tar *tar_of(struct unpacker *u)
{
	return CONTAINER_OF(u, struct unpack_tar, unpacker);
}

static int put(struct unpack_tar *tar, const void *data, size_t len, struct err *err)
{
	int r = write_full(tar->fd, data, len);
	if (r < 0)
		return err_errno(err, r, "cannot write the archive");
	tar->written += len;
	return 0;
}

static int put_zeros(struct unpack_tar *tar, size_t len, struct err *err)
{
	static const uint8_t zeros[RECORD];
	return put(tar, zeros, len, err);
}

static int put_head(struct unpack_tar *tar, const struct tar_entry *entry, uint64_t *ret_stored, struct err *err)
{
	tar->head.len = 0;
	int r = tar_entry_format(entry, &tar->head, ret_stored, err);
	return r < 0 ? r : put(tar, tar->head.data, tar->head.len, err);
}

static void fill(const struct unpacked *what, struct tar_entry *ret)
{
	const struct node *node = what->node;
	*ret = (struct tar_entry){
		.path = what->path,
		.mode = node->mode,
		.uid = node->uid,
		.gid = node->gid,
		.mtime = node->mtime,
		.mtime_ns = node->mtime_ns,
		.size = node->size,
		.link = what->target,
		.major = node->major,
		.minor = node->minor,
		.xattrs = what->xattrs,
	};
}

/* -- what is no hole ------------------------------------------------------------------------- */

/* Behind those there are; one that adjoins the last becomes one with it. */
static int add_extent(struct unpack_tar *tar, uint64_t off, uint64_t len, struct err *err)
{
	struct tar_extent *last = tar->n_extents ? &tar->extents[tar->n_extents - 1] : NULL;
	if (len == 0)
		return 0;
	if (last && last->off + last->len == off) {
		last->len += len;
		return 0;
	}
	int r = array_grow(&tar->extents, tar->n_extents, &tar->cap_extents, sizeof *tar->extents, err);
	if (r == 0)
		tar->extents[tar->n_extents++] = (struct tar_extent){ off, len };
	return r;
}

static int look_at_piece(struct unpack_tar *tar, uint64_t off, size_t len, struct err *err)
{
	int r = 0;
	for (size_t at = 0, end; r == 0 && at < len; at = end) {
		bool is_hole;
		end = unpack_part_end(tar->piece, len, at, &is_hole);
		if (!is_hole)
			r = add_extent(tar, off + at, end - at, err);
	}
	return r;
}

/* Reads what it looks at. */
static int look_at_data(struct unpack_tar *tar, const struct node *node, struct err *err)
{
	struct unpacker *u = &tar->unpacker;
	for (uint64_t off = 0; off < node->size;) {
		size_t len = (size_t)min_u64(UNPACK_PIECE, node->size - off);
		int r = tree_pread(u->tree, node, tar->piece, len, off, unpack_deadline(u), err);
		if (r == 0)
			r = look_at_piece(tar, off, len, err);
		if (r < 0)
			return r;
		off += len;
	}
	return 0;
}

static int look_at_index(struct unpack_tar *tar, const struct node *node, struct err *err)
{
	int r = 0;
	for (uint64_t off = 0, end; r == 0 && off < node->size; off = end)
		if (!tree_next_extent(tar->unpacker.tree, node, off, &end))
			r = add_extent(tar, off, end - off, err);
	return r;
}

static int find_extents(struct unpack_tar *tar, const struct node *node, struct err *err)
{
	tar->n_extents = 0;
	return node->size <= CHECKED_MAX ? look_at_data(tar, node, err) : look_at_index(tar, node, err);
}

/* The map has to reach to the end of the file: an empty extent there does it. */
static int use_map(struct unpack_tar *tar, struct tar_entry *entry, struct err *err)
{
	uint64_t data = 0;
	for (size_t i = 0; i < tar->n_extents; i++)
		data += tar->extents[i].len;
	if (entry->size - data < HOLE_MIN)
		return 0;
	struct tar_extent *last = tar->n_extents ? &tar->extents[tar->n_extents - 1] : NULL;
	if (!last || last->off + last->len < entry->size) {
		int r = array_grow(&tar->extents, tar->n_extents, &tar->cap_extents, sizeof *tar->extents, err);
		if (r < 0)
			return r;
		tar->extents[tar->n_extents++] = (struct tar_extent){ entry->size, 0 };
	}
	entry->is_sparse = true;
	entry->extents = tar->extents;
	entry->n_extents = tar->n_extents;
	return 0;
}

/* -- entries --------------------------------------------------------------------------------- */

/* Its header is out: what fails now is the end of the archive. */
static int put_range(struct unpack_tar *tar, const struct node *node, uint64_t off, uint64_t len,
		     struct err *err)
{
	struct unpacker *u = &tar->unpacker;
	while (len) {
		size_t piece = (size_t)min_u64(UNPACK_PIECE, len);
		int r = tree_pread(u->tree, node, tar->piece, piece, off, unpack_deadline(u), err);
		if (unpack_is_of_one(r)) {
			struct err why = *err;
			return err_set(err, -EUCLEAN, "%s; the tar archive ends there", why.msg);
		}
		if (r == 0)
			r = put(tar, tar->piece, piece, err);
		if (r < 0)
			return r;
		unpack_moved(u, node, off, piece);
		off += piece;
		len -= piece;
	}
	return 0;
}

static int put_data(struct unpack_tar *tar, const struct node *node, const struct tar_entry *entry,
		    uint64_t stored, struct err *err)
{
	uint64_t at = 0;
	int r = 0;
	if (!entry->is_sparse)
		r = put_range(tar, node, 0, node->size, err);
	for (size_t i = 0; r == 0 && entry->is_sparse && i < entry->n_extents; i++) {
		const struct tar_extent *extent = &entry->extents[i];
		unpack_moved(&tar->unpacker, node, at, extent->off - at); /* a hole */
		at = extent->off + extent->len;
		r = put_range(tar, node, extent->off, extent->len, err);
	}
	return r < 0 ? r : put_zeros(tar, (TAR_BLOCK - stored % TAR_BLOCK) % TAR_BLOCK, err);
}

static int put_file(struct unpack_tar *tar, const struct unpacked *file, struct err *err)
{
	struct tar_entry entry;
	uint64_t stored;
	fill(file, &entry);
	int r = tree_check_payload(tar->unpacker.tree, file->node, unpack_deadline(&tar->unpacker), err);
	if (r == 0)
		r = find_extents(tar, file->node, err);
	if (r == 0)
		r = use_map(tar, &entry, err);
	if (r == 0)
		r = put_head(tar, &entry, &stored, err);
	return r < 0 ? r : put_data(tar, file->node, &entry, stored, err);
}

static int put_entry(struct unpack_tar *tar, const struct unpacked *what, struct err *err)
{
	struct tar_entry entry;
	uint64_t stored;
	fill(what, &entry);
	return put_head(tar, &entry, &stored, err);
}

static int on_enter(struct unpacker *u, const struct unpacked *dir, struct err *err)
{
	/* Where it is unpacked is not the root then. */
	return dir->is_on_way && !*dir->path ? 0 : put_entry(tar_of(u), dir, err);
}

static int on_leave(struct unpacker *u, const struct unpacked *dir, struct err *err)
{
	return 0;
}

static int on_file(struct unpacker *u, const struct unpacked *file, struct err *err)
{
	if (S_ISREG(file->node->mode))
		return put_file(tar_of(u), file, err);
	if (!S_ISSOCK(file->node->mode))
		return put_entry(tar_of(u), file, err);
	unpack_warn(u, UNPACK_NO_SOCKETS, "sockets are left out: a tar archive has none");
	return 0;
}

static int on_link(struct unpacker *u, const struct unpacked *file, const char *target, struct err *err)
{
	struct tar_entry entry;
	uint64_t stored;
	fill(file, &entry);
	entry.link = target;
	entry.xattrs = NULL;
	return put_head(tar_of(u), &entry, &stored, err);
}

static const struct unpacker_ops tar_ops = {
	.enter = on_enter,
	.leave = on_leave,
	.file = on_file,
	.link = on_link,
};

int unpack_tar_open(int fd, struct unpack_tar **ret, struct err *err)
{
	struct unpack_tar *tar = calloc(1, sizeof *tar);
	if (!tar)
		return err_set(err, -ENOMEM, "no memory");
	tar->unpacker.ops = &tar_ops;
	tar->fd = fd;
	tar->piece = malloc(UNPACK_PIECE);
	if (!tar->piece) {
		unpack_tar_close(tar);
		return err_set(err, -ENOMEM, "no memory for data");
	}
	*ret = tar;
	return 0;
}

int unpack_tar_finish(struct unpack_tar *tar, struct err *err)
{
	int r = put_zeros(tar, 2ul * TAR_BLOCK, err);
	return r < 0 ? r : put_zeros(tar, (RECORD - tar->written % RECORD) % RECORD, err);
}

void unpack_tar_close(struct unpack_tar *tar)
{
	if (!tar)
		return;
	buf_deinit(&tar->head);
	free(tar->extents);
	free(tar->piece);
	free(tar);
}

struct unpacker *unpack_tar_unpacker(struct unpack_tar *tar)
{
	return &tar->unpacker;
}
