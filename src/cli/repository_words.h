/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/complete.h"
#include "util/strv.h"

/*
 * repository_words - namespaces, groups, snapshots, images: candidates that a repository knows
 *
 * Asked once, then remembered for a while (words_cache.h).  Nobody is asked for a password.
 *
 * @question:  kind WORD_NAMESPACE, WORD_GROUP, WORD_SNAPSHOT, WORD_IMAGE or WORD_TREE
 */
int repository_words(const struct question *question, struct strv *ret, struct failure *why) MUST_CHECK;
