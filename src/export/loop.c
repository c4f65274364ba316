/* SPDX-License-Identifier: Apache-2.0 */
#include "export/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "util/cleanup.h"

/*
 * The few system calls that make and take away a loop device.
 *
 * LOOP_CTL_GET_FREE names a device that is free at that moment; whoever comes first gets it, the others
 * get EBUSY and ask again.  A device that vanished in between (LOOP_CTL_REMOVE) is asked for again as well.
 *
 * Source: loop(4), linux/loop.h.
 */
#define LOOP_MAJOR 7
#define TRIES	   500 /* races lost in a row; each of the winners has a device, so somebody goes on */

static int open_control(int *ret_fd, struct err *err)
{
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(err, -ENODEV, "this system has no loop devices: load the module (modprobe loop), "
			       "or use --via file");
	if (errno == EACCES || errno == EPERM)
		return err_set(err, -EPERM, "a block device needs root; --via file PATH works without");
	return err_errno(err, -errno, "cannot open /dev/loop-control");
}

/* Where /dev is not kept by the kernel (some containers), nodes are made by hand. */
static int open_node(const char *path, unsigned number)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT &&
	    mknod(path, S_IFBLK | 0660, makedev(LOOP_MAJOR, number)) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void fill_info(struct loop_info64 *info, const char *mark, uint32_t flags)
{
	*info = (struct loop_info64){ .lo_flags = flags };
	(void) snprintf((char *)info->lo_file_name, sizeof info->lo_file_name, "%s%s", LOOP_MARK, mark);
}

/* Before Linux 5.8: three calls.  Auto-clear comes last, so that a failure in between is undone here. */
static int configure_in_steps(int fd, int backing_fd, const char *mark)
{
	struct loop_info64 info;
	fill_info(&info, mark, LO_FLAGS_PARTSCAN | LO_FLAGS_AUTOCLEAR);
	if (ioctl(fd, LOOP_SET_FD, backing_fd) < 0)
		return -errno;
	int r = 0;
	for (int tries = 0; tries < 64; tries++) {
		r = ioctl(fd, LOOP_SET_STATUS64, &info) < 0 ? -errno : 0;
		if (r != -EAGAIN)
			break;
	}
	if (r < 0)
		(void) ioctl(fd, LOOP_CLR_FD);
	else
		(void) ioctl(fd, LOOP_SET_DIRECT_IO, 1UL); /* without it reads are only slower */
	return r;
}

static int configure(int fd, int backing_fd, const char *mark)
{
	struct loop_config config = { .fd = (uint32_t)backing_fd, .block_size = 512 };
	const uint32_t flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN;
	fill_info(&config.info, mark, flags | LO_FLAGS_DIRECT_IO);
	if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
		return 0;
	if (errno == EINVAL) { /* direct I/O refused by what is below, or no such call */
		fill_info(&config.info, mark, flags);
		if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return 0;
	}
	if (errno != EINVAL && errno != ENOTTY)
		return -errno;
	return configure_in_steps(fd, backing_fd, mark);
}

static bool is_lost_race(int r)
{
	return r == -EBUSY || r == -ENXIO || r == -ENODEV || r == -ENOENT;
}

static int attach_once(int control, int backing_fd, const char *mark, struct loop *ret)
{
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		return errno == ENODEV ? -ENOSPC : -errno;
	struct loop loop = { .number = (unsigned)number };
	(void) snprintf(loop.path, sizeof loop.path, "/dev/loop%d", number);
	CLEANUP(closep) int fd = open_node(loop.path, loop.number);
	if (fd < 0)
		return fd;
	int r = configure(fd, backing_fd, mark);
	if (r < 0)
		return r;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	loop.dev = st.st_rdev;
	loop.fd = steal_fd(&fd);
	*ret = loop;
	return 0;
}

/*
 * Before Linux 6.15 a loop device is as large as the kernel believes its file to be, and of a FUSE file it
 * believes 0 until somebody asks: fstat().
 */
static int ask_for_size(int backing_fd, struct err *err)
{
	struct stat st;
	return fstat(backing_fd, &st) == 0 ? 0 : err_errno(err, -errno, "cannot make a loop device");
}

int loop_attach(int backing_fd, const char *mark, struct loop *ret, struct err *err)
{
	CLEANUP(closep) int control = -EBADF;
	int r = open_control(&control, err);
	if (r == 0)
		r = ask_for_size(backing_fd, err);
	if (r < 0)
		return r;
	for (int tries = 0; tries < TRIES; tries++) {
		r = attach_once(control, backing_fd, mark, ret);
		if (!is_lost_race(r))
			break;
		/* Let the winners go on; not all losers at the same moment. */
		const struct timespec pause = { .tv_nsec = 100000L * (1 + (getpid() + tries) % 16) };
		(void) nanosleep(&pause, NULL);
	}
	if (r == 0)
		return 0;
	if (is_lost_race(r) || r == -ENOSPC)
		return err_set(err, -ENOSPC, "no free loop device, and none can be made (see losetup -a)");
	if (r == -EPERM || r == -EACCES)
		return err_set(err, -EPERM, "a block device needs root; --via file PATH works without");
	return err_errno(err, r, "cannot make a loop device");
}

void loop_detach(struct loop *loop)
{
	closep(&loop->fd);
}

bool loop_is_ours(unsigned number, char *ret_mark)
{
	char path[32];
	struct loop_info64 info;
	const size_t len = strlen(LOOP_MARK);
	(void) snprintf(path, sizeof path, "/dev/loop%u", number);
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return false;
	info.lo_file_name[sizeof info.lo_file_name - 1] = '\0';
	if (memcmp(info.lo_file_name, LOOP_MARK, len) != 0)
		return false;
	memcpy(ret_mark, info.lo_file_name + len, sizeof info.lo_file_name - len);
	return true;
}
