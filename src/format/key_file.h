/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/crypt_key.h"
#include "util/err.h"
#include "util/secret.h"

#define KEY_FILE_MAX (64u << 10)

enum key_kdf { KEY_KDF_NONE, KEY_KDF_SCRYPT, KEY_KDF_PBKDF2 };

/* An encryption key's JSON file, parsed.  Source: reference client, "Encryption". */
struct key_file {
	enum key_kdf kdf;
	uint64_t n, r, p;      /* scrypt */
	uint64_t iterations;   /* PBKDF2 */
	uint8_t *salt;
	size_t salt_len;
	struct secret data;    /* the key, or IV, tag and ciphertext of it */
	bool has_fingerprint;
	uint8_t fingerprint[DIGEST_SIZE];
	char *hint;	       /* the user's own password hint; NULL = none */
};

/**
 * key_file_parse - the file's text, also between the marker lines of a paper key
 *
 * Errors:  -EBADMSG
 * Threads: pure
 */
int key_file_parse(const char *text, size_t len, struct key_file *ret, struct err *err) MUST_CHECK;
void key_file_deinit(struct key_file *file);

/**
 * key_file_open - the key in it
 *
 * @password:  NULL when kdf is none
 *
 * Errors:  -EKEYREJECTED  wrong password (the hint is in the message), or the key does not have
 *                         the fingerprint the file says
 *          -EINVAL        password too short, parameters out of limits
 */
int key_file_open(const struct key_file *file, const struct secret *password,
		  struct crypt_key **ret, struct err *err) MUST_CHECK;
