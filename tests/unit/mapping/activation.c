/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/activation.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "scratch.h"
#include "unit.h"

/*
 * The descriptors are those from 3 on, whatever else the test program has there: each row runs in a child, which puts
 * its sockets there and says with its exit status what came of it.
 */
#define FIRST 3

enum kind { NONE, LISTENING, STREAM, DATAGRAM, A_FILE };

struct row {
	const char *fds, *pid; /* of the environment; NULL = not set; "own" = the child's number */
	enum kind kinds[4];    /* from FIRST on */
	int n;		       /* how many are taken, or a negative errno */
	const char *words;
};

/* An abstract address of the kernel's choice: nothing is left of it. */
static int make(enum kind kind)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	if (kind == A_FILE)
		return open("/dev/null", O_RDONLY);
	int fd = socket(AF_UNIX, kind == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (kind == LISTENING && (bind(fd, (const void *)&any, sizeof any.sun_family) < 0 || listen(fd, 1) < 0))
		_exit(101);
	return fd;
}

static void place(const enum kind kinds[4])
{
	for (int i = 0; i < 4; i++) {
		int fd = kinds[i] ? make(kinds[i]) : -EBADF;
		if (fd >= 0 && fd != FIRST + i && (dup2(fd, FIRST + i) < 0 || close(fd) < 0))
			_exit(102);
		if (fd < 0)
			(void) close(FIRST + i);
	}
}

static void set(const char *name, const char *value)
{
	char own[16];
	(void) snprintf(own, sizeof own, "%d", (int)getpid());
	(void) unsetenv(name);
	if (value && setenv(name, strcmp(value, "own") == 0 ? own : value, 1) < 0)
		_exit(103);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_environment_clean(void)
{
	return !getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES");
}

#define MUST(what)                                                      \
	do {                                                            \
		if (!(what)) {                                          \
			(void) fprintf(stderr, "not so: %s\n", #what);  \
			_exit(1);                                       \
		}                                                       \
	} while (0)

/* In the child. */
static void try(const struct row *row)
{
	struct activation got = ACTIVATION_NONE;
	struct err err = ERR_NONE;
	place(row->kinds);
	set("LISTEN_FDS", row->fds);
	set("LISTEN_PID", row->pid);
	set("LISTEN_FDNAMES", "a:b:c");
	int r = activation_take(&got, &err);
	MUST(r == (row->n < 0 ? row->n : 0));
	MUST(row->n >= 0 || strstr(err.msg, row->words));
	MUST((int)got.n == (row->n < 0 ? 0 : row->n));
	for (int i = 0; i < row->n; i++) {
		MUST(got.fds[i] == FIRST + i);
		MUST(fcntl(FIRST + i, F_GETFD) == FD_CLOEXEC);
	}
	/* What was not for us is left to whom it is for. */
	MUST(is_environment_clean() == (row->n != 0));
	activation_deinit(&got);
	for (int i = 0; i < row->n; i++)
		MUST(!is_open(FIRST + i));
	MUST(!got.fds && got.n == 0);
	activation_deinit(&got);
}

static void in_a_child(size_t number, const struct row *row)
{
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		try(row);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (status != 0)
		fail_msg("row %zu: LISTEN_FDS=%s LISTEN_PID=%s: status %#x", number, row->fds, row->pid, (unsigned)status);
}

static void try_all(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		in_a_child(i, &rows[i]);
}

static void takes_what_is_passed(void **state)
{
	static const struct row rows[] = {
		{ "1", "own", { LISTENING }, 1 },
		{ "2", "own", { LISTENING, LISTENING }, 2 },
		{ "1", "own", { LISTENING, STREAM }, 1 }, /* the second is somebody else's */
		{ "4", "own", { LISTENING, LISTENING, LISTENING, LISTENING }, 4 },
	};
	try_all(rows, ARRAY_LEN(rows));
}

/* sd_listen_fds(3): what is meant for another process was inherited by accident. */
static void takes_nothing_that_is_not_for_this_process(void **state)
{
	static const struct row rows[] = {
		{ NULL, NULL, { LISTENING }, 0 },    { "1", NULL, { LISTENING }, 0 },
		{ NULL, "own", { LISTENING }, 0 },   { "1", "1", { LISTENING }, 0 },
		{ "1", "", { LISTENING }, 0 },	     { "1", "0", { LISTENING }, 0 },
		{ "1", "-1", { LISTENING }, 0 },     { "1", "x", { LISTENING }, 0 },
		{ "1", "4294967297", { LISTENING }, 0 },
	};
	try_all(rows, ARRAY_LEN(rows));
}

static void a_number_that_is_none_is_none(void **state)
{
	static const struct row rows[] = {
		{ "", "own", { LISTENING }, 0 },     { "0", "own", { LISTENING }, 0 },
		{ "-1", "own", { LISTENING }, 0 },   { "x", "own", { LISTENING }, 0 },
		{ "1x", "own", { LISTENING }, 0 },   { "1 ", "own", { LISTENING }, 0 },
		{ "0x1", "own", { LISTENING }, 0 },
	};
	try_all(rows, ARRAY_LEN(rows));
}

static void refuses_what_no_client_can_come_to(void **state)
{
	static const struct row rows[] = {
		{ "1", "own", { NONE }, -EINVAL, "descriptor 3 " },
		{ "1", "own", { A_FILE }, -EINVAL, "descriptor 3 " },
		{ "1", "own", { STREAM }, -EINVAL, "descriptor 3 " },
		{ "1", "own", { DATAGRAM }, -EINVAL, "descriptor 3 " },
		{ "3", "own", { LISTENING, DATAGRAM, LISTENING }, -EINVAL, "descriptor 4 " },
		{ "2", "own", { LISTENING, NONE }, -EINVAL, "descriptor 4 " },
		{ "65", "own", { LISTENING }, -EINVAL, "65 sockets" },
		{ "99999999999999999999", "own", { LISTENING }, -EINVAL, "sockets" },
	};
	try_all(rows, ARRAY_LEN(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_what_is_passed),
		TEST(takes_nothing_that_is_not_for_this_process),
		TEST(a_number_that_is_none_is_none),
		TEST(refuses_what_no_client_can_come_to),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
