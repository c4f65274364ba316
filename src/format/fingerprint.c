/* SPDX-License-Identifier: Apache-2.0 */
#include "format/fingerprint.h"

#include "util/bytes.h"

bool fingerprint_parse(const char *text, uint8_t ret[static DIGEST_SIZE])
{
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		if (i && *text == ':')
			text++;
		if (!hex_decode(text, ret + i, 1))
			return false;
		text += 2;
	}
	return *text == '\0';
}
