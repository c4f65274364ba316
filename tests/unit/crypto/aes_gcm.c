/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aes_gcm.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"

/* key 00 … 1f, IV 00 … 0f; made with another implementation, accepted by the reference client */
static const char plain[] = "hello world";
static const char sealed_hex[] = "0f09cc1a56c43d47ef93bf", tag_hex[] = "a9ec4f75b28d75c1dfab55ba3413c59a";
enum { LEN = sizeof plain - 1 };

struct fixture {
	struct aes_gcm *gcm;
	uint8_t key[GCM_KEY_SIZE], iv[GCM_IV_SIZE], tag[GCM_TAG_SIZE], sealed[LEN];
};

static struct fixture f;

static int set_up(void **state)
{
	for (size_t i = 0; i < sizeof f.key; i++)
		f.key[i] = (uint8_t)i;
	memcpy(f.iv, f.key, sizeof f.iv);
	return hex_decode(tag_hex, f.tag, sizeof f.tag) && hex_decode(sealed_hex, f.sealed, LEN) ?
		       aes_gcm_new(&f.gcm, NULL) : -1;
}

static int tear_down(void **state)
{
	aes_gcm_free(f.gcm);
	f.gcm = NULL;
	return 0;
}

static int open_into(uint8_t out[static LEN])
{
	return aes_gcm_open(f.gcm, f.key, f.iv, f.tag, f.sealed, LEN, out, NULL);
}

static void seals_with_an_iv_of_sixteen_bytes(void **state)
{
	uint8_t out[LEN], tag[GCM_TAG_SIZE];
	assert_int_equal(aes_gcm_seal(f.gcm, f.key, f.iv, (const uint8_t *)plain, LEN, out, tag, NULL), 0);
	assert_memory_equal(out, f.sealed, LEN);
	assert_memory_equal(tag, f.tag, GCM_TAG_SIZE);
}

static void opens_what_was_sealed(void **state)
{
	uint8_t out[LEN];
	assert_int_equal(open_into(out), 0);
	assert_memory_equal(out, plain, LEN);
}

static void opens_in_place(void **state)
{
	assert_int_equal(open_into(f.sealed), 0);
	assert_memory_equal(f.sealed, plain, LEN);
}

static void opens_nothing_when_the_tag_of_nothing_fits(void **state)
{
	uint8_t none[1] = { 0 }, tag[GCM_TAG_SIZE];
	assert_int_equal(aes_gcm_seal(f.gcm, f.key, f.iv, none, 0, none, tag, NULL), 0);
	assert_int_equal(aes_gcm_open(f.gcm, f.key, f.iv, tag, none, 0, none, NULL), 0);
	tag[0] ^= 1;
	assert_int_equal(aes_gcm_open(f.gcm, f.key, f.iv, tag, none, 0, none, NULL), -EBADMSG);
}

/* Every bit of key, IV, tag and ciphertext counts; what came out is wiped; the next call works. */
static void refuses_one_flipped_bit_and_keeps_what_it_decrypted_to_itself(void **state)
{
	static const uint8_t zeros[LEN];
	const struct {
		uint8_t *data;
		size_t len;
	} parts[] = {
		{ f.key, sizeof f.key }, { f.iv, sizeof f.iv }, { f.tag, sizeof f.tag },
		{ f.sealed, sizeof f.sealed },
	};
	uint8_t out[LEN];
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		for (size_t bit = 0; bit < 8 * parts[i].len; bit++) {
			parts[i].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(open_into(out), -EBADMSG);
			assert_memory_equal(out, zeros, LEN);
			parts[i].data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	assert_int_equal(open_into(out), 0);
	assert_memory_equal(out, plain, LEN);
}

#define GCM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GCM_TEST(seals_with_an_iv_of_sixteen_bytes),
		GCM_TEST(opens_what_was_sealed),
		GCM_TEST(opens_in_place),
		GCM_TEST(opens_nothing_when_the_tag_of_nothing_fits),
		GCM_TEST(refuses_one_flipped_bit_and_keeps_what_it_decrypted_to_itself),
	};
	return RUN_TESTS(tests);
}
