/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "util/err.h"
#include "util/secret.h"

/*
 * Questions to whoever sits at the terminal, on /dev/tty, whatever standard input and output are.
 * What was typed before the question was shown does not answer it.
 *
 * Errors: -EINTR Ctrl-C, which all it would have reached get as SIGINT, or a signal; -EIO the terminal hung up
 */

/* Is there somebody to be asked? */
bool prompt_has_terminal(void);

/* A star is shown for each byte.  1 = typed, 0 = there is no terminal. */
int prompt_password(const char *question, struct secret *ret, struct err *err) MUST_CHECK;

enum prompt_answer { PROMPT_NO_TERMINAL, PROMPT_YES, PROMPT_NO };

/* Asked until it is answered: y or n, then Enter.  An enum prompt_answer. */
int prompt_yes_no(const char *question, struct err *err) MUST_CHECK;
