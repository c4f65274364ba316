/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_listen.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "unit.h"
#include "util/deadline.h"

/* A folder of its own for each test. */
static char dir[] = "/tmp/pbsmap-listen-XXXXXX";

static int make_dir(void **state)
{
	(void) snprintf(dir, sizeof dir, "/tmp/pbsmap-listen-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir); /* nothing is left in it */
}

static const char *in_dir(const char *name)
{
	static char path[512];
	(void) snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static bool is_there(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static int reach(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void) snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

/* Somebody's who does not listen yet. */
static int bind_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(strlen(path) < sizeof address.sun_path);
	memcpy(address.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void a_socket_is_its_owners_whatever_the_mask(void **state)
{
	static const mode_t masks[] = { 0, 022, 0777 };
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		struct nbd_path path = NBD_PATH_NONE;
		CLEANUP(closep) int fd = -EBADF;
		struct stat st;
		mode_t before = umask(masks[i]);
		int r = nbd_listen_path(in_dir("s"), &path, &fd, NULL);
		assert_int_equal(umask(before), masks[i]); /* as it was */
		assert_int_equal(r, 0);
		assert_string_equal(path.path, in_dir("s"));
		assert_int_equal(lstat(path.path, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0600);
		assert_int_equal(reach(path.path), 0);
		nbd_path_remove(&path);
		assert_false(is_there(in_dir("s")));
	}
}

static void what_is_there_stays(void **state)
{
	static const char *const kinds[] = { "file", "folder", "link", "listener", "no listener yet" };
	static const char *const says[] = {
		"is no socket", "is no socket", "is no socket", "somebody listens", "somebody listens",
	};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct nbd_path path = NBD_PATH_NONE, other = NBD_PATH_NONE;
		CLEANUP(closep) int fd = -EBADF;
		CLEANUP(closep) int there = -EBADF;
		struct err err = ERR_NONE;
		if (i == 0)
			there = open(in_dir("s"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
		else if (i == 1)
			assert_int_equal(mkdir(in_dir("s"), 0700), 0);
		else if (i == 2)
			assert_int_equal(symlink("nowhere", in_dir("s")), 0);
		else if (i == 3)
			assert_int_equal(nbd_listen_path(in_dir("s"), &other, &there, NULL), 0);
		else
			there = bind_at(in_dir("s"));
		assert_int_equal(nbd_listen_path(in_dir("s"), &path, &fd, &err), -EEXIST);
		assert_true(strstr(err.msg, in_dir("s")) && strstr(err.msg, says[i]));
		assert_true(fd < 0 && !path.path && is_there(in_dir("s")));
		if (i == 3)
			assert_int_equal(reach(in_dir("s")), 0);
		nbd_path_remove(&other);
		(void) remove(in_dir("s"));
	}
}

static void another_user_s_socket_is_not_replaced(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	struct err err = ERR_NONE;
	int fd = bind_at(in_dir("s"));
	(void) close(fd);
	if (lchown(in_dir("s"), geteuid() + 1, (gid_t)-1) < 0) {
		(void) unlink(in_dir("s"));
		print_message("only root can give one away\n");
		skip();
	}
	assert_int_equal(nbd_listen_path(in_dir("s"), &path, &fd, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "belongs to another user"));
	assert_int_equal(unlink(in_dir("s")), 0);
}

static void what_a_killed_server_left_is_replaced(void **state)
{
	struct nbd_path dead = NBD_PATH_NONE, path = NBD_PATH_NONE;
	CLEANUP(closep) int fd = -EBADF;
	int gone;
	assert_int_equal(nbd_listen_path(in_dir("s"), &dead, &gone, NULL), 0);
	(void) close(gone);
	assert_int_equal(reach(in_dir("s")), -ECONNREFUSED);
	assert_int_equal(nbd_listen_path(in_dir("s"), &path, &fd, NULL), 0);
	assert_int_equal(reach(in_dir("s")), 0);
	nbd_path_remove(&path);
	free(dead.path);
}

static void what_a_killed_server_left_is_removed_and_nothing_else(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	int fd = -EBADF;
	assert_int_equal(nbd_listen_path(in_dir("s"), &path, &fd, NULL), 0);
	assert_int_equal(nbd_path_clean(in_dir("s"), NULL), -EEXIST);
	assert_int_equal(reach(in_dir("s")), 0);
	(void) close(fd);
	assert_int_equal(nbd_path_clean(in_dir("s"), NULL), 0);
	assert_false(is_there(in_dir("s")));
	assert_int_equal(nbd_path_clean(in_dir("s"), NULL), 0);
	free(path.path);
	assert_int_equal(mkdir(in_dir("s"), 0700), 0);
	assert_int_equal(nbd_path_clean(in_dir("s"), NULL), -EEXIST);
	assert_int_equal(rmdir(in_dir("s")), 0);
}

/* 'S' = sleeping, 'Z' = it has ended, … */
static char state_of(pid_t pid)
{
	char name[32], state;
	(void) snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(name, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	(void) fclose(file);
	return state;
}

static pid_t listen_in_child(const char *path)
{
	pid_t child = fork();
	if (child == 0) {
		struct nbd_path ret = NBD_PATH_NONE;
		int fd;
		_exit(-nbd_listen_path(path, &ret, &fd, NULL));
	}
	/* Until it waits, or has an answer. */
	struct deadline until = deadline_in_ms(20000);
	while (!strchr("SZ", state_of(child)) && !deadline_is_over(until))
		(void) poll(NULL, 0, 1);
	return child;
}

/* The other one is in the middle of it. */
static void of_two_that_replace_what_is_left_one_is_refused(void **state)
{
	CLEANUP(closep) int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int left = bind_at(in_dir("s")), status;
	(void) close(left);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	pid_t child = listen_in_child(in_dir("s"));
	assert_int_equal(unlink(in_dir("s")), 0);
	CLEANUP(closep) int fd = bind_at(in_dir("s"));
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(flock(lock, LOCK_UN), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EEXIST);
	assert_int_equal(reach(in_dir("s")), 0);
	(void) unlink(in_dir("s"));
}

/* Anybody can lock a folder like /tmp. */
static void a_folder_that_others_lock_is_used(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	CLEANUP(closep) int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closep) int fd = -EBADF;
	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(nbd_listen_path(in_dir("s"), &path, &fd, NULL), 0);
	assert_int_equal(reach(in_dir("s")), 0);
	nbd_path_remove(&path);
}

static void another_socket_of_the_same_name_is_not_removed(void **state)
{
	struct nbd_path path = NBD_PATH_NONE, other = NBD_PATH_NONE;
	CLEANUP(closep) int fd = -EBADF;
	CLEANUP(closep) int other_fd = -EBADF;
	assert_int_equal(nbd_listen_path(in_dir("s"), &path, &fd, NULL), 0);
	(void) unlink(in_dir("s"));
	CLEANUP(closep) int keeps_inode = open(in_dir("x"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(keeps_inode >= 0);
	assert_int_equal(nbd_listen_path(in_dir("s"), &other, &other_fd, NULL), 0);
	nbd_path_remove(&path);
	assert_true(is_there(in_dir("s")));
	nbd_path_remove(&other);
	(void) unlink(in_dir("x"));
	assert_null(path.path);
	nbd_path_remove(&path); /* nothing */
}

static void a_relative_path_is_told_in_full(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	CLEANUP(closep) int fd = -EBADF;
	CLEANUP(closep) int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(chdir(dir), 0);
	int r = nbd_listen_path("s", &path, &fd, NULL);
	assert_int_equal(fchdir(here), 0);
	assert_int_equal(r, 0);
	assert_string_equal(path.path, in_dir("s"));
	nbd_path_remove(&path);
}

static void expect_shown_as(int fd, const char *begin)
{
	struct sockaddr_un address = { 0 };
	socklen_t len = sizeof address;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	if (strncmp(address.sun_path, begin, strlen(begin)) != 0)
		fail_msg("it is shown as %s", address.sun_path);
}

/* By ss(8), lsof(8), fuser(1). */
static void is_shown_by_its_path(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	CLEANUP(closep) int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closep) int fd = -EBADF;
	assert_int_equal(chdir(dir), 0);
	int r = nbd_listen_path("s", &path, &fd, NULL);
	assert_int_equal(fchdir(here), 0);
	assert_int_equal(r, 0);
	expect_shown_as(fd, in_dir("s"));
	nbd_path_remove(&path);
}

static void says_why_not(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	int fd;
	assert_int_equal(nbd_listen_path("", &path, &fd, NULL), -EINVAL);
	assert_int_equal(nbd_listen_path(in_dir("no/s"), &path, &fd, NULL), -ENOENT);
	assert_int_equal(nbd_listen_path("/dev/null/s", &path, &fd, NULL), -ENOTDIR);
	assert_null(path.path);
}

/* Of just the length that a client can name, and one more. */
static void a_path_is_as_long_as_clients_can_name(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	struct err err = ERR_NONE;
	char name[200] = "";
	int fd = -EBADF;
	memset(name, 'x', NBD_SOCKET_PATH_MAX - strlen(in_dir("")));
	assert_int_equal(strlen(in_dir(name)), 107);
	assert_int_equal(nbd_listen_path(in_dir(name), &path, &fd, NULL), 0);
	assert_int_equal(reach(in_dir(name)), 0);
	closep(&fd);
	nbd_path_remove(&path);
	assert_false(is_there(in_dir(name)));
	strcat(name, "x");
	assert_int_equal(nbd_listen_path(in_dir(name), &path, &fd, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "at most 107 bytes"));
	assert_false(is_there(in_dir(name)));
}

/* From inside of a directory whose own path is longer than that. */
static void a_short_relative_path_works_wherever_it_is(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	CLEANUP(closep) int fd = -EBADF;
	CLEANUP(closep) int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[121];
	memset(name, 'd', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_int_equal(mkdir(in_dir(name), 0700) | chdir(in_dir(name)), 0);
	int r = nbd_listen_path("s", &path, &fd, NULL);
	int reached = reach("s");
	expect_shown_as(fd, "/proc/self/fd/");
	assert_int_equal(fchdir(here), 0);
	assert_int_equal(r | reached, 0);
	assert_int_equal(strncmp(path.path, in_dir(name), strlen(in_dir(name))), 0);
	nbd_path_remove(&path);
	assert_int_equal(rmdir(in_dir(name)), 0); /* it was empty again */
}

static void listens_at_addresses(void **state)
{
	static const struct {
		const char *address, *begin;
		bool is_for_others;
	} rows[] = {
		{ "0", "nbd://127.0.0.1:", false },	      { "localhost:0", "nbd://127.0.0.1:", false },
		{ "127.0.0.1:0", "nbd://127.0.0.1:", false }, { "127.0.0.2:0", "nbd://127.0.0.2:", false },
		{ "*:0", "nbd://localhost:", true },	      { "0.0.0.0:0", "nbd://localhost:", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(buf_deinit) struct buf uri = BUF_EMPTY;
		CLEANUP(closep) int fd = -EBADF;
		unsigned port;
		char end[64];
		assert_int_equal(nbd_listen_address(rows[i].address, &fd, NULL), 0);
		assert_int_equal(nbd_uri_add(&uri, fd, NULL, false, "a b/p1", NULL), 0);
		assert_memory_equal(uri.data, rows[i].begin, strlen(rows[i].begin));
		assert_int_equal(sscanf(uri.data + strlen(rows[i].begin), "%u%63s", &port, end), 2);
		assert_true(port > 0 && port < 65536);
		assert_string_equal(end, "/a%20b/p1");
		assert_int_equal(nbd_is_for_others(fd), rows[i].is_for_others);
	}
}

static void listens_at_addresses_with_colons(void **state)
{
	static const char *const hosts[] = { "[::1]", "[::ffff:127.0.0.2]" };
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		CLEANUP(buf_deinit) struct buf uri = BUF_EMPTY;
		CLEANUP(closep) int fd = -EBADF;
		char address[64], begin[64];
		(void) snprintf(address, sizeof address, "%s:0", hosts[i]);
		(void) snprintf(begin, sizeof begin, "nbd://%s:", hosts[i]);
		int r = nbd_listen_address(address, &fd, NULL);
		if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT) {
			print_message("this machine has no IPv6\n");
			skip();
		}
		assert_int_equal(r, 0);
		assert_int_equal(nbd_uri_add(&uri, fd, NULL, false, "", NULL), 0);
		assert_memory_equal(uri.data, begin, strlen(begin));
		assert_false(nbd_is_for_others(fd));
	}
}

static void refuses_what_is_no_address(void **state)
{
	static const char *const rows[] = { "", ":", ":10809", "localhost", "localhost:", "a:b", "65536", "localhost:65536",
					    "123456", "::1:10809", "[::1]", "[]:1", "-1", "1.2.3.4:1x", "no.such.invalid:1", "[::1]:99999",
					    "[::1:1" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		int fd = -EBADF;
		if (nbd_listen_address(rows[i], &fd, &err) != -EINVAL)
			fail_msg("listens at '%s'", rows[i]);
		if (!strstr(err.msg, rows[i]))
			fail_msg("'%s' is told as: %s", rows[i], err.msg);
	}
}

static void a_port_in_use_is_said_so(void **state)
{
	CLEANUP(buf_deinit) struct buf uri = BUF_EMPTY;
	CLEANUP(closep) int fd = -EBADF;
	struct err err = ERR_NONE;
	int other = -EBADF;
	unsigned port;
	char address[32];
	assert_int_equal(nbd_listen_address("0", &fd, NULL), 0);
	assert_int_equal(nbd_uri_add(&uri, fd, NULL, true, "", NULL), 0);
	assert_int_equal(sscanf(uri.data, "nbds://127.0.0.1:%u/", &port), 1);
	(void) snprintf(address, sizeof address, "%u", port);
	assert_int_equal(nbd_listen_address(address, &other, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, address));
}

/* "localhost" is [::1] first, to most: nbd://localhost:PORT/ would be the other one. */
static void all_addresses_are_not_all_but_one(void **state)
{
	CLEANUP(buf_deinit) struct buf uri = BUF_EMPTY;
	CLEANUP(closep) int fd = -EBADF;
	int other = -EBADF;
	unsigned port;
	char address[32];
	int r = nbd_listen_address("[::1]:0", &fd, NULL);
	if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT) {
		print_message("this machine has no IPv6\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(nbd_uri_add(&uri, fd, NULL, false, "", NULL), 0);
	assert_int_equal(sscanf(uri.data, "nbd://[::1]:%u/", &port), 1);
	(void) snprintf(address, sizeof address, "*:%u", port);
	assert_int_equal(nbd_listen_address(address, &other, NULL), -EADDRINUSE);
}

static void names_a_socket_in_the_file_system(void **state)
{
	struct nbd_path path = NBD_PATH_NONE;
	CLEANUP(closep) int fd = -EBADF;
	CLEANUP(buf_deinit) struct buf uri = BUF_EMPTY;
	char want[256];
	assert_int_equal(nbd_listen_path(in_dir("a&b=c"), &path, &fd, NULL), 0);
	assert_int_equal(nbd_uri_add(&uri, fd, path.path, false, "drive-scsi0.img", NULL), 0);
	(void) snprintf(want, sizeof want, "nbd+unix:///drive-scsi0.img?socket=%s/a%%26b%%3Dc", dir);
	assert_string_equal(uri.data, want);
	assert_false(nbd_is_for_others(fd));
	nbd_path_remove(&path);
}

#define TEST_IN_DIR(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(a_socket_is_its_owners_whatever_the_mask),
		TEST_IN_DIR(what_is_there_stays),
		TEST_IN_DIR(another_user_s_socket_is_not_replaced),
		TEST_IN_DIR(what_a_killed_server_left_is_replaced),
		TEST_IN_DIR(what_a_killed_server_left_is_removed_and_nothing_else),
		TEST_IN_DIR(of_two_that_replace_what_is_left_one_is_refused),
		TEST_IN_DIR(a_folder_that_others_lock_is_used),
		TEST_IN_DIR(another_socket_of_the_same_name_is_not_removed),
		TEST_IN_DIR(a_relative_path_is_told_in_full),
		TEST_IN_DIR(is_shown_by_its_path),
		TEST_IN_DIR(says_why_not),
		TEST_IN_DIR(a_path_is_as_long_as_clients_can_name),
		TEST_IN_DIR(a_short_relative_path_works_wherever_it_is),
		TEST(listens_at_addresses),
		TEST(listens_at_addresses_with_colons),
		TEST(refuses_what_is_no_address),
		TEST(a_port_in_use_is_said_so),
		TEST(all_addresses_are_not_all_but_one),
		TEST_IN_DIR(names_a_socket_in_the_file_system),
	};
	return RUN_TESTS(tests);
}
