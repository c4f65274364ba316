/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/told.h"

#include <stdio.h>

#include "unit.h"

static void says_everything_once(void **state)
{
	struct told told;
	told_init(&told);
	assert_true(told_is_new(&told, "one"));
	assert_false(told_is_new(&told, "one"));
	assert_true(told_is_new(&told, "two"));
	assert_true(told_is_new(&told, ""));
	assert_false(told_is_new(&told, "two"));
	assert_false(told_is_new(&told, "one"));
}

static void forgets_the_oldest(void **state)
{
	struct told told;
	char text[16];
	told_init(&told);
	for (int i = 0; i <= TOLD_MAX; i++) {
		(void) snprintf(text, sizeof text, "%d", i);
		assert_true(told_is_new(&told, text));
	}
	assert_false(told_is_new(&told, "1"));
	assert_true(told_is_new(&told, "0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_everything_once),
		TEST(forgets_the_oldest),
	};
	return RUN_TESTS(tests);
}
