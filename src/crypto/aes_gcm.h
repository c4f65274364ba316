/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

#define GCM_KEY_SIZE 32
#define GCM_IV_SIZE  16 /* not the usual 12 */
#define GCM_TAG_SIZE 16

/* AES-256-GCM with a 16-byte IV and no associated data.  One thread at a time per object. */
struct aes_gcm;

int aes_gcm_new(struct aes_gcm **ret, struct err *err) MUST_CHECK;
void aes_gcm_free(struct aes_gcm *gcm);
static inline void aes_gcm_freep(struct aes_gcm **gcm)
{
	aes_gcm_free(*gcm);
}

/**
 * aes_gcm_open - decrypt and check; @in and @out may be the same memory
 *
 * Errors:  -EBADMSG  the tag does not verify: nothing in @out may be used (it is wiped)
 */
int aes_gcm_open(struct aes_gcm *gcm, const uint8_t key[static GCM_KEY_SIZE],
		 const uint8_t iv[static GCM_IV_SIZE], const uint8_t tag[static GCM_TAG_SIZE],
		 const uint8_t *in, size_t len, uint8_t *out, struct err *err) MUST_CHECK;

int aes_gcm_seal(struct aes_gcm *gcm, const uint8_t key[static GCM_KEY_SIZE],
		 const uint8_t iv[static GCM_IV_SIZE], const uint8_t *in, size_t len, uint8_t *out,
		 uint8_t ret_tag[static GCM_TAG_SIZE], struct err *err) MUST_CHECK;
