/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* A terminal that started the tests would be asked for passwords: this process has none from here on. */
void leave_terminal(void);

/* When @shown has been shown, @typed is typed; HANG_UP: the terminal goes, and nothing comes behind it. */
struct turn {
	const char *shown, *typed;
};

extern const char HANG_UP[];

/**
 * on_terminal - run a function in a process of its own, on a terminal of its own
 *
 * @run:        what it returns must fit into an exit status; SIGINT is counted, not obeyed
 * @turns:      up to one without @typed
 * @ret_shown:  all that the terminal showed
 *
 * Returns what @run did, or ON_TERMINAL_LEFT where the terminal was not left as it had been, or where SIGINT
 * came other than once with a result of EINTR.  Whether it is left well is not asked when it hung up, EIO.
 */
#define ON_TERMINAL_LEFT 255
int on_terminal(int (*run)(void *user), void *user, const struct turn *turns, char *ret_shown, size_t len);
