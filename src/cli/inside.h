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

/* SNAPSHOT ARCHIVE [PATH...], or with --chunks INDEX [PATH...]: where the paths begin in options->args. */
size_t inside_first_path(const struct options *options);

/**
 * inside_open - what is named before the paths
 *
 * @command:  for messages
 *
 * Errors:  those of backup_open_tree()
 */
int inside_open(const struct options *options, const char *command, struct inside *ret,
		struct failure *why) MUST_CHECK;
void inside_close(struct inside *inside);

/* tree_resolve() for a path that was typed; a failure names it, where the part that fails is not all of it. */
int inside_resolve(const struct opened_tree *opened, const char *path, enum tree_follow follow, struct node *ret,
		   struct err *err) MUST_CHECK;
