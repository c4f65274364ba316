/* SPDX-License-Identifier: Apache-2.0 */
#include "util/pool.h"

#include <semaphore.h>
#include <string.h>

#include "unit.h"
#include "util/lock.h"

/* Jobs write their names into one string; a gate holds the first until the others are queued. */
struct scene {
	struct pool *pool;
	sem_t gate, done;
	pthread_mutex_t lock;
	char order[64];
};

struct named_job {
	struct job job;
	struct scene *scene;
	char name;
};

static void run(struct job *job, void *worker)
{
	struct named_job *n = CONTAINER_OF(job, struct named_job, job);
	if (n->name == '!')
		(void) sem_wait(&n->scene->gate);
	{
		HOLD(&n->scene->lock);
		size_t len = strlen(n->scene->order);
		n->scene->order[len] = n->name;
	}
	(void) sem_post(&n->scene->done);
}

static void begin(struct scene *s, unsigned n_threads)
{
	memset(s, 0, sizeof *s);
	(void) sem_init(&s->gate, 0, 0);
	(void) sem_init(&s->done, 0, 0);
	(void) pthread_mutex_init(&s->lock, NULL);
	struct pool_options options = { .name = "test", .n_threads = n_threads };
	assert_int_equal(pool_new(&options, &s->pool, NULL), 0);
}

static void submit(struct scene *s, struct named_job *n, char name, enum priority priority)
{
	*n = (struct named_job){ .scene = s, .name = name };
	list_init(&n->job.node);
	n->job.run = run;
	n->job.priority = priority;
	assert_int_equal(pool_submit(s->pool, &n->job, NULL), 0);
}

static void does_first_what_is_wanted_first(void **state)
{
	struct scene s;
	struct named_job jobs[5];
	begin(&s, 1);
	submit(&s, &jobs[0], '!', PRIORITY_DEMAND);
	submit(&s, &jobs[1], 'p', PRIORITY_PREFETCH);
	submit(&s, &jobs[2], 'a', PRIORITY_READ_AHEAD);
	submit(&s, &jobs[3], 'd', PRIORITY_DEMAND);
	submit(&s, &jobs[4], 'e', PRIORITY_DEMAND);
	(void) sem_post(&s.gate);
	pool_free(s.pool); /* runs what is queued */
	assert_string_equal(s.order, "!deap");
}

static void moves_a_waiting_job_up(void **state)
{
	struct scene s;
	struct named_job jobs[4];
	begin(&s, 1);
	submit(&s, &jobs[0], '!', PRIORITY_DEMAND);
	submit(&s, &jobs[1], 'a', PRIORITY_READ_AHEAD);
	submit(&s, &jobs[2], 'b', PRIORITY_READ_AHEAD);
	submit(&s, &jobs[3], 'p', PRIORITY_PREFETCH);
	pool_raise(s.pool, &jobs[3].job, PRIORITY_DEMAND);
	pool_raise(s.pool, &jobs[2].job, PRIORITY_PREFETCH); /* never down */
	(void) sem_post(&s.gate);
	pool_free(s.pool);
	assert_string_equal(s.order, "!pab");
}

static void runs_everything_with_one_two_and_three_threads(void **state)
{
	for (unsigned n = 1; n <= 3; n++) {
		struct scene s;
		struct named_job jobs[40];
		begin(&s, n);
		for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
			submit(&s, &jobs[i], 'x', i % N_PRIORITIES);
		for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
			(void) sem_wait(&s.done);
		pool_free(s.pool);
		assert_int_equal(strlen(s.order), ARRAY_LEN(jobs));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(does_first_what_is_wanted_first),
		TEST(moves_a_waiting_job_up),
		TEST(runs_everything_with_one_two_and_three_threads),
	};
	return RUN_TESTS(tests);
}
