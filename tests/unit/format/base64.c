/* SPDX-License-Identifier: Apache-2.0 */
#include "format/base64.h"

#include <string.h>

#include "data.h"
#include "unit.h"
#include "util/cleanup.h"

/* Into memory that is as large as the header demands, and no byte more. */
static bool decode(const char *text, size_t len, uint8_t **ret, size_t *ret_len)
{
	uint8_t *bytes = malloc(3 * len / 4);
	*ret = bytes;
	return base64_decode(text, len, bytes, ret_len);
}

static void decodes_with_and_without_padding(void **state)
{
	static const struct {
		const char *text, *bytes;
	} rows[] = {
		/* RFC 4648, section 10 */
		{ "", "" }, { "Zg==", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" }, { "Zm9vYg==", "foob" },
		{ "Zm9vYmE=", "fooba" }, { "Zm9vYmFy", "foobar" },
		{ "Zg", "f" }, { "Zm8", "fo" }, { "Zm9vYg", "foob" }, { "Zm9vYmE", "fooba" },
		{ "+/+/", "\xfb\xff\xbf" }, { "AZaz09+/", "\x01\x96\xb3\xd3\xdf\xbf" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(freep) uint8_t *bytes = NULL;
		size_t len = 99;
		assert_true(decode(rows[i].text, strlen(rows[i].text), &bytes, &len));
		assert_int_equal(len, strlen(rows[i].bytes));
		if (len)
			assert_memory_equal(bytes, rows[i].bytes, len);
	}
}

static void refuses_other_characters_and_lengths(void **state)
{
	static const char *const rows[] = {
		"Z", "Zm9vY", "=", "==", "===", "====", "Z===", "Zg=", "Zg===", "Zm8==", "Zm9v=", "Zm9v====", "=Zg=",
		"Z=g=", "Zg==Zg==", "Zm 8", "Zm8\n", " Zm8", "Zm-_", "Zm8\xff", "Zm\xc3\xa4",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(freep) uint8_t *bytes = NULL;
		size_t len;
		if (decode(rows[i], strlen(rows[i]), &bytes, &len))
			fail_msg("'%s' is base64", rows[i]);
	}
	CLEANUP(freep) uint8_t *bytes = NULL;
	size_t len;
	assert_false(decode("Zm\0v", 4, &bytes, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(decodes_with_and_without_padding),
		TEST(refuses_other_characters_and_lengths),
	};
	return RUN_TESTS(tests);
}
