/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* A growing run of bytes; data[len] is always NUL once anything was added. */
struct buf {
	char *data;
	size_t len, cap;
};

#define BUF_EMPTY ((struct buf){ 0 })

void buf_deinit(struct buf *b);

/* -ENOMEM is the only failure; @b keeps what it had. */
int buf_add(struct buf *b, const void *data, size_t len, struct err *err) MUST_CHECK;
int buf_puts(struct buf *b, const char *text, struct err *err) MUST_CHECK;
int buf_printf(struct buf *b, struct err *err, const char *fmt, ...) MUST_CHECK PRINTF(3, 4);
