/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "crypto/sha256.h"

/* "aa:bb:…" of 32 bytes, either case, colons optional; false = something else. */
bool fingerprint_parse(const char *text, uint8_t ret[static DIGEST_SIZE]) MUST_CHECK;
