/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/unpack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/internal.h"
#include "archive/walk.h"
#include "util/array.h"
#include "util/bytes.h"
#include "util/strv.h"

/*
 * A hard link says by which path its target is known.  When that is among what was asked for, it came before,
 * and the link is one; else the first link of each file becomes a file, and the others become links to that.
 */
struct copy {
	uint64_t ino; /* 0 = free */
	char *path;   /* NULL = it failed: there is nothing to be linked to */
};

/* Of files whose first name was not asked for: where they are; and those that failed.  Open addressing. */
struct copies {
	struct copy *slots;
	size_t n, cap;
};

/* What is to be gone through for a path: of the payload where there is one, else of the archive. */
struct range {
	uint64_t begin, len;
};

struct asked_path {
	char *path;   /* "" = everything */
	uint64_t pos; /* of what it leads to */
	struct range range;
};

struct run {
	struct unpacker *u;
	struct asked_path *paths; /* those that are not below another one, in the order of the archive */
	size_t n_paths, cap_paths;
	bool is_sized;	   /* all of their ranges are known */
	struct copies copies;
	struct strv refused; /* directories that could not be entered */
	const char *base;  /* the path that is being unpacked */
	struct node *entered; /* the directories it is in */
	size_t n_entered, cap_entered;
};

bool unpack_is_of_one(int r)
{
	switch (r) {
	case -EBADMSG:
	case -ENOENT:
	case -ENOTDIR:
	case -EISDIR:
	case -ELOOP:
	case -EEXIST:
	case -EACCES:
	case -EPERM:
	case -EINVAL:
	case -EILSEQ: /* a name in no encoding that the file system takes */
	case -ENAMETOOLONG:
	case -EOPNOTSUPP:
	case -EMLINK:
	case -EFBIG:
	case -ENODEV:
		return true;
	default:
		return false;
	}
}

void unpack_warn(struct unpacker *u, enum unpack_warning which, const char *text)
{
	if (u->warned & 1u << which)
		return;
	u->warned |= 1u << which;
	u->warn(u->user, text);
}

struct deadline unpack_deadline(const struct unpacker *u)
{
	return deadline_of_timeout(u->timeout_ms);
}

static bool begins_with_hole(const uint8_t *data, size_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, min_size(UNPACK_HOLE, len) - 1) == 0;
}

size_t unpack_part_end(const uint8_t *piece, size_t len, size_t at, bool *ret_is_hole)
{
	*ret_is_hole = begins_with_hole(piece + at, len - at);
	do
		at += min_size(UNPACK_HOLE, len - at);
	while (at < len && begins_with_hole(piece + at, len - at) == *ret_is_hole);
	return at;
}

/* -- how far it is --------------------------------------------------------------------------- */

static void tell_progress(struct unpacker *u)
{
	if (u->moved)
		u->moved(u->user, &u->progress);
}

void unpack_moved(struct unpacker *u, const struct node *file, uint64_t off, uint64_t len)
{
	struct unpack_progress *progress = &u->progress;
	uint64_t at = file->payload_off + off + len;
	progress->n_bytes += len;
	/* What a hard link leads to may be elsewhere. */
	if (at > u->begin)
		progress->done = max_u64(progress->done, min_u64(u->before + (at - u->begin), progress->total));
	tell_progress(u);
}

/* false = not known where its data is. */
static bool range_of(const struct tree *tree, const struct node *node, struct range *ret)
{
	*ret = (struct range){ .begin = node->pos };
	if (S_ISREG(node->mode))
		*ret = (struct range){ .begin = node->payload_off, .len = node->size };
	else if (S_ISDIR(node->mode) && !tree->is_split)
		ret->len = node->end - node->pos;
	else if (S_ISDIR(node->mode) && node->ino == TREE_ROOT)
		*ret = (struct range){ .len = tree->payload.size };
	else
		return !S_ISDIR(node->mode);
	return true;
}

/* Before the first of them. */
static void begin_progress(struct unpacker *u, const struct asked_path *paths, size_t n, bool is_known)
{
	u->progress = (struct unpack_progress){ 0 };
	u->before = 0;
	for (size_t i = 0; is_known && i < n; i++)
		u->progress.total += paths[i].range.len;
}

