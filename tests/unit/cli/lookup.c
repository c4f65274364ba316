/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lookup.h"

#include <string.h>

#include "unit.h"

#define WORDS 3

static void finds_commands_by_name_beginning_and_habit(void **state)
{
	static const struct {
		const char *words[WORDS];
		const char *command;
		size_t n_used;
	} rows[] = {
		{ { "map" }, "map", 1 },
		{ { "map", "list" }, "map", 1 },
		{ { "ma", "vm/100" }, "map", 1 },
		{ { "snap" }, "snapshots", 1 },
		{ { "snapshot", "vm/100" }, "snapshots", 1 },
		{ { "list" }, "list", 1 },
		{ { "snapshot", "list" }, "snapshots", 2 },
		{ { "snapshot", "list", "vm/100" }, "snapshots", 2 },
		{ { "snap", "list" }, "snapshots", 2 },
		{ { "snapshot", "files", "vm/100" }, "files", 2 },
		{ { "namespace", "list" }, "namespaces", 2 },
		{ { "group", "list" }, "groups", 2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct failure why = FAILURE_NONE;
		const struct command *command = NULL;
		size_t n = 0, n_used = 0;
		while (n < WORDS && rows[i].words[n])
			n++;
		assert_int_equal(lookup_command(rows[i].words, n, &command, &n_used, &why), 0);
		assert_string_equal(command->name, rows[i].command);
		assert_int_equal(n_used, rows[i].n_used);
		assert_int_equal(why.candidates.n, 0);
		failure_deinit(&why);
	}
}

static void says_what_an_unknown_word_may_have_meant(void **state)
{
	static const struct {
		const char *word, *says, *says_not;
	} rows[] = {
		{ "mpa", "did you mean map?", NULL },
		{ "lsit", "did you mean list?", NULL },
		{ "mapp", "did you mean map?", NULL },
		{ "restore", "map shows an image", "did you mean" },
		{ "backup", "only reads", "did you mean" },
		{ "version", "--version", "did you mean" },
		{ "pigeon", "'pigeon'", "did you mean" },
		{ "", "''", "did you mean" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct failure why = FAILURE_NONE;
		const struct command *command = NULL;
		size_t n_used;
		assert_int_equal(lookup_command(&rows[i].word, 1, &command, &n_used, &why), -EINVAL);
		assert_null(command);
		assert_non_null(strstr(why.err.msg, rows[i].says));
		if (rows[i].says_not)
			assert_null(strstr(why.err.msg, rows[i].says_not));
		failure_deinit(&why);
	}
}

static void counts_changed_added_and_lost_letters(void **state)
{
	assert_int_equal(lookup_distance("keyfile", 7, "keyfile"), 0);
	assert_int_equal(lookup_distance("keyfil", 6, "keyfile"), 1);
	assert_int_equal(lookup_distance("keyfille", 8, "keyfile"), 1);
	assert_int_equal(lookup_distance("keyfike", 7, "keyfile"), 1);
	assert_int_equal(lookup_distance("ekyfile", 7, "keyfile"), 2);
	assert_int_equal(lookup_distance("", 0, "ns"), 2);
	assert_int_equal(lookup_distance("pigeon", 6, "keyfile"), LOOKUP_FAR);
	char word[100];
	memset(word, 'a', sizeof word);
	assert_int_equal(lookup_distance(word, sizeof word, "ns"), LOOKUP_FAR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_commands_by_name_beginning_and_habit),
		TEST(says_what_an_unknown_word_may_have_meant),
		TEST(counts_changed_added_and_lost_letters),
	};
	return RUN_TESTS(tests);
}
