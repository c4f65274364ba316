/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "unit.h"
#include "util/deadline.h"

int device_file(uint64_t size)
{
	const char *dir = getenv("TMPDIR");
	char path[4096];
	(void) snprintf(path, sizeof path, "%s/pbsmap-unit-XXXXXX", dir && *dir ? dir : "/tmp");
	int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

struct loop device_attach(int backing_fd, const char *mark)
{
	struct loop loop = LOOP_NONE;
	struct err err = ERR_NONE;
	int r = loop_attach(backing_fd, mark, &loop, &err);
	if (r == -EPERM || r == -ENODEV) {
		(void) close(backing_fd);
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	if (r < 0)
		fail_msg("%s", err.msg);
	return loop;
}

void device_needed(int backing_fd)
{
	struct loop loop = device_attach(backing_fd, "probe");
	loop_detach(&loop);
}

/* As losetup does it, who asks again when somebody was faster. */
struct loop device_of_others(int backing_fd, const char *name)
{
	struct loop loop = LOOP_NONE;
	struct loop_config config = { .fd = (uint32_t)backing_fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	memcpy(config.info.lo_file_name, name, strlen(name));
	CLEANUP(closep) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	for (int tries = 0; control >= 0 && tries < 500; tries++) {
		loop.number = (unsigned)ioctl(control, LOOP_CTL_GET_FREE);
		(void) snprintf(loop.path, sizeof loop.path, "/dev/loop%u", loop.number);
		loop.fd = open(loop.path, O_RDONLY | O_CLOEXEC);
		if (loop.fd >= 0 && ioctl(loop.fd, LOOP_CONFIGURE, &config) == 0)
			return loop;
		closep(&loop.fd);
	}
	fail_msg("cannot make a loop device");
	return loop;
}

const char *device_mark(void)
{
	static char mark[32];
	(void) snprintf(mark, sizeof mark, "unit test %d", (int)getpid());
	return mark;
}

void device_await_end(const struct loop *loop, const char *mark)
{
	struct deadline until = deadline_in_ms(20000);
	char found[64];
	/* The kernel may have handed it to somebody else by now. */
	while (loop_is_ours(loop->number, found) && strcmp(found, mark) == 0) {
		if (deadline_is_over(until))
			fail_msg("%s is still there", loop->path);
		(void) poll(NULL, 0, 10);
	}
}
