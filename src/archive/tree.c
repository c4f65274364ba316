/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/tree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/internal.h"
#include "util/bytes.h"

/*
 * From places in the archive to files.  An entry is read with a guess at its length, and again with a larger one
 * when it turns out to be longer.
 *
 * No circles: a directory's members lie between its entry and its table, a directory among them as a
 * whole.  So each is smaller than the one it is in, and what a hard link leads to is no directory.
 */
#define WINDOW 512u /* bytes: nearly all names with their entries */

/* Some bytes of the archive, from one place on. */
struct window {
	uint8_t small[WINDOW];
	uint8_t *large; /* instead, when that is not enough */
	const uint8_t *data;
	size_t len;
	size_t guess; /* by how much more it will grow; the more often it had to, the more */
};

#define WINDOW_EMPTY ((struct window){ .guess = WINDOW })

static void window_deinit(struct window *window)
{
	free(window->large);
}

static int window_fill(struct window *window, const struct tree *tree, uint64_t pos, size_t len,
		       struct deadline until, struct err *err)
{
	uint8_t *to = window->small;
	if (len > WINDOW) {
		free(window->large);
		to = window->large = malloc(len);
		if (!to)
			return err_set(err, -ENOMEM, "no memory for an entry");
	}
	window->data = to;
	window->len = len;
	return input_pread(&tree->meta, to, len, pos, until, err);
}

/* To @want bytes at least, of @most that may be there; a guess may touch a damaged chunk that the entry does not. */
static int window_grow(struct window *window, const struct tree *tree, uint64_t pos, size_t want, uint64_t most,
		       struct deadline until, struct err *err)
{
	struct err why = ERR_NONE;
	size_t len = (size_t)min_u64(max_u64(want, window->len + window->guess), most);
	int r = window_fill(window, tree, pos, len, until, &why);
	bool was_right = r != -EBADMSG || len <= want;
	window->guess = was_right ? 2 * window->guess : window->guess / 2;
	if (!was_right)
		return window_fill(window, tree, pos, want, until, err);
	if (r < 0 && err)
		*err = why;
	return r;
}

/* What one parser of format/pxar.h answers; @ret is whatever it fills. */
typedef int parser(const uint8_t *in, size_t len, uint64_t limit, void *ret, size_t *ret_want, struct err *err);

/* From @pos on, below @end. */
static int read_with(const struct tree *tree, uint64_t pos, uint64_t end, struct deadline until, parser *parse,
		     void *ret, struct window *window, struct err *err)
{
	if (pos > end || end > tree->meta.size)
		return err_set(err, -EBADMSG, "the archive has nothing at %" PRIu64, pos);
	size_t want = (size_t)min_u64(PXAR_HEADER_SIZE, end - pos);
	int r;
	while ((r = window_grow(window, tree, pos, want, end - pos, until, err)) == 0) {
		r = parse(window->data, window->len, end - pos, ret, &want, err);
		if (r == 1)
			return 0;
		if (r < 0)
			break;
	}
	return err_while(err, r, "reading the archive at %" PRIu64, pos);
}

static int parse_entry(const uint8_t *in, size_t len, uint64_t limit, void *ret, size_t *ret_want,
		       struct err *err)
{
	return pxar_entry_parse(in, len, limit, ret, ret_want, err);
}

static int parse_member(const uint8_t *in, size_t len, uint64_t limit, void *ret, size_t *ret_want,
			struct err *err)
{
	struct pxar_member *member = ret;
	int r = pxar_member_parse(in, len, limit, member, ret_want, err);
	/* And as much as tells a directory from others. */
	size_t more = PXAR_HEADER_SIZE + 8;
	if (r == 1 && !member->link_distance && len - member->len < more && limit - member->len >= more) {
		*ret_want = member->len + more;
		return 0;
	}
	return r;
}

/* -- from an entry to a node ----------------------------------------------------------------- */

static bool has_payload(const struct tree *tree)
{
	return tree->payload.stream || tree->payload.memory;
}