/* All that was asked for there has come. */
static void pass_path(struct unpacker *u, const struct asked_path *path)
{
	u->before += path->range.len;
	u->progress.done = min_u64(u->before, u->progress.total);
}

static void run_deinit(struct run *run)
{
	for (size_t i = 0; i < run->n_paths; i++)
		free(run->paths[i].path);
	free(run->paths);
	free(run->entered);
	for (size_t i = 0; i < run->copies.cap; i++)
		free(run->copies.slots[i].path);
	free(run->copies.slots);
	strv_deinit(&run->refused);
}

/* 0 when it was of one, and told. */
static int take_failure(struct run *run, const char *path, int r, struct err *err)
{
	if (!unpack_is_of_one(r))
		return r == -EPIPE ? r : err_while(err, r, "extracting %s", *path ? path : ".");
	run->u->tell(run->u->user, path, err);
	if (run->u->failed == 0)
		run->u->failed = r;
	*err = ERR_NONE;
	return 0;
}

/* -- copies of linked files ------------------------------------------------------------------ */

#define COPIES_MAX (1u << 20) /* further links become files of their own */

static struct copy *find_copy(const struct copies *copies, uint64_t ino)
{
	size_t i = (size_t)((ino * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (copies->cap - 1);
	while (copies->slots[i].ino && copies->slots[i].ino != ino)
		i = (i + 1) & (copies->cap - 1);
	return &copies->slots[i];
}

static int grow_copies(struct copies *copies, struct err *err)
{
	struct copies larger = { .cap = copies->cap ? 2 * copies->cap : 64, .n = copies->n };
	larger.slots = calloc(larger.cap, sizeof *larger.slots);
	if (!larger.slots)
		return err_set(err, -ENOMEM, "no memory for hard links");
	for (size_t i = 0; i < copies->cap; i++)
		if (copies->slots[i].ino)
			*find_copy(&larger, copies->slots[i].ino) = copies->slots[i];
	free(copies->slots);
	*copies = larger;
	return 0;
}

static int remember_copy(struct copies *copies, uint64_t ino, const char *path, struct err *err)
{
	if (copies->n >= COPIES_MAX)
		return 0;
	int r = 2 * (copies->n + 1) > copies->cap ? grow_copies(copies, err) : 0;
	if (r < 0)
		return r;
	struct copy *copy = find_copy(copies, ino);
	if (copy->ino)
		return 0;
	copy->path = path ? strdup(path) : NULL;
	if (path && !copy->path)
		return err_set(err, -ENOMEM, "no memory for hard links");
	copy->ino = ino;
	copies->n++;
	return 0;
}

/* "/etc//passwd/" is "etc/passwd"; given, free(). */
static int normalise(const char *path, char **ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf out = BUF_EMPTY;
	int r = buf_puts(&out, "", err);
	while (r == 0 && *path) {
		size_t len = strcspn(path, "/");
		if (len == 2 && strncmp(path, "..", 2) == 0)
			return err_set(err, -EINVAL, "'..' in a path that is to be extracted");
		bool is_empty = len == 0 || (len == 1 && *path == '.');
		if (!is_empty)
			r = buf_printf(&out, err, "%s%.*s", out.len ? "/" : "", (int)len, path);
		path += len + (path[len] == '/');
	}
	if (r == 0)
		*ret = STEAL(out.data);
	return r;
}

/* -- one file -------------------------------------------------------------------------------- */

static bool is_below(const char *path, const char *base)
{
	size_t len = strlen(base);
	return len == 0 || (strncmp(path, base, len) == 0 && (path[len] == '/' || !path[len]));
}

static bool is_asked_for(const struct run *run, const char *path)
{
	for (size_t i = 0; i < run->n_paths; i++)
		if (is_below(path, run->paths[i].path))
			return true;
	return false;
}

#define REFUSED_MAX 256 /* when there are as many, no other link is believed: each is compared with all */

static int note_refused(struct run *run, const char *path, struct err *err)
{
	return run->refused.n < REFUSED_MAX ? strv_add(&run->refused, path, err) : 0;
}

static bool is_in_refused(const struct run *run, const char *path)
{
	for (size_t i = 0; i < run->refused.n; i++)
		if (is_below(path, run->refused.items[i]))
			return true;
	return run->refused.n == REFUSED_MAX;
}

/*
 * The path in a link is anybody's word: it counts when it leads to the same file.  1 = it does; one that cannot
 * be followed does not.
 */
static int leads_to(const struct run *run, const char *path, const struct node *node, struct err *err)
{
	struct node found;
	struct err why = ERR_NONE;
	int r = tree_resolve(run->u->tree, path, TREE_NO_LINKS, unpack_deadline(run->u), &found, &why);
	if (r == 0)
		return found.ino == node->ino;
	if (unpack_is_of_one(r))
		return 0;
	*err = why;
	return r;
}

static const struct copy *copy_of(const struct run *run, const struct node *node)
{
	const struct copy *copy = run->copies.cap ? find_copy(&run->copies, node->ino) : NULL;
	return copy && copy->ino ? copy : NULL;
}

/* What the link says, as the path of something that was unpacked.  NULL = it cannot be; given, free(). */
static int read_target(struct run *run, const struct link_text *link, char **ret, struct err *err)
{
	CLEANUP(freep) char *text = NULL;
	int r = tree_link_text(run->u->tree, link, unpack_deadline(run->u), &text, err);
	if (r < 0)
		return r;
	r = normalise(text, ret, NULL);
	return r == -ENOMEM ? err_set(err, r, "no memory for a path") : 0;
}

/*
 * To the name that the link says, which whoever unpacks it may take by the letter: so nothing in it leads up or
 * out.  1 = take it as a file.
 */
static int link_to_target(struct run *run, const struct unpacked *file, const struct link_text *link,
			  struct err *err)
{
	CLEANUP(freep) char *target = NULL;
	int r = read_target(run, link, &target, err);
	if (r < 0)
		return r;
	if (!target || strcmp(target, file->path) == 0 || !is_asked_for(run, target) ||
	    is_in_refused(run, target))
		return 1;
	r = leads_to(run, target, file->node, err);
	return r < 0 ? r : r == 1 ? run->u->ops->link(run->u, file, target, err) : 1;
}

/* A file that was asked for by name may be a link, too: nobody has seen its member then. */
static int unpack_file(struct run *run, const struct unpacked *file, const struct link_text *link,
		       struct err *err)
{
	bool may_be_link = link->pos || strcmp(file->path, run->base) == 0;
	const struct copy *copy = may_be_link ? copy_of(run, file->node) : NULL;
	int r = 1;
	if (copy && copy->path)
		r = run->u->ops->link(run->u, file, copy->path, err);
	else if (!copy && link->pos)
		r = link_to_target(run, file, link, err);
	if (r != 1)
		return r;
	r = run->u->ops->file(run->u, file, err);
	if (r == 0)
		return may_be_link ? remember_copy(&run->copies, file->node->ino, file->path, err) : 0;
	if (unpack_is_of_one(r) && remember_copy(&run->copies, file->node->ino, NULL, NULL) < 0)
		return err_set(err, -ENOMEM, "no memory for hard links");
	return r;
}

typedef int consumer(struct run *run, const struct unpacked *what, const struct link_text *link,
		     struct err *err);

/* Of a directory that something asked for is in, and that was not asked for itself. */
static bool is_on_way(const struct run *run, const char *path)
{
	return strlen(path) < strlen(run->base);
}

static int enter(struct run *run, const struct unpacked *dir, const struct link_text *link, struct err *err)
{
	return run->u->ops->enter(run->u, dir, err);
}

static int leave(struct run *run, const struct unpacked *dir, const struct link_text *link, struct err *err)
{
	return run->u->ops->leave(run->u, dir, err);
}

/* With all that is known of it.  A directory that was entered is left, even when its attributes are damaged now. */
static int hand_over(struct run *run, const char *path, const struct node *node, const struct link_text *link,
		     consumer *consume, struct err *err)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	char target[PXAR_NAME_MAX + 1];
	struct tree *tree = run->u->tree;
	const char *slash = strrchr(path, '/');
	struct unpacked what = {
		.path = path, .name = slash ? slash + 1 : path, .node = node, .is_on_way = is_on_way(run, path),
	};
	int r = node->attrs_len ? tree_xattrs(tree, node, unpack_deadline(run->u), &xattrs, err) : 0;
	if (r == 0 && S_ISLNK(node->mode)) {
		r = tree_readlink(tree, node, unpack_deadline(run->u), target, err);
		what.target = target;
	}
	what.xattrs = &xattrs.list;
	if (r < 0 && consume == leave)
		(void) consume(run, &what, link, NULL);
	return r < 0 ? r : consume(run, &what, link, err);
}

/* -- a path ---------------------------------------------------------------------------------- */

static int join(const char *base, const char *path, struct buf *ret, struct err *err)
{
	return buf_printf(ret, err, "%s%s%s", base, *base && *path ? "/" : "", path);
}

/* *ret_is_in: a directory was entered. */
static int take_item(struct run *run, const struct walk_item *item, bool *ret_is_in, struct err *err)
{
	static consumer *const consumers[] = { unpack_file, enter, leave };
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	int r = join(run->base, item->path, &path, err);
	if (r < 0)
		return r;
	r = hand_over(run, path.data, item->node, &item->link, consumers[item->event], err);
	*ret_is_in = r == 0 && item->event == WALK_ENTER;
	run->u->progress.n_files += r == 0 && item->event == WALK_FILE;
	tell_progress(run->u);
	r = r < 0 ? take_failure(run, path.data, r, err) : 0;
	return r == 0 && item->event == WALK_ENTER && !*ret_is_in ? note_refused(run, path.data, err) : r;
}

static int take_damage(struct run *run, const struct walk_item *item, int r, struct err *err)
{
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	int joined = join(run->base, item->path, &path, err);
	return joined < 0 ? joined : take_failure(run, path.data, r, err);
}

/*
 * A directory that could not be entered is left at once, without a word to the consumer: who entered is
 * who leaves.
 */
static int unpack_below(struct run *run, const struct node *node, struct err *err)
{
	CLEANUP(walk_closep) struct walk *walk = NULL;
	struct walk_item item;
	bool is_refused = false; /* the next WALK_LEAVE is of a directory that was not entered */
	int r = walk_open(run->u->tree, node, &walk, err);
	while (r == 0) {
		bool is_in = false;
		int step = walk_next(walk, unpack_deadline(run->u), &item, err);
		if (step == 0)
			break;
		if (step < 0) {
			r = take_damage(run, &item, step, err);
			continue;
		}
		if (item.event == WALK_LEAVE && is_refused) {
			is_refused = false;
			continue;
		}
		r = take_item(run, &item, &is_in, err);
		is_refused = item.event == WALK_ENTER && !is_in;
		if (is_refused)
			walk_skip(walk);
	}
	return r;
}

/* So many directories is a path in, the root among them: "a/b/c" in "", "a" and "a/b". */
static size_t n_parents(const char *path)
{
	size_t n = *path != '\0';
	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* The length of the n-th of them; 0 = the root's. */
static size_t parent_len(const char *path, size_t n)
{
	size_t len = n ? strcspn(path, "/") : 0;
	while (n-- > 1)
		len += 1 + strcspn(path + len + 1, "/");
	return len;
}

/* So many of the directories that were entered is @path in as well. */
static size_t n_shared(const struct run *run, const char *path)
{
	size_t n = 0, most = min_size(run->n_entered, n_parents(path));
	while (n < most) {
		size_t len = parent_len(path, n);
		if (len != parent_len(run->base, n) || strncmp(path, run->base, len) != 0)
			break;
		n++;
	}
	return n;
}

/* The n-th directory that run->base is in.  1 = done, 0 = it failed, and that was told. */
static int take_parent(struct run *run, size_t n, consumer *consume, struct err *err)
{
	CLEANUP(freep) char *path = strndup(run->base, parent_len(run->base, n));
	struct node *node = &run->entered[n];
	int r = 0;
	if (!path)
		return err_set(err, -ENOMEM, "no memory for a path");
	if (consume == enter)
		r = tree_resolve(run->u->tree, path, TREE_NO_LINKS, unpack_deadline(run->u), node, err);
	if (r == 0)
		r = hand_over(run, path, node, &(struct link_text){ 0 }, consume, err);
	if (r == 0)
		return 1;
	r = take_failure(run, path, r, err);
	return r == 0 && consume == enter ? note_refused(run, path, err) : r;
}

/* The same for all of them. */
static int enter_parents(struct run *run, struct err *err)
{
	size_t n = n_parents(run->base);
	int r = 1;
	while (r == 1 && run->n_entered < n) {
		r = array_grow(&run->entered, run->n_entered, &run->cap_entered, sizeof *run->entered, err);
		if (r == 0)
			r = take_parent(run, run->n_entered, enter, err);
		run->n_entered += r == 1;
	}
	return r;
}

/* All but so many. */
static int leave_parents(struct run *run, size_t n_kept, struct err *err)
{
	int r = 0;
	while (r >= 0 && run->n_entered > n_kept)
		r = take_parent(run, --run->n_entered, leave, err);
	return r < 0 ? r : 0;
}

/* What it has in common with the path before it stays entered: once it was left, nobody may write in it. */
static int unpack_path(struct run *run, const struct asked_path *path, struct err *err)
{
	struct node node;
	int r = run->base ? leave_parents(run, n_shared(run, path->path), err) : 0;
	if (r < 0)
		return r;
	run->base = path->path;
	run->u->begin = path->range.begin;
	r = tree_resolve(run->u->tree, run->base, TREE_NO_LINKS, unpack_deadline(run->u), &node, err);
	if (r < 0)
		return take_failure(run, run->base, r, err);
	r = enter_parents(run, err);
	if (r == 1)
		r = unpack_below(run, &node, err);
	pass_path(run->u, path);
	return r;
}

/* -- the paths ------------------------------------------------------------------------------- */

static int add_path(struct run *run, const char *path, struct err *err)
{
	struct node node;
	int r = tree_resolve(run->u->tree, path, TREE_NO_LINKS, unpack_deadline(run->u), &node, err);
	if (r < 0)
		return strchr(path, '/') ? err_while(err, r, "looking for %s", path) : r;
	r = array_grow(&run->paths, run->n_paths, &run->cap_paths, sizeof *run->paths, err);
	if (r < 0)
		return r;
	struct asked_path asked = { .path = strdup(path), .pos = node.pos };
	if (!asked.path)
		return err_set(err, -ENOMEM, "no memory for a path");
	run->is_sized &= range_of(run->u->tree, &node, &asked.range);
	run->paths[run->n_paths++] = asked;
	return 0;
}

static int by_pos(const void *a, const void *b)
{
	const struct asked_path *x = a, *y = b;
	return x->pos < y->pos ? -1 : x->pos > y->pos;
}

static int choose_paths(struct run *run, const char *const *paths, size_t n_paths, struct err *err)
{
	CLEANUP(strv_deinit) struct strv all = STRV_EMPTY;
	run->is_sized = true;
	int r = n_paths ? 0 : strv_add(&all, "", err);
	for (size_t i = 0; r == 0 && i < n_paths; i++) {
		CLEANUP(freep) char *path = NULL;
		r = normalise(paths[i], &path, err);
		if (r == 0)
			r = strv_add(&all, path, err);
	}
	strv_sort(&all); /* what is below another one comes behind it */
	for (size_t i = 0; r == 0 && i < all.n; i++)
		if (!is_asked_for(run, all.items[i]))
			r = add_path(run, all.items[i], err);
	if (run->n_paths)
		qsort(run->paths, run->n_paths, sizeof *run->paths, by_pos);
	return r;
}

int unpack(struct unpacker *u, const char *const *paths, size_t n_paths, struct err *err)
{
	CLEANUP(run_deinit) struct run run = { .u = u };
	struct err own = ERR_NONE;
	err = err ? err : &own;
	u->failed = 0;
	int r = choose_paths(&run, paths, n_paths, err);
	begin_progress(u, run.paths, run.n_paths, run.is_sized);
	for (size_t i = 0; r == 0 && i < run.n_paths; i++)
		r = unpack_path(&run, &run.paths[i], err);
	if (r == 0)
		r = leave_parents(&run, 0, err);
	return r < 0 ? r : u->failed != 0;
}
