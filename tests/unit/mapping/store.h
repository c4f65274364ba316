/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mapping/backup.h"

/* A copy of the golden datastore that a test may damage: ./store, without the chunks. */
void store_copy(void);

/* A file of tests/golden to a path here, or from one path here to another. */
void golden_copy(const char *from, const char *to);
void store_copy_file(const char *from, const char *to);

/* The options of a command on ./store; what it says is added to @said. */
struct repository_options store_options(struct strv *said);

/* All of them with | in between; lent until the next call. */
const char *joined(const struct strv *v);
