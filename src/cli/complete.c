/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <string.h>

#include "util/bytes.h"

/* "loop|file" and "FILE" */
static enum word_kind kind_of_value(enum option_id id)
{
	const struct option_row *row = &option_rows[id];
	if (!row->value)
		return WORD_BOOL;
	return strchr(row->value, '|') ? WORD_CHOICE : row->kind;
}

static enum word_kind kind_of_argument(const struct command_line *line)
{
	const struct options *options = &line->options;
	const struct command *command = line->command;
	if (!command)
		return options->n_args ? WORD_UNKNOWN : WORD_COMMAND;
	if (line->wants_help || options->n_args >= command->max_args)
		return WORD_UNKNOWN;
	if (options->repository.chunks) /* then there is no snapshot: INDEX [TARGET] */
		return options->n_args == 0 || options->via != VIA_LOOP ? WORD_FILE : WORD_UNKNOWN;
	enum word_kind kind = command->kinds[min_size(options->n_args, COMMAND_ARGS_MAX - 1)];
	return kind == WORD_TARGET && options->via == VIA_LOOP ? WORD_UNKNOWN : kind; /* /dev/nbd0 may be typed */
}

static void ask_for_value(struct question *question, enum option_id id)
{
	if (id == N_OPTIONS || !args_is_taken(question->line.command, id))
		return;
	question->option = id;
	question->kind = kind_of_value(id);
}

static void ask(struct question *question)
{
	const struct command_line *line = &question->line;
	const char *word = question->word, *equals = strchr(word, '=');
	bool is_option = !line->is_end && word[0] == '-';
	if (line->pending != N_OPTIONS) {
		ask_for_value(question, line->pending);
	} else if (is_option && equals) {
		question->skip = (size_t)(equals + 1 - word);
		ask_for_value(question, args_find_option(word));
	} else {
		question->kind = is_option ? WORD_OPTION : kind_of_argument(line);
	}
}

int question_init(const char *const *words, size_t n, struct question *ret, struct err *err)
{
	struct failure why = FAILURE_NONE;
	if (n == 0)
		return err_set(err, -EINVAL, "no words to complete");
	struct question question = {
		.kind = WORD_UNKNOWN, .option = N_OPTIONS, .word = words[n - 1],
	};
	int r = args_parse((int)(n - 1), words, &question.line, &why);
	failure_deinit(&why);
	/* A line that is not whole yet is wrong in most cases: what of it is understood has to do. */
	if (r == -ENOMEM) {
		question_deinit(&question);
		return err_set(err, r, "no memory for the command line");
	}
	ask(&question);
	*ret = question;
	return 0;
}

void question_deinit(struct question *question)
{
	command_line_deinit(&question->line);
}

enum shell_adds question_shell_adds(const struct question *question)
{
	const char *typed = question_typed(question);
	switch (question->kind) {
	case WORD_TARGET:
	case WORD_FILE:
		return SHELL_ADDS_FILES;
	case WORD_DIRECTORY:
		return SHELL_ADDS_DIRECTORIES;
	case WORD_REPOSITORY: /* one that is a directory is written as a path */
		return *typed && strchr("/.~", *typed) ? SHELL_ADDS_DIRECTORIES : SHELL_ADDS_NOTHING;
	case WORD_MAPPING:
		return strchr(typed, '/') ? SHELL_ADDS_FILES : SHELL_ADDS_NOTHING;
	default:
		return SHELL_ADDS_NOTHING;
	}
}
