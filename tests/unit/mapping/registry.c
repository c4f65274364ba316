/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/registry.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "format/data.h"
#include "scratch.h"
#include "unit.h"
#include "util/file.h"

static struct registry registry;

static int open_at(const char *path)
{
	return setenv("PBSMAP_RUN_DIR", path, 1) < 0 ? -errno : registry_open(&registry, NULL);
}

static int set_up(void **state)
{
	return scratch_environment(state) || open_at("run");
}

/* The next test finds it empty. */
static int tear_down(void **state)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	if (registry.fd >= 0 && registry_sockets(&registry, &names, NULL) == 0)
		for (size_t i = 0; i < names.n; i++)
			registry_remove(&registry, names.items[i]);
	registry_close(&registry);
	return 0;
}

static size_t n_sockets(void)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	assert_int_equal(registry_sockets(&registry, &names, NULL), 0);
	return names.n;
}

static bool is_there(const char *name)
{
	struct stat st;
	return fstatat(registry.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* -- the directory --------------------------------------------------------------------------- */

static void the_directory_is_made_for_its_owner_only(void **state)
{
	struct stat st;
	registry_close(&registry);
	assert_int_equal(open_at("fresh"), 0);
	assert_string_equal(registry.path, "fresh");
	assert_int_equal(stat("fresh", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	registry_close(&registry);
	assert_int_equal(open_at("fresh"), 0); /* a second time */
}

static void says_why_a_directory_is_none(void **state)
{
	static const struct {
		const char *path;
		int r;
		const char *words;
	} rows[] = {
		{ "file", -ENOTDIR, "cannot open the run directory file" },
		{ "link", -ENOTDIR, "cannot open the run directory link" }, /* O_NOFOLLOW */
		{ "nowhere/run", -ENOENT, "cannot make the run directory nowhere/run" },
	};
	scratch_puts("file", "");
	assert_int_equal(symlink("run", "link"), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct registry none = { .fd = 77 };
		struct err err = ERR_NONE;
		assert_int_equal(setenv("PBSMAP_RUN_DIR", rows[i].path, 1), 0);
		expect(rows[i].path, registry_open(&none, &err), &err, rows[i].r, rows[i].words);
		assert_int_equal(none.fd, 77);
	}
}

static void a_path_of_any_length_that_the_kernel_takes_will_do(void **state)
{
	char path[600] = "", name[SOCKET_NAME_SIZE];
	CLEANUP(closep) int listener = -EBADF;
	CLEANUP(closep) int client = -EBADF;
	registry_close(&registry);
	for (size_t len = 0; len < 480; len = strlen(path)) {
		(void) snprintf(path + len, sizeof path - len, "%sa-directory-with-a-long-name", len ? "/" : "");
		assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_true(strlen(path) > 108 && strlen(path) < sizeof registry.path);
	assert_int_equal(open_at(path), 0);
	assert_int_equal(registry_listen(&registry, name, &listener, NULL), 0);
	assert_int_equal(registry_connect(&registry, name, &client, NULL), 0);

	struct registry none;
	struct err err = ERR_NONE;
	memset(path, 'x', sizeof path - 1);
	assert_int_equal(setenv("PBSMAP_RUN_DIR", path, 1), 0);
	expect("too long", registry_open(&none, &err), &err, -ENAMETOOLONG, "too long");
}

/* In a child that is somebody else; NULL = unset.  0 or a positive errno. */
static int open_as(uid_t uid, const char *run_dir, const char *runtime_dir, const char *want_path)
{
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct registry other;
		(void) unsetenv("PBSMAP_RUN_DIR");
		if ((run_dir && setenv("PBSMAP_RUN_DIR", run_dir, 1) < 0) ||
		    (runtime_dir && setenv("XDG_RUNTIME_DIR", runtime_dir, 1) < 0) || setresuid(uid, uid, uid) < 0)
			_exit(255);
		int r = registry_open(&other, NULL);
		_exit(r == 0 && strcmp(other.path, want_path) != 0 ? 254 : -r);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void refuses_the_directory_of_another_user(void **state)
{
	const uid_t somebody = 65534;
	if (geteuid() != 0) {
		print_message("takes root: to be two users\n");
		skip();
	}
	assert_int_equal(chmod(scratch_path(), 0755), 0);
	assert_int_equal(mkdir("root's", 0755), 0);
	assert_int_equal(mkdir("theirs", 0700), 0);
	assert_int_equal(chown("theirs", somebody, (gid_t)-1), 0);
	assert_int_equal(open_as(somebody, "root's", NULL, ""), EPERM);
	assert_int_equal(open_as(somebody, "theirs", NULL, "theirs"), 0);
	/* Without PBSMAP_RUN_DIR, and without root. */
	assert_int_equal(open_as(somebody, "", "theirs", "theirs/pbsmap"), 0);
}

/* -- sockets --------------------------------------------------------------------------------- */

static void sockets_have_names_of_their_own_and_are_reached_by_them(void **state)
{
	char a[SOCKET_NAME_SIZE], b[SOCKET_NAME_SIZE];
	CLEANUP(closep) int listen_a = -EBADF;
	CLEANUP(closep) int listen_b = -EBADF;
	CLEANUP(closep) int client = -EBADF;
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	assert_int_equal(registry_listen(&registry, a, &listen_a, NULL), 0);
	assert_int_equal(registry_listen(&registry, b, &listen_b, NULL), 0);
	assert_string_not_equal(a, b);
	assert_int_equal(registry_connect(&registry, b, &client, NULL), 0);
	CLEANUP(closep) int server = accept4(listen_b, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(server >= 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	char byte;
	assert_int_equal(recv(server, &byte, 1, 0), 1);

	assert_int_equal(registry_sockets(&registry, &names, NULL), 0);
	assert_int_equal(names.n, 2);
	assert_true(strcmp(names.items[0], names.items[1]) < 0);
	assert_true(strcmp(names.items[0], a) == 0 || strcmp(names.items[1], a) == 0);
	registry_remove(&registry, a);
	assert_false(is_there(a));
	assert_true(is_there(b));
}

static void other_files_are_no_sockets(void **state)
{
	static const char *const names[] = { "lock", ".sock", "a.socket", "a.sock.tmp", "x",
					     "a-name-longer-than-any-of-ours-would-be.sock" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[100];
		(void) snprintf(path, sizeof path, "run/%s", names[i]);
		scratch_puts(path, "");
	}
	assert_int_equal(n_sockets(), 0);
	assert_int_equal(registry_sweep(&registry, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_true(is_there(names[i]));
}

static void nobody_there_is_said_exactly(void **state)
{
	char name[SOCKET_NAME_SIZE];
	int fd = -EBADF;
	struct err err = ERR_NONE;
	expect("none", registry_connect(&registry, "none.sock", &fd, &err), &err, -ENOENT, "run/none.sock");
	int listener = -EBADF;
	assert_int_equal(registry_listen(&registry, name, &listener, NULL), 0);
	closep(&listener);
	expect("dead", registry_connect(&registry, name, &fd, &err), &err, -ECONNREFUSED, name);
	assert_int_equal(fd, -EBADF);
}

static void sweeps_dead_sockets_and_no_others(void **state)
{
	char dead[2][SOCKET_NAME_SIZE], live[2][SOCKET_NAME_SIZE];
	int listeners[2] = { -EBADF, -EBADF };
	CLEANUP(closep) int first = -EBADF;
	CLEANUP(closep) int second = -EBADF;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(registry_listen(&registry, dead[i], &listeners[i], NULL), 0);
		assert_int_equal(registry_listen(&registry, live[i], i ? &second : &first, NULL), 0);
	}
	assert_int_equal(registry_sweep(&registry, NULL), 0);
	assert_int_equal(n_sockets(), 4);
	closep(&listeners[0]);
	closep(&listeners[1]);
	assert_int_equal(registry_sweep(&registry, NULL), 0);
	assert_int_equal(n_sockets(), 2);
	assert_true(is_there(live[0]) && is_there(live[1]));
	assert_int_equal(registry_sweep(&registry, NULL), 0);
	assert_int_equal(n_sockets(), 2);
}

/* One whose process is killed while others look: it is a process that ends, not a descriptor that is closed. */
static void sweeps_the_socket_of_a_process_that_was_killed(void **state)
{
	char name[SOCKET_NAME_SIZE];
	int pipe_fds[2], status;
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd;
		(void) close(pipe_fds[0]);
		if (registry_listen(&registry, name, &fd, NULL) == 0)
			(void) write_full(pipe_fds[1], name, sizeof name);
		for (;;)
			(void) pause();
	}
	(void) close(pipe_fds[1]);
	ssize_t n = read(pipe_fds[0], name, sizeof name);
	(void) close(pipe_fds[0]);
	int swept = registry_sweep(&registry, NULL);
	bool was_there = n > 0 && is_there(name);
	(void) kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(swept, 0);
	assert_true(was_there);
	assert_int_equal(registry_sweep(&registry, NULL), 0);
	assert_false(is_there(name));
}

/* -- the lock -------------------------------------------------------------------------------- */

static bool is_locked(void)
{
	CLEANUP(closep) int fd = openat(registry.fd, "lock", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static void the_lock_is_held_until_it_is_closed(void **state)
{
	CLEANUP(closep) int lock = -EBADF;
	assert_int_equal(registry_lock(&registry, &lock, NULL), 0);
	assert_true(is_locked());
	closep(&lock);
	assert_false(is_locked());
}

/* The order of two bytes tells who was first, however long either takes. */
static void whoever_comes_second_waits(void **state)
{
	CLEANUP(closep) int lock = -EBADF;
	int order[2], status;
	char said[2];
	assert_int_equal(pipe(order), 0);
	assert_int_equal(registry_lock(&registry, &lock, NULL), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int mine = -EBADF;
		closep(&lock);
		_exit(registry_lock(&registry, &mine, NULL) < 0 || write(order[1], "2", 1) != 1);
	}
	for (int i = 0; i < 1000; i++)
		(void) sched_yield(); /* it may be there by now; if not, no harm is done */
	assert_int_equal(write(order[1], "1", 1), 1);
	closep(&lock);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(read(order[0], said, 2), 2);
	(void) close(order[0]);
	(void) close(order[1]);
	assert_int_equal(status, 0);
	assert_memory_equal(said, "12", 2);
}

/* Between bind() and listen() a new socket looks dead, so whoever sweeps asks for the lock. */
static void does_not_sweep_while_somebody_has_the_lock(void **state)
{
	char name[SOCKET_NAME_SIZE];
	CLEANUP(closep) int lock = -EBADF;
	int listener, order[2], status;
	char said[2];
	assert_int_equal(registry_listen(&registry, name, &listener, NULL), 0);
	closep(&listener);
	assert_int_equal(pipe(order), 0);
	assert_int_equal(registry_lock(&registry, &lock, NULL), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		closep(&lock);
		_exit(registry_sweep(&registry, NULL) < 0 || write(order[1], "2", 1) != 1);
	}
	for (int i = 0; i < 1000; i++)
		(void) sched_yield();
	bool is_left = is_there(name);
	assert_int_equal(write(order[1], "1", 1), 1);
	closep(&lock);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(read(order[0], said, 2), 2);
	(void) close(order[0]);
	(void) close(order[1]);
	assert_int_equal(status, 0);
	assert_memory_equal(said, "12", 2);
	assert_true(is_left);
	assert_false(is_there(name));
}

#define TEST_HERE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(the_directory_is_made_for_its_owner_only),
		TEST_HERE(says_why_a_directory_is_none),
		TEST_HERE(a_path_of_any_length_that_the_kernel_takes_will_do),
		TEST_HERE(refuses_the_directory_of_another_user),
		TEST_HERE(sockets_have_names_of_their_own_and_are_reached_by_them),
		TEST_HERE(other_files_are_no_sockets),
		TEST_HERE(nobody_there_is_said_exactly),
		TEST_HERE(sweeps_dead_sockets_and_no_others),
		TEST_HERE(sweeps_the_socket_of_a_process_that_was_killed),
		TEST_HERE(the_lock_is_held_until_it_is_closed),
		TEST_HERE(whoever_comes_second_waits),
		TEST_HERE(does_not_sweep_while_somebody_has_the_lock),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