static int take_file(const struct tree *tree, const struct pxar_entry *entry, struct node *ret,
		     struct err *err)
{
	bool is_ref = entry->content == PXAR_HAS_REF;
	if (is_ref != tree->is_split)
		return err_set(err, -EBADMSG, is_ref ? "a file's data is in a payload, which there is none"
						     : "a file's data is not in the payload, where it belongs");
	ret->size = entry->payload_size;
	ret->payload_off = is_ref ? entry->payload_off + PXAR_HEADER_SIZE : ret->pos + entry->payload_off;
	uint64_t size = tree->payload.size;
	if (is_ref && has_payload(tree) && (ret->payload_off > size || ret->size > size - ret->payload_off))
		return err_set(err, -EBADMSG, "the payload ends before a file's data does");
	return 0;
}

static int make_node(struct tree *tree, uint64_t pos, const struct pxar_entry *entry, struct node *ret,
		     struct err *err)
{
	*ret = (struct node){
		.ino = 2 * pos,
		.pos = pos,
		.mode = entry->mode,
		.uid = entry->uid,
		.gid = entry->gid,
		.nlink = 1,
		.mtime = entry->mtime,
		.mtime_ns = entry->mtime_ns,
		.major = entry->major,
		.minor = entry->minor,
		.attrs_off = entry->attrs_off,
		.attrs_len = entry->attrs_len,
		.target_off = entry->target_off,
		.members_off = pos + entry->len,
	};
	if (S_ISLNK(ret->mode))
		ret->size = entry->target_len;
	if (!S_ISREG(ret->mode))
		return 0;
	ret->nlink = links_count(&tree->links, ret->ino);
	return take_file(tree, entry, ret, err);
}

/* Everything but a directory; the entry begins at @pos and ends before @end. */
static int read_other(struct tree *tree, uint64_t pos, uint64_t end, struct deadline until, struct node *ret,
		      struct err *err)
{
	CLEANUP(window_deinit) struct window window = WINDOW_EMPTY;
	struct pxar_entry entry;
	int r = read_with(tree, pos, end, until, parse_entry, &entry, &window, err);
	if (r == 0 && S_ISDIR(entry.mode))
		r = err_set(err, -EBADMSG, "a directory where there should be none");
	return r < 0 ? r : make_node(tree, pos, &entry, ret, err);
}

/* The table at the end of a directory that ends at @end. */
static int read_table(const struct tree *tree, uint64_t end, struct deadline until, struct pxar_table *ret,
		      struct err *err)
{
	uint8_t tail[PXAR_SLOT_SIZE], header[PXAR_HEADER_SIZE];
	if (end < sizeof tail)
		return err_set(err, -EBADMSG, "the archive is cut off");
	int r = input_pread(&tree->meta, tail, sizeof tail, end - sizeof tail, until, err);
	if (r == 0)
		r = pxar_table_parse(tail, end, ret, err);
	if (r == 0)
		r = input_pread(&tree->meta, header, sizeof header, ret->off, until, err);
	return r < 0 ? r : pxar_table_check(header, ret, err);
}

static int make_directory(struct tree *tree, uint64_t pos, uint64_t end, const struct pxar_table *table,
			  struct deadline until, struct node *ret, struct err *err)
{
	CLEANUP(window_deinit) struct window window = WINDOW_EMPTY;
	struct pxar_entry entry;
	int r = read_with(tree, pos, end, until, parse_entry, &entry, &window, err);
	if (r == 0 && !S_ISDIR(entry.mode))
		r = err_set(err, -EBADMSG, "no directory where there should be one");
	if (r == 0 && (pos >= table->off || entry.len > table->off - pos))
		r = err_set(err, -EBADMSG, "a directory's table begins before its entry ends");
	if (r == 0)
		r = make_node(tree, pos, &entry, ret, err);
	if (r < 0)
		return r;
	ret->ino = 2 * end + 1;
	ret->table_off = table->off;
	ret->end = end;
	ret->n_members = table->n;
	ret->size = end - table->off;
	return 0;
}

