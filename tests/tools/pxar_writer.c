/* SPDX-License-Identifier: Apache-2.0 */
#include "pxar_writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/array.h"
#include "util/bytes.h"

#define TAIL_MARK UINT64_C(0xef5eed5b753e1555)
#define PAYLOAD_TAIL UINT64_C(0x6c72b78b984c81b5)

#define MUST(condition) ((condition) ? (void)0 : abort())

static void add_header(struct buf *to, uint64_t type, uint64_t len)
{
	uint8_t header[PXAR_HEADER_SIZE];
	store_le64(header, type);
	store_le64(header + 8, len + PXAR_HEADER_SIZE);
	MUST(buf_add(to, header, sizeof header, NULL) == 0);
}

static void add_u64(struct buf *to, uint64_t v)
{
	uint8_t raw[8];
	store_le64(raw, v);
	MUST(buf_add(to, raw, sizeof raw, NULL) == 0);
}

static uint64_t meta_pos(const struct pxar_writer *w)
{
	return w->meta_taken + w->meta.len;
}

uint64_t pxar_writer_item(struct pxar_writer *w, uint64_t type, const void *content, size_t len)
{
	uint64_t pos = meta_pos(w);
	add_header(&w->meta, type, len);
	if (len)
		MUST(buf_add(&w->meta, content, len, NULL) == 0);
	return pos;
}

void pxar_writer_begin(struct pxar_writer *w, bool is_split)
{
	*w = (struct pxar_writer){ .is_split = is_split, .mtime = 1700000000 };
	w->dirs = calloc(PXAR_WRITER_DEPTH, sizeof *w->dirs);
	MUST(w->dirs);
	if (!is_split)
		return;
	add_header(&w->meta, PXAR_FORMAT_VERSION, 8);
	add_u64(&w->meta, 2);
	add_header(&w->payload, PXAR_PAYLOAD_START, 0);
}

void pxar_writer_deinit(struct pxar_writer *w)
{
	buf_deinit(&w->meta);
	buf_deinit(&w->payload);
	free(w->dirs);
}

static struct pxar_written_dir *open_dir(struct pxar_writer *w)
{
	return w->depth ? &w->dirs[w->depth - 1] : NULL;
}

/* The member before the next one, or before the table, is over. */
static void end_member(struct pxar_writer *w)
{
	struct pxar_written_dir *dir = open_dir(w);
	if (!dir || dir->n == 0 || dir->slots[dir->n - 1].size)
		return;
	struct pxar_written_slot *slot = &dir->slots[dir->n - 1];
	slot->size = meta_pos(w) - slot->pos + w->extra;
	w->extra = 0;
}

uint64_t pxar_writer_name(struct pxar_writer *w, const char *name)
{
	end_member(w);
	struct pxar_written_dir *dir = open_dir(w);
	MUST(array_grow(&dir->slots, dir->n, &dir->cap, sizeof *dir->slots, NULL) == 0);
	uint64_t pos = pxar_writer_item(w, PXAR_FILENAME, name, strlen(name) + 1);
	dir->slots[dir->n++] = (struct pxar_written_slot){ pxar_name_hash(name, strlen(name)), pos, 0 };
	return pos;
}

void pxar_writer_entry(struct pxar_writer *w, uint32_t mode)
{
	uint8_t stat[40] = { 0 };
	store_le64(stat, mode);
	store_le32(stat + 16, w->uid);
	store_le32(stat + 20, w->gid);
	store_le64(stat + 24, (uint64_t)w->mtime);
	store_le32(stat + 32, w->mtime_ns);
	uint64_t pos = pxar_writer_item(w, PXAR_ENTRY, stat, sizeof stat);
	if (!S_ISDIR(mode))
		return;
	MUST(w->depth < PXAR_WRITER_DEPTH);
	w->dirs[w->depth] = (struct pxar_written_dir){ .entry_pos = w->depth ? pos : 0 };
	w->depth++;
}

void pxar_writer_attr_id(struct pxar_writer *w, uint64_t type, uint64_t id, uint64_t permissions)
{
	add_header(&w->meta, type, 16);
	add_u64(&w->meta, id);
	add_u64(&w->meta, permissions);
}

