/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_plain(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c && strchr("*-._", c));
}

/* Form encoding, as the URL standard has it. */
static int add_encoded(struct buf *b, const char *text, struct err *err)
{
	int r = 0;
	for (; r == 0 && *text; text++) {
		if (is_plain(*text))
			r = buf_add(b, text, 1, err);
		else if (*text == ' ')
			r = buf_puts(b, "+", err);
		else
			r = buf_printf(b, err, "%%%02X", (uint8_t)*text);
	}
	return r;
}

int url_add_query(struct buf *b, const char *name, const char *value, struct err *err)
{
	bool is_first = b->len == 0 || !memchr(b->data, '?', b->len);
	int r = buf_puts(b, is_first ? "?" : "&", err);
	if (r == 0)
		r = add_encoded(b, name, err);
	if (r == 0)
		r = buf_puts(b, "=", err);
	return r == 0 ? add_encoded(b, value, err) : r;
}
