/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/prompt.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "scratch.h"
#include "terminal.h"
#include "unit.h"
#include "util/file.h"

#define QUESTION "Go on? (y/n): "
#define IS_OTHER 99

static int begin(void **state)
{
	leave_terminal();
	return scratch_begin(state);
}

/* What is wanted of the password; 0 = it is. */
static int ask_password(void *want)
{
	CLEANUP(secret_deinit) struct secret typed = SECRET_EMPTY;
	int r = prompt_password("Password for \"root@pam\": ", &typed, NULL);
	if (r <= 0)
		return r < 0 ? -r : IS_OTHER;
	return strcmp((char *)typed.data, want) == 0 && typed.len == strlen(want) ? 0 : IS_OTHER;
}

static void shows_stars_for_a_password(void **state)
{
	char most[1100], stars[1200];
	struct {
		const char *typed;
		char *want;
		int status;
		const char *shown;
	} rows[] = {
		{ "secret\r", (char[]){ "secret" }, 0, "\": ******\r\n" },
		{ "secret\n", (char[]){ "secret" }, 0, "\": ******\r\n" },
		{ "sec\bcret\004", (char[]){ "secret" }, 0, "\": ***\b \b****\r\n" },
		{ "\177secrexy\177\177t\r", (char[]){ "secret" }, 0, "\": *******\b \b\b \b*\r\n" },
		{ "\r", (char[]){ "" }, 0, "\": \r\n" },
		{ "a\tb\033c\r", (char[]){ "abc" }, 0, "\": ***\r\n" },
		{ "secret\003", (char[]){ "" }, EINTR, "\": ******\r\n" },
		{ HANG_UP, (char[]){ "" }, EIO, "\": " },
		{ most, stars, 0, "*\r\n" },
	};
	memset(most, '*', sizeof most - 2);
	memcpy(most + sizeof most - 2, "\r", 2);
	memset(stars, '*', 1024);
	stars[1024] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct turn turns[] = { { "@pam\": ", rows[i].typed }, { NULL } };
		char shown[2048];
		assert_int_equal(on_terminal(ask_password, rows[i].want, turns, shown, sizeof shown), rows[i].status);
		assert_non_null(strstr(shown, "Password for \"root@pam\": "));
		assert_non_null(strstr(shown, rows[i].shown));
		assert_null(strstr(shown, "secret"));
	}
}

static int ask_yes_no(void *user)
{
	int r = prompt_yes_no(QUESTION, NULL);
	return r < 0 ? -r : r;
}

static void asks_until_the_answer_is_yes_or_no(void **state)
{
	static const struct {
		struct turn turns[5];
		int status;
		const char *shown;
	} rows[] = {
		{ { { QUESTION, "y\r" } }, PROMPT_YES, QUESTION "y\r\n" },
		{ { { QUESTION, "Y\n" } }, PROMPT_YES, QUESTION "Y\r\n" },
		{ { { QUESTION, "n\r" } }, PROMPT_NO, QUESTION "n\r\n" },
		{ { { QUESTION, "N\r" } }, PROMPT_NO, QUESTION "N\r\n" },
		{ { { QUESTION, "n\by\r" } }, PROMPT_YES, QUESTION "n\b \by\r\n" },
		{ { { QUESTION, "\r" }, { QUESTION, "n\r" } }, PROMPT_NO, QUESTION "\r\n" QUESTION "n\r\n" },
		{ { { QUESTION, "yes\r" }, { QUESTION, "\004" }, { QUESTION, "x\r" }, { QUESTION, "y\r" } }, PROMPT_YES,
		  QUESTION "yes\r\n" QUESTION "\r\n" QUESTION "x\r\n" QUESTION "y\r\n" },
		{ { { QUESTION, "y\003" } }, EINTR, QUESTION "y\r\n" },
		{ { { QUESTION, HANG_UP } }, EIO, QUESTION },
		{ { { QUESTION, "ja\r" }, { QUESTION, "\003" } }, EINTR, QUESTION "ja\r\n" QUESTION "\r\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char shown[512];
		assert_int_equal(on_terminal(ask_yes_no, NULL, rows[i].turns, shown, sizeof shown), rows[i].status);
		assert_non_null(strstr(shown, rows[i].shown));
	}
}

/* Typed before anything was asked. */
static int ask_late(void *user)
{
	char ready = 0;
	if (write_full(STDOUT_FILENO, "ready", 5) < 0)
		return IS_OTHER;
	while (ioctl(STDIN_FILENO, FIONREAD, user) == 0 && *(int *)user == 0)
		(void) usleep(1000);
	return ask_yes_no(&ready);
}

static void what_was_typed_before_is_no_answer(void **state)
{
	static const struct turn turns[] = { { "ready", "y\n" }, { QUESTION, "n\r" }, { NULL } };
	char shown[512];
	int n = 0;
	assert_int_equal(on_terminal(ask_late, &n, turns, shown, sizeof shown), PROMPT_NO);
}

/* As soon as it is asked. */
static int ask_and_be_interrupted(void *want)
{
	struct termios now;
	pid_t asking = getpid(), child = fork();
	if (child < 0)
		return IS_OTHER;
	if (child > 0)
		return ask_password(want);
	while (getppid() == asking && tcgetattr(STDIN_FILENO, &now) == 0 && now.c_lflag & ECHO)
		(void) usleep(1000);
	(void) kill(asking, SIGINT);
	_exit(0);
}

/* Which on_terminal() looks at. */
static void leaves_the_terminal_as_it_was_when_a_signal_comes(void **state)
{
	static const struct turn turns[] = { { NULL } };
	char shown[512], want[] = "";
	assert_int_equal(on_terminal(ask_and_be_interrupted, want, turns, shown, sizeof shown), EINTR);
}

/* Standard input and output do not matter. */
static int ask_redirected(void *user)
{
	int null = open("/dev/null", O_RDWR), kept = dup(STDIN_FILENO);
	int r = dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0;
	if (r == 0)
		r = ask_password(user);
	return dup2(kept, STDIN_FILENO) < 0 || dup2(kept, STDOUT_FILENO) < 0 ? IS_OTHER : r;
}

static void asks_on_the_terminal_and_nowhere_else(void **state)
{
	static const struct turn turns[] = { { "@pam\": ", "secret\r" }, { NULL } };
	char shown[512], want[] = "secret";
	struct secret none = SECRET_EMPTY;
	assert_int_equal(on_terminal(ask_redirected, want, turns, shown, sizeof shown), 0);
	assert_int_equal(prompt_password("? ", &none, NULL), 0);
	assert_int_equal(prompt_yes_no("? ", NULL), PROMPT_NO_TERMINAL);
	assert_null(none.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_stars_for_a_password),
		TEST(asks_until_the_answer_is_yes_or_no),
		TEST(what_was_typed_before_is_no_answer),
		TEST(leaves_the_terminal_as_it_was_when_a_signal_comes),
		TEST(asks_on_the_terminal_and_nowhere_else),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
