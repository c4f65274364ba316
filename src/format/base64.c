/* SPDX-License-Identifier: Apache-2.0 */
#include "format/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

bool base64_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len)
{
	if (len % 4 == 0)
		for (int i = 0; i < 2 && len && text[len - 1] == '='; i++)
			len--;
	if (len % 4 == 1)
		return false;
	uint32_t bits = 0;
	int n_bits = 0;
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		int value = value_of(text[i]);
		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			ret[n++] = (uint8_t)(bits >> n_bits);
		}
	}
	*ret_len = n;
	return true;
}

void base64_encode(const uint8_t *data, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
				(n > 2 ? data[i + 2] : 0);
		for (size_t j = 0; j < 4; j++)
			*ret++ = j <= n ? alphabet[bits >> (18 - 6 * j) & 63] : '=';
	}
	*ret = '\0';
}
