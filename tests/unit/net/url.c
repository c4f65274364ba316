/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

#include "unit.h"

static void encodes_as_a_form(void **state)
{
	static const struct {
		const char *value, *encoded;
	} rows[] = {
		{ "", "" },
		{ "AZaz09*-._", "AZaz09*-._" },
		{ "a/b", "a%2Fb" },
		{ "a b+c", "a+b%2Bc" },
		{ "a&b=c#d?e%41", "a%26b%3Dc%23d%3Fe%2541" },
		{ "\x01~\x7f\xc3\xbc\xff", "%01%7E%7F%C3%BC%FF" },
		{ "\r\nX: y", "%0D%0AX%3A+y" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(buf_deinit) struct buf b = BUF_EMPTY, want = BUF_EMPTY;
		assert_int_equal(url_add_query(&b, "k", rows[i].value, NULL), 0);
		assert_int_equal(buf_printf(&want, NULL, "?k=%s", rows[i].encoded), 0);
		assert_string_equal(b.data, want.data);
	}
}

static void puts_the_mark_before_the_first_one_only(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_EMPTY;
	assert_int_equal(buf_puts(&b, "/path", NULL), 0);
	assert_int_equal(url_add_query(&b, "file name", "?", NULL), 0);
	assert_int_equal(url_add_query(&b, "b", "2", NULL), 0);
	assert_int_equal(url_add_query(&b, "c", "3", NULL), 0);
	assert_string_equal(b.data, "/path?file+name=%3F&b=2&c=3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(encodes_as_a_form),
		TEST(puts_the_mark_before_the_first_one_only),
	};
	return RUN_TESTS(tests);
}
