/* SPDX-License-Identifier: Apache-2.0 */
#include "util/err.h"

#include <string.h>

#include "unit.h"

static void grows_from_the_cause_outwards(void **state)
{
	struct err err = ERR_NONE;
	assert_int_equal(err_set(&err, -EBADMSG, "index holds %d digests", 1), -EBADMSG);
	assert_int_equal(err_while(&err, -EBADMSG, "mapping %s", "vm/100"), -EBADMSG);
	assert_string_equal(err.msg, "index holds 1 digests, while mapping vm/100");
	assert_int_equal(err.code, -EBADMSG);
}

static void says_what_the_system_said(void **state)
{
	struct err err = ERR_NONE;
	assert_int_equal(err_errno(&err, -ENOENT, "cannot open %s", "x"), -ENOENT);
	assert_string_equal(err.msg, "cannot open x: No such file or directory");
}

static void keeps_the_code_when_nobody_wants_the_words(void **state)
{
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_errno(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_while(NULL, -EIO, "x"), -EIO);
}

static void cuts_what_is_too_long(void **state)
{
	struct err err = ERR_NONE;
	char text[2000];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	err_set(&err, -EIO, "%s", text);
	err_while(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void keeps_errno(void **state)
{
	struct err err;
	errno = EAGAIN;
	err_errno(&err, -ENOENT, "x");
	assert_int_equal(errno, EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(grows_from_the_cause_outwards),
		TEST(says_what_the_system_said),
		TEST(keeps_the_code_when_nobody_wants_the_words),
		TEST(cuts_what_is_too_long),
		TEST(keeps_errno),
	};
	return RUN_TESTS(tests);
}
