/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * Bytes nobody else may see: in pages of their own, locked in memory where the limit allows,
 * wiped by the destructor.  @data has a NUL behind @len.  Of a process that ever had one there is no core dump.
 */
struct secret {
	uint8_t *data;
	size_t len, map_len;
};

#define SECRET_EMPTY ((struct secret){ 0 })

int secret_init(struct secret *s, size_t len, struct err *err) MUST_CHECK;
int secret_init_copy(struct secret *s, const void *data, size_t len, struct err *err) MUST_CHECK;
void secret_deinit(struct secret *s);

/* Overwrite memory in a way the compiler keeps. */
void secret_wipe(void *data, size_t len);

/* For memory of malloc() that may hold a secret; NULL is fine. */
void secret_wipe_and_free(void *data, size_t len);

/* Same time whatever the bytes are. */
bool secret_is_equal(const void *a, const void *b, size_t len);
