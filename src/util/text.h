/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is @len bytes of @s valid UTF-8 (no surrogates, no overlong forms)? */
bool text_is_utf8(const char *s, size_t len);

/*
 * A name from outside, fit for a terminal: control characters and bytes that are not UTF-8 as
 * \xHH, backslash doubled.  Cut at @len with the NUL.  Returns @ret.
 */
char *text_escape(const char *s, char *ret, size_t len);

/* "64 MiB", "9.001 MiB", "512 B": at most three decimals, as the reference client prints. */
char *text_size(uint64_t bytes, char *ret, size_t len);
