/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <time.h>

#include "util/cleanup.h"

/*
 * HOLD(&x->lock): held until the end of the block.  No I/O, no callback and no allocation of a
 * chunk inside.  A function whose name ends in _locked wants the lock from its caller.
 */
#define LOCK_CAT_(a, b) a##b
#define LOCK_CAT(a, b)	LOCK_CAT_(a, b)
#define HOLD(mutex)                                                                       \
	CLEANUP(lock_release) UNUSED pthread_mutex_t *LOCK_CAT(held_, __LINE__) = lock_take(mutex)

static inline pthread_mutex_t *lock_take(pthread_mutex_t *m)
{
	(void) pthread_mutex_lock(m);
	return m;
}

static inline void lock_release(pthread_mutex_t **m)
{
	(void) pthread_mutex_unlock(*m);
}

/* A condition whose pthread_cond_timedwait() takes a deadline_timespec(). */
static inline void cond_init_for_deadlines(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	(void) pthread_condattr_init(&attr);
	(void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void) pthread_cond_init(cond, &attr);
	(void) pthread_condattr_destroy(&attr);
}
