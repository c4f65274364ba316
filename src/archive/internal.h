/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/links.h"
#include "archive/tree.h"

/* What the files of this folder share. */
struct tree {
	struct input meta, payload;
	bool is_split;
	struct node root;
	struct links links; /* has its own lock */
};

/* A member as a directory's table has it. */
struct member_place {
	uint64_t pos, size, hash;
};

#define MEMBER_NAME_SIZE (PXAR_NAME_MAX + 1)

/**
 * tree_read_member - name and entry of a member; a hard link's is that of its target
 *
 * @place:     from the directory's table; checked
 * @ret_link:  may be NULL
 */
int tree_read_member(struct tree *tree, const struct node *dir, const struct member_place *place,
		     struct deadline until, char ret_name[static MEMBER_NAME_SIZE], struct node *ret,
		     struct link_text *ret_link, struct err *err) MUST_CHECK;
