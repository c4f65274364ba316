/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "util/err.h"

/*
 * The descriptors a process was started with.  Whoever waits for the end of a pipe among them must not wait
 * for a process that goes on in the background.
 */
struct inherited {
	int *items;
	size_t n, cap;
};

#define INHERITED_NONE ((struct inherited){ 0 })

/* What is open now, but @except and stdio. */
int inherited_list(int except, struct inherited *ret, struct err *err) MUST_CHECK;

/* Closes them; stdio is /dev/null from here on. */
int inherited_close(struct inherited *inherited, struct err *err) MUST_CHECK;

/* The same, and the working directory is "/". */
int inherited_let_go(struct inherited *inherited, struct err *err) MUST_CHECK;
void inherited_deinit(struct inherited *inherited);
