/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/**
 * lookup_command - the command that the first words mean
 *
 * A command may be cut short as long as only one fits; "snapshot list" and the like are understood
 * as the reference client has them.
 *
 * @words, @n_words:  at least one
 * @ret_n_words:      how many of them named it
 *
 * Errors:  -EINVAL with what comes closest; one that fits several: with candidates
 */
int lookup_command(const char *const *words, size_t n_words, const struct command **ret,
		   size_t *ret_n_words, struct failure *why) MUST_CHECK;

/* Letters to change, add or take away to make @b of the first @a_len of @a. */
#define LOOKUP_FAR 3 /* or more: not alike */
unsigned lookup_distance(const char *a, size_t a_len, const char *b);
