/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/table.h"
#include "util/array.h"
#include "util/buf.h"
#include "util/text.h"

/* Names of one hash in one directory: more are no accident, and each costs a read. */
#define SAME_HASH_MAX 64

#define LINKS_ON_WAY_MAX 40 /* as the kernel has it */
#define DEPTH_MAX 4096
#define PATH_TEXT_MAX (64u << 10) /* bytes of what is left to go, targets of links included */

/* One member of the right hash: is it of this name, and before the one found so far? */
static int try_place(struct tree *tree, const struct node *dir, const struct member_place *place,
		     const char *name, struct deadline until, uint64_t *best, struct node *ret, struct err *err)
{
	char found[MEMBER_NAME_SIZE];
	struct node node;
	int r = tree_read_member(tree, dir, place, until, found, &node, NULL, err);
	if (r < 0 || strcmp(found, name) != 0 || place->pos >= *best)
		return r;
	*best = place->pos;
	*ret = node;
	return 0;
}

/* Of several with the same name the first in the archive is meant; a damaged one may be of another name. */
int tree_lookup(struct tree *tree, const struct node *dir, const char *name, struct deadline until,
		struct node *ret, struct err *err)
{
	struct table table;
	struct table_search search;
	struct member_place place;
	uint64_t best = UINT64_MAX;
	unsigned n = 0;
	int r, damaged = 0;
	if (!S_ISDIR(dir->mode))
		return err_set(err, -ENOTDIR, "not a directory");
	table_init(&table, tree, dir, until);
	table_search_init(&search, pxar_name_hash(name, strlen(name)));
	while ((r = table_search_next(&search, &table, &place, err)) == 1) {
		if (++n > SAME_HASH_MAX)
			return err_set(err, -EBADMSG, "a table has the same hash again and again");
		r = try_place(tree, dir, &place, name, until, &best, ret, err);
		if (r < 0 && r != -EBADMSG)
			return r;
		damaged = r < 0 ? r : damaged;
	}
	if (r < 0 || best != UINT64_MAX)
		return r;
	return damaged ? damaged : err_set(err, -ENOENT, "there is no such name");
}

/* -- paths ----------------------------------------------------------------------------------- */

/* On the way: the directories passed, and the part of the path that is left. */
struct walker {
	struct tree *tree;
	enum tree_follow follow;
	struct deadline until;
	uint64_t *passed; /* inode numbers, the root first */
	size_t n, cap;
	char *text, *left; /* @left points into @text */
	unsigned n_links;
};

static void walker_deinit(struct walker *w)
{
	free(w->passed);
	free(w->text);
}

/* The target of a link, then what was behind it.  @name and @rest are gone then. */
static int follow_link(struct walker *w, const struct node *link, const char *name, const char *rest,
		       struct err *err)
{
	char target[PXAR_NAME_MAX + 1];
	CLEANUP(buf_deinit) struct buf left = BUF_EMPTY;
	int r = tree_readlink(w->tree, link, w->until, target, err);
	if (r < 0)
		return r;
	if (w->follow == TREE_NO_LINKS) {
		char shown[512], to[512];
		return err_set(err, -ELOOP, "%s is a symbolic link to %s", text_escape(name, shown, sizeof shown),
			       text_escape(target, to, sizeof to));
	}
	if (++w->n_links > LINKS_ON_WAY_MAX || strlen(target) + strlen(rest) > PATH_TEXT_MAX)
		return err_set(err, -ELOOP, "too many symbolic links on the way");
	r = buf_printf(&left, err, "%s%s%s", target, *rest ? "/" : "", rest);
	if (r < 0)
		return r;
	if (target[0] == '/')
		w->n = 1;
	free(w->text);
	w->text = w->left = STEAL(left.data);
	return 0;
}

static int go_up(struct walker *w, struct node *here, struct err *err)
{
	if (w->n > 1)
		w->n--;
	return tree_node(w->tree, w->passed[w->n - 1], w->until, here, err);
}

static int go_down(struct walker *w, const struct node *to, struct node *here, struct err *err)
{
	if (w->n == DEPTH_MAX)
		return err_set(err, -EBADMSG, "directories more than %d deep", DEPTH_MAX);
	int r = array_grow(&w->passed, w->n, &w->cap, sizeof *w->passed, err);
	if (r < 0)
		return r;
	w->passed[w->n++] = to->ino;
	*here = *to;
	return 0;
}

static int no_such(const char *name, int r, struct err *err)
{
	char shown[512];
	if (r == -ENOENT)
		return err_set(err, r, "there is no %s", text_escape(name, shown, sizeof shown));
	if (r == -ENOTDIR)
		return err_set(err, r, "what should contain %s is not a directory",
			       *name ? text_escape(name, shown, sizeof shown) : "it");
	return err_while(err, r, "looking for %s", text_escape(name, shown, sizeof shown));
}

/* One part of the path.  @name, @rest: point into the text; @rest NULL = that was all. */
static int step(struct walker *w, const char *name, const char *rest, struct node *here, struct err *err)
{
	struct node next;
	if (!S_ISDIR(here->mode))
		return no_such(name, -ENOTDIR, err);
	if (!*name || strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0)
		return go_up(w, here, err);
	int r = tree_lookup(w->tree, here, name, w->until, &next, err);
	if (r < 0)
		return no_such(name, r, err);
	if (S_ISLNK(next.mode) && (rest || w->follow == TREE_ALL_LINKS)) {
		r = follow_link(w, &next, name, rest ? rest : "", err);
		/* From the directory the link is in, or from the root. */
		return r < 0 ? r : tree_node(w->tree, w->passed[w->n - 1], w->until, here, err);
	}
	if (S_ISDIR(next.mode))
		return go_down(w, &next, here, err);
	*here = next;
	return 0;
}

/* Without a copy of what is left at each step: there may be ten thousands of them in the path of a made-up link. */
static int walk_on(struct walker *w, struct node *here, struct err *err)
{
	for (;;) {
		size_t skip = strspn(w->left, "/");
		char *name = w->left + skip;
		size_t len = strcspn(name, "/");
		bool is_last = !name[len];
		if (!len)
			return skip && !S_ISDIR(here->mode) ? no_such("", -ENOTDIR, err) : 0;
		name[len] = '\0';
		w->left = name + len + !is_last;
		int r = step(w, name, is_last ? NULL : w->left, here, err);
		if (r < 0)
			return r;
		if (!is_last && !*w->left && !S_ISDIR(here->mode))
			return no_such("", -ENOTDIR, err);
	}
}

int tree_resolve(struct tree *tree, const char *path, enum tree_follow follow, struct deadline until,
		 struct node *ret, struct err *err)
{
	CLEANUP(walker_deinit) struct walker w = { .tree = tree, .follow = follow, .until = until };
	struct node here = tree->root;
	if (strlen(path) > PATH_TEXT_MAX)
		return err_set(err, -ENOENT, "the path is too long");
	w.text = w.left = strdup(path);
	if (!w.text)
		return err_set(err, -ENOMEM, "no memory for a path");
	int r = go_down(&w, tree_root(tree), &here, err);
	if (r == 0)
		r = walk_on(&w, &here, err);
	if (r == 0)
		*ret = here;
	return r;
}
