/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* An option as the command line, the help and the manual know it. */
struct option_row {
	const char *name;  /* without the dashes */
	char letter;	   /* -v for --verbose; 0 = none */
	const char *value; /* "FILE"; NULL = none; "[SEC]" = may be left out, and comes behind a '=' */
	const char *wants; /* what a value must be, for the message; NULL = any will do */
	const char *help;  /* NULL = understood, not shown */
	enum word_kind kind; /* of the value; one that lists its words, "loop|file", needs none */
};

/* "pbsmap help map"; no row of the commands. */
#define ARGS_HELP_WORD "help"

extern const struct option_row option_rows[N_OPTIONS];

/* What was typed, before anything is done. */
struct command_line {
	const struct command *command; /* NULL = none was named */
	struct options options;
	bool wants_help, wants_version;
	enum option_id pending; /* the last word is this option, which waits for its value; N_OPTIONS = none */
	bool is_end;		/* "--" was among the words: no more options */
};

/**
 * args_parse - the words behind the program's name
 *
 * Options may stand anywhere, as --x VALUE, --x=VALUE or with one dash; "--" ends them.  An option
 * without a value takes true, yes, on and their opposites, as the reference client has it.
 *
 * @ret:  also after a failure tells whether JSON is wanted; command_line_deinit() in any case;
 *        lends its strings from @argv
 *
 * Errors:  -EINVAL with a line that says which word is wrong, and where help is to be had
 */
int args_parse(int argc, const char *const *argv, struct command_line *ret,
	       struct failure *why) MUST_CHECK;
void command_line_deinit(struct command_line *line);

/* What "--cache=1G" or "-h" names, with or without a value; N_OPTIONS = no option of ours. */
enum option_id args_find_option(const char *word);

/* @command NULL = not known, then it may be any. */
bool args_is_taken(const struct command *command, enum option_id id);

/* Behind a usage error's words: where help is to be had.  @name: the command's, NULL = none yet. */
int args_point_to_help(const char *name, struct err *err);
