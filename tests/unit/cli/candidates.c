/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/candidates.h"

#include <string.h>

#include "unit.h"

static void what_cannot_be_shown_is_left_out(void **state)
{
	static const struct {
		const char *word, *description, *line; /* NULL = left out */
	} rows[] = {
		{ "vm/100", NULL, "vm/100" },
		{ "vm/100", "newest", "vm/100\tnewest" },
		{ "gr\303\274n $(x) 'y'", "a\tb", "gr\303\274n $(x) 'y'" },
		{ "vm", "\033[31m", "vm" },
		{ "", "nothing", NULL },
		{ "a\nb", NULL, NULL },
		{ "a\tb", NULL, NULL },
		{ "a\\b", NULL, NULL },
		{ "a\177", NULL, NULL },
		{ "a\302\205b", NULL, NULL }, /* C1 */
		{ "a\377b", NULL, NULL },     /* no UTF-8 */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
		assert_int_equal(candidate_add(&list, rows[i].word, rows[i].description, NULL), 0);
		assert_int_equal(list.n, rows[i].line ? 1 : 0);
		if (rows[i].line)
			assert_string_equal(list.items[0], rows[i].line);
	}
}

static void what_is_longer_than_a_path_is_left_out(void **state)
{
	CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
	char word[4097];
	memset(word, 'x', sizeof word - 1);
	word[4096] = '\0';
	assert_int_equal(candidate_add(&list, word, NULL, NULL), 0);
	assert_int_equal(list.n, 0);
	word[4095] = '\0';
	assert_int_equal(candidate_add(&list, word, NULL, NULL), 0);
	assert_int_equal(list.n, 1);
}

/* The words of all candidates, with a blank behind each. */
static void expect(const char *const *words, size_t n, const char *expected)
{
	CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
	struct question question;
	struct failure why = FAILURE_NONE;
	char all[512] = "";
	assert_int_equal(question_init(words, n, &question, NULL), 0);
	assert_int_equal(candidates_find(&question, &list, &why), 0);
	for (size_t i = 0; i < list.n; i++) {
		strncat(all, list.items[i], strcspn(list.items[i], "\t"));
		strcat(all, " ");
	}
	assert_string_equal(all, expected);
	question_deinit(&question);
	failure_deinit(&why);
}

#define EXPECT(expected, ...)                                                                            \
	expect((const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), \
	       expected)

static void tables_give_commands_options_and_values(void **state)
{
	EXPECT("map serve unmap mount umount list namespaces groups snapshots files ls cat extract help ", "");
	EXPECT("map serve unmap mount umount list namespaces groups snapshots files ls cat extract ", "help", "");
	EXPECT("--wait --force --all --json --help --version ", "unmap", "-");
	EXPECT("loop nbd file socket ", "map", "--via", "");
	EXPECT("text json json-pretty ", "list", "--output-format=");
	EXPECT("true false ", "list", "--json=");
	EXPECT("", "map", "--cache", "");
	EXPECT("", "map", "--keyfile", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_cannot_be_shown_is_left_out),
		TEST(what_is_longer_than_a_path_is_left_out),
		TEST(tables_give_commands_options_and_values),
	};
	return RUN_TESTS(tests);
}
