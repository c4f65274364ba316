/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "archive/internal.h"
#include "util/bytes.h"

/*
 * An archive is a flat run of items: who only wants its hard links need not know the directories, and goes
 * from header to header, over the data of files.
 */
struct scan {
	struct tree *tree;
	int64_t timeout_ms; /* of one read: how many there will be nobody knows */
	uint8_t *piece; /* of the archive, from @at on */
	uint64_t at;
	size_t len;
};

#define PIECE ((size_t)64 << 10) /* bytes; most of them are headers in a split archive, few in another */

static int scan_read(const struct scan *scan, void *buf, size_t len, uint64_t pos, struct err *err)
{
	struct deadline until = deadline_of_timeout(scan->timeout_ms);
	return input_pread(&scan->tree->meta, buf, len, pos, until, err);
}

/* @len bytes at @pos, from the piece at hand or another one. */
static int scan_peek(struct scan *scan, uint64_t pos, size_t len, const uint8_t **ret, struct err *err)
{
	if (pos < scan->at || pos + len > scan->at + scan->len) {
		size_t piece = (size_t)min_u64(PIECE, scan->tree->meta.size - pos);
		if (piece < len)
			return err_set(err, -EBADMSG, "the archive is cut off");
		scan->len = 0;
		int r = scan_read(scan, scan->piece, piece, pos, err);
		if (r < 0)
			return r;
		scan->at = pos;
		scan->len = piece;
	}
	*ret = scan->piece + (pos - scan->at);
	return 0;
}

/* The link whose FILENAME is at @name_pos; its HARDLINK item begins with @distance. */
static int scan_link(struct scan *scan, uint64_t name_pos, uint64_t distance, struct err *err)
{
	uint8_t header[PXAR_HEADER_SIZE];
	struct pxar_item item;
	size_t want;
	if (distance == 0 || distance > name_pos)
		return 0; /* who looks at it will learn that it leads nowhere */
	uint64_t target = name_pos - distance;
	int r = scan_read(scan, header, sizeof header, target, err);
	if (r < 0)
		return r;
	r = pxar_item_parse(header, sizeof header, scan->tree->meta.size - target, &item, &want, NULL);
	if (r != 1 || item.type != PXAR_FILENAME)
		return 0;
	bool is_noted = links_note(&scan->tree->links, name_pos, 2 * (target + PXAR_HEADER_SIZE + item.len));
	return is_noted ? 0 : err_set(err, -ENOMEM, "no memory to count links");
}

static int scan_items(struct scan *scan, struct err *err)
{
	uint64_t pos = 0, size = scan->tree->meta.size, name_pos = 0;
	while (pos < size) {
		const uint8_t *in = NULL;
		struct pxar_item item;
		size_t want;
		int r = scan_peek(scan, pos, PXAR_HEADER_SIZE, &in, err);
		if (r == 0)
			r = pxar_item_parse(in, PXAR_HEADER_SIZE, size - pos, &item, &want, err);
		if (r < 0)
			return err_while(err, r, "reading the archive at %" PRIu64, pos);
		if (item.type == PXAR_FILENAME)
			name_pos = pos;
		if (item.type == PXAR_HARDLINK) {
			r = scan_peek(scan, pos, PXAR_HEADER_SIZE + 8, &in, err);
			if (r == 0)
				r = scan_link(scan, name_pos, load_le64(in + PXAR_HEADER_SIZE), err);
			if (r < 0)
				return r;
		}
		pos += PXAR_HEADER_SIZE + item.len;
	}
	return 0;
}

int tree_count_links(struct tree *tree, int64_t timeout_ms, struct err *err)
{
	CLEANUP(freep) uint8_t *piece = malloc(PIECE);
	if (!piece)
		return err_set(err, -ENOMEM, "no memory to count links");
	struct scan scan = { .tree = tree, .timeout_ms = timeout_ms, .piece = piece };
	int r = links_is_exact(&tree->links) ? 0 : scan_items(&scan, err);
	if (r == 0)
		links_set_exact(&tree->links);
	return r;
}
