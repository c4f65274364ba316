/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/prompt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "util/file.h"

#define LINE_MAX_LEN 1024 /* bytes typed */

enum echo { ECHO_STARS, ECHO_TEXT };
enum typed { TYPED_MORE, TYPED_END, TYPED_INTERRUPT, TYPED_HANG_UP, TYPED_SIGNAL };

/* What is typed, in memory that may hold a password. */
struct line {
	struct secret room;
	size_t len;
};

static int open_terminal(struct termios *ret)
{
	CLEANUP(closep) int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	return tty >= 0 && tcgetattr(tty, ret) == 0 ? steal_fd(&tty) : -EBADF;
}

/* One key, shown as people know it. */
static enum typed take_key(int tty, char c, enum echo echo, struct line *line)
{
	if (c == '\r' || c == '\n' || c == 4)
		return TYPED_END;
	if (c == 3)
		return TYPED_INTERRUPT;
	if ((c == 8 || c == 127) && line->len) {
		line->len--;
		(void) write_full(tty, "\b \b", 3);
	} else if ((unsigned char)c >= 32 && c != 127 && line->len < LINE_MAX_LEN) {
		line->room.data[line->len++] = (uint8_t)c;
		(void) write_full(tty, echo == ECHO_TEXT ? &c : "*", 1);
	}
	return TYPED_MORE;
}

static enum typed read_line(int tty, int signal_fd, enum echo echo, struct line *line)
{
	enum typed typed = TYPED_MORE;
	while (typed == TYPED_MORE) {
		char c;
		struct pollfd fds[] = { { .fd = tty, .events = POLLIN }, { .fd = signal_fd, .events = POLLIN } };
		if (poll(fds, ARRAY_LEN(fds), -1) < 0)
			continue;
		if (fds[1].revents)
			return TYPED_SIGNAL;
		ssize_t n = read(tty, &c, 1);
		if (n == 1)
			typed = take_key(tty, c, echo, line);
		else if (n == 0 || errno != EINTR)
			return TYPED_HANG_UP;
	}
	return typed;
}

/* What would end this process, held back until the terminal is as it was. */
struct held {
	sigset_t before;
	int signal_fd;
	int at_parents_death;
};

/* Held, it would be there all the same. */
static bool is_ignored(int number)
{
	struct sigaction action;
	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void hold_signals(struct held *ret)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT };
	sigset_t ours;
	(void) sigemptyset(&ours);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (!is_ignored(signals[i]))
			(void) sigaddset(&ours, signals[i]);
	ret->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (ret->signal_fd < 0)
		(void) sigemptyset(&ours); /* then they end it as they always do */
	(void) pthread_sigmask(SIG_BLOCK, &ours, &ret->before);
	ret->at_parents_death = 0;
	(void) prctl(PR_GET_PDEATHSIG, &ret->at_parents_death);
	if (ret->at_parents_death) /* not by SIGKILL meanwhile */
		(void) prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void let_signals_come(struct held *held)
{
	(void) prctl(PR_SET_PDEATHSIG, held->at_parents_death);
	closep(&held->signal_fd);
	(void) pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

/*
 * Signals of the terminal are off meanwhile, and others wait, so that nobody is left with one that shows nothing;
 * Ctrl-C is then sent to all it would have reached.
 */
static int ask(int tty, const struct termios *before, const char *question, enum echo echo, struct line *line,
	       struct err *err)
{
	struct termios raw = *before;
	struct held held;
	hold_signals(&held);
	raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	line->len = 0;
	(void) tcsetattr(tty, TCSAFLUSH, &raw);
	(void) write_full(tty, question, strlen(question));
	enum typed how = read_line(tty, held.signal_fd, echo, line);
	(void) write_full(tty, "\n", 1);
	(void) tcsetattr(tty, TCSAFLUSH, before);
	let_signals_come(&held);
	if (how == TYPED_HANG_UP)
		return err_set(err, -EIO, "the terminal hung up");
	if (how == TYPED_END)
		return 0;
	if (how == TYPED_INTERRUPT)
		(void) kill(0, SIGINT);
	return err_set(err, -EINTR, "interrupted");
}

bool prompt_has_terminal(void)
{
	struct termios ignored;
	CLEANUP(closep) int tty = open_terminal(&ignored);
	return tty >= 0;
}

int prompt_password(const char *question, struct secret *ret, struct err *err)
{
	struct termios before;
	struct line line = { .room = SECRET_EMPTY };
	CLEANUP(closep) int tty = open_terminal(&before);
	if (tty < 0)
		return 0;
	int r = secret_init(&line.room, LINE_MAX_LEN, err);
	if (r == 0)
		r = ask(tty, &before, question, ECHO_STARS, &line, err);
	if (r == 0)
		r = secret_init_copy(ret, line.room.data, line.len, err);
	secret_deinit(&line.room);
	return r < 0 ? r : 1;
}

/* PROMPT_NO_TERMINAL = neither. */
static enum prompt_answer answer_in(const struct line *line)
{
	static const char yes[] = "yY", no[] = "nN";
	if (line->len != 1)
		return PROMPT_NO_TERMINAL;
	if (memchr(yes, line->room.data[0], 2))
		return PROMPT_YES;
	return memchr(no, line->room.data[0], 2) ? PROMPT_NO : PROMPT_NO_TERMINAL;
}

int prompt_yes_no(const char *question, struct err *err)
{
	struct termios before;
	struct line line = { .room = SECRET_EMPTY };
	enum prompt_answer answer = PROMPT_NO_TERMINAL;
	CLEANUP(closep) int tty = open_terminal(&before);
	if (tty < 0)
		return PROMPT_NO_TERMINAL;
	int r = secret_init(&line.room, LINE_MAX_LEN, err);
	while (r == 0 && answer == PROMPT_NO_TERMINAL) {
		r = ask(tty, &before, question, ECHO_TEXT, &line, err);
		answer = answer_in(&line);
	}
	secret_deinit(&line.room);
	return r < 0 ? r : (int)answer;
}
