/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * A read waits on the entries that will bring its segments, and on its deadline; whichever comes
 * first ends it, under the lock, exactly once.
 */
static void end_locked(struct read *read, struct todo *todo)
{
	read->is_over = true;
	list_remove(&read->node);
	list_append(&todo->reads, &read->node);
}

void read_wait_for_locked(struct read *read, unsigned n_segment, struct entry *entry)
{
	struct waiter *waiter = &read->waiters[n_segment];
	waiter->entry = entry;
	list_append(&entry->waiters, &waiter->node);
	read->n_missing++;
}

void read_begin_waiting_locked(struct read *read)
{
	struct stream *stream = read->stream;
	struct stream_shared *shared = stream->shared;
	if (deadline_is_never(read->until)) {
		list_append(&stream->endless_reads, &read->node);
		return;
	}
	/* Nearly always the last: deadlines are "now" and the same time more. */
	struct list *after = shared->reads.prev;
	while (after != &shared->reads &&
	       CONTAINER_OF(after, struct read, node)->until.ns > read->until.ns)
		after = after->prev;
	list_push(after, &read->node);
	if (shared->is_sleeping_for_ever || shared->reads.next == &read->node)
		(void) pthread_cond_signal(&shared->deadline_changed);
}

void read_segment_came_locked(struct waiter *waiter, struct chunk *chunk, struct todo *todo)
{
	struct read *read = waiter->read;
	struct segment *segment = &read->segments[waiter->n_segment];
	segment->chunk = chunk_ref(chunk);
	segment->data = chunk->data + waiter->off;
	waiter->entry = NULL;
	if (--read->n_missing == 0) {
		read->stream->stats.read_bytes += read->len;
		end_locked(read, todo);
	}
}

void read_fail_locked(struct read *read, const struct err *why, struct todo *todo)
{
	if (read->is_over)
		return;
	for (unsigned i = 0; i < read->n_segments; i++) {
		struct waiter *waiter = &read->waiters[i];
		list_remove(&waiter->node);
		if (waiter->entry)
			load_unwant_locked(STEAL(waiter->entry));
	}
	read->result = why->code;
	read->err = *why;
	end_locked(read, todo);
}

/* Reads whose time is over, answered; then the time of the next one. */
static struct deadline expire_locked(struct stream_shared *shared, struct todo *todo)
{
	struct err why;
	(void) err_set(&why, -ETIMEDOUT, "no answer within the time limit");
	int64_t now = now_ns();
	while (!list_is_empty(&shared->reads)) {
		struct read *read = CONTAINER_OF(shared->reads.next, struct read, node);
		if (read->until.ns > now)
			return read->until;
		read_fail_locked(read, &why, todo);
	}
	return DEADLINE_NEVER;
}

/*
 * Sleeps until the soonest deadline of then; a read that is answered in time does not wake it.  So
 * it wakes once a time limit while there is work, and never while there is none.
 */
void *read_deadline_thread(void *arg)
{
	struct stream_shared *shared = arg;
	for (;;) {
		struct todo todo;
		todo_init(&todo);
		{
			HOLD(&shared->lock);
			if (shared->is_ending)
				return NULL;
			struct deadline next = expire_locked(shared, &todo);
			if (!list_is_empty(&todo.reads)) {
				/* answered below, without the lock; then once more */
			} else if (deadline_is_never(next)) {
				shared->is_sleeping_for_ever = true;
				(void) pthread_cond_wait(&shared->deadline_changed, &shared->lock);
				shared->is_sleeping_for_ever = false;
			} else {
				struct timespec until = deadline_timespec(next);
				(void) pthread_cond_timedwait(&shared->deadline_changed,
							      &shared->lock, &until);
			}
		}
		todo_run(&todo);
	}
}

void read_copy_out(const struct read *read, void *to)
{
	uint8_t *at = to;
	for (unsigned i = 0; i < read->n_segments; i++) {
		memcpy(at, read->segments[i].data, read->segments[i].len);
		at += read->segments[i].len;
	}
}

void read_release(struct read *read)
{
	for (unsigned i = 0; i < read->n_segments; i++)
		chunk_unref(read->segments[i].chunk);
	if (read->segments != read->inline_segments) {
		free(read->segments);
		free(read->waiters);
	}
	read->segments = NULL;
	read->waiters = NULL;
	read->n_segments = 0;
}
