/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/unpack.h"
#include "mapping/mapping.h"

/*
 * How far long work is, on one line of the terminal that stderr is; nothing where it is none, or somebody else
 * has it in the foreground, or before the work has taken half a second.  The line goes when the work ends.
 *
 * What is said meanwhile has to come through progress_say(), from any thread: it goes above the line.
 */
#define PROGRESS_RATES 8 /* seconds, over which rates are taken */

struct progress_sample {
	int64_t ns;
	uint64_t n_bytes, done;
};

struct progress {
	bool is_terminal;
	bool is_shown;	   /* there is something on the line; guarded by the lock of stderr */
	int64_t begin_ns, next_ns;
	struct progress_sample samples[PROGRESS_RATES]; /* a ring, the oldest one is overwritten next */
	unsigned n_samples;
	const struct repository_options *said;
};

/* @options: who says things without us; lent. */
#define PROGRESS_NONE(options) ((struct progress){ .said = (options) })

/* The work begins. */
void progress_begin(struct progress *progress);
void progress_end(struct progress *progress);

/* @user: a struct progress.  Shows it, a few times a second. */
void progress_moved(void *user, const struct unpack_progress *at);
void progress_say(void *user, const char *line);

#define PROGRESS_TEXT_SIZE 160

/**
 * progress_format - the line, with rates since the last samples
 *
 * "[====>       ]  34 %  1.203 GiB  5123 files  210.4 MiB/s  0:34 left"; without a total, what took how
 * long: "1.203 GiB  5123 files  210.4 MiB/s  0:12".  Cut at @width characters
 */
void progress_format(const struct progress *progress, const struct unpack_progress *at, int64_t now_ns, size_t width,
		     char ret[static PROGRESS_TEXT_SIZE]);
