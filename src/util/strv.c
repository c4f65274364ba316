/* SPDX-License-Identifier: Apache-2.0 */
#include "util/strv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void strv_deinit(struct strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		freep(&v->items[i]);
	freep(&v->items);
	*v = STRV_EMPTY;
}

int strv_add(struct strv *v, const char *item, struct err *err)
{
	if (v->n == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 8;
		char **items = reallocarray(v->items, cap, sizeof *items);
		if (!items)
			return err_set(err, -ENOMEM, "no memory for a list of %zu names", cap);
		v->items = items;
		v->cap = cap;
	}
	char *copy = strdup(item);
	if (!copy)
		return err_set(err, -ENOMEM, "no memory for a name");
	v->items[v->n++] = copy;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *v)
{
	if (v->n)
		qsort(v->items, v->n, sizeof *v->items, compare);
}

void strv_sort_unique(struct strv *v)
{
	size_t n = 0;
	strv_sort(v);
	for (size_t i = 0; i < v->n; i++) {
		if (n && strcmp(v->items[n - 1], v->items[i]) == 0)
			freep(&v->items[i]);
		else
			v->items[n++] = v->items[i];
	}
	v->n = n;
}

void strv_describe(const struct strv *v, size_t most, char *ret, size_t len)
{
	size_t have = 0;
	(void) snprintf(ret, len, "%s", v->n ? "" : "none");
	for (size_t i = 0; i < v->n; i++) {
		/* " and 4294967295 more": room for it is kept free */
		size_t need = strlen(v->items[i]) + 2;
		if (i == most || have + need + 24 > len) {
			(void) snprintf(ret + have, len - have, " and %zu more", v->n - i);
			return;
		}
		have += (size_t)snprintf(ret + have, len - have, "%s%s", i ? ", " : "", v->items[i]);
	}
}
