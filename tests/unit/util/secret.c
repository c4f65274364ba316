/* SPDX-License-Identifier: Apache-2.0 */
#include "util/secret.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "unit.h"

static void holds_bytes_with_an_end_behind_them(void **state)
{
	struct secret secret = SECRET_EMPTY;
	assert_int_equal(secret_init_copy(&secret, "abc", 3, NULL), 0);
	assert_int_equal(secret.len, 3);
	assert_string_equal((char *)secret.data, "abc");
	secret_deinit(&secret);
	assert_null(secret.data);
	secret_deinit(&secret);
}

static _Noreturn void die_with_a_secret(void)
{
	struct secret secret = SECRET_EMPTY;
	struct rlimit limit;
	if (getrlimit(RLIMIT_CORE, &limit) < 0)
		_exit(1);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_CORE, &limit) < 0 || secret_init_copy(&secret, "abc", 3, NULL) < 0)
		_exit(1);
	if (getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_cur > 1)
		_exit(2);
	(void) signal(SIGABRT, SIG_DFL);
	abort();
}

static void leaves_nothing_in_a_core_dump(void **state)
{
	pid_t child = fork();
	int status;
	if (child == 0)
		die_with_a_secret();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_false(WCOREDUMP(status));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(holds_bytes_with_an_end_behind_them),
		TEST(leaves_nothing_in_a_core_dump),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
