/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/walk.h"
#include "cli/args.h"
#include "cli/inside.h"
#include "cli/output.h"
#include "format/base64.h"
#include "util/text.h"

/*
 * What there is may be much: lines are written while more are read, so that memory stays bounded.  What
 * cannot be read is said, and makes the exit status; with --json the array has an object for it.
 */
#define FLUSH_AT ((size_t)64 << 10) /* bytes */
#define SHOWN_SIZE (4 * PXAR_NAME_MAX + 8)

struct lister {
	const struct options *options;
	const struct opened_tree *opened;
	const char *base; /* the path that was asked for, without slashes around it; "" = the root */
	struct buf text;
	size_t n; /* objects of the array */
	bool is_begun; /* some of it is out */
	int result; /* the first failure of an entry */
};

static void lister_deinit(struct lister *l)
{
	buf_deinit(&l->text);
}

static int flush(struct lister *l, struct err *err)
{
	int r = l->text.len ? output_text(l->text.data, l->text.len, err) : 0;
	l->text.len = 0;
	l->is_begun = true;
	return r;
}

static int flush_some(struct lister *l, struct err *err)
{
	return l->text.len >= FLUSH_AT ? flush(l, err) : 0;
}

/* From the root on; "." is the root itself. */
static int full_path(const struct lister *l, const char *path, struct buf *ret, struct err *err)
{
	const char *between = *l->base && *path ? "/" : "";
	return buf_printf(ret, err, "%s%s%s", *l->base || *path ? l->base : ".", between, path);
}

/* -- text ------------------------------------------------------------------------------------ */

/* "drwxr-xr-t" */
static void format_mode(uint32_t mode, char ret[static 11])
{
	static const char letters[] = "rwxrwxrwx";
	static const char types[] = "?pc?d?b?-?l?s???";
	ret[0] = types[mode >> 12 & 15];
	for (int i = 0; i < 9; i++)
		ret[1 + i] = mode & 0400u >> i ? letters[i] : '-';
	if (mode & S_ISUID)
		ret[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		ret[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		ret[9] = mode & S_IXOTH ? 't' : 'T';
	ret[10] = '\0';
}

static bool is_device(const struct node *node)
{
	return S_ISCHR(node->mode) || S_ISBLK(node->mode);
}

static void format_size(const struct node *node, char *ret, size_t len)
{
	if (is_device(node))
		(void) snprintf(ret, len, "%" PRIu32 ", %" PRIu32, node->major, node->minor);
	else if (S_ISREG(node->mode))
		(void) snprintf(ret, len, "%" PRIu64, node->size);
	else
		(void) snprintf(ret, len, "-");
}

static void format_time(int64_t time, char *ret, size_t len)
{
	struct tm tm;
	time_t t = time;
	if (!gmtime_r(&t, &tm) || strftime(ret, len, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void) snprintf(ret, len, "%" PRId64, time);
}

static int print_line(struct lister *l, const struct node *node, const char *path, const char *target,
		      struct err *err)
{
	char mode[11], size[48], time[64], name[SHOWN_SIZE], to[SHOWN_SIZE], links[16] = "";
	format_mode(node->mode, mode);
	format_size(node, size, sizeof size);
	format_time(node->mtime, time, sizeof time);
	if (l->options->counts_links)
		(void) snprintf(links, sizeof links, " %3" PRIu32, node->nlink);
	return buf_printf(&l->text, err, "%s%s %5" PRIu32 " %5" PRIu32 " %12s %s %s%s%s\n", mode, links, node->uid,
			  node->gid, size, time, text_escape(path, name, sizeof name), target ? " -> " : "",
			  target ? text_escape(target, to, sizeof to) : "");
}

/* -- JSON ------------------------------------------------------------------------------------ */

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFBLK:
		return "block";
	case S_IFCHR:
		return "char";
	case S_IFIFO:
		return "fifo";
	default:
		return "socket";
	}
}

/* NULL = no memory, as for all that follow. */
static json_t *value_to_json(const struct pxar_xattr *xattr)
{
	CLEANUP(freep) char *text = malloc(base64_size(xattr->len));
	if (!text)
		return NULL;
	base64_encode(xattr->value, xattr->len, text);
	return json_string(text);
}

static json_t *xattrs_to_json(const struct pxar_xattrs *xattrs)
{
	json_t *array = json_array();
	for (size_t i = 0; i < xattrs->n; i++) {
		json_t *object = json_pack("{s:o}", "value_b64", value_to_json(&xattrs->items[i]));
		if (object && json_set_name(object, "name", xattrs->items[i].name) < 0)
			json_decref(STEAL(object));
		array = json_with(array, object);
	}
	return array;
}

static int add_xattrs(const struct lister *l, const struct node *node, json_t *to, struct err *err)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	if (!node->attrs_len)
		return 0;
	int r = tree_xattrs(l->opened->tree, node, opened_tree_deadline(l->opened), &xattrs, err);
	if (r < 0 || xattrs.list.n == 0)
		return r;
	return json_object_set_new(to, "xattrs", xattrs_to_json(&xattrs.list)) < 0
		       ? err_set(err, -ENOMEM, "no memory for the result")
		       : 0;
}

