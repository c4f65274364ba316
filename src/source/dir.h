/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/source.h"

/**
 * source_dir_open - a datastore directory: no server needed
 *
 * @path:  absolute, or relative to the working directory of now
 *
 * Walks with O_NOFOLLOW below @path.  A directory that vanished (USB disk, ESTALE) is opened
 * again by path.  Takes the shared flock on the snapshot directory and, on a backup server's own
 * host, the server's lock file as well.
 *
 * Errors:  -ENOENT  no such directory, or not a datastore (no .chunks); -ENOTDIR
 */
int source_dir_open(const char *path, struct source **ret, struct err *err) MUST_CHECK;

/**
 * source_loose_open - one index file anywhere, with its chunks in a directory
 *
 * @index_path:  "./drive.img.fidx"; a manifest beside it is read where it is there
 * @chunks_dir:  either a datastore's ".chunks" or the datastore itself
 *
 * The source has one snapshot: source_read_blob("index.json.blob") is -ENOENT without a manifest.
 */
int source_loose_open(const char *index_path, const char *chunks_dir, struct source **ret,
		      struct err *err) MUST_CHECK;
