/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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
	const char *run_dir;	 /* for a moment's mount where the kernel has no fsopen */
	bool without_fsopen;	 /* as if it had none: for tests */
};

/**
 * fuse_file_open - mount and serve
 *
 * @ret_fd:  without a mount point: the file, opened for direct I/O, for the loop device; the mount
 *           goes when the last descriptor is closed.  Else -EBADF
 *
 * A mount on a path is made by fusermount3, which also takes it away when this process is gone.
 *
 * Errors:  -ENODEV no FUSE in this kernel or no /dev/fuse; -EPERM
 */
int fuse_file_open(const struct fuse_file_options *options, struct fuse_file **ret, int *ret_fd,
		   struct err *err) MUST_CHECK;

/* Becomes readable (POLLIN) when has_ended or n_users may have another answer; read it to clear. */
int fuse_file_event_fd(const struct fuse_file *file);

/* The kernel let go of it: nobody can ask any more. */
bool fuse_file_has_ended(struct fuse_file *file);

/* How often it is open now. */
unsigned fuse_file_n_users(struct fuse_file *file);

/*
 * Waits until the kernel let go and all reads are answered.  So: it has ended; or the descriptor of
 * fuse_file_open() is closed and nobody uses the file; or it is on a path, and the rights to unmount it
 * are still there.
 */
void fuse_file_close(struct fuse_file *file);

/**
 * fuse_path_unmount - take a mount on a path away, also that of another process
 *
 * @is_lazy:  whoever has the file open keeps it, nobody else finds it any more
 *
 * Errors:  -EBUSY it is open, and not @is_lazy; -EPERM
 */
int fuse_path_unmount(const char *path, bool is_lazy, struct err *err);

/* The one place where a code becomes what FUSE wants: a positive errno. */
int fuse_errno_of(int code);
