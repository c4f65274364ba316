/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sha256.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"

/* FIPS 180-2, appendix B, and the empty message */
static const struct {
	const char *text, *digest;
} rows[] = {
	{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static void assert_digest(const uint8_t *digest, const char *hex)
{
	char text[2 * DIGEST_SIZE + 1];
	hex_encode(digest, DIGEST_SIZE, text);
	assert_string_equal(text, hex);
}

static void agrees_with_the_standard_in_one_go(void **state)
{
	uint8_t digest[DIGEST_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(sha256_once(rows[i].text, strlen(rows[i].text), digest, NULL), 0);
		assert_digest(digest, rows[i].digest);
	}
}

static void agrees_with_the_standard_in_any_number_of_pieces(void **state)
{
	CLEANUP(sha256_freep) struct sha256 *h = NULL;
	uint8_t digest[DIGEST_SIZE];
	assert_int_equal(sha256_new(&h, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t step = 1; step < 60; step++) {
			size_t len = strlen(rows[i].text);
			assert_int_equal(sha256_begin(h, NULL), 0);
			for (size_t at = 0; at < len; at += step)
				assert_int_equal(sha256_add(h, rows[i].text + at, min_size(step, len - at),
							    NULL), 0);
			assert_int_equal(sha256_end(h, digest, NULL), 0);
			assert_digest(digest, rows[i].digest);
		}
	}
}

static void begins_anew_however_the_last_one_ended(void **state)
{
	CLEANUP(sha256_freep) struct sha256 *h = NULL;
	uint8_t digest[DIGEST_SIZE];
	assert_int_equal(sha256_new(&h, NULL), 0);
	assert_int_equal(sha256_begin(h, NULL), 0);
	assert_int_equal(sha256_add(h, "left behind", 11, NULL), 0);
	assert_int_equal(sha256_begin(h, NULL), 0);
	assert_int_equal(sha256_end(h, digest, NULL), 0);
	assert_digest(digest, rows[0].digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(agrees_with_the_standard_in_one_go),
		TEST(agrees_with_the_standard_in_any_number_of_pieces),
		TEST(begins_anew_however_the_last_one_ended),
	};
	return RUN_TESTS(tests);
}
