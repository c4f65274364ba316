/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * A directory and an environment of a test program's own.  Nothing of the caller's environment is left but
 * PATH and TMPDIR; HOME and XDG_CONFIG_DIRS name directories that are not there.
 */

/* Group set-up and teardown: the directory is the working directory in between, and goes with all in it. */
int scratch_begin(void **state);
int scratch_end(void **state);

/* Set-up of each test, or row: the environment as it was at first. */
int scratch_environment(void **state);

/* The directory's absolute path, lent. */
const char *scratch_path(void);

/* A file with these bytes and the directories above it. */
void scratch_write(const char *path, const void *data, size_t len);
void scratch_puts(const char *path, const char *text);
