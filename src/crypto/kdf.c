/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/kdf.h"

#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* bytes; what the reference client allows, so that no key file can ask for all memory */
#define SCRYPT_MAX_MEMORY 1074790400u
/* a hundred million rounds are half a minute */
#define PBKDF2_MAX_ITERATIONS 100000000u

int kdf_scrypt(const void *password, size_t password_len, const uint8_t *salt, size_t salt_len,
	       uint64_t n, uint64_t r, uint64_t p, uint8_t ret[static 32], struct err *err)
{
	/* 128 * n * r is what it needs; p blocks of 128 * r are worked on one after the other. */
	if (n < 2 || (n & (n - 1)) || r == 0 || p == 0 || r > 1u << 20 || p > 1u << 10 ||
	    n > SCRYPT_MAX_MEMORY / (128 * r))
		return err_set(err, -EINVAL,
			       "scrypt parameters out of limits: n %" PRIu64 ", r %" PRIu64
			       ", p %" PRIu64, n, r, p);
	if (EVP_PBE_scrypt(password, password_len, salt, salt_len, n, r, p, SCRYPT_MAX_MEMORY, ret,
			   32) != 1)
		return err_set(err, -EINVAL, "scrypt failed: not enough memory, or parameters refused");
	return 0;
}

int kdf_pbkdf2(const void *password, size_t password_len, const uint8_t *salt, size_t salt_len,
	       uint64_t iterations, uint8_t ret[static 32], struct err *err)
{
	if (iterations == 0 || iterations > PBKDF2_MAX_ITERATIONS || password_len > INT_MAX ||
	    salt_len > INT_MAX)
		return err_set(err, -EINVAL, "PBKDF2 parameters out of limits: %" PRIu64 " rounds",
			       iterations);
	if (PKCS5_PBKDF2_HMAC(password, (int)password_len, salt, (int)salt_len, (int)iterations,
			      EVP_sha256(), 32, ret) != 1)
		return err_set(err, -EINVAL, "PBKDF2 failed");
	return 0;
}

int random_bytes(uint8_t *ret, size_t len, struct err *err)
{
	if (len > INT_MAX || RAND_bytes(ret, (int)len) != 1)
		return err_set(err, -EIO, "no random numbers to be had");
	return 0;
}