void pxar_writer_xattr(struct pxar_writer *w, const char *name, const void *value, size_t len)
{
	add_header(&w->meta, PXAR_XATTR, strlen(name) + 1 + len);
	MUST(buf_add(&w->meta, name, strlen(name) + 1, NULL) == 0);
	if (len)
		MUST(buf_add(&w->meta, value, len, NULL) == 0);
}

void pxar_writer_payload_header(struct pxar_writer *w, uint64_t size)
{
	if (!w->is_split) {
		add_header(&w->meta, PXAR_PAYLOAD, size);
		return;
	}
	uint64_t pos = w->payload_taken + w->payload.len;
	add_header(&w->payload, PXAR_PAYLOAD, size);
	add_header(&w->meta, PXAR_PAYLOAD_REF, 16);
	add_u64(&w->meta, pos);
	add_u64(&w->meta, size);
	w->extra = size;
}

void pxar_writer_payload(struct pxar_writer *w, const void *data, size_t len)
{
	pxar_writer_payload_header(w, len);
	if (len)
		MUST(buf_add(w->is_split ? &w->payload : &w->meta, data, len, NULL) == 0);
}

void pxar_writer_took_meta(struct pxar_writer *w, uint64_t n_data)
{
	w->meta_taken += w->meta.len + n_data;
	w->meta.len = 0;
}

void pxar_writer_took_payload(struct pxar_writer *w, uint64_t n_data)
{
	w->payload_taken += w->payload.len + n_data;
	w->payload.len = 0;
}

void pxar_writer_symlink(struct pxar_writer *w, const char *target)
{
	(void) pxar_writer_item(w, PXAR_SYMLINK, target, strlen(target) + 1);
}

void pxar_writer_device(struct pxar_writer *w, uint64_t major, uint64_t minor)
{
	pxar_writer_attr_id(w, PXAR_DEVICE, major, minor);
}

void pxar_writer_hardlink(struct pxar_writer *w, const char *name, uint64_t target_pos, const char *path)
{
	uint64_t pos = pxar_writer_name(w, name);
	add_header(&w->meta, PXAR_HARDLINK, 8 + strlen(path) + 1);
	add_u64(&w->meta, pos - target_pos);
	MUST(buf_add(&w->meta, path, strlen(path) + 1, NULL) == 0);
}

static int by_hash(const void *a, const void *b)
{
	const struct pxar_written_slot *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->pos < y->pos ? -1 : x->pos > y->pos;
}

/* The smallest ones go to the left-most places of the complete tree: in order, by a walk of the tree. */
static size_t lay_out(const struct pxar_written_slot *sorted, size_t next, struct pxar_written_slot *tree,
		      size_t i, size_t n)
{
	if (i >= n)
		return next;
	next = lay_out(sorted, next, tree, 2 * i + 1, n);
	tree[i] = sorted[next++];
	return lay_out(sorted, next, tree, 2 * i + 2, n);
}

void pxar_writer_end_directory(struct pxar_writer *w)
{
	end_member(w);
	struct pxar_written_dir *dir = open_dir(w);
	struct pxar_written_slot *tree = calloc(dir->n + 1, sizeof *tree);
	MUST(tree);
	if (dir->n)
		qsort(dir->slots, dir->n, sizeof *dir->slots, by_hash);
	(void) lay_out(dir->slots, 0, tree, 0, dir->n);
	uint64_t pos = meta_pos(w), len = (dir->n + 1) * PXAR_SLOT_SIZE;
	add_header(&w->meta, PXAR_GOODBYE, len);
	for (size_t i = 0; i < dir->n; i++) {
		add_u64(&w->meta, tree[i].hash);
		add_u64(&w->meta, pos - tree[i].pos);
		add_u64(&w->meta, tree[i].size);
	}
	add_u64(&w->meta, TAIL_MARK);
	add_u64(&w->meta, pos - dir->entry_pos);
	add_u64(&w->meta, len + PXAR_HEADER_SIZE);
	free(tree);
	free(dir->slots);
	if (--w->depth == 0 && w->is_split)
		add_header(&w->payload, PAYLOAD_TAIL, 0);
}

uint64_t pxar_writer_file(struct pxar_writer *w, const char *name, uint32_t mode, const void *data, size_t len)
{
	uint64_t pos = pxar_writer_name(w, name);
	pxar_writer_entry(w, S_IFREG | mode);
	pxar_writer_payload(w, data, len);
	return pos;
}
