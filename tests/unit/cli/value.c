/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/value.h"

#include "unit.h"

static void reads_sizes_in_powers_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} rows[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4096B", 4096 },
		{ "1K", 1024 },
		{ "256M", 256ull << 20 },
		{ "256m", 256ull << 20 },
		{ "256MB", 256ull << 20 },
		{ "256MiB", 256ull << 20 },
		{ "1GiB", 1ull << 30 },
		{ "2T", 2ull << 40 },
		{ "9223372036854775807", INT64_MAX },
		{ "8388607T", 8388607ull << 40 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t size = 1;
		assert_true(size_parse(rows[i].text, &size));
		assert_int_equal(size, rows[i].size);
	}
}

static void refuses_what_is_no_size(void **state)
{
	static const char *const rows[] = {
		"", "M", "-1", "+1", " 1", "1 M", "1.5G", "1X", "1iB", "1Mi", "1MM", "0x10",
		"9223372036854775808", "8388608T", "18446744073709551616", "1K\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t size = 77;
		assert_false(size_parse(rows[i], &size));
		assert_int_equal(size, 77);
	}
}

static void reads_numbers_within_their_bounds(void **state)
{
	static const struct {
		const char *text;
		unsigned n; /* 0 = refused */
	} rows[] = {
		{ "1", 1 }, { "16", 16 }, { "007", 7 }, { "0", 0 }, { "17", 0 }, { "", 0 }, { "-1", 0 }, { "+1", 0 },
		{ " 1", 0 }, { "1 ", 0 }, { "1.0", 0 }, { "0x1", 0 }, { "4294967297", 0 },
		{ "18446744073709551617", 0 }, { "x", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned n = 77;
		assert_int_equal(number_parse(rows[i].text, 1, 16, &n), rows[i].n != 0);
		assert_int_equal(n, rows[i].n ? rows[i].n : 77);
	}
}

static void reads_seconds(void **state)
{
	int64_t ms;
	assert_true(seconds_parse("0", &ms));
	assert_int_equal(ms, 0);
	assert_true(seconds_parse("90", &ms));
	assert_int_equal(ms, 90000);
	assert_true(seconds_parse("5s", &ms));
	assert_int_equal(ms, 5000);
	assert_true(seconds_parse("31536000", &ms));
}

static void refuses_what_is_no_number_of_seconds(void **state)
{
	static const char *const rows[] = { "", "s", "-1", "1.5", "1m", "5ss", "31536001",
					    "99999999999999999999" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ms = 77;
		assert_false(seconds_parse(rows[i], &ms));
		assert_int_equal(ms, 77);
	}
}

static void reads_yes_and_no_as_the_reference_client(void **state)
{
	static const char *const yes[] = { "true", "yes", "on", "1", "TRUE", "On" };
	static const char *const no[] = { "false", "no", "off", "0", "FALSE", "Off" };
	bool is = false;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		is = false;
		assert_true(bool_parse(yes[i], &is));
		assert_true(is);
		assert_true(bool_parse(no[i], &is));
		assert_false(is);
	}
	assert_false(bool_parse("", &is));
	assert_false(bool_parse("maybe", &is));
	assert_false(bool_parse("10", &is));
}

static void takes_a_number_for_a_device_not_for_yes(void **state)
{
	assert_true(bool_is_word("true"));
	assert_true(bool_is_word("off"));
	assert_false(bool_is_word("1"));
	assert_false(bool_is_word("0"));
	assert_false(bool_is_word(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_sizes_in_powers_of_1024),
		TEST(refuses_what_is_no_size),
		TEST(reads_numbers_within_their_bounds),
		TEST(reads_seconds),
		TEST(refuses_what_is_no_number_of_seconds),
		TEST(reads_yes_and_no_as_the_reference_client),
		TEST(takes_a_number_for_a_device_not_for_yes),
	};
	return RUN_TESTS(tests);
}
