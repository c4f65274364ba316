/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/listing.h"

/*
 * All files below one, a directory before what is in it, in the order of the archive.  Goes no deeper than
 * WALK_DEPTH_MAX; takes bounded memory.
 */
#define WALK_DEPTH_MAX 4096

struct walk;

enum walk_event {
	WALK_FILE,  /* anything but a directory */
	WALK_ENTER, /* a directory; then what is in it */
	WALK_LEAVE, /* the same one again, behind all of that */
};

/* Lent until the next call. */
struct walk_item {
	enum walk_event event;
	const char *path;  /* from where the walk began, which is ""; "etc/passwd" */
	const char *name;  /* the last part of it */
	const struct node *node;
	struct link_text link; /* listing.h */
	unsigned depth;	   /* 0 = where the walk began */
};

int walk_open(struct tree *tree, const struct node *begin, struct walk **ret, struct err *err) MUST_CHECK;
void walk_close(struct walk *walk);
static inline void walk_closep(struct walk **walk)
{
	walk_close(*walk);
}

/**
 * walk_next - one step
 *
 * Returns: 1 = @ret was filled, 0 = the end
 * Errors:  of ret->path, or of a member of it whose name is not known.  -EBADMSG: the walk goes on behind
 *          it; others: the next call leaves the directory
 */
int walk_next(struct walk *walk, struct deadline until, struct walk_item *ret, struct err *err) MUST_CHECK;

/* Not into the directory that was just entered: WALK_LEAVE comes next. */
void walk_skip(struct walk *walk);
