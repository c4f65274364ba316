/* SPDX-License-Identifier: Apache-2.0 */
#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_deinit(struct buf *b)
{
	freep(&b->data);
	*b = BUF_EMPTY;
}

static int reserve(struct buf *b, size_t more, struct err *err)
{
	if (more > SIZE_MAX / 2 - b->len - 1)
		return err_set(err, -ENOMEM, "no memory for a text that long");
	size_t want = b->len + more + 1;
	if (want <= b->cap)
		return 0;
	size_t cap = b->cap ? b->cap : 256;
	while (cap < want)
		cap *= 2;
	char *data = realloc(b->data, cap);
	if (!data)
		return err_set(err, -ENOMEM, "no memory for %zu bytes of text", cap);
	b->data = data;
	b->cap = cap;
	return 0;
}

int buf_add(struct buf *b, const void *data, size_t len, struct err *err)
{
	int r = reserve(b, len, err);
	if (r < 0)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_puts(struct buf *b, const char *text, struct err *err)
{
	return buf_add(b, text, strlen(text), err);
}

int buf_printf(struct buf *b, struct err *err, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	int r = n < 0 ? err_set(err, -EINVAL, "text cannot be formatted") : reserve(b, (size_t)n, err);
	if (r == 0) {
		(void) vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return r;
}
