/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete_run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "cli/bash_line.h"
#include "cli/candidates.h"
#include "mapping/inherited.h"
#include "util/buf.h"
#include "util/deadline.h"
#include "util/file.h"

#define COMPLETE_WORD "__complete"
#define ANSWER_MS     1500	 /* longer than that a shell must not seem to hang */
#define ANSWER_MAX    (1u << 20) /* bytes; nobody reads ten thousand candidates */

bool complete_is_asked(int argc, const char *const *argv)
{
	return argc > 0 && strcmp(argv[0], COMPLETE_WORD) == 0;
}

/* -- the answer ------------------------------------------------------------------------------ */

static const char *const adds_names[] = {
	[SHELL_ADDS_NOTHING] = "", [SHELL_ADDS_FILES] = "files", [SHELL_ADDS_DIRECTORIES] = "directories",
};

/* "--via=" and "loop" */
static int add_line(const struct question *question, const char *candidate, struct buf *ret, struct err *err)
{
	return buf_printf(ret, err, "%.*s%s\n", (int)question->skip, question->word, candidate);
}

static int answer_words(const struct question *question, const struct strv *candidates, struct buf *ret,
			struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < candidates->n; i++)
		r = add_line(question, candidates->items[i], ret, err);
	return r;
}

/* @word as bash wants it, where it continues what is typed. */
static int add_for_bash(const struct bash_line *line, const char *typed, const char *word, struct buf *ret,
			struct err *err)
{
	if (strncmp(word, typed, strlen(typed)) != 0)
		return 0;
	int r = bash_quote(line->quote, word + line->skip, ret, err);
	return r > 0 ? buf_puts(ret, "\n", err) : r;
}

static int answer_bash(const struct question *question, const struct bash_line *line,
		       const struct strv *candidates, struct buf *ret, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < candidates->n; i++) {
		CLEANUP(buf_deinit) struct buf word = BUF_EMPTY;
		const char *candidate = candidates->items[i];
		r = buf_printf(&word, err, "%.*s%.*s", (int)question->skip, question->word,
			       (int)strcspn(candidate, "\t"), candidate);
		if (r == 0)
			r = add_for_bash(line, question->word, word.data, ret, err);
	}
	return r;
}

/* @line NULL = for another shell. */
static int answer(const char *const *words, size_t n, const struct bash_line *line, struct buf *ret,
		  struct failure *why)
{
	CLEANUP(question_deinit) struct question question = { 0 };
	CLEANUP(strv_deinit) struct strv candidates = STRV_EMPTY;
	int r = question_init(words, n, &question, &why->err);
	if (r == 0)
		r = candidates_find(&question, &candidates, why);
	if (r == 0)
		r = buf_printf(ret, &why->err, "%s\n", adds_names[question_shell_adds(&question)]);
	if (r < 0)
		return r;
	return line ? answer_bash(&question, line, &candidates, ret, &why->err)
		    : answer_words(&question, &candidates, ret, &why->err);
}

static int answer_line(const char *text, const char *breaks, struct buf *ret, struct failure *why)
{
	CLEANUP(bash_line_deinit) struct bash_line line = BASH_LINE_EMPTY;
	int r = bash_line_split(text, breaks, &line, &why->err);
	if (r < 0 || line.words.n < 2)
		return r;
	return answer((const char *const *)line.words.items + 1, line.words.n - 1, &line, ret, why);
}

static int answer_request(int argc, const char *const *argv, struct buf *ret, struct failure *why)
{
	if (argc >= 3 && strcmp(argv[1], "words") == 0)
		return answer(argv + 2, (size_t)(argc - 2), NULL, ret, why);
	if (argc == 4 && strcmp(argv[1], "bash") == 0)
		return answer_line(argv[2], argv[3], ret, why);
	return err_set(&why->err, -EINVAL, "not asked by one of our scripts");
}

/* -- the child ------------------------------------------------------------------------------- */

/* What a descriptor gives is meant for the command itself, and a command may ask at a terminal. */
static bool is_unfit(const char *entry)
{
	size_t len = strcspn(entry, "=");
	return strncmp(entry, "PBS_", 4) == 0 && ((len > 3 && strncmp(entry + len - 3, "_FD", 3) == 0) ||
						  (len > 4 && strncmp(entry + len - 4, "_CMD", 4) == 0));
}

static void drop_variables(void)
{
	for (char **entry = environ; entry && *entry;) {
		CLEANUP(freep) char *name = is_unfit(*entry) ? strndup(*entry, strcspn(*entry, "=")) : NULL;
		if (name && unsetenv(name) == 0)
			entry = environ;
		else
			entry++;
	}
}

/* Nobody waits for our end: nothing of the shell's may be held open, its terminal least of all. */
static int leave_the_shell(int except)
{
	CLEANUP(inherited_deinit) struct inherited inherited = INHERITED_NONE;
	if (setsid() < 0)
		return -errno;
	int r = inherited_list(except, &inherited, NULL);
	if (r == 0)
		r = inherited_close(&inherited, NULL);
	if (r == 0)
		drop_variables();
	return r;
}

static void work(int argc, const char *const *argv, int to)
{
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	struct failure why = FAILURE_NONE;
	if (leave_the_shell(to) == 0 && answer_request(argc, argv, &text, &why) == 0 && text.len)
		(void) write_full(to, text.data, text.len);
	failure_deinit(&why);
}

static pid_t start(int argc, const char *const *argv, int to)
{
	pid_t parent = getpid(), child = fork();
	if (child != 0)
		return child;
	/* Whoever interrupts TAB ends both. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
		work(argc, argv, to);
	_exit(0);
}

/* -- the parent ------------------------------------------------------------------------------ */

/* All the child says; -ETIMEDOUT. */
static int read_answer(int fd, struct deadline until, struct buf *ret)
{
	struct pollfd answer = { .fd = fd, .events = POLLIN };
	while (ret->len < ANSWER_MAX) {
		char piece[16384];
		int n_ready = poll(&answer, 1, deadline_poll_ms(until));
		if (n_ready < 0 && errno == EINTR)
			continue;
		if (n_ready <= 0)
			return -ETIMEDOUT;
		ssize_t n = read(fd, piece, sizeof piece);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		int r = buf_add(ret, piece, (size_t)n, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whole lines; the rest is of an answer that was cut off. */
static void print_lines(const struct buf *text)
{
	const char *end = text->len ? memrchr(text->data, '\n', text->len) : NULL;
	if (end)
		(void) write_full(STDOUT_FILENO, text->data, (size_t)(end + 1 - text->data));
}

void complete_run(int argc, const char *const *argv)
{
	struct deadline until = deadline_in_ms(ANSWER_MS);
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	CLEANUP(closep) int from = fds[0];
	CLEANUP(closep) int to = fds[1];
	pid_t child = start(argc, argv, to);
	if (child < 0)
		return;
	closep(&to);
	int r = read_answer(from, until, &text);
	/* With all it started; it ends with us in any case.  Not waited for: see the header. */
	(void) kill(-child, SIGKILL);
	if (r == 0)
		print_lines(&text);
}
