/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "crypto/aes_gcm.h"
#include "crypto/sha256.h"
#include "util/err.h"

#define FINGERPRINT_TEXT_SIZE  96 /* "aa:bb:…", 32 pairs, with the NUL */
#define FINGERPRINT_SHORT_SIZE 24 /* 8 pairs, with the NUL */

/*
 * A backup's encryption key and what follows from it.  Lives in locked memory; immutable and
 * shared by all threads once made.
 */
struct crypt_key;

int crypt_key_new(const uint8_t enc_key[static GCM_KEY_SIZE], struct crypt_key **ret,
		  struct err *err) MUST_CHECK;
void crypt_key_free(struct crypt_key *key);
static inline void crypt_key_freep(struct crypt_key **key)
{
	crypt_key_free(*key);
}

const uint8_t *crypt_key_enc(const struct crypt_key *key); /* GCM_KEY_SIZE bytes */
const uint8_t *crypt_key_id(const struct crypt_key *key);  /* DIGEST_SIZE bytes */
const uint8_t *crypt_key_fingerprint(const struct crypt_key *key); /* DIGEST_SIZE bytes */

/* @n_bytes of the fingerprint (32, or 8 for the short form) as "aa:bb:…". */
void fingerprint_format(const uint8_t fingerprint[static DIGEST_SIZE], size_t n_bytes, char *ret);

/* HMAC-SHA256 with the id key: the manifest's signature. */
int crypt_key_sign(const struct crypt_key *key, const void *data, size_t len,
		   uint8_t ret[static DIGEST_SIZE], struct err *err) MUST_CHECK;
