/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/kdf.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"

#define SALT "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_" /* bytes 40 … 5f */

static void assert_key(const uint8_t *key, const char *hex)
{
	char text[65];
	hex_encode(key, 32, text);
	assert_string_equal(text, hex);
}

static void derives_with_scrypt(void **state)
{
	static const struct {
		const char *password, *salt;
		uint64_t n, r, p;
		const char *key;
	} rows[] = {
		{ "test-password", SALT, 65536, 8, 1,
		  "14fce11e10e2b698ad1702b53633d66560725c82f6d2fd2fa818f005cc6a437e" },
		/* RFC 7914, section 12: the first half of each */
		{ "", "", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442" },
		{ "password", "NaCl", 1024, 8, 16,
		  "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162" },
		{ "pleaseletmein", "SodiumChloride", 16384, 8, 1,
		  "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2" },
	};
	uint8_t key[32];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(kdf_scrypt(rows[i].password, strlen(rows[i].password),
					    (const uint8_t *)rows[i].salt, strlen(rows[i].salt), rows[i].n,
					    rows[i].r, rows[i].p, key, NULL), 0);
		assert_key(key, rows[i].key);
	}
}

static void derives_with_pbkdf2(void **state)
{
	static const struct {
		const char *password, *salt;
		uint64_t iterations;
		const char *key;
	} rows[] = {
		{ "test-password", SALT, 65535,
		  "bfc9c4c7f9613f067a7c2ee4ed8be88b8fcd35719bcd72c948b8e1b16eff1ee1" },
		/* RFC 7914, section 11: the first half */
		{ "passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" },
	};
	uint8_t key[32];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(kdf_pbkdf2(rows[i].password, strlen(rows[i].password),
					    (const uint8_t *)rows[i].salt, strlen(rows[i].salt),
					    rows[i].iterations, key, NULL), 0);
		assert_key(key, rows[i].key);
	}
}

static void takes_a_password_with_a_nul_in_it_whole(void **state)
{
	uint8_t one[32], other[32];
	assert_int_equal(kdf_pbkdf2("pass\0word", 9, (const uint8_t *)"salt", 4, 1, one, NULL), 0);
	assert_int_equal(kdf_pbkdf2("pass\0wort", 9, (const uint8_t *)"salt", 4, 1, other, NULL), 0);
	assert_memory_not_equal(one, other, 32);
}

static void refuses_scrypt_parameters_out_of_limits(void **state)
{
	static const struct {
		uint64_t n, r, p;
	} rows[] = {
		{ 0, 8, 1 }, { 1, 8, 1 }, { 3, 8, 1 }, { 65535, 8, 1 },
		{ 65536, 0, 1 }, { 65536, 8, 0 },
		{ 1 << 21, 8, 1 },			     /* 2 GiB */
		{ UINT64_C(1) << 63, 8, 1 },
		{ 2, UINT64_MAX, 1 }, { 2, UINT64_C(1) << 57, 1 }, /* 128 * r wraps */
		{ 2, 1, UINT64_MAX }, { 16, 1, 1u << 31 },
		{ UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX },
	};
	uint8_t key[32];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(kdf_scrypt("12345", 5, (const uint8_t *)SALT, 32, rows[i].n, rows[i].r,
					    rows[i].p, key, NULL), -EINVAL);
}

static void refuses_rounds_out_of_limits(void **state)
{
	static const uint64_t rows[] = { 0, 100000001, 1u << 31, UINT64_C(1) << 32 | 1, UINT64_MAX };
	uint8_t key[32];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(kdf_pbkdf2("12345", 5, (const uint8_t *)SALT, 32, rows[i], key, NULL),
				 -EINVAL);
}

static void draws_other_random_bytes_each_time(void **state)
{
	uint8_t one[32] = { 0 }, other[32] = { 0 };
	assert_int_equal(random_bytes(one, sizeof one, NULL), 0);
	assert_int_equal(random_bytes(other, sizeof other, NULL), 0);
	assert_memory_not_equal(one, other, sizeof one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(derives_with_scrypt),
		TEST(derives_with_pbkdf2),
		TEST(takes_a_password_with_a_nul_in_it_whole),
		TEST(refuses_scrypt_parameters_out_of_limits),
		TEST(refuses_rounds_out_of_limits),
		TEST(draws_other_random_bytes_each_time),
	};
	return RUN_TESTS(tests);
}
