/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "util/err.h"

static inline void json_freep(json_t **json)
{
	json_decref(*json);
}

/* values, by their commas and opening brackets; 16 MiB of empty objects would take 1.3 GB */
#define JSON_MAX_VALUES 250000u

/* One object of JSON_MAX_VALUES at most, no duplicate keys, nothing behind it.  @what names it in the message; -EBADMSG. */
int json_parse_object(const char *text, size_t len, const char *what, json_t **ret,
		      struct err *err) MUST_CHECK;

/*
 * The text a signature is made over: keys sorted bytewise at every level, no white space, only the
 * escapes JSON demands.  -EBADMSG: null or a number that is no integer somewhere inside.
 */
int json_canonical(const json_t *json, char **ret, struct err *err) MUST_CHECK;
