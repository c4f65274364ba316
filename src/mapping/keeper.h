/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"
#include "util/strv.h"

/*
 * A process beside the server process that has the rights: it mounts, makes the device and holds it.
 * When the server process says so, or is gone, it takes all away.
 */
struct keeper {
	int fd; /* -EBADF = none */
	pid_t pid;
};

#define KEEPER_NONE ((struct keeper){ .fd = -EBADF })

/* Call it before there are threads, keys, or anything else that is not the keeper's business. */
int keeper_start(struct keeper *ret, struct err *err) MUST_CHECK;

struct keeper_mount {
	const char *target; /* a path, relative to the directory keeper_start() was called in: an empty file,
			       or one that is made and removed again; NULL = a loop device */
	const char *fs_name, *run_dir; /* see fuse_mount_nowhere() */
	bool is_directory;   /* the target is one */
	const char *options; /* see fuse_mount_on_path() */
};

/*
 * Mount; @ret_fuse_fd is for fuse_file_open().
 *
 * Errors:  those of fuse_mount.h; -EEXIST the target has something in it; -EINVAL it is no regular file;
 *          -ENOTDIR no directory
 */
int keeper_mount(struct keeper *keeper, const struct keeper_mount *what, int *ret_fuse_fd,
		 struct err *err) MUST_CHECK;

/**
 * keeper_show - from here on others can see it; it has answered a read
 *
 * @mark:            see loop_attach()
 * @ret_device:      "/dev/loop3", or the absolute path; given, free()
 * @ret_partitions:  see block_add_partitions()
 *
 * The connection is served meanwhile.
 *
 * Errors:  those of loop.h; -errno of the read, but damage is none
 */
int keeper_show(struct keeper *keeper, const char *mark, char **ret_device, struct strv *ret_partitions,
		struct err *err) MUST_CHECK;

/**
 * keeper_listen - instead of a mount: a socket for NBD clients
 *
 * @path:     see nbd_listen_path(), relative as keeper_mount's; it is removed when the keeper lets go
 * @address:  see nbd_listen_address(); one of the two is NULL
 * @ret_path: absolute; NULL with an address; given, free()
 *
 * Errors:    those of nbd_listen.h
 */
int keeper_listen(struct keeper *keeper, const char *path, const char *address, char **ret_path, int *ret_fd,
		  struct err *err) MUST_CHECK;

/* Instead of all that, where there is nothing to show or to take away: it has no rights from now on. */
int keeper_rest(struct keeper *keeper, struct err *err) MUST_CHECK;

/**
 * keeper_connect - instead of a mount: a kernel NBD device
 *
 * @number:          of the device; NBD_KERNEL_ANY (nbd_kernel.h): a free one
 * @ret_partitions:  see block_add_partitions()
 *
 * keeper_link() gives one end of a connection, to be served meanwhile; the device gets the other ends, of all of
 * them.  The device has answered a read.
 *
 * Errors:  those of nbd_kernel.h; -errno of the read, but damage is none
 */
int keeper_link(struct keeper *keeper, int *ret_fd, struct err *err) MUST_CHECK;
int keeper_connect(struct keeper *keeper, uint64_t size, uint32_t number, uint32_t timeout_s, const char *mark,
		   char **ret_device, struct strv *ret_partitions, struct err *err) MUST_CHECK;

/* Let go of the device: its last user may keep it.  Unmount the path if nobody uses it; may be called again. */
void keeper_end(struct keeper *keeper);

/* All is taken away, used or not, when this returns; waits a second at most. */
void keeper_close(struct keeper *keeper);
