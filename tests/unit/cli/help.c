/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "unit.h"

#define SCREEN 79 /* columns; some terminals wrap the 80th */

static void lists_every_command(void **state)
{
	struct buf text = BUF_EMPTY;
	assert_int_equal(help_format(NULL, &text, NULL), 0);
	for (const struct command *c = commands; c->name; c++) {
		char line[128];
		(void) snprintf(line, sizeof line, "\n  %-11s %s\n", c->name, c->summary);
		assert_non_null(strstr(text.data, line));
	}
	buf_deinit(&text);
}

/* "--name" where the next character ends it */
static bool names_option(const char *text, const char *name)
{
	char option[64];
	(void) snprintf(option, sizeof option, "--%s", name);
	for (const char *at = text; (at = strstr(at, option)); at++)
		if (strchr(" =[\n", at[strlen(option)]))
			return true;
	return false;
}

static void names_exactly_the_options_a_command_takes(void **state)
{
	for (const struct command *c = commands; c->name; c++) {
		struct buf text = BUF_EMPTY;
		assert_int_equal(help_format(c, &text, NULL), 0);
		const char *options = strrchr(text.data, '\n'); /* behind the last empty line */
		for (const char *at = text.data; (at = strstr(at, "\n\n")); at++)
			options = at;
		for (int id = 0; id < N_OPTIONS; id++) {
			bool is_taken = c->options & 1u << id || id == OPT_HELP;
			assert_int_equal(names_option(options, option_rows[id].name),
					 is_taken && option_rows[id].help);
		}
		buf_deinit(&text);
	}
}

#define COLUMN 21

static void explains_all_options_in_one_column(void **state)
{
	for (const struct command *c = commands; c->name; c++) {
		struct buf text = BUF_EMPTY;
		assert_int_equal(help_format(c, &text, NULL), 0);
		for (int id = 0; id < N_OPTIONS; id++) {
			char want[128];
			if (!(c->options & 1u << id) || !option_rows[id].help)
				continue;
			(void) snprintf(want, sizeof want, " %s\n", option_rows[id].help);
			const char *at = strstr(text.data, want), *line = at;
			assert_non_null(at);
			while (line[-1] != '\n')
				line--;
			assert_int_equal(at + 1 - line, COLUMN);
		}
		buf_deinit(&text);
	}
}

static void starts_with_the_usage_line(void **state)
{
	struct buf text = BUF_EMPTY;
	assert_int_equal(help_format(&commands[0], &text, NULL), 0);
	static const char usage[] = "Usage: pbsmap map [OPTIONS] SNAPSHOT ARCHIVE [TARGET]\n";
	assert_memory_equal(text.data, usage, strlen(usage));
	assert_non_null(strstr(text.data, "attack the\nkernel"));
	buf_deinit(&text);
}

static size_t longest_line(const char *text)
{
	size_t longest = 0;
	while (*text) {
		size_t len = strcspn(text, "\n");
		longest = len > longest ? len : longest;
		text += len + (text[len] == '\n');
	}
	return longest;
}

static void fits_a_screen(void **state)
{
	struct buf text = BUF_EMPTY;
	assert_int_equal(help_format(NULL, &text, NULL), 0);
	for (const struct command *c = commands; c->name; c++)
		assert_int_equal(help_format(c, &text, NULL), 0);
	assert_in_range(longest_line(text.data), 1, SCREEN);
	buf_deinit(&text);
}

static void the_version_names_program_and_parts(void **state)
{
	struct buf text = BUF_EMPTY;
	assert_int_equal(help_version(&text, NULL), 0);
	assert_memory_equal(text.data, "pbsmap ", strlen("pbsmap "));
	static const char *const parts[] = { "libfuse", "OpenSSL", "zstd", "jansson", "libdeflate" };
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_non_null(strstr(text.data, parts[i]));
	buf_deinit(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists_every_command),
		TEST(names_exactly_the_options_a_command_takes),
		TEST(explains_all_options_in_one_column),
		TEST(starts_with_the_usage_line),
		TEST(fits_a_screen),
		TEST(the_version_names_program_and_parts),
	};
	return RUN_TESTS(tests);
}
