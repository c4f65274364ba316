/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "util/err.h"

#define FUSE_MAX_READ (1u << 20) /* bytes of one request: the most a kernel asks for */

/*
 * The mount of one regular file.  Needs root; on a path fusermount3 has the rights.
 *
 * Whoever mounts and opens the file is not the one who serves it: a process that is killed while it
 * waits for its own answer can never end.
 */
struct fuse_mount {
	int fuse_fd;	/* the connection, for whoever serves it */
	int mount_fd;	/* a mount that is attached nowhere; -EBADF = it is at @path */
	char path[256]; /* for a moment, in the run directory; "" = not that kind */
};

#define FUSE_MOUNT_NONE ((struct fuse_mount){ .fuse_fd = -EBADF, .mount_fd = -EBADF })

/**
 * fuse_mount_nowhere - a file in no directory, which is gone when nobody has it open
 *
 * @fs_name:         its source in mount tables that show it
 * @run_dir:         for a moment's mount where the kernel has no fsopen()
 * @without_fsopen:  as if it had none: for tests
 *
 * Errors:  -ENODEV no FUSE in this kernel or no /dev/fuse; -EPERM
 */
int fuse_mount_nowhere(const char *fs_name, const char *run_dir, bool without_fsopen,
		       struct fuse_mount *ret, struct err *err) MUST_CHECK;

/*
 * On an existing file or directory, until it is unmounted.  @more: options beside ours, "" = none.
 * -EPERM says what fusermount3 said; -ENOENT there is none.
 */
int fuse_mount_on_path(const char *path, const char *fs_name, const char *more, struct fuse_mount *ret,
		       struct err *err) MUST_CHECK;

/*
 * Who reads through the page cache reads as much at once as one request may be: 1 MiB instead of the kernel's
 * 128 KiB.  Takes root; once the mount answers, because its first answer sets it back.
 */
void fuse_path_read_ahead(const char *path);

/* The file of fuse_mount_nowhere(), open for direct I/O.  Somebody serves it by now. */
int fuse_mount_open(const struct fuse_mount *mount, int *ret_fd, struct err *err) MUST_CHECK;

/* What is not needed any more: the descriptor of the file, or the path, keeps the mount. */
void fuse_mount_finish(struct fuse_mount *mount);

/**
 * fuse_path_unmount - take a mount on a path away, also that of another process
 *
 * @is_lazy:  whoever has the file open keeps it, nobody else finds it any more
 *
 * Errors:  -EBUSY it is open, and not @is_lazy; -EPERM
 */
int fuse_path_unmount(const char *path, bool is_lazy, struct err *err);
