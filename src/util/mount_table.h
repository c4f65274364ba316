/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

#include "util/err.h"

/* One mount; all is lent for the call, and as it is, without escapes. */
struct mount_row {
	dev_t dev;
	char *target, *type, *source;
};

/* What is done with each: not 0 = no more of them. */
typedef int mount_fn(void *user, const struct mount_row *row, struct err *err);

/**
 * mount_table_each - go through a mount table
 *
 * @path:  "/proc/self/mountinfo", or that of another process; one that cannot be read is empty
 *
 * Returns: 0, or what @each returned when it ended it
 * Source:  proc(5), /proc/PID/mountinfo
 */
int mount_table_each(const char *path, mount_fn *each, void *user, struct err *err) MUST_CHECK;
