/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "util/err.h"

/*
 * Room for one more item behind @n of them: @items_ptr is the address of the array's pointer, @cap
 * how many it has room for.  -ENOMEM leaves all as it was.
 */
static inline int array_grow(void *items_ptr, size_t n, size_t *cap, size_t item_size,
			     struct err *err)
{
	if (n < *cap)
		return 0;
	void *items;
	memcpy(&items, items_ptr, sizeof items); /* a pointer to whatever the items are */
	size_t larger = *cap ? 2 * *cap : 8;
	items = reallocarray(items, larger, item_size);
	if (!items)
		return err_set(err, -ENOMEM, "no memory for a list");
	memcpy(items_ptr, &items, sizeof items);
	*cap = larger;
	return 0;
}