/* @pos: where its entry is; its table has to say the same. */
static int read_directory(struct tree *tree, uint64_t pos, uint64_t end, struct deadline until,
			  struct node *ret, struct err *err)
{
	struct pxar_table table;
	int r = read_table(tree, end, until, &table, err);
	if (r == 0 && table.dir_off != pos)
		r = err_set(err, -EBADMSG, "a table of members is of another directory");
	if (r == 0)
		r = make_directory(tree, pos, end, &table, until, ret, err);
	return r < 0 ? err_while(err, r, "reading the directory that ends at %" PRIu64, end) : 0;
}

/* -- members --------------------------------------------------------------------------------- */

/* What is in the window behind the FILENAME, for most entries all that is wanted. */
static int read_named(struct tree *tree, const struct member_place *place, uint64_t end,
		      const struct pxar_member *member, const struct window *window, struct deadline until,
		      struct node *ret, struct err *err)
{
	struct pxar_entry entry;
	size_t want;
	uint64_t pos = place->pos + member->entry_off;
	int r = pxar_entry_parse(window->data + member->entry_off, window->len - member->entry_off, end - pos,
				 &entry, &want, err);
	if (r < 0)
		return err_while(err, r, "reading the archive at %" PRIu64, pos);
	if (r == 0)
		return read_other(tree, pos, end, until, ret, err);
	return make_node(tree, pos, &entry, ret, err);
}

static int read_link(struct tree *tree, uint64_t pos, const struct pxar_member *link, struct deadline until,
		     struct node *ret, struct err *err)
{
	CLEANUP(window_deinit) struct window window = WINDOW_EMPTY;
	struct pxar_member target;
	if (link->link_distance > pos)
		return err_set(err, -EBADMSG, "a hard link leads out of the archive");
	uint64_t at = pos - link->link_distance;
	int r = read_with(tree, at, pos, until, parse_member, &target, &window, err);
	if (r == 0 && target.link_distance)
		r = err_set(err, -EBADMSG, "a hard link leads to a hard link");
	if (r == 0)
		r = read_other(tree, at + target.entry_off, pos, until, ret, err);
	if (r == 0 && !S_ISREG(ret->mode))
		r = err_set(err, -EBADMSG, "a hard link leads to no regular file");
	if (r < 0)
		return r;
	links_note(&tree->links, pos, ret->ino);
	ret->nlink = links_count(&tree->links, ret->ino);
	return 0;
}

static int check_place(const struct node *dir, const struct member_place *place, struct err *err)
{
	if (place->pos < dir->members_off || place->pos >= dir->table_off)
		return err_set(err, -EBADMSG, "a table puts a member at %" PRIu64 ", out of its directory",
			       place->pos);
	return 0;
}

/* Is the entry that follows a directory's?  Its kind decides what the table's size means. */
static bool is_directory(const struct window *window, const struct pxar_member *member)
{
	struct pxar_item item;
	size_t want, off = member->entry_off, left = window->len - off;
	if (pxar_item_parse(window->data + off, left, UINT64_MAX, &item, &want, NULL) != 1 ||
	    left < PXAR_HEADER_SIZE + 8)
		return false;
	return S_ISDIR(load_le32(window->data + off + PXAR_HEADER_SIZE));
}

static int read_subdirectory(struct tree *tree, const struct node *dir, const struct member_place *place,
			     uint64_t pos, struct deadline until, struct node *ret, struct err *err)
{
	if (place->size > dir->table_off - place->pos || place->size <= pos - place->pos)
		return err_set(err, -EBADMSG, "a directory at %" PRIu64 " reaches out of the one it is in",
			       place->pos);
	return read_directory(tree, pos, place->pos + place->size, until, ret, err);
}

/* Behind the FILENAME, the header and the distance, up to a NUL. */
static struct link_text link_text_of(const struct member_place *place, const struct pxar_member *member)
{
	uint32_t off = member->entry_off + PXAR_HEADER_SIZE + 8;
	return (struct link_text){ .pos = place->pos + off, .len = member->len - off - 1 };
}

