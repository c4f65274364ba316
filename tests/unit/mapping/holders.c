/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/holders.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "export/block_partitions.h"
#include "export/device.h"
#include "scratch.h"
#include "store.h"
#include "unit.h"
#include "util/file.h"

/*
 * On real loop devices.  All mounts are made in a mount name space of this process, which goes with it; a
 * device goes at its last close.
 */
#define SIZE (8u << 20)

static int begin(void **state)
{
	if (scratch_begin(state))
		return -1;
	if (unshare(CLONE_NEWNS) < 0)
		return 0; /* not root: every test skips */
	/* In a chroot "/" is no mount: then what is mounted here may be seen outside, until it is unmounted. */
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 || errno == EINVAL ? 0 : -1;
}

/* What udev does with a new device is no matter of ours, and soon over. */
static void add_but_udev(struct strv *ret, const struct strv *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (!strstr(all->items[i], "udev"))
			assert_int_equal(strv_add(ret, all->items[i], NULL), 0);
}

static void find(const char *path, pid_t own, struct strv *ret)
{
	CLEANUP(strv_deinit) struct strv all = STRV_EMPTY;
	struct err err = ERR_NONE;
	const bool is_device = strncmp(path, "/dev/loop", 9) == 0 || strstr(path, "no-such-device");
	const enum holders_flags flags = HOLDERS_CLOSELY | (is_device ? HOLDERS_OF_DEVICE : 0);
	const struct holders_query query = { path, flags, { own, 0 }, &all };
	if (holders_find(&query, 1, &err) < 0)
		fail_msg("%s", err.msg);
	add_but_udev(ret, &all);
}

static void must_find(const char *path, const char *want)
{
	CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
	find(path, 0, &found);
	assert_string_equal(joined(&found), want);
}

/* Blocks until @fd is closed at the other side, then ends: also when the test has failed. */
static _Noreturn void live(int fd)
{
	char byte;
	(void) prctl(PR_SET_NAME, "a reader");
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

struct reader {
	pid_t pid;
	int fd; /* closed: it ends */
};

/* A process that has all open that we have, and is ready: its name is set, @before was done. */
static struct reader reader_start(void (*before)(const char *device), const char *device)
{
	int ends[2];
	char byte;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	int ready[2];
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void) close(ends[1]);
		(void) prctl(PR_SET_NAME, "a reader");
		if (before)
			before(device);
		(void) write_full(ready[1], "x", 1);
		(void) close(ready[1]);
		live(ends[0]);
	}
	(void) close(ends[0]);
	(void) close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void) close(ready[0]);
	return (struct reader){ pid, ends[1] };
}

static void reader_stop(struct reader *reader)
{
	closep(&reader->fd);
	assert_int_equal(waitpid(reader->pid, NULL, 0), reader->pid);
}

static void says_nobody_of_a_device_that_only_we_have_open(void **state)
{
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	must_find(loop.path, "");
	must_find("/dev/no-such-device", "");
	must_find("/no/such/mount", "");
}

static void names_a_process_that_has_it_open(void **state)
{
	char want[64];
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	struct reader reader = reader_start(NULL, NULL);
	CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
	CLEANUP(strv_deinit) struct strv without = STRV_EMPTY;
	find(loop.path, 0, &found);
	find(loop.path, reader.pid, &without);
	reader_stop(&reader);
	(void) snprintf(want, sizeof want, "process %d (a reader)", (int)reader.pid);
	assert_string_equal(joined(&found), want);
	assert_string_equal(joined(&without), "");
	must_find(loop.path, "");
}

/* What the child does not have open. */
static int dropped_fd = -EBADF;

static void drop(const char *device)
{
	closep(&dropped_fd);
}

