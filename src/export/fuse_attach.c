/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "export/fuse_internal.h"

/*
 * The mount.  fsopen() (Linux 5.2) makes one that is attached nowhere: nothing in the mount table, gone
 * when the last descriptor is closed, whatever happens to this process.  Without it the file is mounted
 * on an empty one for a moment, opened, and taken out of the mount table again: the open descriptor
 * keeps it in the same way.
 *
 * Source: fsopen(2), fsmount(2); Linux Documentation/filesystems/fuse.rst for the options.
 */
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif

static int open_fuse(int *ret_fd, struct err *err)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return err_set(err, -ENODEV, "this system has no /dev/fuse: load the module fuse "
			       "(modprobe fuse), or let the container have the device");
	if (fd < 0)
		return err_errno(err, -errno, "cannot open /dev/fuse");
	*ret_fd = fd;
	return 0;
}

static int configure(int fs, int fuse_fd, const char *fs_name)
{
	char fd_text[16];
	(void) snprintf(fd_text, sizeof fd_text, "%d", fuse_fd);
	const char *const settings[][2] = {
		{ "source", fs_name },	 { "fd", fd_text },   { "rootmode", "100400" },
		{ "user_id", "0" },	 { "group_id", "0" }, { "max_read", "1048576" },
	};
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, settings[i][0], settings[i][1], 0) < 0)
			return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	return 0;
}

/* The descriptor of a mount that is attached nowhere, or -errno. */
static int mount_nowhere(int fuse_fd, const char *fs_name)
{
	CLEANUP(closep) int fs = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	int r = configure(fs, fuse_fd, fs_name);
	if (r < 0)
		return r;
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
			      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? -errno : fd;
}

static int mount_for_a_moment(const struct fuse_file_options *options, struct fuse_mount *ret,
			      struct err *err)
{
	char path[sizeof ret->path], data[128];
	int n = snprintf(path, sizeof path, "%s/image-XXXXXX", options->run_dir);
	if (n >= (int)sizeof path)
		return err_set(err, -ENAMETOOLONG, "run directory %s", options->run_dir);
	CLEANUP(closep) int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make a file in %s", options->run_dir);
	(void) snprintf(data, sizeof data, "fd=%d,rootmode=100400,user_id=0,group_id=0,max_read=%u",
			ret->fuse_fd, FUSE_MAX_READ);
	if (mount(options->fs_name, path, "fuse", MS_RDONLY | MS_NOSUID | MS_NODEV, data) < 0) {
		int r = -errno;
		(void) unlink(path);
		if (r == -EPERM)
			return err_set(err, r, "mounting needs root; --via file works without");
		if (r == -ENODEV)
			return err_set(err, r, "this kernel has no FUSE: load the module fuse (modprobe fuse)");
		return err_errno(err, r, "cannot mount a FUSE file");
	}
	memcpy(ret->path, path, sizeof path);
	return 0;
}

int fuse_attach(const struct fuse_file_options *options, struct fuse_mount *ret, struct err *err)
{
	struct fuse_mount mount = FUSE_MOUNT_NONE;
	int r = open_fuse(&mount.fuse_fd, err);
	if (r < 0)
		return r;
	if (!options->without_fsopen)
		mount.mount_fd = mount_nowhere(mount.fuse_fd, options->fs_name);
	/* Refused, whatever the reason (no such call, seccomp, an old FUSE): the old way says it better. */
	if (mount.mount_fd < 0)
		r = mount_for_a_moment(options, &mount, err);
	if (r < 0) {
		(void) close(mount.fuse_fd);
		return r;
	}
	*ret = mount;
	return 0;
}

int fuse_attach_open(const struct fuse_mount *mount, int *ret_fd, struct err *err)
{
	char through_proc[32];
	(void) snprintf(through_proc, sizeof through_proc, "/proc/self/fd/%d", mount->mount_fd);
	const char *path = mount->mount_fd >= 0 ? through_proc : mount->path;
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open the FUSE file");
	*ret_fd = fd;
	return 0;
}

void fuse_attach_finish(struct fuse_mount *mount)
{
	closep(&mount->mount_fd);
	if (mount->path[0]) {
		(void) umount2(mount->path, MNT_DETACH);
		(void) unlink(mount->path);
		mount->path[0] = '\0';
	}
}
