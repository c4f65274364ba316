/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/cleanup.h"

/*
 * Finding one's way in JSON text without making anything of it: for lists too long to be held as values,
 * and for secrets that shall not be in them.  Pure.
 *
 * What is found is where a value has to be.  Whether it is one, and the rest of the text is right, only a
 * parser tells: nothing is believed that json_parse_object() has not seen as well.
 */
struct json_text {
	const char *at;
	size_t len;
};

/* The value of the first member written as "@key" of an object; false = there is none. */
bool json_scan_member(struct json_text object, const char *key, struct json_text *ret) MUST_CHECK;

/*
 * The next item of an array.  @rest starts as the array itself, and is moved on.
 * 1 = there is one, 0 = there are no more, -EBADMSG = this is no array.
 */
int json_scan_item(struct json_text *rest, struct json_text *ret) MUST_CHECK;
