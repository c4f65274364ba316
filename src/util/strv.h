/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "util/err.h"

/* A list of strings that it owns. */
struct strv {
	char **items;
	size_t n, cap;
};

#define STRV_EMPTY ((struct strv){ 0 })

void strv_deinit(struct strv *v);
int strv_add(struct strv *v, const char *item, struct err *err) MUST_CHECK;
void strv_sort(struct strv *v); /* bytewise */
void strv_sort_unique(struct strv *v); /* of those that are alike, one stays */

/* "a, b, c and 4 more": at most @most items, @len bytes with the NUL; "none" when empty. */
void strv_describe(const struct strv *v, size_t most, char *ret, size_t len);
