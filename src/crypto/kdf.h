/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* 32 bytes from a password.  -EINVAL: parameters the library or our limits refuse. */
int kdf_scrypt(const void *password, size_t password_len, const uint8_t *salt, size_t salt_len,
	       uint64_t n, uint64_t r, uint64_t p, uint8_t ret[static 32],
	       struct err *err) MUST_CHECK;
int kdf_pbkdf2(const void *password, size_t password_len, const uint8_t *salt, size_t salt_len,
	       uint64_t iterations, uint8_t ret[static 32], struct err *err) MUST_CHECK;

int random_bytes(uint8_t *ret, size_t len, struct err *err) MUST_CHECK;
