/* SPDX-License-Identifier: Apache-2.0 */
#include "net/credential.h"

#include <string.h>

#include "unit.h"

static struct secret secret_of(const char *text)
{
	struct secret s = SECRET_EMPTY;
	assert_int_equal(secret_init_copy(&s, text, strlen(text), NULL), 0);
	return s;
}

static void expect_line(int r, const struct secret *line, const char *want)
{
	assert_int_equal(r, 0);
	assert_int_equal(line->len, strlen(want));
	assert_string_equal((char *)line->data, want);
}

static void leaves_an_ordinary_ticket_as_it_is(void **state)
{
	static const char ticket[] = "PBS:root@pam:65937B5E::AbC+/d==";
	CLEANUP(secret_deinit) struct secret s = secret_of(ticket), line = SECRET_EMPTY;
	expect_line(credential_of_ticket(&s, &line, NULL), &line, "Cookie: PBSAuthCookie=PBS:root@pam:65937B5E::AbC+/d==");
}

static void encodes_what_a_secret_may_hold(void **state)
{
	static const struct {
		const char *secret, *line;
	} rows[] = {
		/* as the reference client sends it */
		{ "s3 cr?t", "Authorization: PBSAPIToken root@pam!tok:s3%20cr%3Ft" },
		/* as it does not, and the server then takes it for "A" */
		{ "%41", "Authorization: PBSAPIToken root@pam!tok:%2541" },
		{ "\"#<>`{}", "Authorization: PBSAPIToken root@pam!tok:%22%23%3C%3E%60%7B%7D" },
		{ "a\r\nX: y\t\x1b\x7f", "Authorization: PBSAPIToken root@pam!tok:a%0D%0AX:%20y%09%1B%7F" },
		{ "\xc3\xbc\xff", "Authorization: PBSAPIToken root@pam!tok:%C3%BC%FF" },
		{ "!$&'()*+,-./:;=@[\\]^_|~", "Authorization: PBSAPIToken root@pam!tok:!$&'()*+,-./:;=@[\\]^_|~" },
		{ "", "Authorization: PBSAPIToken root@pam!tok:" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(secret_deinit) struct secret s = secret_of(rows[i].secret), line = SECRET_EMPTY;
		expect_line(credential_of_token("root@pam!tok", &s, &line, NULL), &line, rows[i].line);
	}
}

static void encodes_the_name_of_a_token(void **state)
{
	CLEANUP(secret_deinit) struct secret s = secret_of("x"), line = SECRET_EMPTY;
	expect_line(credential_of_token("u%#@pbs!t", &s, &line, NULL), &line,
		    "Authorization: PBSAPIToken u%25%23@pbs!t:x");
}

/* A NUL is a byte like others. */
static void ends_at_the_length_of_the_secret(void **state)
{
	CLEANUP(secret_deinit) struct secret s = SECRET_EMPTY, line = SECRET_EMPTY;
	assert_int_equal(secret_init_copy(&s, "a\0b", 3, NULL), 0);
	expect_line(credential_of_ticket(&s, &line, NULL), &line, "Cookie: PBSAuthCookie=a%00b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(leaves_an_ordinary_ticket_as_it_is),
		TEST(encodes_what_a_secret_may_hold),
		TEST(encodes_the_name_of_a_token),
		TEST(ends_at_the_length_of_the_secret),
	};
	return RUN_TESTS(tests);
}
