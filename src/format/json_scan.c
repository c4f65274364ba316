/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json_scan.h"

#include <errno.h>
#include <string.h>

/* All of these go from @at to @end at most, and return where they stopped. */

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

/* Behind the quotation mark that ends it. */
static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end; at++) {
		if (*at == '"')
			return at + 1;
		if (*at == '\\' && at + 1 < end)
			at++;
	}
	return end;
}

/* Behind the bracket that closes the one at @at, of whichever kind. */
static const char *skip_brackets(const char *at, const char *end)
{
	size_t depth = 0;
	while (at < end) {
		if (*at == '"') {
			at = skip_string(at, end);
			continue;
		}
		depth += *at == '[' || *at == '{';
		depth -= *at == ']' || *at == '}';
		at++;
		if (depth == 0)
			break;
	}
	return at;
}

static const char *skip_value(const char *at, const char *end)
{
	if (at < end && *at == '"')
		return skip_string(at, end);
	if (at < end && (*at == '[' || *at == '{'))
		return skip_brackets(at, end);
	while (at < end && !memchr(",]} \t\r\n", *at, 7))
		at++;
	return at;
}

/* Where the value of the member at @at is; NULL = this is no member. */
static const char *value_of_member(const char *at, const char *end)
{
	if (at == end || *at != '"')
		return NULL;
	at = skip_blanks(skip_string(at, end), end);
	return at < end && *at == ':' ? skip_blanks(at + 1, end) : NULL;
}

static bool is_key(const char *at, const char *end, const char *key)
{
	size_t len = strlen(key);
	return (size_t)(end - at) > len + 1 && memcmp(at + 1, key, len) == 0 && at[len + 1] == '"';
}

bool json_scan_member(struct json_text object, const char *key, struct json_text *ret)
{
	const char *end = object.at + object.len, *at = skip_blanks(object.at, end);
	if (at == end || *at != '{')
		return false;
	do {
		const char *name = skip_blanks(at + 1, end);
		const char *value = value_of_member(name, end);
		if (!value)
			return false;
		at = skip_value(value, end);
		if (is_key(name, end, key)) {
			*ret = (struct json_text){ value, (size_t)(at - value) };
			return true;
		}
		at = skip_blanks(at, end);
	} while (at < end && *at == ',');
	return false;
}

/* @rest begins with what stands before the item: a bracket or a comma; or it is the end. */
int json_scan_item(struct json_text *rest, struct json_text *ret)
{
	const char *start = rest->at, *end = start + rest->len;
	if (rest->len == 0 || !memchr("[,]", *start, 3))
		return -EBADMSG;
	if (*start == ']')
		return rest->len == 1 ? 0 : -EBADMSG;
	const char *item = skip_blanks(start + 1, end);
	if (*start == '[' && item + 1 == end && *item == ']')
		return 0;
	const char *behind = skip_value(item, end), *next = skip_blanks(behind, end);
	if (behind == item || next == end || (*next != ',' && *next != ']'))
		return -EBADMSG;
	*ret = (struct json_text){ item, (size_t)(behind - item) };
	*rest = (struct json_text){ next, (size_t)(end - next) };
	return 1;
}
