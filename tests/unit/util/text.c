/* SPDX-License-Identifier: Apache-2.0 */
#include "util/text.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/strv.h"

static void escapes_what_a_terminal_would_act_on(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "plain.img", "plain.img" },
		{ "ünïcode", "ünïcode" },
		{ "a\nb", "a\\x0ab" },
		{ "\033[31mred", "\\x1b[31mred" },
		{ "\x7f", "\\x7f" },
		{ "\xc2\x9b" "31m", "\\xc2\\x9b31m" }, /* C1 CSI in UTF-8 */
		{ "\xff", "\\xff" },
		{ "\xc0\xaf", "\\xc0\\xaf" },		/* overlong */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },	/* surrogate */
		{ "back\\slash", "back\\\\slash" },
		{ "", "" },
	};
	char text[64];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(text_escape(rows[i].in, text, sizeof text), rows[i].out);
}

static void never_cuts_inside_an_escape(void **state)
{
	char text[6];
	assert_string_equal(text_escape("ab\n\n", text, sizeof text), "ab");
	assert_string_equal(text_escape("aüüü", text, sizeof text), "aüü");
}

static void knows_utf8(void **state)
{
	assert_true(text_is_utf8("a\xf0\x9f\x98\x80z", 6));
	assert_false(text_is_utf8("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
	assert_false(text_is_utf8("\xe2\x82", 2));	   /* cut */
}

static void prints_sizes_like_the_reference_client(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" }, { 512, "512 B" }, { 20971520 + 459, "20 MiB" },
		{ 67108864 + 1024, "64.001 MiB" }, { 34359738368, "32 GiB" }, { 1ull << 44, "16 TiB" },
	};
	char text[32];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(text_size(rows[i].bytes, text, sizeof text), rows[i].text);
}

static void describes_a_list_and_says_how_many_are_left_out(void **state)
{
	struct strv v = STRV_EMPTY;
	char text[64];
	strv_describe(&v, 3, text, sizeof text);
	assert_string_equal(text, "none");
	static const char *const names[] = { "b", "a", "d", "c" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(strv_add(&v, names[i], NULL), 0);
	strv_sort(&v);
	strv_describe(&v, 9, text, sizeof text);
	assert_string_equal(text, "a, b, c, d");
	strv_describe(&v, 2, text, sizeof text);
	assert_string_equal(text, "a, b and 2 more");
	assert_int_equal(strv_add(&v, "a name that does not fit into what is left of the text", NULL), 0);
	strv_describe(&v, 9, text, sizeof text);
	assert_string_equal(text, "a, b, c, d and 1 more");
	strv_deinit(&v);
}

static void of_those_that_are_alike_one_stays(void **state)
{
	static const char *const rows[][2] = { { "", "none" },	 { "a", "a" },	     { "aa", "a" },
					       { "ab", "a, b" }, { "bab", "a, b" }, { "cabbac", "a, b, c" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv v = STRV_EMPTY;
		char text[64];
		for (const char *letter = rows[i][0]; *letter; letter++)
			assert_int_equal(strv_add(&v, (const char[]){ *letter, '\0' }, NULL), 0);
		strv_sort_unique(&v);
		strv_describe(&v, 9, text, sizeof text);
		assert_string_equal(text, rows[i][1]);
	}
}

static void decodes_hex_of_either_case_and_nothing_else(void **state)
{
	uint8_t bytes[2];
	char text[5];
	assert_true(hex_decode("aBc0", bytes, 2));
	hex_encode(bytes, 2, text);
	assert_string_equal(text, "abc0");
	assert_false(hex_decode("abc", bytes, 2));
	assert_false(hex_decode("ab c", bytes, 2));
	assert_false(hex_decode("", bytes, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(escapes_what_a_terminal_would_act_on),
		TEST(never_cuts_inside_an_escape),
		TEST(knows_utf8),
		TEST(prints_sizes_like_the_reference_client),
		TEST(describes_a_list_and_says_how_many_are_left_out),
		TEST(of_those_that_are_alike_one_stays),
		TEST(decodes_hex_of_either_case_and_nothing_else),
	};
	return RUN_TESTS(tests);
}
