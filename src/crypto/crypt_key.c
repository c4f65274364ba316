/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/crypt_key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/kdf.h"
#include "util/bytes.h"
#include "util/secret.h"

struct crypt_key {
	struct secret keys; /* encryption key, then id key */
	uint8_t fingerprint[DIGEST_SIZE];
};

static const char fingerprint_text[] = "Proxmox Backup Encryption Key Fingerprint";
static const uint8_t id_key_salt[] = { '_', 'i', 'd', '_', 'k', 'e', 'y' };
enum { ID_KEY_ITERATIONS = 10 }; /* fixed by the format; the input is a full key already */

/* SHA-256 of a constant (itself the SHA-256 of a text) and the id key. */
static int find_fingerprint(struct crypt_key *key, struct err *err)
{
	CLEANUP(sha256_freep) struct sha256 *h = NULL;
	uint8_t constant[DIGEST_SIZE];
	int r = sha256_once(fingerprint_text, sizeof fingerprint_text - 1, constant, err);
	if (r == 0)
		r = sha256_new(&h, err);
	if (r == 0)
		r = sha256_begin(h, err);
	if (r == 0)
		r = sha256_add(h, constant, sizeof constant, err);
	if (r == 0)
		r = sha256_add(h, crypt_key_id(key), DIGEST_SIZE, err);
	return r == 0 ? sha256_end(h, key->fingerprint, err) : r;
}

int crypt_key_new(const uint8_t enc_key[static GCM_KEY_SIZE], struct crypt_key **ret,
		  struct err *err)
{
	CLEANUP(crypt_key_freep) struct crypt_key *key = calloc(1, sizeof *key);
	if (!key)
		return err_set(err, -ENOMEM, "no memory for a key");
	int r = secret_init(&key->keys, GCM_KEY_SIZE + DIGEST_SIZE, err);
	if (r < 0)
		return r;
	memcpy(key->keys.data, enc_key, GCM_KEY_SIZE);
	r = kdf_pbkdf2(enc_key, GCM_KEY_SIZE, id_key_salt, sizeof id_key_salt, ID_KEY_ITERATIONS,
		       key->keys.data + GCM_KEY_SIZE, err);
	if (r == 0)
		r = find_fingerprint(key, err);
	if (r < 0)
		return r;
	*ret = STEAL(key);
	return 0;
}

void crypt_key_free(struct crypt_key *key)
{
	if (!key)
		return;
	secret_deinit(&key->keys);
	free(key);
}

const uint8_t *crypt_key_enc(const struct crypt_key *key)
{
	return key->keys.data;
}

const uint8_t *crypt_key_id(const struct crypt_key *key)
{
	return key->keys.data + GCM_KEY_SIZE;
}

const uint8_t *crypt_key_fingerprint(const struct crypt_key *key)
{
	return key->fingerprint;
}

void fingerprint_format(const uint8_t fingerprint[static DIGEST_SIZE], size_t n_bytes, char *ret)
{
	for (size_t i = 0; i < n_bytes; i++) {
		hex_encode(fingerprint + i, 1, ret + 3 * i);
		ret[3 * i + 2] = ':';
	}
	ret[3 * n_bytes - 1] = '\0';
}

int crypt_key_sign(const struct crypt_key *key, const void *data, size_t len,
		   uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	if (!HMAC(EVP_sha256(), crypt_key_id(key), DIGEST_SIZE, data, len, ret, NULL))
		return err_set(err, -ENOMEM, "HMAC failed");
	return 0;
}
