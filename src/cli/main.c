/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/help.h"
#include "cli/output.h"
#include "util/text.h"

static void say(void *user, const char *line)
{
	char text[2048];
	(void) fprintf(stderr, "%s\n", text_escape(line, text, sizeof text));
}

/* One line for people; with --json the same as a document, for programs. */
static void print_failure(const struct options *options, const struct failure *why)
{
	char text[2048];
	const char *message = text_escape(why->err.msg, text, sizeof text);
	if (why->err.code == -EPIPE)
		return; /* whoever read the result has had enough */
	(void) fprintf(stderr, "pbsmap: %s\n", message);
	if (!options->is_json)
		return;
	json_t *error = json_pack("{s:{s:i, s:s, s:o, s:o}}", "error", "exit", exit_status_of(why->err.code),
				  "message", message, "candidates", json_names(&why->candidates), "holders",
				  json_names(&why->holders));
	(void) json_dumpf(error, stdout, JSON_COMPACT);
	(void) printf("\n");
	(void) fflush(stdout);
	json_decref(error);
}

static int run(const struct command_line *line, struct failure *why)
{
	if (line->wants_version)
		return help_version(&why->err);
	if (line->wants_help)
		return help_print(stdout, line->command, &why->err);
	if (!line->command) {
		(void) help_print(stderr, NULL, NULL);
		return EXIT_USAGE;
	}
	return line->command->run(&line->options, why);
}

int main(int argc, char **argv)
{
	struct command_line line;
	struct failure why = FAILURE_NONE;
	(void) signal(SIGPIPE, SIG_IGN); /* a write that fails is said, or passed over in silence */
	int r = args_parse(argc - 1, (const char *const *)argv + 1, &line, &why);
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
