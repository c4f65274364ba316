/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"
#include "mapping/opened_tree.h"

/* A file archive that a command looks into. */
struct inside {
	struct backup *backup;
	struct opened_tree opened;
};

#define INSIDE_NONE ((struct inside){ .opened = OPENED_TREE_NONE })

/**
 * inside_open - SNAPSHOT ARCHIVE [PATH...], or with --chunks INDEX [PATH...]
 *
 * @command:    for messages
 * @ret_paths:  where the paths begin in options->args
 *
 * Errors:  those of backup_open_tree()
 */
int inside_open(const struct options *options, const char *command, struct inside *ret, size_t *ret_paths,
		struct failure *why) MUST_CHECK;
void inside_close(struct inside *inside);

/* tree_resolve() for a path that was typed; a failure names it, where the part that fails is not all of it. */
int inside_resolve(const struct opened_tree *opened, const char *path, enum tree_follow follow, struct node *ret,
		   struct err *err) MUST_CHECK;
