/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/stream.h"
#include "util/lock.h"

/* Somebody who sleeps on a read. */
struct sleeper {
	pthread_mutex_t lock;
	pthread_cond_t came;
	bool is_done;
};

static void wake(struct read *read)
{
	struct sleeper *sleeper = read->user;
	HOLD(&sleeper->lock);
	sleeper->is_done = true;
	(void) pthread_cond_signal(&sleeper->came);
}

static void sleep_until_answered(struct sleeper *sleeper)
{
	HOLD(&sleeper->lock);
	while (!sleeper->is_done)
		(void) pthread_cond_wait(&sleeper->came, &sleeper->lock);
}

int read_and_wait(void (*submit)(void *object, struct read *read), void *object, struct read *read,
		  void *buf, struct err *err)
{
	struct sleeper sleeper = { .is_done = false };
	(void) pthread_mutex_init(&sleeper.lock, NULL);
	(void) pthread_cond_init(&sleeper.came, NULL);
	read->done = wake;
	read->user = &sleeper;
	submit(object, read);
	sleep_until_answered(&sleeper);
	int r = read->result;
	if (r == 0)
		read_copy_out(read, buf);
	else if (err)
		*err = read->err;
	read_release(read);
	(void) pthread_cond_destroy(&sleeper.came);
	(void) pthread_mutex_destroy(&sleeper.lock);
	return r;
}