/* Who is found for one of them is said of that one alone. */
static void tells_the_users_of_several_apart(void **state)
{
	char want[200], have[200] = "";
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop unused = device_attach(file, device_mark());
	CLEANUP(loop_detach) struct loop used = device_attach(file, device_mark());
	CLEANUP(loop_detach) struct loop above = device_attach(used.fd, "above");
	dropped_fd = unused.fd;
	struct reader reader = reader_start(drop, NULL);
	const char *const paths[] = { unused.path, "/no/such/mount", used.path, above.path };
	struct holders_query queries[ARRAY_LEN(paths)];
	struct strv all[ARRAY_LEN(paths)] = { STRV_EMPTY };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		queries[i] = (struct holders_query){ paths[i], i == 1 ? 0 : HOLDERS_OF_DEVICE,
						     { 0, i == 3 ? reader.pid : 0 }, &all[i] };
	int r = holders_find(queries, ARRAY_LEN(queries), NULL);
	reader_stop(&reader);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
		size_t len = strlen(have);
		add_but_udev(&found, &all[i]);
		(void) snprintf(have + len, sizeof have - len, "%s;", joined(&found));
		strv_deinit(&all[i]);
	}
	(void) snprintf(want, sizeof want, ";;process %d (a reader)|used by %s;;", (int)reader.pid, above.path);
	assert_int_equal(r, 0);
	assert_string_equal(have, want);
}

static void names_who_has_a_partition_open(void **state)
{
	static const uint8_t entry[16] = { [4] = 0x83, [9] = 8, [13] = 8 }; /* 2048 sectors from 2048 on */
	char want[64];
	CLEANUP(closep) int file = device_file(SIZE);
	assert_int_equal(pwrite(file, entry, sizeof entry, 446), sizeof entry);
	assert_int_equal(pwrite(file, "\x55\xaa", 2, 510), 2);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	CLEANUP(strv_deinit) struct strv partitions = STRV_EMPTY;
	CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
	assert_int_equal(block_add_partitions(loop.fd, loop.path, &partitions, NULL), 0);
	assert_int_equal(partitions.n, 1);
	CLEANUP(closep) int partition = open(partitions.items[0], O_RDONLY | O_CLOEXEC);
	assert_true(partition >= 0);
	dropped_fd = loop.fd;
	struct reader reader = reader_start(drop, NULL);
	find(loop.path, 0, &found);
	reader_stop(&reader);
	(void) snprintf(want, sizeof want, "process %d (a reader)", (int)reader.pid);
	assert_string_equal(joined(&found), want);
}

static void names_a_loop_device_over_it(void **state)
{
	char want[64];
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop below = device_attach(file, device_mark());
	CLEANUP(loop_detach) struct loop above = device_attach(below.fd, "above");
	(void) snprintf(want, sizeof want, "used by %s", above.path);
	must_find(below.path, want);
	must_find(above.path, "");
	loop_detach(&above);
	device_await_end(&above, "above");
	must_find(below.path, "");
}

/* Somebody in another container, or the kernel itself. */
static void says_so_when_somebody_unseen_has_it_for_himself(void **state)
{
	CLEANUP(closep) int file = device_file(SIZE);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	CLEANUP(closep) int ours = open(loop.path, O_RDONLY | O_EXCL | O_CLOEXEC);
	assert_true(ours >= 0);
	must_find(loop.path, "used by somebody who cannot be seen from here");
}

/* -- mounts ---------------------------------------------------------------------------------- */

#define MOUNT_POINT "a mount\\point"

static struct loop device_with_file_system(void)
{
	char command[200];
	int file = device_file(SIZE);
	(void) snprintf(command, sizeof command,
			"PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F /proc/%d/fd/%d >/dev/null 2>&1", (int)getpid(), file);
	int r = system(command); /* NOLINT: a fixed command */
	if (r != 0) {
		(void) close(file);
		print_message("skipped: takes mkfs.ext4\n");
		skip();
	}
	struct loop loop = device_attach(file, device_mark());
	(void) close(file);
	return loop;
}

static int mount_at(const char *device, const char *path)
{
	(void) mkdir(path, 0700);
	return mount(device, path, "ext4", MS_RDONLY, "noload");
}

static void names_where_it_is_mounted(void **state)
{
	char want[4200];
	CLEANUP(loop_detach) struct loop loop = device_with_file_system();
	assert_int_equal(mount_at(loop.path, MOUNT_POINT), 0);
	CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
	find(loop.path, 0, &found);
	assert_int_equal(umount2(MOUNT_POINT, 0), 0);
	(void) snprintf(want, sizeof want, "mounted on %s/" MOUNT_POINT, scratch_path());
	assert_string_equal(joined(&found), want);
	must_find(loop.path, "");
}

