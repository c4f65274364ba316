/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

#define DIGEST_SIZE 32

/*
 * SHA-256 with the algorithm fetched once.  One thread at a time per object.
 * Every function returns 0 or -ENOMEM (the library refused).
 */
struct sha256;

int sha256_new(struct sha256 **ret, struct err *err) MUST_CHECK;
void sha256_free(struct sha256 *h);
static inline void sha256_freep(struct sha256 **h)
{
	sha256_free(*h);
}

/* begin, add …, end; after end the object can begin again. */
int sha256_begin(struct sha256 *h, struct err *err) MUST_CHECK;
int sha256_add(struct sha256 *h, const void *data, size_t len, struct err *err) MUST_CHECK;
int sha256_end(struct sha256 *h, uint8_t ret[static DIGEST_SIZE], struct err *err) MUST_CHECK;

/* The digest of @data in one go, without an object: for small things that are rare. */
int sha256_once(const void *data, size_t len, uint8_t ret[static DIGEST_SIZE],
		struct err *err) MUST_CHECK;
