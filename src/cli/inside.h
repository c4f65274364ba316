/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"
#include "mapping/opened_tree.h"

/*
 * SNAPSHOT ARCHIVE [PATH...] of the commands that look into a file archive, or with --chunks INDEX [PATH...].
 *
 * inside_open - open it
 *
 * @command:    for messages
 * @ret_paths:  where the paths begin in options->args
 */
int inside_open(const struct options *options, const char *command, struct opened_tree *ret,
		size_t *ret_paths, struct failure *why) MUST_CHECK;
