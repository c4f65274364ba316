/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "util/strv.h"

/* Directories of a datastore, walked without following a symbolic link anywhere. */

/* @path below @dir_fd, "a/b/c", open for reading; "" = @dir_fd itself.  The descriptor or -errno. */
int folder_open(int dir_fd, const char *path);

enum folder_want { FOLDER_DIRS, FOLDER_FILES };

/*
 * Names of that kind that @is_wanted (NULL = all), sorted bytewise; hidden ones are left out.  A failure leaves
 * those in @ret that were read before it.
 */
int folder_list(int dir_fd, enum folder_want want, bool (*is_wanted)(const char *name),
		struct strv *ret, struct err *err) MUST_CHECK;

/* Regular file @name open for reading, never waiting for a FIFO; -errno, -EBADMSG = another kind. */
int folder_open_file(int dir_fd, const char *name, uint64_t *ret_size);

/* A whole .blob, envelope included.  -ENOENT, -EBADMSG too long. */
int folder_read_blob(int dir_fd, const char *name, uint8_t **ret, size_t *ret_len,
		     struct err *err) MUST_CHECK;

/* Append an index file to @to_fd.  -ENOENT, -EBADMSG too long. */
int folder_copy_index(int dir_fd, const char *name, int to_fd, uint64_t *ret_len,
		      struct err *err) MUST_CHECK;
