/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/passed_fd.h"

/*
 * The mounts, of three kinds.
 *
 * Nowhere: fsopen() (Linux 5.2) makes one that is attached nowhere: nothing in the mount table, gone
 * when the last descriptor is closed, whatever happens to this process.
 *
 * For a moment: where there is no fsopen, on an empty file, which is opened and taken out of the mount
 * table again.  The open descriptor keeps it in the same way.
 *
 * On a path: fusermount3, set-uid root, mounts for everybody and sends the connection over a socket.
 *
 * Source: fsopen(2), fsmount(2); Linux Documentation/filesystems/fuse.rst for the options;
 * fusermount3(1), libfuse lib/mount.c for _FUSE_COMMFD.
 */
#ifndef MNT_DETACH /* of <sys/mount.h>, which some C libraries hide beside <linux/mount.h> */
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
static int attach_nowhere(int fuse_fd, const char *fs_name)
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

static int mount_for_a_moment(const char *fs_name, const char *run_dir, struct fuse_mount *ret,
			      struct err *err)
{
	char path[sizeof ret->path], data[128];
	int n = snprintf(path, sizeof path, "%s/image-XXXXXX", run_dir);
	if (n >= (int)sizeof path)
		return err_set(err, -ENAMETOOLONG, "run directory %s", run_dir);
	CLEANUP(closep) int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make a file in %s", run_dir);
	(void) snprintf(data, sizeof data, "fd=%d,rootmode=100400,user_id=0,group_id=0,max_read=%u",
			ret->fuse_fd, FUSE_MAX_READ);
	if (mount(fs_name, path, "fuse", MS_RDONLY | MS_NOSUID | MS_NODEV, data) < 0) {
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

int fuse_mount_nowhere(const char *fs_name, const char *run_dir, bool without_fsopen,
		       struct fuse_mount *ret, struct err *err)
{
	struct fuse_mount mount = FUSE_MOUNT_NONE;
	int r = open_fuse(&mount.fuse_fd, err);
	if (r < 0)
		return r;
	if (!without_fsopen)
		mount.mount_fd = attach_nowhere(mount.fuse_fd, fs_name);
	/* Refused, whatever the reason (no such call, seccomp, an old FUSE): the old way says it better. */
	if (mount.mount_fd < 0)
		r = mount_for_a_moment(fs_name, run_dir, &mount, err);
	if (r < 0)
		closep(&mount.fuse_fd);
	else
		*ret = mount;
	return r;
}

/* -- on a path ------------------------------------------------------------------------------- */

/* "ro,…,fsname=NAME,…,ro": a comma inside a name needs a backslash; the last word on writing is ours. */
static int format_options(const char *fs_name, const char *more, struct buf *ret, struct err *err)
{
	int r = buf_puts(ret, "ro,nosuid,nodev,default_permissions,subtype=pbsmap,fsname=", err);
	for (const char *c = fs_name; r == 0 && *c; c++)
		r = buf_printf(ret, err, "%s%c", *c == ',' || *c == '\\' ? "\\" : "", *c);
	return r == 0 && *more ? buf_printf(ret, err, ",%s,ro", more) : r;
}

/* Runs fusermount3 with @comm as its socket (-EBADF = none); what it says goes to @said.  Its process or -errno. */
static pid_t start_fusermount(const char *const words[static 8], int comm, int said)
{
	char comm_text[32];
	(void) snprintf(comm_text, sizeof comm_text, "_FUSE_COMMFD=%d", comm);
	char *const environment[] = { comm_text, NULL };
	char *argv[8];
	memcpy(argv, words, sizeof argv); /* posix_spawn() takes what it does not change as char * */
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	pid_t child;
	int r = comm < 0 ? 0 : posix_spawn_file_actions_adddup2(&actions, comm, comm); /* open there as well */
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
	if (r == 0)
		r = posix_spawnp(&child, "fusermount3", &actions, NULL, argv, environment);
	(void) posix_spawn_file_actions_destroy(&actions);
	return r ? -r : child;
}

/* 0 = it did what it should. */
static int wait_for(pid_t child)
{
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

/* The connection that the helper sends; -EBADF = it sent none. */
static int receive_fd(int socket)
{
	char byte;
	struct iovec iov = { &byte, sizeof byte };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	union passed_fd room = { { 0 } };
	passed_fd_expect(&message, &room);
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	return n > 0 ? passed_fd_take(&message) : -EBADF;
}

/* It has ended: the first line of what it said, without its name. */
static int say_why_not(const char *what, const char *path, int said, struct err *err)
{
	CLEANUP(freep) uint8_t *text = NULL;
	size_t len;
	if (read_fd(said, 4096, &text, &len, NULL) < 0 || len == 0)
		return err_set(err, -EPERM, "cannot %s %s", what, path);
	char *line = (char *)text;
	line[strcspn(line, "\n")] = '\0';
	const char *colon = strstr(line, ": ");
	return err_set(err, strstr(line, "busy") ? -EBUSY : -EPERM, "cannot %s %s: %s", what, path,
		       colon ? colon + 2 : line);
}

static int cannot_run(pid_t helper, struct err *err)
{
	if (helper == -ENOENT)
		return err_set(err, helper, "a mount on a path needs fusermount3 (package fuse3)");
	return err_errno(err, helper, "cannot run fusermount3");
}

int fuse_mount_on_path(const char *path, const char *fs_name, const char *more, struct fuse_mount *ret,
		       struct err *err)
{
	CLEANUP(buf_deinit) struct buf options = BUF_EMPTY;
	int sockets[2], pipe[2];
	int r = format_options(fs_name, more, &options, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_errno(err, -errno, "cannot make a socket");
	CLEANUP(closep) int ours = sockets[0];
	CLEANUP(closep) int theirs = sockets[1];
	if (pipe2(pipe, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot make a pipe");
	CLEANUP(closep) int said = pipe[0];
	CLEANUP(closep) int say = pipe[1];
	const char *words[8] = { "fusermount3", "-o", options.data, "--", path };
	pid_t helper = start_fusermount(words, theirs, say);
	if (helper < 0)
		return cannot_run(helper, err);
	closep(&theirs);
	closep(&say);
	int fuse_fd = receive_fd(ours);
	closep(&ours);
	(void) wait_for(helper);
	if (fuse_fd < 0)
		return say_why_not("mount on", path, said, err);
	*ret = FUSE_MOUNT_NONE;
	ret->fuse_fd = fuse_fd;
	return 0;
}

void fuse_path_read_ahead(const char *path)
{
	struct stat st;
	char name[64], text[16];
	if (stat(path, &st) < 0)
		return;
	(void) snprintf(name, sizeof name, "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	int len = snprintf(text, sizeof text, "%u", FUSE_MAX_READ >> 10);
	CLEANUP(closep) int fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void) write_full(fd, text, (size_t)len);
}

/* Without root only the set-uid helper may. */
static int unmount_by_helper(const char *path, bool is_lazy, struct err *err)
{
	int pipe[2];
	if (pipe2(pipe, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot make a pipe");
	CLEANUP(closep) int said = pipe[0];
	CLEANUP(closep) int say = pipe[1];
	const char *words[8] = { "fusermount3", is_lazy ? "-uz" : "-u", "--", path };
	pid_t helper = start_fusermount(words, -EBADF, say);
	if (helper < 0)
		return cannot_run(helper, err);
	closep(&say);
	return wait_for(helper) == 0 ? 0 : say_why_not("unmount", path, said, err);
}

int fuse_path_unmount(const char *path, bool is_lazy, struct err *err)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno == EPERM)
		return unmount_by_helper(path, is_lazy, err);
	if (errno == EBUSY)
		return err_set(err, -EBUSY, "%s is in use", path);
	return err_errno(err, -errno, "cannot unmount %s", path);
}

/* -- the file --------------------------------------------------------------------------------- */

int fuse_mount_open(const struct fuse_mount *mount, int *ret_fd, struct err *err)
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

void fuse_mount_finish(struct fuse_mount *mount)
{
	closep(&mount->fuse_fd);
	closep(&mount->mount_fd);
	if (mount->path[0]) {
		(void) umount2(mount->path, MNT_DETACH);
		(void) unlink(mount->path);
		mount->path[0] = '\0';
	}
}
