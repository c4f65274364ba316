/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/list.h"

/* What is wanted first is done first; within one priority in order of arrival. */
enum priority {
	PRIORITY_DEMAND,     /* somebody waits for it */
	PRIORITY_READ_AHEAD, /* somebody will probably ask for it next */
	PRIORITY_PREFETCH,   /* somebody said it would be nice */
	N_PRIORITIES
};

struct pool;

/* Embedded in what the work is about; on one pool at a time. */
struct job {
	struct list node;
	_Atomic(enum priority) priority; /* pool_raise() changes it at any time */
	void (*run)(struct job *job, void *worker); /* @worker: what init_worker gave this thread */
};

struct pool_options {
	const char *name;    /* thread name, at most 11 characters; a number is added */
	unsigned n_threads;  /* started when first needed */
	int (*init_worker)(void *user, void **ret_worker, struct err *err); /* may be NULL */
	void (*deinit_worker)(void *worker);
	void *user;
};

/*
 * Threads that run jobs.  Threads are started by the jobs that need them, so an idle pool has
 * none; started ones sleep without a timeout.
 */
int pool_new(const struct pool_options *options, struct pool **ret, struct err *err) MUST_CHECK;

/* Runs what is queued, joins the threads. */
void pool_free(struct pool *pool);

/* @job runs later on one of the threads.  -EAGAIN when not even one thread could be started. */
int pool_submit(struct pool *pool, struct job *job, struct err *err) MUST_CHECK;

/*
 * @job is more urgent now.  It may wait, run, or be about to be submitted: then it must have got its
 * priority and list_init() before another thread could see it.
 */
void pool_raise(struct pool *pool, struct job *job, enum priority priority);
