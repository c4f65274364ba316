/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <string.h>

#include "unit.h"

#define WORDS 8

struct row {
	const char *words[WORDS + 1]; /* the last is the one at the cursor */
	enum word_kind kind;
	const char *typed;
	enum shell_adds adds;
};

static void ask(const struct row *row)
{
	struct question question;
	size_t n = 0;
	while (n < WORDS && row->words[n])
		n++;
	assert_int_equal(question_init(row->words, n, &question, NULL), 0);
	assert_int_equal(question.kind, row->kind);
	assert_string_equal(question_typed(&question), row->typed);
	assert_int_equal(question_shell_adds(&question), row->adds);
	question_deinit(&question);
}

static void the_place_of_a_word_tells_what_it_is(void **state)
{
	static const struct row rows[] = {
		{ { "" }, WORD_COMMAND, "" },
		{ { "ma" }, WORD_COMMAND, "ma" },
		{ { "--json", "m" }, WORD_COMMAND, "m" },
		{ { "help", "m" }, WORD_COMMAND, "m" },
		{ { "help", "map", "" }, WORD_UNKNOWN, "" },
		{ { "pigeon", "" }, WORD_UNKNOWN, "" },
		{ { "map", "" }, WORD_SNAPSHOT, "" },
		{ { "ma", "vm/1" }, WORD_SNAPSHOT, "vm/1" },
		{ { "map", "vm/100", "dr" }, WORD_IMAGE, "dr" },
		{ { "map", "vm/100", "x.img", "" }, WORD_UNKNOWN, "" },
		{ { "map", "vm/100", "x.img", "--via", "file", "" }, WORD_TARGET, "", SHELL_ADDS_FILES },
		{ { "map", "vm/100", "x.img", "--via=file", "a", "b" }, WORD_UNKNOWN, "b" },
		{ { "map", "vm/100", "x.img", "--via=socket", "" }, WORD_TARGET, "", SHELL_ADDS_FILES },
		{ { "serve", "" }, WORD_SNAPSHOT, "" },
		{ { "mount", "host/x", "r" }, WORD_TREE, "r" },
		{ { "mount", "host/x", "root.pxar", "" }, WORD_DIRECTORY, "", SHELL_ADDS_DIRECTORIES },
		{ { "umount", "" }, WORD_MAPPING, "" },
		{ { "cat", "host/x", "root.pxar", "etc" }, WORD_INSIDE, "etc" },
		{ { "serve", "vm/100", "a.img", "b.img", "c.img", "d" }, WORD_IMAGE, "d" },
		{ { "map", "--chunks", "c", "" }, WORD_FILE, "", SHELL_ADDS_FILES },
		{ { "map", "--chunks=c", "i", "" }, WORD_UNKNOWN, "" },
		{ { "map", "--chunks=c", "--via=file", "i", "" }, WORD_FILE, "", SHELL_ADDS_FILES },
		{ { "unmap", "" }, WORD_MAPPING, "" },
		{ { "unmap", "./x" }, WORD_MAPPING, "./x", SHELL_ADDS_FILES },
		{ { "unmap", "--force", "" }, WORD_MAPPING, "" },
		{ { "unmap", "--force", "true", "" }, WORD_MAPPING, "" },
		{ { "list", "" }, WORD_UNKNOWN, "" },
		{ { "snapshots", "" }, WORD_GROUP, "" },
		{ { "snapshot", "list", "" }, WORD_GROUP, "" },
		{ { "snapshot", "files", "" }, WORD_SNAPSHOT, "" },
		{ { "files", "x" }, WORD_SNAPSHOT, "x" },
		{ { "files", "x", "y" }, WORD_UNKNOWN, "y" },
		{ { "map", "--", "-x" }, WORD_SNAPSHOT, "-x" },
		{ { "map", "--help", "" }, WORD_UNKNOWN, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(&rows[i]);
}

static void options_and_their_values(void **state)
{
	static const struct row rows[] = {
		{ { "-" }, WORD_OPTION, "-" },
		{ { "map", "--v" }, WORD_OPTION, "--v" },
		{ { "map", "--via", "" }, WORD_CHOICE, "" },
		{ { "map", "--via=lo" }, WORD_CHOICE, "lo" },
		{ { "map", "-via=lo" }, WORD_CHOICE, "lo" },
		{ { "list", "--output-format", "j" }, WORD_CHOICE, "j" },
		{ { "map", "--verbose=" }, WORD_BOOL, "" },
		{ { "map", "-v=t" }, WORD_BOOL, "t" },
		{ { "map", "--verbose", "" }, WORD_SNAPSHOT, "" },
		{ { "map", "--repository", "" }, WORD_REPOSITORY, "" },
		{ { "map", "--repository", "./s" }, WORD_REPOSITORY, "./s", SHELL_ADDS_DIRECTORIES },
		{ { "map", "--repository=/" }, WORD_REPOSITORY, "/", SHELL_ADDS_DIRECTORIES },
		{ { "map", "--repository", "u@pam@h:s" }, WORD_REPOSITORY, "u@pam@h:s" },
		{ { "--repository", "x" }, WORD_REPOSITORY, "x" },
		{ { "groups", "--ns", "a/" }, WORD_NAMESPACE, "a/" },
		{ { "map", "--keyfile", "" }, WORD_FILE, "", SHELL_ADDS_FILES },
		{ { "map", "--keyfile=a=b" }, WORD_FILE, "a=b", SHELL_ADDS_FILES },
		{ { "map", "--keyfile", "-x" }, WORD_FILE, "-x", SHELL_ADDS_FILES },
		{ { "map", "--chunks", "" }, WORD_DIRECTORY, "", SHELL_ADDS_DIRECTORIES },
		{ { "map", "--cache", "" }, WORD_UNKNOWN, "" },
		{ { "serve", "--socket", "" }, WORD_FILE, "", SHELL_ADDS_FILES },
		{ { "serve", "--listen", "" }, WORD_UNKNOWN, "" },
		{ { "map", "--name=" }, WORD_UNKNOWN, "" },
		{ { "unmap", "--wait", "" }, WORD_MAPPING, "" },
		{ { "unmap", "--wait=" }, WORD_UNKNOWN, "" },
		{ { "unmap", "--via=" }, WORD_UNKNOWN, "" },   /* it takes none */
		{ { "unmap", "--via", "" }, WORD_UNKNOWN, "" },
		{ { "map", "--pigeon=" }, WORD_UNKNOWN, "" },
		{ { "map", "--", "--via=" }, WORD_SNAPSHOT, "--via=" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(&rows[i]);
}

static void what_was_typed_before_is_known(void **state)
{
	static const char *const words[] = { "map", "--repository=/r", "--ns", "a/b", "vm/100", "dr" };
	struct question question;
	assert_int_equal(question_init(words, ARRAY_LEN(words), &question, NULL), 0);
	const struct options *options = &question.line.options;
	assert_string_equal(options->repository.repositories[0], "/r");
	assert_string_equal(options->repository.ns, "a/b");
	assert_int_equal(options->n_args, 1);
	assert_string_equal(options->args[0], "vm/100");
	question_deinit(&question);
}

static void no_words_are_no_question(void **state)
{
	struct question question;
	assert_int_equal(question_init(NULL, 0, &question, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_place_of_a_word_tells_what_it_is),
		TEST(options_and_their_values),
		TEST(what_was_typed_before_is_known),
		TEST(no_words_are_no_question),
	};
	return RUN_TESTS(tests);
}
