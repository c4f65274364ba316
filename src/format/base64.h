/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * base64_decode - the standard alphabet, with or without '=' at the end
 *
 * @ret:  room for 3 * @len / 4 bytes
 * False = some other character, or a length that cannot be.
 */
bool base64_decode(const char *text, size_t len, uint8_t *ret,
		   size_t *ret_len) __attribute__((warn_unused_result));

/* With '=' at the end and a NUL: base64_size(@len) bytes into @ret. */
static inline size_t base64_size(size_t len)
{
	return (len + 2) / 3 * 4 + 1;
}
void base64_encode(const uint8_t *data, size_t len, char *ret);
