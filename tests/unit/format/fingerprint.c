/* SPDX-License-Identifier: Apache-2.0 */
#include "format/fingerprint.h"

#include <string.h>

#include "data.h"
#include "unit.h"
#include "util/cleanup.h"

#define FULL "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"
#define BARE "0eabd4460b6eb9ca345023dee2b778c790e54a1683b9659c0a57ae199090159b"

static void parses_what_it_writes_and_what_people_type(void **state)
{
	static const char *const rows[] = {
		FULL, BARE, "0E:AB:D4:46:0B:6E:B9:CA:34:50:23:DE:E2:B7:78:C7:90:E5:4A:16:83:B9:65:9C:0A:57:AE:19:90:90:15:9B",
		"0EABD4460B6EB9CA345023dee2b778c790e54a1683b9659c0a57ae199090159b",
	};
	CLEANUP(crypt_key_freep) struct crypt_key *key = key_k0();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t bytes[DIGEST_SIZE];
		assert_true(fingerprint_parse(rows[i], bytes));
		assert_memory_equal(bytes, crypt_key_fingerprint(key), DIGEST_SIZE);
	}
}

static void refuses_anything_else(void **state)
{
	static const char *const rows[] = {
		"", ":", ":" FULL, FULL ":", FULL ":00", BARE "0", BARE "00", FULL " ", " " FULL, FULL "\n",
		"0e:ab:d4:46:0b:6e:b9:ca", "0e::ab", "0:eab", "ge" BARE,
		"0e-ab-d4-46-0b-6e-b9-ca-34-50-23-de-e2-b7-78-c7-90-e5-4a-16-83-b9-65-9c-0a-57-ae-19-90-90-15-9b",
		"0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9",
		"0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:",
		"0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9g",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t bytes[DIGEST_SIZE];
		CLEANUP(freep) char *text = (char *)exact_copy(rows[i], strlen(rows[i]) + 1);
		if (fingerprint_parse(text, bytes))
			fail_msg("'%s' is a fingerprint", rows[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parses_what_it_writes_and_what_people_type),
		TEST(refuses_anything_else),
	};
	return RUN_TESTS(tests);
}
