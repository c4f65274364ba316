/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/source.h"

/* A directory of chunk files: HHHH/DIGEST below a datastore's ".chunks".  Read by a few threads. */
struct chunk_dir;

/**
 * chunk_dir_open
 *
 * @path:  kept, to open it again when it vanished (USB disk, ESTALE)
 *
 * Errors:  -ENOENT, -ENOTDIR, -EACCES
 */
int chunk_dir_open(const char *path, struct chunk_dir **ret, struct err *err) MUST_CHECK;

/* Whose the directory is. */
void chunk_dir_owner(const struct chunk_dir *chunks, uid_t *ret_uid, gid_t *ret_gid);

/* Every fetch was answered. */
void chunk_dir_close(struct chunk_dir *chunks);

/* As source_fetch() and its like. */
void chunk_dir_fetch(struct chunk_dir *chunks, struct fetch *fetch);
void chunk_dir_raise(struct chunk_dir *chunks, struct fetch *fetch, enum priority priority);
void chunk_dir_shutdown(struct chunk_dir *chunks);
