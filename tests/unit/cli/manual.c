/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "unit.h"
#include "util/file.h"

/* The manual says what the table of commands says: MANUAL is the folder of its pages. */
#define PAGE_MAX (1u << 20)

/* A page as it is read: "\-" is '-'.  free() */
static char *read_page(const char *name)
{
	char path[512];
	uint8_t *text = NULL;
	size_t len;
	(void) snprintf(path, sizeof path, MANUAL "/%s.1", name);
	struct err err = ERR_NONE;
	if (read_file_at(AT_FDCWD, path, 0, PAGE_MAX, &text, &len, &err) < 0)
		fail_msg("%s", err.msg);
	char *to = (char *)text;
	for (const char *from = to; *from; from++)
		if (strncmp(from, "\\-", 2) != 0)
			*to++ = *from;
	*to = '\0';
	return (char *)text;
}

static char *read_page_of(const struct command *command)
{
	char name[64];
	(void) snprintf(name, sizeof name, "pbsmap-%s", command->name);
	return read_page(name);
}

/* Letters of the option that @text starts with. */
static size_t option_len(const char *text)
{
	size_t len = 0;
	while (islower((unsigned char)text[len]) || text[len] == '-')
		len++;
	return len;
}

static int find_option(const char *name, size_t len)
{
	for (int id = 0; id < N_OPTIONS; id++)
		if (strlen(option_rows[id].name) == len && strncmp(option_rows[id].name, name, len) == 0)
			return id;
	return -1;
}

static bool is_taken(const struct command *command, int id)
{
	return id >= 0 && option_rows[id].help && (command->options & 1u << id || id == OPT_HELP);
}

/* Is there a paragraph whose tag names the option? */
static bool has_paragraph(const char *page, const struct option_row *row)
{
	for (const char *at = page; (at = strstr(at, "\n.TP\n")); at++) {
		const char *line = at + strlen("\n.TP\n");
		const char *option = memmem(line, strcspn(line, "\n"), "--", 2);
		if (option && option_len(option + 2) == strlen(row->name) &&
		    strncmp(option + 2, row->name, strlen(row->name)) == 0)
			return true;
	}
	return false;
}

static void every_option_has_a_paragraph(void **state)
{
	for (const struct command *c = commands; c->name; c++) {
		CLEANUP(freep) char *page = read_page_of(c);
		for (int id = 0; id < N_OPTIONS; id++)
			if (is_taken(c, id) && !has_paragraph(page, &option_rows[id]))
				fail_msg("the page of %s does not explain --%s", c->name,
					 option_rows[id].name);
	}
}

static void no_page_names_an_option_that_is_not_there(void **state)
{
	for (const struct command *c = commands; c->name; c++) {
		CLEANUP(freep) char *page = read_page_of(c);
		for (const char *at = page; (at = strstr(at, "--")); at += 2) {
			size_t len = option_len(at + 2);
			if (!is_taken(c, find_option(at + 2, len)))
				fail_msg("the page of %s names %.*s", c->name, (int)len + 2, at);
		}
	}
}

static void every_page_begins_with_the_summary(void **state)
{
	for (const struct command *c = commands; c->name; c++) {
		CLEANUP(freep) char *page = read_page_of(c);
		char line[128];
		(void) snprintf(line, sizeof line, "\n.SH NAME\npbsmap-%s - %s\n", c->name, c->summary);
		assert_non_null(strstr(page, line));
	}
}

static void the_first_page_lists_all_commands_in_order(void **state)
{
	CLEANUP(freep) char *page = read_page("pbsmap");
	const char *at = page;
	for (const struct command *c = commands; c->name; c++) {
		char entry[128];
		(void) snprintf(entry, sizeof entry, ".TP\n.BR pbsmap-%s (1)\n%s\n", c->name, c->summary);
		at = strstr(at, entry);
		assert_non_null(at);
	}
}

static void the_first_page_has_every_exit_status(void **state)
{
	static const int all[] = { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_FOUND, EXIT_REFUSED,
				   EXIT_BUSY, EXIT_DAMAGED, EXIT_INTERRUPTED };
	CLEANUP(freep) char *page = read_page("pbsmap");
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		char entry[32];
		(void) snprintf(entry, sizeof entry, "\n.TP\n.B %d\n", all[i]);
		assert_non_null(strstr(page, entry));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_option_has_a_paragraph),
		TEST(no_page_names_an_option_that_is_not_there),
		TEST(every_page_begins_with_the_summary),
		TEST(the_first_page_lists_all_commands_in_order),
		TEST(the_first_page_has_every_exit_status),
	};
	return RUN_TESTS(tests);
}
