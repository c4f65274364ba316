/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aes_gcm.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/secret.h"

struct aes_gcm {
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
};

int aes_gcm_new(struct aes_gcm **ret, struct err *err)
{
	CLEANUP(aes_gcm_freep) struct aes_gcm *gcm = calloc(1, sizeof *gcm);
	if (!gcm)
		return err_set(err, -ENOMEM, "no memory for AES");
	gcm->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	gcm->ctx = EVP_CIPHER_CTX_new();
	if (!gcm->cipher || !gcm->ctx)
		return err_set(err, -ENOMEM, "AES-256-GCM is not to be had from the crypto library");
	*ret = STEAL(gcm);
	return 0;
}

void aes_gcm_free(struct aes_gcm *gcm)
{
	if (!gcm)
		return;
	EVP_CIPHER_CTX_free(gcm->ctx);
	EVP_CIPHER_free(gcm->cipher);
	free(gcm);
}

/* The length of the IV must be known before key and IV are set: its block counter follows from it. */
static bool begin(struct aes_gcm *gcm, const uint8_t *key, const uint8_t *iv, int is_seal)
{
	return EVP_CipherInit_ex(gcm->ctx, gcm->cipher, NULL, NULL, NULL, is_seal) == 1 &&
	       EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_IVLEN, GCM_IV_SIZE, NULL) == 1 &&
	       EVP_CipherInit_ex(gcm->ctx, NULL, NULL, key, iv, is_seal) == 1;
}

int aes_gcm_open(struct aes_gcm *gcm, const uint8_t key[static GCM_KEY_SIZE],
		 const uint8_t iv[static GCM_IV_SIZE], const uint8_t tag[static GCM_TAG_SIZE],
		 const uint8_t *in, size_t len, uint8_t *out, struct err *err)
{
	uint8_t tag_copy[GCM_TAG_SIZE];
	memcpy(tag_copy, tag, GCM_TAG_SIZE);
	int n = 0;
	if (len > INT_MAX || !begin(gcm, key, iv, 0) ||
	    EVP_DecryptUpdate(gcm->ctx, out, &n, in, (int)len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_SIZE, tag_copy) != 1)
		return err_set(err, -ENOMEM, "decryption failed");
	if (EVP_DecryptFinal_ex(gcm->ctx, out + n, &n) != 1) {
		secret_wipe(out, len);
		return err_set(err, -EBADMSG, "authentication tag does not match");
	}
	return 0;
}

int aes_gcm_seal(struct aes_gcm *gcm, const uint8_t key[static GCM_KEY_SIZE],
		 const uint8_t iv[static GCM_IV_SIZE], const uint8_t *in, size_t len, uint8_t *out,
		 uint8_t ret_tag[static GCM_TAG_SIZE], struct err *err)
{
	int n = 0, rest = 0;
	if (len > INT_MAX || !begin(gcm, key, iv, 1) ||
	    EVP_EncryptUpdate(gcm->ctx, out, &n, in, (int)len) != 1 ||
	    EVP_EncryptFinal_ex(gcm->ctx, out + n, &rest) != 1 ||
	    EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_SIZE, ret_tag) != 1)
		return err_set(err, -ENOMEM, "encryption failed");
	return 0;
}
