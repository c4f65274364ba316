/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/cleanup.h"

/* What stands behind an option.  false = it is none. */

/* "256M", "1GiB", "4096"; bytes, at most INT64_MAX.  K, M, G, T are powers of 1024. */
bool size_parse(const char *text, uint64_t *ret) MUST_CHECK;

/* From @min to @max, in digits. */
bool number_parse(const char *text, unsigned min, unsigned max, unsigned *ret) MUST_CHECK;

/* "60", "60s"; at most a year. */
bool seconds_parse(const char *text, int64_t *ret_ms) MUST_CHECK;

/* "true", "yes", "on", "1" and their opposites, any case. */
bool bool_parse(const char *text, bool *ret) MUST_CHECK;

/* One of these words, not a number: `unmap --force 1` means device 1. */
bool bool_is_word(const char *text);
