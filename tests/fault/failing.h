/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "util/err.h"

/*
 * The n-th allocation fails, for each n in turn.  malloc and its like are wrapped by the linker in our own
 * code, not inside the libraries.
 */
struct failing {
	int (*run)(void *user, struct err *err); /* all of it, from the begin */
	/* What a run did that returned 0; or, with r < 0, what it left.  Nothing fails meanwhile */
	bool (*is_right)(void *user, int r);
	void *user;
};

/**
 * failing_in_turn - runs until there is no allocation left that could fail
 *
 * Each run has to end with the right result, or with an error that has words; at least one with an error.
 *
 * Returns: the exit status of the test; says what is wrong
 */
int failing_in_turn(const struct failing *failing);
