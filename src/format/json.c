/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json.h"

#include <stdbool.h>
#include <string.h>

#include "util/buf.h"

/*
 * Before anything is made of them.  Where the text is no JSON the number may be wrong, but only behind
 * the place at which the parser stops.
 */
static size_t count_values(const char *text, size_t len)
{
	size_t n = 1;
	bool is_in_string = false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			is_in_string = !is_in_string;
		else if (is_in_string)
			i += text[i] == '\\';
		else
			n += text[i] == ',' || text[i] == '[' || text[i] == '{';
	}
	return n;
}

int json_parse_object(const char *text, size_t len, const char *what, json_t **ret, struct err *err)
{
	if (count_values(text, len) > JSON_MAX_VALUES)
		return err_set(err, -EBADMSG, "%s holds more than %u values", what, JSON_MAX_VALUES);
	json_error_t why;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
	if (!json)
		/* Not the parser's words: they repeat the text, which may be a key, or act on a terminal. */
		return err_set(err, -EBADMSG, "%s is not valid JSON (line %d, column %d%s)", what,
			       why.line, why.column,
			       json_error_code(&why) == json_error_duplicate_key ? ": the same key twice" : "");
	if (!json_is_object(json)) {
		json_decref(json);
		return err_set(err, -EBADMSG, "%s is no JSON object", what);
	}
	*ret = json;
	return 0;
}

static int add_value(struct buf *out, const json_t *json, struct err *err);

static int add_char(struct buf *out, uint8_t c, struct err *err)
{
	static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* character, letter */
	for (const char *form = short_forms; *form; form += 2)
		if ((uint8_t)form[0] == c)
			return buf_add(out, (char[]){ '\\', form[1] }, 2, err);
	if (c < 0x20)
		return buf_printf(out, err, "\\u%04x", c);
	return buf_add(out, &c, 1, err);
}

static int add_string(struct buf *out, const char *s, size_t len, struct err *err)
{
	int r = buf_puts(out, "\"", err);
	for (size_t i = 0; i < len && r == 0; i++)
		r = add_char(out, (uint8_t)s[i], err);
	return r == 0 ? buf_puts(out, "\"", err) : r;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_object(struct buf *out, const json_t *json, struct err *err)
{
	size_t n = 0;
	CLEANUP(freep) const char **keys = calloc(json_object_size(json) + 1, sizeof *keys);
	if (!keys)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	json_t *object = json_incref((json_t *)(uintptr_t)json);
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
		keys[n++] = json_object_iter_key(i);
	json_decref(object);
	qsort(keys, n, sizeof *keys, compare_keys);
	int r = buf_puts(out, "{", err);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = i ? buf_puts(out, ",", err) : 0;
		if (r == 0)
			r = add_string(out, keys[i], strlen(keys[i]), err);
		if (r == 0)
			r = buf_puts(out, ":", err);
		if (r == 0)
			r = add_value(out, json_object_get(json, keys[i]), err);
	}
	return r == 0 ? buf_puts(out, "}", err) : r;
}

static int add_array(struct buf *out, const json_t *json, struct err *err)
{
	int r = buf_puts(out, "[", err);
	for (size_t i = 0; i < json_array_size(json) && r == 0; i++) {
		r = i ? buf_puts(out, ",", err) : 0;
		if (r == 0)
			r = add_value(out, json_array_get(json, i), err);
	}
	return r == 0 ? buf_puts(out, "]", err) : r;
}

/* Recursion is bounded by the parser, which refuses deep nesting. */
static int add_value(struct buf *out, const json_t *json, struct err *err)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return add_object(out, json, err);
	case JSON_ARRAY:
		return add_array(out, json, err);
	case JSON_STRING:
		return add_string(out, json_string_value(json), json_string_length(json), err);
	case JSON_INTEGER:
		return buf_printf(out, err, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	case JSON_TRUE:
		return buf_puts(out, "true", err);
	case JSON_FALSE:
		return buf_puts(out, "false", err);
	default:
		return err_set(err, -EBADMSG, "manifest holds a value that cannot be signed");
	}
}

int json_canonical(const json_t *json, char **ret, struct err *err)
{
	struct buf out = BUF_EMPTY;
	int r = add_value(&out, json, err);
	if (r < 0) {
		buf_deinit(&out);
		return r;
	}
	*ret = out.data;
	return 0;
}
