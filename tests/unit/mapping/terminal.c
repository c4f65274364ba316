/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "unit.h"
#include "util/cleanup.h"
#include "util/file.h"

const char HANG_UP[] = "";

static volatile sig_atomic_t n_interrupts;

static void count_interrupt(int number)
{
	n_interrupts++;
}

void leave_terminal(void)
{
	if (setsid() >= 0)
		return;
	(void) signal(SIGHUP, SIG_IGN);
	CLEANUP(closep) int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (tty >= 0)
		(void) ioctl(tty, TIOCNOTTY);
}

/* Behind all that is shown: what nobody has read yet may be lost when a terminal is closed. */
static const char end_mark[] = "\n-- end --";

static _Noreturn void run_child(int (*run)(void *user), void *user)
{
	struct termios before, after;
	char none;
	(void) signal(SIGINT, count_interrupt);
	(void) signal(SIGHUP, SIG_IGN);
	int got = tcgetattr(STDIN_FILENO, &before);
	int status = run(user);
	bool is_well = got == 0 && tcgetattr(STDIN_FILENO, &after) == 0 && before.c_lflag == after.c_lflag &&
		       n_interrupts == (status == EINTR);
	if (status != EIO && !is_well)
		status = ON_TERMINAL_LEFT;
	if (write_full(STDOUT_FILENO, end_mark, strlen(end_mark)) == 0)
		while (read(STDIN_FILENO, &none, 1) > 0)
			; /* until it hangs up */
	_exit(status);
}

/* All that is shown from @from on until it contains @until, or to the end; where to go on. */
static size_t watch(int terminal, const char *until, char *shown, size_t from, size_t len)
{
	size_t have = from + strlen(shown + from);
	ssize_t n;
	while (!strstr(shown + from, until) && have + 1 < len &&
	       (n = read(terminal, shown + have, len - 1 - have)) > 0) {
		have += (size_t)n;
		shown[have] = '\0';
	}
	const char *found = strstr(shown + from, until);
	return found ? (size_t)(found - shown) + strlen(until) : have;
}

int on_terminal(int (*run)(void *user), void *user, const struct turn *turns, char *ret_shown, size_t len)
{
	int terminal, status;
	pid_t child = forkpty(&terminal, NULL, NULL, NULL);
	assert_true(child >= 0);
	if (child == 0)
		run_child(run, user);
	size_t at = 0;
	*ret_shown = '\0';
	for (; turns->typed && turns->typed != HANG_UP; turns++) {
		at = watch(terminal, turns->shown, ret_shown, at, len);
		(void) write_full(terminal, turns->typed, strlen(turns->typed)); /* or it has ended, which shows */
	}
	at = watch(terminal, turns->typed ? turns->shown : "-- end --", ret_shown, at, len);
	(void) close(terminal);
	char *end = strstr(ret_shown, "\r\n-- end --");
	if (end)
		*end = '\0';
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
