/* SPDX-License-Identifier: Apache-2.0 */
#include "util/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/lock.h"
#include "util/thread.h"

/*
 * One queue for each priority, one lock, one condition.  A thread is started by a submit that
 * finds no sleeping one, up to n_threads; so a pool that never had work has no threads, and a
 * mapping that reads now and then has one.
 */
struct pool {
	struct pool_options options;
	char name[12];
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t work;
	struct list queue[N_PRIORITIES];
	unsigned n_started, n_sleeping;
	size_t n_queued;
	bool is_ending;
	pthread_t *threads;
};

int pool_new(const struct pool_options *options, struct pool **ret, struct err *err)
{
	struct pool *pool = calloc(1, sizeof *pool);
	if (!pool)
		return err_set(err, -ENOMEM, "no memory for threads");
	pool->options = *options;
	pool->threads = calloc(options->n_threads, sizeof *pool->threads);
	if (!pool->threads) {
		free(pool);
		return err_set(err, -ENOMEM, "no memory for threads");
	}
	(void) snprintf(pool->name, sizeof pool->name, "%s", options->name);
	(void) pthread_mutex_init(&pool->lock, NULL);
	(void) pthread_cond_init(&pool->work, NULL);
	for (int i = 0; i < N_PRIORITIES; i++)
		list_init(&pool->queue[i]);
	*ret = pool;
	return 0;
}

static struct job *next_job_locked(struct pool *pool)
{
	for (int i = 0; i < N_PRIORITIES; i++) {
		struct list *node = list_pop(&pool->queue[i]);
		if (node) {
			pool->n_queued--;
			return CONTAINER_OF(node, struct job, node);
		}
	}
	return NULL;
}

/* The next job; NULL = the pool ends and nothing is left. */
static struct job *wait_for_job(struct pool *pool)
{
	HOLD(&pool->lock);
	for (;;) {
		struct job *job = next_job_locked(pool);
		if (job || pool->is_ending)
			return job;
		pool->n_sleeping++;
		(void) pthread_cond_wait(&pool->work, &pool->lock);
		pool->n_sleeping--;
	}
}

static void *work(void *arg)
{
	struct pool *pool = arg;
	void *worker = NULL;
	struct job *job;
	while ((job = wait_for_job(pool))) {
		/* No memory for its state: the job has to say so, and the next one tries again. */
		if (!worker && pool->options.init_worker &&
		    pool->options.init_worker(pool->options.user, &worker, NULL) < 0)
			worker = NULL;
		job->run(job, worker);
	}

	if (pool->options.deinit_worker && worker)
		pool->options.deinit_worker(worker);
	return NULL;
}

static int start_thread_locked(struct pool *pool)
{
	char name[16];
	(void) snprintf(name, sizeof name, "%.11s-%u", pool->name, pool->n_started % 100);
	int r = thread_start(&pool->threads[pool->n_started], name, work, pool);
	if (r == 0)
		pool->n_started++;
	return r;
}

int pool_submit(struct pool *pool, struct job *job, struct err *err)
{
	HOLD(&pool->lock);
	if (pool->n_sleeping <= pool->n_queued && pool->n_started < pool->options.n_threads) {
		int r = start_thread_locked(pool);
		if (r < 0 && pool->n_started == 0)
			return err_set(err, r, "cannot start a thread");
	}
	enum priority priority = job->priority; /* gcc does not read it atomically as an index */
	list_append(&pool->queue[priority], &job->node);
	pool->n_queued++;
	(void) pthread_cond_signal(&pool->work);
	return 0;
}

void pool_raise(struct pool *pool, struct job *job, enum priority priority)
{
	HOLD(&pool->lock);
	if (priority >= job->priority)
		return;
	job->priority = priority;
	if (list_is_empty(&job->node))
		return; /* not submitted yet, or runs already */
	list_remove(&job->node);
	list_append(&pool->queue[priority], &job->node);
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	{
		HOLD(&pool->lock);
		pool->is_ending = true;
		(void) pthread_cond_broadcast(&pool->work);
	}
	for (unsigned i = 0; i < pool->n_started; i++)
		(void) pthread_join(pool->threads[i], NULL);
	(void) pthread_cond_destroy(&pool->work);
	(void) pthread_mutex_destroy(&pool->lock);
	free(pool->threads);
	free(pool);
}
