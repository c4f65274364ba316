/* SPDX-License-Identifier: Apache-2.0 */
#include "export/loop.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "device.h"
#include "unit.h"
#include "util/file.h"

#define SIZE ((1u << 20) + 512)

static void an_attached_file_is_a_read_only_device_of_small_sectors(void **state)
{
	struct loop_info64 info;
	struct stat st;
	uint64_t size;
	int is_read_only, sector;
	char text[20] = "", name[32];
	CLEANUP(closep) int file = device_file(SIZE + 100);
	assert_int_equal(pwrite(file, "in the last sector", 18, SIZE - 18), 18);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	assert_int_equal(ioctl(loop.fd, BLKGETSIZE64, &size), 0);
	assert_int_equal(size, SIZE); /* whole sectors: it is the image's matter to fill the last one */
	assert_int_equal(ioctl(loop.fd, BLKSSZGET, &sector), 0);
	assert_int_equal(sector, 512);
	assert_int_equal(ioctl(loop.fd, BLKROGET, &is_read_only), 0);
	assert_int_equal(is_read_only, 1);
	CLEANUP(closep) int writer = open(loop.path, O_RDWR | O_CLOEXEC); /* some kernels refuse this already */
	assert_int_equal(pwrite(writer, "x", 1, 0), -1);
	assert_int_equal(pread_full(loop.fd, text, 18, SIZE - 18), 18);
	assert_string_equal(text, "in the last sector");

	assert_int_equal(ioctl(loop.fd, LOOP_GET_STATUS64, &info), 0);
	const uint32_t flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN;
	assert_int_equal(info.lo_flags & flags, flags);
	(void) snprintf(name, sizeof name, "/dev/loop%u", loop.number);
	assert_string_equal(loop.path, name);
	assert_int_equal(stat(name, &st), 0);
	assert_true(loop.dev == st.st_rdev && S_ISBLK(st.st_mode));
}

static void our_devices_are_told_from_others(void **state)
{
	static const char *const others[] = { "/var/lib/images/disk.img", "pbsmap", "xpbsmap:x", "" };
	char mark[64] = "";
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	assert_true(loop_is_ours(loop.number, mark));
	assert_string_equal(mark, device_mark());
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		CLEANUP(loop_detach) struct loop other = device_of_others(file, others[i]);
		assert_false(loop_is_ours(other.number, mark));
	}
	assert_false(loop_is_ours(1048575, mark)); /* there is none with this number */
}

static void a_long_mark_is_cut(void **state)
{
	char name[201], mark[64] = "";
	memset(name, 'x', 200);
	name[200] = '\0';
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, name);
	assert_true(loop_is_ours(loop.number, mark));
	assert_int_equal(strlen(mark), 63 - strlen(LOOP_MARK));
	assert_memory_equal(mark, name, strlen(mark));
}

static void goes_at_the_last_close(void **state)
{
	char mark[64], byte;
	CLEANUP(closep) int file = device_file(SIZE);
	struct loop loop = device_attach(file, device_mark());
	CLEANUP(closep) int user = open(loop.path, O_RDONLY | O_CLOEXEC);
	loop_detach(&loop);
	assert_int_equal(loop.fd, -EBADF);
	assert_int_equal(pread_full(user, &byte, 1, 0), 1);
	assert_true(loop_is_ours(loop.number, mark));
	assert_string_equal(mark, device_mark());
	closep(&user);
	device_await_end(&loop, device_mark());
	loop_detach(&loop); /* a second time */
}

static void goes_with_its_process(void **state)
{
	int ready[2], status;
	unsigned number = 0;
	CLEANUP(closep) int file = device_file(SIZE);
	device_needed(file);
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct loop loop = LOOP_NONE;
		if (loop_attach(file, "a child", &loop, NULL) < 0 ||
		    write_full(ready[1], &loop.number, sizeof loop.number) < 0)
			_exit(1);
		for (;;)
			(void) pause();
	}
	(void) close(ready[1]);
	ssize_t n = read(ready[0], &number, sizeof number);
	(void) close(ready[0]);
	(void) kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(n, sizeof number);
	const struct loop loop = { .fd = -EBADF, .number = number, .path = "the child's device" };
	device_await_end(&loop, "a child");
}

enum { N_CHILDREN = 4, N_TIMES = 10 };

/* LOOP_CTL_GET_FREE tells all of them the same number. */
static void many_at_once_get_one_each(void **state)
{
	pid_t children[N_CHILDREN];
	bool is_well = true;
	CLEANUP(closep) int file = device_file(SIZE);
	device_needed(file);
	for (int i = 0; i < N_CHILDREN; i++) {
		children[i] = fork();
		if (children[i] != 0)
			continue;
		for (int k = 0; k < N_TIMES; k++) {
			char mark[32], found[64] = "";
			struct loop loop = LOOP_NONE;
			(void) snprintf(mark, sizeof mark, "%d.%d", (int)getpid(), k);
			if (loop_attach(file, mark, &loop, NULL) < 0 || !loop_is_ours(loop.number, found) ||
			    strcmp(found, mark) != 0)
				_exit(1);
			loop_detach(&loop);
		}
		_exit(0);
	}
	for (int i = 0; i < N_CHILDREN; i++) {
		int status = -1;
		is_well &= children[i] > 0 && waitpid(children[i], &status, 0) == children[i] && status == 0;
	}
	assert_true(is_well);
}

static void refuses_what_cannot_be_shown(void **state)
{
	struct loop loop = { .fd = 77 };
	int fds[2];
	CLEANUP(closep) int file = device_file(SIZE);
	device_needed(file);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	int of_pipe = loop_attach(fds[0], "x", &loop, NULL);
	(void) close(fds[0]);
	(void) close(fds[1]);
	assert_int_equal(of_pipe, -EINVAL);
	assert_int_equal(loop_attach(-1, "x", &loop, NULL), -EBADF);
	assert_int_equal(loop.fd, 77); /* written on success only */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_attached_file_is_a_read_only_device_of_small_sectors),
		TEST(our_devices_are_told_from_others),
		TEST(a_long_mark_is_cut),
		TEST(goes_at_the_last_close),
		TEST(goes_with_its_process),
		TEST(many_at_once_get_one_each),
		TEST(refuses_what_cannot_be_shown),
	};
	return RUN_TESTS(tests);
}
