/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "cli/args.h"
#include "cli/complete_run.h"
#include "cli/help.h"
#include "cli/output.h"

#define LINE_SIZE 2048 /* bytes of one line for people */

static void say(void *user, const char *line)
{
	char text[LINE_SIZE];
	(void) fprintf(stderr, "%s\n", message_escape(line, text, sizeof text));
}

/*
 * A descriptor that is closed when we start would be given to the first file we open, and words
 * for people would be written into it.  Opened the wrong way round it fails as a closed one does.
 */
static int fill_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return -EBADF;
	return 0;
}

/* One line for people; with --json the same as a document, for programs. */
static void print_failure(const struct options *options, const struct failure *why)
{
	char text[LINE_SIZE];
	const char *message = message_escape(why->err.msg, text, sizeof text);
	if (why->err.code == -EPIPE && !output_has_reader())
		return; /* whoever read the result has had enough */
	(void) fprintf(stderr, "pbsmap: %s\n", message);
	if (!options->is_json)
		return;
	json_t *error = json_pack("{s:{s:i, s:s, s:o, s:o}}", "error", "exit",
				  exit_status_of(why->err.code), "message", message, "candidates",
				  json_names(&why->candidates), "holders", json_names(&why->holders));
	if (output_json(options, error, NULL) < 0)
		return; /* the line above has to do */
}

static int print_text(int r, const struct buf *text, struct err *err)
{
	return r < 0 ? r : output_text(text->data, text->len, err);
}

static int run(const struct command_line *line, struct failure *why)
{
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	if (line->wants_version)
		return print_text(help_version(&text, &why->err), &text, &why->err);
	if (line->wants_help)
		return print_text(help_format(line->command, &text, &why->err), &text, &why->err);
	if (line->command)
		return line->command->run(&line->options, why);
	int r = help_format(NULL, &text, &why->err);
	if (r < 0)
		return r;
	(void) fputs(text.data, stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct command_line line;
	struct failure why = FAILURE_NONE;
	if (fill_stdio() < 0)
		return EXIT_FAILED;
	(void) signal(SIGPIPE, SIG_IGN); /* a write that fails is said, or passed over in silence */
	int n_words = argc > 0 ? argc - 1 : 0;
	const char *const *words = (const char *const *)argv + 1;
	if (complete_is_asked(n_words, words)) {
		complete_run(n_words, words);
		return EXIT_DONE;
	}
	int r = args_parse(n_words, words, &line, &why);
	line.options.repository.say = say;
	if (r == 0)
		r = run(&line, &why);
	if (r < 0)
		print_failure(&line.options, &why);
	int status = r < 0 ? exit_status_of(r) : r;
	failure_deinit(&why);
	command_line_deinit(&line);
	return status;
}
