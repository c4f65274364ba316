/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/deadline.h"
#include "util/text.h"

/*
 * The lock of stderr keeps lines apart, as it does for all who write there: nobody waits for long who has it.
 */
#define SECOND	 INT64_C(1000000000)
#define FIRST	 (SECOND / 2) /* before that nobody has begun to wonder */
#define INTERVAL (SECOND / 5)
#define BAR	 12 /* characters: then the line fits into 80 */
#define WIDTH	 80 /* of a terminal that does not say */
#define ERASE	 "\r\033[K"

void progress_begin(struct progress *progress)
{
	const char *terminal = getenv("TERM");
	progress->is_terminal = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
	progress->begin_ns = now_ns();
	progress->next_ns = progress->begin_ns + FIRST;
	progress->samples[0] = (struct progress_sample){ .ns = progress->begin_ns };
	progress->n_samples = 1;
}

static void erase_locked(struct progress *progress)
{
	if (progress->is_shown)
		(void) fputs(ERASE, stderr);
	progress->is_shown = false;
}

void progress_end(struct progress *progress)
{
	flockfile(stderr);
	erase_locked(progress);
	progress->is_terminal = false;
	funlockfile(stderr);
}

void progress_say(void *user, const char *line)
{
	struct progress *progress = user;
	flockfile(stderr);
	erase_locked(progress);
	progress->said->say(progress->said->user, line);
	funlockfile(stderr);
}

/* -- the line -------------------------------------------------------------------------------- */

static const struct progress_sample *oldest(const struct progress *progress)
{
	return &progress->samples[progress->n_samples < PROGRESS_RATES ? 0 : progress->n_samples % PROGRESS_RATES];
}

static double per_second(uint64_t from, uint64_t to, int64_t ns)
{
	double rate = ns > 0 && to > from ? (double)(to - from) * SECOND / (double)ns : 0;
	return rate < (double)INT64_MAX ? rate : (double)(INT64_MAX / 2);
}

/* "0:34", "2:03:04" */
static void format_seconds(double seconds, char *ret, size_t len)
{
	uint64_t s = seconds < 360000000 ? (uint64_t)(seconds + 0.5) : 360000000;
	if (s >= 3600)
		(void) snprintf(ret, len, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60), (unsigned)(s % 60));
	else
		(void) snprintf(ret, len, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
}

static void format_bar(const struct unpack_progress *at, char *ret, size_t len)
{
	char bar[BAR + 1];
	double share = (double)at->done / (double)at->total;
	size_t n = min_size((size_t)(share * BAR), BAR);
	memset(bar, '=', n);
	memset(bar + n, ' ', BAR - n);
	bar[n] = n < BAR ? '>' : '\0';
	bar[BAR] = '\0';
	(void) snprintf(ret, len, "[%s] %3u %%  ", bar, (unsigned)(share * 100));
}

/* The seconds that are left; where no rate tells, none. */
static void format_left(const struct unpack_progress *at, double rate, char *ret, size_t len)
{
	char left[32];
	ret[0] = '\0';
	if (rate <= 0)
		return;
	format_seconds((double)(at->total - at->done) / rate, left, sizeof left);
	(void) snprintf(ret, len, "  %s left", left);
}

void progress_format(const struct progress *progress, const struct unpack_progress *at, int64_t now, size_t width,
		     char ret[static PROGRESS_TEXT_SIZE])
{
	const struct progress_sample *since = oldest(progress);
	int64_t ns = now - since->ns;
	char bar[2 * BAR] = "", size[32], rate[32], time[48], seconds[32];
	if (at->total) {
		format_bar(at, bar, sizeof bar);
		format_left(at, per_second(since->done, at->done, ns), time, sizeof time);
	} else {
		format_seconds((double)(now - progress->begin_ns) / SECOND, seconds, sizeof seconds);
		(void) snprintf(time, sizeof time, "  %s", seconds);
	}
	(void) snprintf(ret, min_size(width + 1, PROGRESS_TEXT_SIZE), "%s%s  %" PRIu64 " file%s  %s/s%s", bar,
			text_size(at->n_bytes, size, sizeof size), at->n_files, at->n_files == 1 ? "" : "s",
			text_size((uint64_t)per_second(since->n_bytes, at->n_bytes, ns), rate, sizeof rate), time);
}

/* -- showing it ------------------------------------------------------------------------------ */

/* The last place of a line stays free: some terminals would begin another one. */
static size_t width_of_terminal(void)
{
	struct winsize size;
	bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
	return is_known ? size.ws_col - 1u : WIDTH - 1;
}

static void take_sample(struct progress *progress, const struct unpack_progress *at, int64_t now)
{
	unsigned last = (progress->n_samples - 1) % PROGRESS_RATES;
	if (now - progress->samples[last].ns < SECOND)
		return;
	progress->samples[progress->n_samples++ % PROGRESS_RATES] = (struct progress_sample){
		.ns = now, .n_bytes = at->n_bytes, .done = at->done,
	};
}

/* Where it is not our terminal, nobody says so. */
static bool is_in_background(void)
{
	pid_t front = tcgetpgrp(STDERR_FILENO);
	return front >= 0 && front != getpgrp();
}

void progress_moved(void *user, const struct unpack_progress *at)
{
	struct progress *progress = user;
	char line[PROGRESS_TEXT_SIZE];
	int64_t now = progress->is_terminal ? now_ns() : 0;
	if (!progress->is_terminal || now < progress->next_ns)
		return;
	progress->next_ns = now + INTERVAL;
	if (is_in_background())
		return;
	progress_format(progress, at, now, width_of_terminal(), line);
	take_sample(progress, at, now);
	flockfile(stderr);
	(void) fprintf(stderr, "\r%s\033[K", line);
	(void) fflush(stderr);
	progress->is_shown = true;
	funlockfile(stderr);
}
