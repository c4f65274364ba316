/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "crypto/sha256.h"
#include "util/err.h"

/*
 * Certificates that the user confirmed, of servers that no authority vouches for: the reference client's file
 * "fingerprints", a line "HOST FINGERPRINT" for each.
 *
 * @host:  without port, an IPv6 address in brackets
 */

/**
 * fingerprints_find
 *
 * Lines of another form are passed over; of several for a host the first counts.
 *
 * Returns: 1 = known, 0 = not
 * Errors:  -errno the file is there, and cannot be read
 */
int fingerprints_find(const char *host, uint8_t ret[static DIGEST_SIZE], struct err *err) MUST_CHECK;

/* In the place of those it had; other lines stay as they are. */
int fingerprints_remember(const char *host, const uint8_t fingerprint[static DIGEST_SIZE],
			  struct err *err) MUST_CHECK;
