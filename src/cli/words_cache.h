/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "util/strv.h"

/*
 * What a repository answered a moment ago, so that TAB pressed again does not ask it again: files in
 * $XDG_CACHE_HOME/pbsmap, else ~/.cache/pbsmap.
 *
 * It is safe because nothing but suggestions comes from it: every command asks the repository itself, and
 * its answer counts.  The names in it could be listed by the same user less than a minute before; they are
 * readable for that user alone, and pass the same checks as those that come from a repository.
 * Whatever is odd about a file or the directory (too old, too long, another user's, not what was written) makes
 * it count as not there.  A directory is only made below one of our own, so that "sudo -E" leaves
 * nothing of root's in a user's home.
 */
#define WORDS_CACHE_SECONDS 45
#define WORDS_CACHE_FILES   32	       /* at most; more are not written until others got old */
#define WORDS_CACHE_MAX	    (1u << 20) /* bytes of one file */

/* Candidates of @key added to @ret; false = it has none, and nothing was added. */
bool words_cache_get(const char *key, struct strv *ret);

/* They are @key's from now on; that they cannot be kept is no failure. */
void words_cache_put(const char *key, const struct strv *words);
