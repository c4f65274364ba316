/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "cli/command.h"

/* A table for people: columns as wide as they must be, nothing at all when it is empty. */
#define TABLE_COLUMNS 8

struct table {
	const char *const *titles;
	size_t n_columns;
	uint32_t right; /* bit n: column n is flushed right */
	struct strv cells;
};

#define TABLE_EMPTY ((struct table){ 0 })
void table_deinit(struct table *table);

/* @n_columns cells; control characters are escaped. */
int table_add(struct table *table, const char *const *cells, struct err *err) MUST_CHECK;
int table_print(const struct table *table, struct err *err) MUST_CHECK;

/* Takes @json, NULL = no memory.  One document and a newline on stdout. */
int output_json(const struct options *options, json_t *take_json, struct err *err) MUST_CHECK;

/* What was printed is out: -EPIPE nobody reads it, -ENOSPC, … */
int output_flush(struct err *err) MUST_CHECK;

/* @key: @text; where that is no UTF-8, escaped, and its bytes as @key_b64.  0 or -1. */
int json_set_name(json_t *object, const char *key, const char *text);
json_t *json_names(const struct strv *names);