int tree_read_member(struct tree *tree, const struct node *dir, const struct member_place *place,
		     struct deadline until, char ret_name[static MEMBER_NAME_SIZE], struct node *ret,
		     struct link_text *ret_link, struct err *err)
{
	CLEANUP(window_deinit) struct window window = WINDOW_EMPTY;
	struct pxar_member member;
	int r = check_place(dir, place, err);
	if (r == 0)
		r = read_with(tree, place->pos, dir->table_off, until, parse_member, &member, &window, err);
	if (r < 0)
		return r;
	if (pxar_name_hash(member.name, member.name_len) != place->hash)
		return err_set(err, -EBADMSG, "a table calls the member at %" PRIu64 " by another name",
			       place->pos);
	memcpy(ret_name, member.name, member.name_len + 1);
	if (ret_link)
		*ret_link = member.link_distance ? link_text_of(place, &member) : (struct link_text){ 0 };
	if (member.link_distance)
		return read_link(tree, place->pos, &member, until, ret, err);
	if (is_directory(&window, &member))
		return read_subdirectory(tree, dir, place, place->pos + member.entry_off, until, ret, err);
	return read_named(tree, place, dir->table_off, &member, &window, until, ret, err);
}

/* -- the archive ----------------------------------------------------------------------------- */

/* Behind FORMAT_VERSION and PRELUDE, where there are any. */
static int find_root(const struct tree *tree, struct deadline until, uint64_t *ret, struct err *err)
{
	uint8_t head[PXAR_HEADER_SIZE + 8 + PXAR_HEADER_SIZE];
	struct pxar_item item;
	size_t want;
	uint64_t size = tree->meta.size;
	int r = input_pread(&tree->meta, head, sizeof head, 0, until, err);
	if (r == 0)
		r = pxar_item_parse(head, sizeof head, size, &item, &want, err);
	if (r < 0)
		return r;
	*ret = 0;
	if (item.type != PXAR_FORMAT_VERSION)
		return 0;
	*ret = PXAR_HEADER_SIZE + 8;
	r = pxar_version_check(head + PXAR_HEADER_SIZE, err);
	if (r == 0)
		r = pxar_item_parse(head + *ret, sizeof head - *ret, size - *ret, &item, &want, err);
	if (r < 0)
		return r;
	if (item.type == PXAR_PRELUDE)
		*ret += PXAR_HEADER_SIZE + item.len;
	return 0;
}

static int read_root(struct tree *tree, struct deadline until, struct err *err)
{
	struct pxar_table table;
	uint64_t pos, end = tree->meta.size;
	int r = find_root(tree, until, &pos, err);
	if (r == 0)
		r = read_table(tree, end, until, &table, err);
	if (r == 0 && table.dir_off != 0)
		r = err_set(err, -EBADMSG, "the last table of members is not that of the root");
	if (r == 0)
		r = make_directory(tree, pos, end, &table, until, &tree->root, err);
	tree->root.ino = TREE_ROOT;
	return r;
}

int tree_open(const struct tree_options *options, struct deadline until, struct tree **ret, struct err *err)
{
	CLEANUP(tree_closep) struct tree *tree = calloc(1, sizeof *tree);
	if (!tree)
		return err_set(err, -ENOMEM, "no memory for an archive");
	tree->meta = options->meta;
	tree->meta.is_kept = true;
	tree->is_split = options->is_split;
	tree->payload = options->is_split ? options->payload : options->meta;
	links_init(&tree->links);
	int r = read_root(tree, until, err);
	if (r < 0)
		return r;
	*ret = STEAL(tree);
	return 0;
}

void tree_close(struct tree *tree)
{
	if (!tree)
		return;
	links_deinit(&tree->links);
	free(tree);
}

const struct node *tree_root(const struct tree *tree)
{
	return &tree->root;
}

