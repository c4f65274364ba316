/* SPDX-License-Identifier: Apache-2.0 */
#include "nbdkit/waiting_read.h"

#include <string.h>

#include "util/bytes.h"
#include "util/lock.h"

#define LOOK_UP_MS 500

/*
 * nbdkit waits for its threads before it ends, and they for a server that may be away for a long time.  So
 * who sleeps looks up now and then, and takes the read back when nobody is there to take the answer.
 */
struct sleeper {
	struct read read;
	pthread_mutex_t lock;
	pthread_cond_t came;
	bool is_done;
};

static void wake(struct read *read)
{
	struct sleeper *sleeper = CONTAINER_OF(read, struct sleeper, read);
	HOLD(&sleeper->lock);
	sleeper->is_done = true;
	(void) pthread_cond_signal(&sleeper->came);
}

static bool sleep_until(struct sleeper *sleeper, struct deadline until)
{
	struct timespec at = deadline_timespec(until);
	HOLD(&sleeper->lock);
	while (!sleeper->is_done && !deadline_is_over(until))
		(void) pthread_cond_timedwait(&sleeper->came, &sleeper->lock, &at);
	return sleeper->is_done;
}

static void sleep_until_done(struct sleeper *sleeper)
{
	HOLD(&sleeper->lock);
	while (!sleeper->is_done)
		(void) pthread_cond_wait(&sleeper->came, &sleeper->lock);
}

static void submit_and_wait(struct image *image, const struct wanted *wanted, struct sleeper *sleeper)
{
	image_submit(image, &sleeper->read);
	while (!sleep_until(sleeper, deadline_in_ms(LOOK_UP_MS))) {
		if (!wanted->is_given_up(wanted->user))
			continue;
		image_cancel(image, &sleeper->read);
		break;
	}
	sleep_until_done(sleeper);
}

static void sleeper_init(struct sleeper *sleeper)
{
	cond_init_for_deadlines(&sleeper->came);
	(void) pthread_mutex_init(&sleeper->lock, NULL);
}

static void sleeper_deinit(struct sleeper *sleeper)
{
	(void) pthread_cond_destroy(&sleeper->came);
	(void) pthread_mutex_destroy(&sleeper->lock);
}

static int read_piece(struct image *image, const struct wanted *wanted, void *buf, struct err *err)
{
	struct sleeper sleeper = {
		.read = {
			.off = wanted->off,
			.len = wanted->len,
			.priority = wanted->priority,
			.until = deadline_of_timeout(wanted->timeout_ms),
			.done = wake,
		},
	};
	sleeper_init(&sleeper);
	submit_and_wait(image, wanted, &sleeper);
	int r = sleeper.read.result;
	if (r < 0 && err)
		*err = sleeper.read.err;
	else if (r == 0 && buf)
		read_copy_out(&sleeper.read, buf);
	read_release(&sleeper.read);
	sleeper_deinit(&sleeper);
	return r;
}

int waiting_read(struct image *image, const struct wanted *wanted, void *buf, struct err *err)
{
	struct wanted piece = *wanted;
	size_t done = 0;
	int r = 0;
	while (r == 0 && done < wanted->len) {
		piece.off = wanted->off + done;
		piece.len = min_size(wanted->len - done, READ_MAX);
		r = read_piece(image, &piece, buf ? (uint8_t *)buf + done : NULL, err);
		done += piece.len;
	}
	return r;
}
