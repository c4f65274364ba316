/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "cli/command.h"
#include "util/buf.h"

/*
 * output_text - results for stdout, at once or not at all
 *
 * Errors:  as write(2) has them: -EPIPE nobody reads it, -ENOSPC, ...
 */
int output_text(const char *text, size_t len, struct err *err) MUST_CHECK;

/* Takes @json, NULL = no memory.  One document and a newline on stdout. */
int output_json(const struct options *options, json_t *take_json, struct err *err) MUST_CHECK;

/* Is somebody there to read stdout?  false = the other end of the pipe is closed. */
bool output_has_reader(void);

/* A table for people: columns as wide as they must be, nothing at all when it has no rows. */
#define TABLE_COLUMNS 8

struct table {
	const char *const *titles;
	size_t n_columns; /* at most TABLE_COLUMNS */
	uint32_t right;	  /* bit n: column n is flushed right */
	struct strv cells;
};

void table_deinit(struct table *table);

/* n_columns cells; control characters are escaped. */
int table_add(struct table *table, const char *const *cells, struct err *err) MUST_CHECK;
int table_format(const struct table *table, struct buf *ret, struct err *err) MUST_CHECK;
int table_print(const struct table *table, struct err *err) MUST_CHECK;

/* @take_array with one item more; NULL in, no memory, or an item that is NULL: NULL out. */
json_t *json_with(json_t *take_array, json_t *take_item);

/* @key: @text; where that is no UTF-8, escaped, and its bytes as @key_b64.  0 or -1. */
int json_set_name(json_t *object, const char *key, const char *text);
json_t *json_names(const struct strv *names);
json_t *json_text_or_null(const char *text);

/*
 * A message fit for one line of a terminal: like text_escape(), but a backslash stays one, because
 * the names in it may have been escaped already.  Returns @ret.
 */
char *message_escape(const char *message, char *ret, size_t len);

/*
 * A path that a message begins with, fit for a terminal; of a long one the end, so that there is room for what is
 * said of it.  Returns @ret.
 */
#define MESSAGE_PATH_SIZE 512
char *message_path(const char *path, char ret[static MESSAGE_PATH_SIZE]);
