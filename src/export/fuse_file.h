/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "image/image.h"
#include "util/err.h"

/*
 * An image as one regular file served by FUSE: mounted nowhere (for a loop device), or on a path.
 * Requests are taken by a few threads and answered by whoever has the bytes.
 */
struct fuse_file;

struct fuse_file_options {
	struct image *image;	 /* lent */
	const char *mount_point; /* an existing file; NULL = mounted nowhere */
	int64_t timeout_ms;	 /* deadline of one read; 0 = none */
	const char *fs_name;	 /* what /proc/mounts shows as source */
	bool allow_other;	 /* mount_point only */
};

/**
 * fuse_file_open - mount and serve
 *
 * Without a mount point @ret_fd is the file, opened for direct I/O: for the loop device; the mount
 * goes when the last descriptor is closed.  Where the kernel has no fsopen, it is mounted on a
 * file of its own in @ret's run directory, opened, and detached at once.
 *
 * Errors:  -ENODEV no FUSE in this kernel or no /dev/fuse; -EPERM; -ENOENT no fusermount3
 */
int fuse_file_open(const struct fuse_file_options *options, struct fuse_file **ret, int *ret_fd,
		   struct err *err) MUST_CHECK;

/* Readable (POLLIN) once the kernel let go of the file: nobody can ask any more. */
int fuse_file_ended_fd(const struct fuse_file *file);

/* Takes the mount away (path), stops serving, joins the threads. */
void fuse_file_close(struct fuse_file *file);
