/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/args.h"

/*
 * What a shell asks when TAB is pressed: the words in front of the cursor, and what the one at the
 * cursor may become.  All of it comes from the tables of commands and options.
 */
struct question {
	struct command_line line; /* what the words before mean */
	enum word_kind kind;
	enum option_id option;	  /* whose value is asked for; N_OPTIONS = of none */
	const char *word;	  /* at the cursor, as it is typed so far; lent */
	size_t skip;		  /* bytes of @word before what is asked for: those of "--via=" */
};

/**
 * question_init - understand the words
 *
 * @words:  those behind the program's name up to the cursor, without quotes; the last is the one at
 *          the cursor, maybe ""; must outlive @ret
 *
 * A line that makes no sense asks for WORD_UNKNOWN.
 *
 * Errors:  -EINVAL no words, -ENOMEM
 */
int question_init(const char *const *words, size_t n, struct question *ret, struct err *err) MUST_CHECK;
void question_deinit(struct question *question);

/* The part of the word that is asked for. */
static inline const char *question_typed(const struct question *question)
{
	return question->word + question->skip;
}

/* What a shell finds itself, beside what it is told. */
enum shell_adds { SHELL_ADDS_NOTHING, SHELL_ADDS_FILES, SHELL_ADDS_DIRECTORIES };

enum shell_adds question_shell_adds(const struct question *question);
