/* SPDX-License-Identifier: Apache-2.0 */
#include "util/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(struct err *err, const char *fmt, va_list args) PRINTF(2, 0);
static void append(struct err *err, const char *fmt, va_list args)
{
	size_t have = strlen(err->msg);
	(void) vsnprintf(err->msg + have, sizeof err->msg - have, fmt, args);
}

static void append_text(struct err *err, const char *text)
{
	size_t have = strlen(err->msg);
	(void) snprintf(err->msg + have, sizeof err->msg - have, "%s", text);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	int saved = errno;
	va_list args;
	va_start(args, fmt);
	*err = (struct err){ .code = code };
	append(err, fmt, args);
	va_end(args);
	errno = saved;
	return code;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	int saved = errno;
	char text[128];
	const char *why = strerror_r(-code, text, sizeof text);
	va_list args;
	va_start(args, fmt);
	*err = (struct err){ .code = code };
	append(err, fmt, args);
	va_end(args);
	append_text(err, ": ");
	append_text(err, why);
	errno = saved;
	return code;
}

int err_while(struct err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	int saved = errno;
	va_list args;
	va_start(args, fmt);
	err->code = code;
	append_text(err, ", while ");
	append(err, fmt, args);
	va_end(args);
	errno = saved;
	return code;
}
