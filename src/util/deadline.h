/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* A point in time on CLOCK_MONOTONIC; INT64_MAX = never. */
struct deadline {
	int64_t ns;
};

#define DEADLINE_NEVER ((struct deadline){ INT64_MAX })

/* Before everything: for who wants what can be had without waiting, and nothing to be begun for it. */
#define DEADLINE_PAST ((struct deadline){ INT64_MIN })

static inline int64_t now_ns(void)
{
	struct timespec t;
	(void) clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline struct deadline deadline_in_ms(int64_t ms)
{
	return (struct deadline){ now_ns() + ms * 1000000 };
}

/* Of something that may take so long from now on; 0 = for ever. */
static inline struct deadline deadline_of_timeout(int64_t timeout_ms)
{
	return timeout_ms ? deadline_in_ms(timeout_ms) : DEADLINE_NEVER;
}

static inline bool deadline_is_never(struct deadline d)
{
	return d.ns == INT64_MAX;
}

static inline bool deadline_is_past(struct deadline d)
{
	return d.ns == INT64_MIN;
}

static inline bool deadline_is_over(struct deadline d)
{
	return !deadline_is_never(d) && now_ns() >= d.ns;
}

/* For poll(): milliseconds left, rounded up; -1 = never. */
static inline int deadline_poll_ms(struct deadline d)
{
	if (deadline_is_never(d))
		return -1;
	int64_t left = (d.ns - now_ns() + 999999) / 1000000;
	return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

static inline struct timespec deadline_timespec(struct deadline d)
{
	return (struct timespec){ .tv_sec = d.ns / 1000000000, .tv_nsec = d.ns % 1000000000 };
}
