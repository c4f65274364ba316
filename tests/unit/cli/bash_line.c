/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bash_line.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

#define BREAKS " \t\n\"'@><=;|&(:" /* as bash has it */
#define WORDS  5

static void a_line_becomes_the_words_a_shell_would_make(void **state)
{
	static const struct {
		const char *line, *words[WORDS + 1];
	} rows[] = {
		{ "", { "" } },
		{ "pbsmap", { "pbsmap" } },
		{ "pbsmap ", { "pbsmap", "" } },
		{ "  pbsmap\t map  ", { "pbsmap", "map", "" } },
		{ "pbsmap --ns=a/b vm/1", { "pbsmap", "--ns=a/b", "vm/1" } },
		{ "pbsmap 'a b' \"c d\" e\\ f", { "pbsmap", "a b", "c d", "e f" } },
		{ "pbsmap a'b c'd\"e\"", { "pbsmap", "ab cde" } },
		{ "pbsmap 'a\\' \"\\$x\\y\" \\'", { "pbsmap", "a\\", "$x\\y", "'" } },
		{ "pbsmap '' \"\" x", { "pbsmap", "", "", "x" } },
		{ "pbsmap 'open $(quote", { "pbsmap", "open $(quote" } },
		{ "pbsmap end\\", { "pbsmap", "end\\" } },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bash_line line;
		size_t n = 0;
		assert_int_equal(bash_line_split(rows[i].line, BREAKS, &line, NULL), 0);
		for (; rows[i].words[n]; n++) {
			assert_true(n < line.words.n);
			assert_string_equal(line.words.items[n], rows[i].words[n]);
		}
		assert_int_equal(line.words.n, n);
		bash_line_deinit(&line);
	}
}

static void bash_keeps_what_is_before_a_break_or_an_open_quote(void **state)
{
	static const struct {
		const char *line, *breaks, *kept;
		char quote;
	} rows[] = {
		{ "p vm/100", BREAKS, "", '\0' },
		{ "p a/b/2026-01-02T03:04", BREAKS, "a/b/2026-01-02T03:", '\0' },
		{ "p a/b/2026-01-02T03:04", " ", "", '\0' },
		{ "p a/b/2026-01-02T03\\:04", BREAKS, "", '\0' },
		{ "p --ns=", BREAKS, "--ns=", '\0' },
		{ "p --repository=u@pam@h:s", BREAKS, "--repository=u@pam@h:", '\0' },
		{ "p x: y", BREAKS, "", '\0' },
		{ "p \"a:b", BREAKS, "", '"' },
		{ "p a:b'c:d", BREAKS, "a:b", '\'' },
		{ "p 'a:b'c", BREAKS, "", '\0' },
		{ "p x=a'b'c", BREAKS, "x=", '\0' },
		{ "p x=a'b':c", BREAKS, "x=ab:", '\0' },
		{ "p \"a\\\"b", BREAKS, "", '"' },
		{ "p \"a\" \"b", BREAKS, "", '"' },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bash_line line;
		char kept[64];
		assert_int_equal(bash_line_split(rows[i].line, rows[i].breaks, &line, NULL), 0);
		(void) snprintf(kept, sizeof kept, "%.*s", (int)line.skip,
				line.words.items[line.words.n - 1]);
		assert_string_equal(kept, rows[i].kept);
		assert_int_equal(line.quote, rows[i].quote);
		bash_line_deinit(&line);
	}
}

static void words_are_quoted_for_where_they_stand(void **state)
{
	static const struct {
		char quote;
		const char *word, *quoted; /* NULL = cannot stand there */
	} rows[] = {
		{ '\0', "vm/100/2026-01-02T03:04:05Z", "vm/100/2026-01-02T03:04:05Z" },
		{ '\0', "a b", "a\\ b" },
		{ '\0', "$(x)`y`", "\\$\\(x\\)\\`y\\`" },
		{ '\0', "it's;\"x\"&!", "it\\'s\\;\\\"x\\\"\\&\\!" },
		{ '\0', "~/\\x", "\\~/\\\\x" },
		{ '\0', "gr\303\274n", "gr\303\274n" },
		{ '"', "a b$x`y`\"\\", "a b\\$x\\`y\\`\\\"\\\\" },
		{ '"', "it's", "it's" },
		{ '"', "history!", NULL },
		{ '\'', "a b$(x)!\"\\", "a b$(x)!\"\\" },
		{ '\'', "it's", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
		int r = bash_quote(rows[i].quote, rows[i].word, &text, NULL);
		assert_int_equal(r, rows[i].quoted ? 1 : 0);
		if (rows[i].quoted)
			assert_string_equal(text.data, rows[i].quoted);
		else
			assert_int_equal(text.len, 0);
	}
}

/* What is quoted is read again as it was: all bytes, in all places. */
static void what_was_quoted_is_read_as_it_was(void **state)
{
	static const char *const begins[] = { "p ", "p \"", "p '" };
	for (size_t b = 0; b < ARRAY_LEN(begins); b++) {
		for (int c = 0x20; c < 0x100; c++) {
			const char word[] = { 'a', (char)c, 'b', '\0' };
			const char *begin = begins[b];
			CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
			struct bash_line line;
			assert_int_equal(buf_puts(&text, begin, NULL), 0);
			int r = bash_quote(begin[2], word, &text, NULL);
			assert_true(r >= 0);
			if (r == 0)
				continue;
			assert_int_equal(buf_add(&text, &begin[2], begin[2] != '\0', NULL), 0);
			assert_int_equal(bash_line_split(text.data, BREAKS, &line, NULL), 0);
			assert_int_equal(line.words.n, 2);
			assert_string_equal(line.words.items[1], word);
			bash_line_deinit(&line);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_becomes_the_words_a_shell_would_make),
		TEST(bash_keeps_what_is_before_a_break_or_an_open_quote),
		TEST(words_are_quoted_for_where_they_stand),
		TEST(what_was_quoted_is_read_as_it_was),
	};
	return RUN_TESTS(tests);
}