static void mount_out_of_sight(const char *device)
{
	if (unshare(CLONE_NEWNS) < 0 || mount_at(device, "mount") < 0)
		_exit(1);
}

static void names_a_mount_in_another_name_space(void **state)
{
	char want[4400];
	CLEANUP(loop_detach) struct loop loop = device_with_file_system();
	struct reader reader = reader_start(mount_out_of_sight, loop.path);
	CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
	find(loop.path, reader.pid, &found);
	reader_stop(&reader);
	(void) snprintf(want, sizeof want, "mounted on %s/mount", scratch_path());
	assert_string_equal(joined(&found), want);
}

static void takes_all_its_mounts_away(void **state)
{
	CLEANUP(loop_detach) struct loop loop = device_with_file_system();
	CLEANUP(loop_detach) struct loop other = device_with_file_system();
	assert_int_equal(mount_at(loop.path, "first"), 0);
	assert_int_equal(mount_at(loop.path, MOUNT_POINT), 0);
	assert_int_equal(mount_at(other.path, "other"), 0);
	CLEANUP(closep) int busy = open("first", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(busy >= 0);
	int r = holders_detach_mounts(loop.path, NULL);
	int first = umount2("first", 0), second = umount2(MOUNT_POINT, 0), third = umount2("other", 0);
	assert_int_equal(r, 0);
	assert_int_equal(first, -1);
	assert_int_equal(second, -1);
	assert_int_equal(third, 0);
	assert_int_equal(holders_detach_mounts("/dev/no-such-device", NULL), 0);
}

static int open_file_below(const char *path)
{
	char file[4300];
	(void) snprintf(file, sizeof file, "%s/file", path);
	return open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void open_there(const char *path)
{
	if (open_file_below(path) < 0)
		_exit(1);
}

static void stay_there(const char *path)
{
	if (chdir(path) < 0)
		_exit(1);
}

static void map_there(const char *path)
{
	CLEANUP(closep) int fd = open_file_below(path);
	if (ftruncate(fd, 1) < 0 || mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		_exit(1);
}

/* Nothing is left of it when it fails. */
static void use_file_system_on(const char *path, void (*use)(const char *path))
{
	char want[64];
	CLEANUP(strv_deinit) struct strv found = STRV_EMPTY;
	CLEANUP(strv_deinit) struct strv later = STRV_EMPTY;
	int mounted = mount("tmpfs", path, "tmpfs", 0, "size=1m");
	struct reader reader = reader_start(use, path);
	find(path, 0, &found);
	reader_stop(&reader);
	find(path, 0, &later);
	(void) umount2(path, MNT_DETACH);
	(void) snprintf(want, sizeof want, "process %d (a reader)", (int)reader.pid);
	assert_int_equal(mounted, 0);
	assert_string_equal(joined(&found), want);
	assert_string_equal(joined(&later), "");
}

/* A path, and a file system on it: any file below the path counts.  Also in /dev. */
static void names_who_uses_a_file_system_on_a_path(void **state)
{
	static void (*const uses[])(const char *path) = { open_there, stay_there, map_there };
	char path[4200], in_dev[] = "/dev/shm/pbsmap-unit-XXXXXX";
	if (geteuid() != 0) {
		print_message("skipped: takes root\n");
		skip();
	}
	(void) snprintf(path, sizeof path, "%s/on a path", scratch_path());
	assert_int_equal(mkdir(path, 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(uses); i++)
		use_file_system_on(path, uses[i]);
	if (mkdtemp(in_dev)) {
		use_file_system_on(in_dev, open_there);
		(void) rmdir(in_dev);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_nobody_of_a_device_that_only_we_have_open),
		TEST(names_a_process_that_has_it_open),
		TEST(tells_the_users_of_several_apart),
		TEST(names_who_has_a_partition_open),
		TEST(names_a_loop_device_over_it),
		TEST(says_so_when_somebody_unseen_has_it_for_himself),
		TEST(names_where_it_is_mounted),
		TEST(names_a_mount_in_another_name_space),
		TEST(takes_all_its_mounts_away),
		TEST(names_who_uses_a_file_system_on_a_path),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
