/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/complete.h"
#include "util/strv.h"

/*
 * candidates_find - what the word at the cursor may become
 *
 * @ret:  "WORD", or "WORD\tDESCRIPTION" with a description for people; added to.  In the order in
 *        which they are to be shown; not compared with what is typed already.  Neither part has control
 *        characters, backslashes or bytes that are no UTF-8: a name that has some cannot be shown, and is
 *        left out
 *
 * Asks nothing of anybody at a terminal; may wait for a repository, and may fail as it does.
 */
int candidates_find(const struct question *question, struct strv *ret, struct failure *why) MUST_CHECK;

/* One more, unless it is not fit.  @description NULL = none. */
int candidate_add(struct strv *ret, const char *word, const char *description,
		  struct err *err) MUST_CHECK;
