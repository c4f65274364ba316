/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "crypto/crypt_key.h"

/*
 * One target per parser.  Each takes any bytes, and besides not crashing has to keep what it says:
 * MUST() fails where a result contradicts itself, whatever NDEBUG says.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(condition) ((condition) ? (void)0 : abort())

/* The key of all targets: bytes 00 to 1f, as the unit tests have it. */
static inline struct crypt_key *fuzz_key(void)
{
	uint8_t bytes[GCM_KEY_SIZE];
	struct crypt_key *key = NULL;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)i;
	MUST(crypt_key_new(bytes, &key, NULL) == 0);
	return key;
}
