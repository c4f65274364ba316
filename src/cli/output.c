/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/base64.h"
#include "util/bytes.h"
#include "util/text.h"

#define CELL_SIZE 4096 /* bytes of a cell, escaped */

void table_deinit(struct table *table)
{
	strv_deinit(&table->cells);
}

int table_add(struct table *table, const char *const *cells, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < table->n_columns; i++) {
		char text[CELL_SIZE];
		r = strv_add(&table->cells, text_escape(cells[i], text, sizeof text), err);
	}
	return r;
}

static void print_row(const struct table *table, const char *const *cells, const size_t *widths)
{
	for (size_t i = 0; i < table->n_columns; i++) {
		bool is_last = i == table->n_columns - 1;
		int width = (int)widths[i];
		if (table->right & 1u << i)
			(void) printf("%*s%s", width, cells[i], is_last ? "" : "  ");
		else
			(void) printf("%-*s%s", is_last ? 0 : width, cells[i], is_last ? "" : "  ");
	}
	(void) putchar('\n');
}

int table_print(const struct table *table, struct err *err)
{
	size_t widths[TABLE_COLUMNS] = { 0 };
	const struct strv *cells = &table->cells;
	if (cells->n == 0)
		return output_flush(err);
	for (size_t i = 0; i < table->n_columns; i++)
		widths[i] = strlen(table->titles[i]);
	for (size_t i = 0; i < cells->n; i++) {
		size_t len = strlen(cells->items[i]), *width = &widths[i % table->n_columns];
		*width = len > *width ? len : *width;
	}
	print_row(table, table->titles, widths);
	for (size_t i = 0; i < cells->n; i += table->n_columns)
		print_row(table, (const char *const *)cells->items + i, widths);
	return output_flush(err);
}

int output_flush(struct err *err)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	int r = errno ? -errno : -EIO;
	clearerr(stdout);
	return err_errno(err, r, "cannot write the result");
}

int output_json(const struct options *options, json_t *take_json, struct err *err)
{
	size_t flags = options->is_json_pretty ? JSON_INDENT(2) : JSON_COMPACT;
	CLEANUP(freep) char *text = take_json ? json_dumps(take_json, flags | JSON_ENCODE_ANY) : NULL;
	json_decref(take_json);
	if (!text)
		return err_set(err, -ENOMEM, "no memory for the result");
	(void) printf("%s\n", text);
	return output_flush(err);
}

int json_set_name(json_t *object, const char *key, const char *text)
{
	size_t len = strlen(text);
	if (text_is_utf8(text, len))
		return json_object_set_new(object, key, json_string(text));
	char key_b64[64], escaped[CELL_SIZE];
	CLEANUP(freep) char *base64 = malloc(base64_size(len));
	if (!base64)
		return -1;
	base64_encode((const uint8_t *)text, len, base64);
	(void) snprintf(key_b64, sizeof key_b64, "%s_b64", key);
	return json_object_set_new(object, key, json_string(text_escape(text, escaped, sizeof escaped))) |
	       json_object_set_new(object, key_b64, json_string(base64));
}

json_t *json_names(const struct strv *names)
{
	json_t *array = json_array();
	for (size_t i = 0; array && i < names->n; i++) {
		char escaped[CELL_SIZE];
		const char *name = names->items[i];
		if (!text_is_utf8(name, strlen(name)))
			name = text_escape(name, escaped, sizeof escaped);
		if (json_array_append_new(array, json_string(name)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}
