/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/tree.h"

/*
 * The members of a directory, in the order they are in the archive.  Takes bounded memory, however many
 * there are: the table is gone through again for each batch of them.
 */
struct listing;

/* Members of which a batch is chosen at least: a larger table is gone through more than once. */
#define LISTING_BATCH 16384u

/* @after: 0, or the cursor of a member: goes on behind it. */
int listing_open(struct tree *tree, const struct node *dir, uint64_t after, struct listing **ret,
		 struct err *err) MUST_CHECK;
void listing_close(struct listing *listing);

struct member {
	char name[PXAR_NAME_MAX + 1];
	struct node node; /* a hard link's is that of its target */
	struct link_text link; /* a name more of a file that came before */
	uint64_t cursor;  /* ascends; at least 3 */
};

/**
 * listing_next - one member more
 *
 * Returns: 1 = @ret was filled, 0 = no more
 * Errors:  of one member: the next call gives the one behind it.  -EBADMSG it is damaged, or the table does
 *          not find it where the listing does; ret->cursor is set, and ret->name, "" when it cannot be read.
 *          When there is more amiss (the table cannot be read: the cursor is 0; the deadline is over), the
 *          next call returns 0
 */
int listing_next(struct listing *listing, struct deadline until, struct member *ret, struct err *err) MUST_CHECK;

/* Bytes it takes now: a batch is at most 1.2 MiB, or a thirtieth of the largest table there can be. */
size_t listing_room(const struct listing *listing);

/* Give back memory while something else is done; the next call reads the table again. */
void listing_rest(struct listing *listing);
