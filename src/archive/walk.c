/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/array.h"
#include "util/buf.h"

/*
 * One listing for each directory on the way; of the deepest ones only keeps its batch in memory, the others
 * rest until the walk comes back to them.
 */
#define AWAKE 16 /* listings, of 768 KiB each for a large directory */

struct level {
	struct node dir;
	struct listing *listing;
	size_t path_len; /* of this directory's path */
};

struct walk {
	struct tree *tree;
	struct level *levels;
	size_t n, cap;
	struct buf path;
	struct node begin;
	struct member member;
	bool has_begun;
	bool is_entered; /* the last item was a WALK_ENTER */
};

int walk_open(struct tree *tree, const struct node *begin, struct walk **ret, struct err *err)
{
	struct walk *walk = calloc(1, sizeof *walk);
	if (!walk)
		return err_set(err, -ENOMEM, "no memory for a walk");
	walk->tree = tree;
	walk->begin = *begin;
	int r = buf_puts(&walk->path, "", err);
	if (r < 0)
		walk_close(walk);
	else
		*ret = walk;
	return r;
}

void walk_close(struct walk *walk)
{
	if (!walk)
		return;
	while (walk->n)
		listing_close(walk->levels[--walk->n].listing);
	free(walk->levels);
	buf_deinit(&walk->path);
	free(walk);
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void fill(const struct walk *walk, enum walk_event event, const struct node *node, unsigned depth,
		 struct walk_item *ret)
{
	*ret = (struct walk_item){
		.event = event,
		.path = walk->path.data,
		.name = last_part(walk->path.data),
		.node = node,
		.depth = depth,
	};
}

static void cut_path(struct walk *walk, size_t len)
{
	walk->path.len = len;
	walk->path.data[len] = '\0';
}

/* The directory whose path is in walk->path. */
static int enter(struct walk *walk, const struct node *dir, struct walk_item *ret, struct err *err)
{
	if (walk->n == WALK_DEPTH_MAX)
		return err_set(err, -EBADMSG, "directories are more than %d deep", WALK_DEPTH_MAX);
	int r = array_grow(&walk->levels, walk->n, &walk->cap, sizeof *walk->levels, err);
	if (r < 0)
		return r;
	struct level *level = &walk->levels[walk->n];
	*level = (struct level){ .dir = *dir, .path_len = walk->path.len };
	r = listing_open(walk->tree, dir, 0, &level->listing, err);
	if (r < 0)
		return r;
	walk->n++;
	walk->is_entered = true;
	if (walk->n > AWAKE)
		listing_rest(walk->levels[walk->n - 1 - AWAKE].listing);
	fill(walk, WALK_ENTER, &level->dir, (unsigned)walk->n - 1, ret);
	return 1;
}

static int begin(struct walk *walk, struct walk_item *ret, struct err *err)
{
	walk->has_begun = true;
	fill(walk, WALK_FILE, &walk->begin, 0, ret);
	return S_ISDIR(walk->begin.mode) ? enter(walk, &walk->begin, ret, err) : 1;
}

/* The node stays where it is until something else is entered. */
static int leave(struct walk *walk, struct walk_item *ret)
{
	struct level *level = &walk->levels[--walk->n];
	listing_close(STEAL(level->listing));
	cut_path(walk, level->path_len);
	fill(walk, WALK_LEAVE, &level->dir, (unsigned)walk->n, ret);
	return 1;
}

int walk_next(struct walk *walk, struct deadline until, struct walk_item *ret, struct err *err)
{
	walk->is_entered = false;
	if (!walk->has_begun)
		return begin(walk, ret, err);
	if (walk->n == 0)
		return 0;
	struct level *level = &walk->levels[walk->n - 1];
	cut_path(walk, level->path_len);
	fill(walk, WALK_FILE, NULL, (unsigned)walk->n, ret);
	int r = level->listing ? listing_next(level->listing, until, &walk->member, err) : 0;
	if (r < 0)
		return r;
	if (r == 0)
		return leave(walk, ret);
	r = buf_printf(&walk->path, err, "%s%s", level->path_len ? "/" : "", walk->member.name);
	fill(walk, WALK_FILE, &walk->member.node, (unsigned)walk->n, ret);
	ret->link = walk->member.link;
	if (r < 0)
		return r;
	return S_ISDIR(walk->member.node.mode) ? enter(walk, &walk->member.node, ret, err) : 1;
}

void walk_skip(struct walk *walk)
{
	if (!walk->is_entered)
		return;
	struct level *level = &walk->levels[walk->n - 1];
	listing_close(STEAL(level->listing));
}