/* What only some kinds have. */
static int add_special(const struct lister *l, const struct node *node, const char *target, json_t *to)
{
	int r = 0;
	if (S_ISREG(node->mode))
		r |= json_object_set_new(to, "size", json_integer((json_int_t)node->size));
	if (S_ISREG(node->mode) && l->options->counts_links)
		r |= json_object_set_new(to, "nlink", json_integer(node->nlink));
	if (is_device(node))
		r |= json_object_set_new(to, "device", json_pack("[I, I]", (json_int_t)node->major,
								 (json_int_t)node->minor));
	if (target)
		r |= json_set_name(to, "target", target);
	return r;
}

static json_t *node_to_json(const struct lister *l, const struct node *node, const char *path,
			    const char *target)
{
	char mode[8];
	(void) snprintf(mode, sizeof mode, "%04o", node->mode & 07777);
	json_t *object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "type", type_name(node->mode), "mode", mode,
				   "uid", (json_int_t)node->uid, "gid", (json_int_t)node->gid, "mtime",
				   (json_int_t)node->mtime, "mtime_nsec", (json_int_t)node->mtime_ns, "inode",
				   (json_int_t)node->ino);
	if (object && (json_set_name(object, "path", path) < 0 || add_special(l, node, target, object) < 0))
		json_decref(STEAL(object));
	return object;
}

/* Takes @take_object. */
static int print_object(struct lister *l, json_t *take_object, struct err *err)
{
	size_t flags = l->options->is_json_pretty ? JSON_INDENT(2) : JSON_COMPACT;
	CLEANUP(freep) char *text = take_object ? json_dumps(take_object, flags) : NULL;
	json_decref(take_object);
	if (!text)
		return err_set(err, -ENOMEM, "no memory for the result");
	return buf_printf(&l->text, err, "%s%s", l->n++ ? ",\n" : "[", text);
}

static int print_json(struct lister *l, const struct node *node, const char *path, const char *target,
		      struct err *err)
{
	json_t *object = node_to_json(l, node, path, target);
	int r = object ? add_xattrs(l, node, object, err) : 0;
	if (r < 0) {
		json_decref(object);
		return r;
	}
	return print_object(l, object, err);
}

/* -- entries --------------------------------------------------------------------------------- */

static int print_node(struct lister *l, const struct node *node, const char *path, struct err *err)
{
	char target[PXAR_NAME_MAX + 1];
	bool is_link = S_ISLNK(node->mode);
	int r = is_link ? tree_readlink(l->opened->tree, node, opened_tree_deadline(l->opened), target, err) : 0;
	if (r < 0)
		return r;
	return l->options->is_json ? print_json(l, node, path, is_link ? target : NULL, err)
				   : print_line(l, node, path, is_link ? target : NULL, err);
}

/* One of them cannot be read: said, and the others go on. */
static int tell_damage(struct lister *l, const char *path, const struct err *why, struct err *err)
{
	char shown[MESSAGE_PATH_SIZE];
	if (l->result == 0)
		l->result = why->code;
	repository_say(&l->options->repository, "%s: %s", message_path(path, shown), why->msg);
	if (!l->options->is_json)
		return 0;
	json_t *object = json_pack("{s:s}", "error", why->msg);
	if (object && json_set_name(object, "path", path) < 0)
		json_decref(STEAL(object));
	return print_object(l, object, err);
}