int tree_node(struct tree *tree, uint64_t ino, struct deadline until, struct node *ret, struct err *err)
{
	if (ino == TREE_ROOT) {
		*ret = tree->root;
		return 0;
	}
	if (ino % 2 == 0)
		return read_other(tree, ino / 2, tree->meta.size, until, ret, err);
	struct pxar_table table;
	uint64_t end = ino / 2;
	int r = end > tree->meta.size ? err_set(err, -EBADMSG, "the archive has no directory there")
				      : read_table(tree, end, until, &table, err);
	return r < 0 ? r : make_directory(tree, table.dir_off, end, &table, until, ret, err);
}

int tree_link_text(struct tree *tree, const struct link_text *link, struct deadline until, char **ret,
		   struct err *err)
{
	CLEANUP(freep) char *text = calloc(1, link->len + 1ul);
	if (!text)
		return err_set(err, -ENOMEM, "no memory for a path");
	int r = input_pread(&tree->meta, text, link->len, link->pos, until, err);
	if (r == 0)
		*ret = STEAL(text);
	return r;
}

int tree_readlink(struct tree *tree, const struct node *node, struct deadline until,
		  char ret[static PXAR_NAME_MAX + 1], struct err *err)
{
	if (!S_ISLNK(node->mode))
		return err_set(err, -EINVAL, "not a symbolic link");
	int r = input_pread(&tree->meta, ret, (size_t)node->size, node->pos + node->target_off, until, err);
	if (r == 0)
		ret[node->size] = '\0';
	return r;
}

int tree_xattrs(struct tree *tree, const struct node *node, struct deadline until, struct tree_xattrs *ret,
		struct err *err)
{
	CLEANUP(freep) uint8_t *raw = malloc(node->attrs_len + 1ul);
	if (!raw)
		return err_set(err, -ENOMEM, "no memory for attributes");
	int r = input_pread(&tree->meta, raw, node->attrs_len, node->pos + node->attrs_off, until, err);
	if (r == 0)
		r = pxar_xattrs_make(raw, node->attrs_len, node->mode, &ret->list, err);
	if (r == 0)
		ret->raw = STEAL(raw);
	return r;
}

void tree_xattrs_deinit(struct tree_xattrs *xattrs)
{
	pxar_xattrs_deinit(&xattrs->list);
	free(xattrs->raw);
	*xattrs = TREE_XATTRS_NONE;
}

/* -- data ------------------------------------------------------------------------------------ */

int tree_check_payload(struct tree *tree, const struct node *node, struct deadline until, struct err *err)
{
	uint8_t header[PXAR_HEADER_SIZE];
	if (!S_ISREG(node->mode))
		return err_set(err, S_ISDIR(node->mode) ? -EISDIR : -EINVAL, "not a regular file");
	if (!tree->is_split)
		return 0; /* the header was read with the entry */
	if (!has_payload(tree))
		return err_set(err, -EBADMSG, "the payload is not there, where its data is");
	int r = input_pread(&tree->payload, header, sizeof header, node->payload_off - PXAR_HEADER_SIZE, until,
			    err);
	return r < 0 ? r : pxar_payload_check(header, node->size, err);
}

const struct input *tree_payload(const struct tree *tree)
{
	return &tree->payload;
}

bool tree_next_extent(const struct tree *tree, const struct node *node, uint64_t off, uint64_t *ret_end)
{
	const struct stream *stream = tree->payload.stream;
	uint64_t begin = node->payload_off, end = begin + node->size;
	*ret_end = node->size;
	if (!stream || off >= node->size)
		return false;
	bool is_zero = stream_next_extent(stream, begin + off, end, &end);
	*ret_end = end - begin;
	return is_zero;
}

int tree_pread(struct tree *tree, const struct node *node, void *buf, size_t len, uint64_t off,
	       struct deadline until, struct err *err)
{
	if (off > node->size || len > node->size - off)
		return err_set(err, -EINVAL, "read behind the end of a file");
	return input_pread(&tree->payload, buf, len, node->payload_off + off, until, err);
}
