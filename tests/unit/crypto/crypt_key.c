/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/crypt_key.h"

#include <string.h>

#include "crypto/kdf.h"
#include "unit.h"
#include "util/bytes.h"

static void assert_hex(const uint8_t *data, const char *hex)
{
	char text[2 * DIGEST_SIZE + 1];
	hex_encode(data, DIGEST_SIZE, text);
	assert_string_equal(text, hex);
}

static struct crypt_key *key_k0(uint8_t bytes[static GCM_KEY_SIZE])
{
	struct crypt_key *key = NULL;
	for (size_t i = 0; i < GCM_KEY_SIZE; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crypt_key_new(bytes, &key, NULL), 0);
	return key;
}

static void derives_id_key_and_fingerprint(void **state)
{
	uint8_t bytes[GCM_KEY_SIZE];
	CLEANUP(crypt_key_freep) struct crypt_key *key = key_k0(bytes);
	assert_memory_equal(crypt_key_enc(key), bytes, GCM_KEY_SIZE);
	assert_hex(crypt_key_id(key), "7c2c013efd07f3b25717a485263343cd4d292a4b65c200bb3b18ea227abe225c");
	assert_hex(crypt_key_fingerprint(key),
		   "0eabd4460b6eb9ca345023dee2b778c790e54a1683b9659c0a57ae199090159b");
}

static void writes_a_fingerprint_in_full_and_in_short(void **state)
{
	uint8_t bytes[GCM_KEY_SIZE];
	CLEANUP(crypt_key_freep) struct crypt_key *key = key_k0(bytes);
	char full[FINGERPRINT_TEXT_SIZE], brief[FINGERPRINT_SHORT_SIZE];
	fingerprint_format(crypt_key_fingerprint(key), DIGEST_SIZE, full);
	assert_string_equal(full, "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:"
				  "90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b");
	fingerprint_format(crypt_key_fingerprint(key), 8, brief);
	assert_string_equal(brief, "0e:ab:d4:46:0b:6e:b9:ca");
}

#define CSUM_01 "0101010101010101010101010101010101010101010101010101010101010101"
#define CSUM_02 "0202020202020202020202020202020202020202020202020202020202020202"

/* The manifest that the reference client's own tests sign. */
static void signs_like_the_reference_client(void **state)
{
	static const char text[] =
		"{\"backup-id\":\"elsa\",\"backup-time\":1593179765,\"backup-type\":\"host\",\"files\":["
		"{\"crypt-mode\":\"encrypt\",\"csum\":\"" CSUM_01
		"\",\"filename\":\"test1.img.fidx\",\"size\":200},"
		"{\"crypt-mode\":\"none\",\"csum\":\"" CSUM_02 "\",\"filename\":\"abc.blob\",\"size\":200}]}";
	CLEANUP(crypt_key_freep) struct crypt_key *key = NULL;
	uint8_t bytes[GCM_KEY_SIZE], signature[DIGEST_SIZE];
	assert_int_equal(kdf_scrypt("test", 4, (const uint8_t *)"", 0, 65536, 8, 1, bytes, NULL), 0);
	assert_int_equal(crypt_key_new(bytes, &key, NULL), 0);
	assert_int_equal(crypt_key_sign(key, text, strlen(text), signature, NULL), 0);
	assert_hex(signature, "d7b446fb7db081662081d4b40fedd858a1d6307a5aff4ecff7d5bf4fd35679e9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(derives_id_key_and_fingerprint),
		TEST(writes_a_fingerprint_in_full_and_in_short),
		TEST(signs_like_the_reference_client),
	};
	return RUN_TESTS(tests);
}