/* What reading @path came to, @why has its words: whatever is not damage of the one ends it all. */
static int take_failure(struct lister *l, const char *path, const struct err *why, struct err *err)
{
	CLEANUP(buf_deinit) struct buf full = BUF_EMPTY;
	if (why->code != -EBADMSG) {
		*err = *why;
		return why->code;
	}
	int r = full_path(l, path, &full, err);
	return r < 0 ? r : tell_damage(l, full.data, why, err);
}

static int take_node(struct lister *l, const struct node *node, const char *path, struct err *err)
{
	CLEANUP(buf_deinit) struct buf full = BUF_EMPTY;
	struct err why = ERR_NONE;
	bool is_short = !l->options->is_json && !l->options->is_recursive && *path;
	int r = full_path(l, path, &full, err);
	if (r < 0)
		return r;
	if (print_node(l, node, is_short ? path : full.data, &why) < 0)
		return take_failure(l, path, &why, err);
	return 0;
}

/* The directory itself is one of them only where all below it is. */
static bool is_listed(const struct lister *l, const struct walk_item *item)
{
	bool is_begin = item->event == WALK_ENTER && item->depth == 0;
	return item->event != WALK_LEAVE && (!is_begin || l->options->is_recursive);
}

static int list_below(struct lister *l, const struct node *node, struct err *err)
{
	CLEANUP(walk_closep) struct walk *walk = NULL;
	struct walk_item item;
	int r = walk_open(l->opened->tree, node, &walk, err);
	while (r == 0) {
		struct err why = ERR_NONE;
		int step = walk_next(walk, opened_tree_deadline(l->opened), &item, &why);
		if (step == 0)
			break;
		if (step < 0)
			r = take_failure(l, item.path, &why, err);
		else if (is_listed(l, &item))
			r = take_node(l, item.node, item.path, err);
		if (step > 0 && item.event == WALK_ENTER && item.depth > 0 && !l->options->is_recursive)
			walk_skip(walk);
		if (r == 0)
			r = flush_some(l, err);
	}
	return r;
}

/* It broke off: the document that says why comes behind a whole one. */
static void end_array(struct lister *l)
{
	if (l->is_begun && l->options->is_json && buf_puts(&l->text, "]\n", NULL) == 0)
		(void) flush(l, NULL);
}

static int list_path(struct lister *l, struct err *err)
{
	struct node node;
	int r = inside_resolve(l->opened, l->base, TREE_LINKS_ON_WAY, &node, err);
	if (r == 0)
		r = list_below(l, &node, err);
	if (r == 0 && l->options->is_json)
		r = buf_puts(&l->text, l->n ? "]\n" : "[]\n", err);
	if (r == 0)
		return flush(l, err);
	end_array(l);
	return r;
}

/* Without slashes before and behind. */
static char *trimmed(const char *path)
{
	const char *begin = path + strspn(path, "/");
	size_t len = strlen(begin);
	while (len && begin[len - 1] == '/')
		len--;
	return strndup(begin, len);
}

int cmd_ls(const struct options *options, struct failure *why)
{
	CLEANUP(inside_close) struct inside inside = INSIDE_NONE;
	CLEANUP(lister_deinit) struct lister l = { .options = options, .opened = &inside.opened };
	struct options own = *options;
	size_t path = inside_first_path(options);
	if (options->n_args > path + 1) {
		(void) err_set(&why->err, -EINVAL, "ls: one word too many: '%s'", options->args[path + 1]);
		return args_point_to_help("ls", &why->err);
	}
	/* A look at one directory is no reason to fetch what is behind it. */
	if (own.read_ahead == UINT64_MAX && !own.is_recursive)
		own.read_ahead = 0;
	int r = inside_open(&own, "ls", &inside, why);
	if (r < 0)
		return r;
	CLEANUP(freep) char *base = trimmed(options->n_args > path ? options->args[path] : "");
	if (!base)
		return err_set(&why->err, -ENOMEM, "no memory");
	l.base = base;
	r = list_path(&l, &why->err);
	return r < 0 ? r : exit_status_of(l.result);
}
