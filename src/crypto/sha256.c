/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct sha256 {
	EVP_MD *md; /* fetched once: a look-up by name for every chunk costs more than small chunks */
	EVP_MD_CTX *ctx;
};

int sha256_new(struct sha256 **ret, struct err *err)
{
	CLEANUP(sha256_freep) struct sha256 *h = calloc(1, sizeof *h);
	if (!h)
		return err_set(err, -ENOMEM, "no memory for SHA-256");
	h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	h->ctx = EVP_MD_CTX_new();
	if (!h->md || !h->ctx)
		return err_set(err, -ENOMEM, "SHA-256 is not to be had from the crypto library");
	*ret = STEAL(h);
	return 0;
}

void sha256_free(struct sha256 *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	free(h);
}

static int check(int ok, struct err *err)
{
	return ok == 1 ? 0 : err_set(err, -ENOMEM, "SHA-256 failed");
}

int sha256_begin(struct sha256 *h, struct err *err)
{
	return check(EVP_DigestInit_ex2(h->ctx, h->md, NULL), err);
}

int sha256_add(struct sha256 *h, const void *data, size_t len, struct err *err)
{
	return check(EVP_DigestUpdate(h->ctx, data, len), err);
}

int sha256_end(struct sha256 *h, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	return check(EVP_DigestFinal_ex(h->ctx, ret, NULL), err);
}

int sha256_once(const void *data, size_t len, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	return check(EVP_Q_digest(NULL, "SHA256", NULL, data, len, ret, NULL), err);
}
