/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* An option as the command line, the help and the manual know it. */
struct option_row {
	const char *name;  /* without the dashes */
	const char *value; /* "FILE"; NULL = none; "[SEC]" = may be left out, and comes behind a '=' */
	const char *help;  /* NULL = understood, not shown */
};

extern const struct option_row option_rows[N_OPTIONS];

/* What was typed, before anything is done. */
struct command_line {
	const struct command *command; /* NULL = none was named */
	struct options options;
	bool wants_help, wants_version;
};

/**
 * args_parse - the words behind the program's name
 *
 * Options may stand anywhere, as --x VALUE, --x=VALUE or with one dash; "--" ends them.  A command may be
 * cut short as long as only one fits.
 *
 * @ret:  also after a failure tells whether JSON is wanted; command_line_deinit() in any case
 *
 * Errors:  -EINVAL with a line that says which word is wrong
 */
int args_parse(int argc, const char *const *argv, struct command_line *ret, struct failure *why) MUST_CHECK;
void command_line_deinit(struct command_line *line);

/* "256M", "1GiB", "4096"; bytes. */
bool size_parse(const char *text, uint64_t *ret) MUST_CHECK;
