/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/base64.h"
#include "util/bytes.h"
#include "util/file.h"
#include "util/text.h"

/*
 * Results are put together in memory and written by write(2): the error is the one of that write,
 * and a command that fails in the middle has printed nothing.
 */
#define GAP 2 /* blanks between two columns */

int output_text(const char *text, size_t len, struct err *err)
{
	int r = write_full(STDOUT_FILENO, text, len);
	return r < 0 ? err_errno(err, r, "cannot write the result") : 0;
}

int output_json(const struct options *options, json_t *take_json, struct err *err)
{
	size_t flags = options->is_json_pretty ? JSON_INDENT(2) : JSON_COMPACT;
	CLEANUP(freep) char *text = take_json ? json_dumps(take_json, flags) : NULL;
	json_decref(take_json);
	if (!text)
		return err_set(err, -ENOMEM, "no memory for the result");
	CLEANUP(buf_deinit) struct buf line = BUF_EMPTY;
	int r = buf_printf(&line, err, "%s\n", text);
	return r < 0 ? r : output_text(line.data, line.len, err);
}

bool output_has_reader(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };
	return poll(&out, 1, 0) < 0 || !(out.revents & (POLLERR | POLLHUP));
}

/* -- tables ---------------------------------------------------------------------------------- */

void table_deinit(struct table *table)
{
	strv_deinit(&table->cells);
}

/* Given, free(). */
static char *escaped(const char *text)
{
	size_t room = 4 * strlen(text) + 2; /* \xHH each; text_escape() leaves one byte free */
	char *ret = malloc(room);
	return ret ? text_escape(text, ret, room) : NULL;
}

int table_add(struct table *table, const char *const *cells, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < table->n_columns; i++) {
		CLEANUP(freep) char *cell = escaped(cells[i]);
		r = cell ? strv_add(&table->cells, cell, err)
			 : err_set(err, -ENOMEM, "no memory for a table");
	}
	return r;
}

/* Characters of UTF-8 text. */
static size_t width_of(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((uint8_t)*text & 0xc0) != 0x80;
	return width;
}

/* No blanks at the end of a line. */
static int format_row(const struct table *table, const char *const *cells, const size_t *widths,
		      struct buf *ret, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < table->n_columns; i++) {
		bool is_last = i == table->n_columns - 1, is_right = table->right & 1u << i;
		int pad = (int)(widths[i] - width_of(cells[i]));
		int before = is_right ? pad : 0, after = is_last ? 0 : GAP + (is_right ? 0 : pad);
		r = buf_printf(ret, err, "%*s%s%*s", before, "", cells[i], after, "");
	}
	return r < 0 ? r : buf_puts(ret, "\n", err);
}

int table_format(const struct table *table, struct buf *ret, struct err *err)
{
	size_t widths[TABLE_COLUMNS] = { 0 }, n = table->n_columns;
	const char *const *cells = (const char *const *)table->cells.items;
	if (table->cells.n == 0)
		return buf_puts(ret, "", err);
	for (size_t i = 0; i < n; i++)
		widths[i] = width_of(table->titles[i]);
	for (size_t i = 0; i < table->cells.n; i++)
		widths[i % n] = max_u64(widths[i % n], width_of(cells[i]));
	int r = format_row(table, table->titles, widths, ret, err);
	for (size_t i = 0; r == 0 && i < table->cells.n; i += n)
		r = format_row(table, cells + i, widths, ret, err);
	return r;
}

int table_print(const struct table *table, struct err *err)
{
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	int r = table_format(table, &text, err);
	return r < 0 ? r : output_text(text.data, text.len, err);
}

/* -- JSON ------------------------------------------------------------------------------------ */

json_t *json_with(json_t *take_array, json_t *take_item)
{
	if (json_array_append_new(take_array, take_item) == 0)
		return take_array;
	json_decref(take_array);
	return NULL;
}

int json_set_name(json_t *object, const char *key, const char *text)
{
	size_t len = strlen(text);
	if (text_is_utf8(text, len))
		return json_object_set_new(object, key, json_string(text));
	char key_b64[64];
	CLEANUP(freep) char *base64 = malloc(base64_size(len));
	CLEANUP(freep) char *readable = escaped(text);
	if (!base64 || !readable)
		return -1;
	base64_encode((const uint8_t *)text, len, base64);
	(void) snprintf(key_b64, sizeof key_b64, "%s_b64", key);
	return json_object_set_new(object, key, json_string(readable)) |
	       json_object_set_new(object, key_b64, json_string(base64));
}

json_t *json_names(const struct strv *names)
{
	json_t *array = json_array();
	for (size_t i = 0; i < names->n; i++) {
		const char *name = names->items[i];
		CLEANUP(freep) char *readable = text_is_utf8(name, strlen(name)) ? NULL : escaped(name);
		array = json_with(array, json_string(readable ? readable : name));
	}
	return array;
}

json_t *json_text_or_null(const char *text)
{
	if (!text)
		return json_null();
	CLEANUP(freep) char *readable = text_is_utf8(text, strlen(text)) ? NULL : escaped(text);
	return json_string(readable ? readable : text);
}

char *message_escape(const char *message, char *ret, size_t len)
{
	size_t have = 0;
	ret[0] = '\0';
	for (;;) {
		size_t n = strcspn(message, "\\");
		CLEANUP(freep) char *piece = strndup(message, n);
		if (piece)
			(void) text_escape(piece, ret + have, len - have);
		have += strlen(ret + have);
		if (!message[n] || len - have < 2)
			return ret;
		ret[have++] = '\\';
		ret[have] = '\0';
		message += n + 1;
	}
}

char *message_path(const char *path, char ret[static MESSAGE_PATH_SIZE])
{
	CLEANUP(freep) char *all = escaped(path);
	size_t len = all ? strlen(all) : 0;
	if (len < MESSAGE_PATH_SIZE) {
		memcpy(ret, all ? all : "", len + 1);
		return ret;
	}
	const char *end = all + len - (MESSAGE_PATH_SIZE - 1 - strlen("..."));
	while (((uint8_t)*end & 0xc0) == 0x80)
		end++; /* in the middle of a character */
	(void) snprintf(ret, MESSAGE_PATH_SIZE, "...%s", end);
	return ret;
}
