/* SPDX-License-Identifier: Apache-2.0 */
#include "source/fault.h"

#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"
#include "util/lock.h"
#include "util/thread.h"

/*
 * Each fetch goes to the inner source as a copy of its own; what comes back is spoiled and handed on.
 * A thread answers the delayed ones when their time has come.
 */
struct source_fault {
	struct source source;
	struct source *inner;
	struct fault *faults;
	size_t n_faults;
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	bool is_ending, is_released;
	uint64_t n_fetches;
	struct list late; /* struct passing that waits for its time, or for the release */
};

/* A fetch on its way through. */
struct passing {
	struct fetch inner;
	struct fetch *outer;
	struct source_fault *fault;
	struct fault what;
	struct list node;
	struct deadline due;
};

static struct source_fault *fault_of(struct source *source)
{
	return CONTAINER_OF(source, struct source_fault, source);
}

static void answer(struct passing *passing)
{
	struct fetch *outer = passing->outer, *inner = &passing->inner;
	outer->result = inner->result;
	outer->err = inner->err;
	outer->raw = inner->raw;
	outer->raw_len = inner->raw_len;
	outer->origin = inner->origin;
	free(passing);
	outer->done(outer);
}

static void answer_later(struct passing *passing, struct deadline due)
{
	struct source_fault *fault = passing->fault;
	{
		HOLD(&fault->lock);
		bool is_free = fault->is_released && passing->what.kind == FAULT_HANG;
		if (!fault->is_ending && !is_free) {
			passing->due = due;
			list_append(&fault->late, &passing->node);
			(void) pthread_cond_signal(&fault->changed);
			return;
		}
	}
	answer(passing);
}

static void inner_is_done(struct fetch *inner)
{
	struct passing *passing = CONTAINER_OF(inner, struct passing, inner);
	const struct fault *what = &passing->what;
	if (inner->result == 0 && what->kind == FAULT_FLIP)
		inner->raw.data[(uint64_t)what->arg % inner->raw_len] ^= 1;
	if (inner->result == 0 && what->kind == FAULT_CUT)
		inner->raw_len = min_size(inner->raw_len, (size_t)what->arg);
	if (what->kind == FAULT_DELAY)
		answer_later(passing, deadline_in_ms(what->arg));
	else if (what->kind == FAULT_HANG)
		answer_later(passing, DEADLINE_NEVER);
	else
		answer(passing);
}

static struct fault next_fault(struct source_fault *fault)
{
	HOLD(&fault->lock);
	uint64_t n = fault->n_fetches++;
	for (size_t i = 0; i < fault->n_faults; i++)
		if (fault->faults[i].nth == n || fault->faults[i].nth == UINT64_MAX)
			return fault->faults[i];
	return (struct fault){ .kind = FAULT_NONE };
}

static void fault_fetch(struct source *source, struct fetch *fetch)
{
	struct source_fault *fault = fault_of(source);
	struct fault what = next_fault(fault);
	struct passing *passing = calloc(1, sizeof *passing);
	if (!passing || what.kind == FAULT_FAIL) {
		int code = passing ? (int)what.arg : -ENOMEM;
		free(passing);
		fetch->raw = MEM_NONE;
		fetch->result = err_set(&fetch->err, code, "made to fail");
		fetch->done(fetch);
		return;
	}
	*passing = (struct passing){ .inner = *fetch, .outer = fetch, .fault = fault, .what = what };
	list_init(&passing->node);
	list_init(&passing->inner.job.node);
	passing->inner.done = inner_is_done;
	fetch->owner = passing;
	source_fetch(fault->inner, &passing->inner);
}

/* The one whose time has come first; NULL = none yet, @ret_wait says until when. */
static struct passing *next_due_locked(struct source_fault *fault, struct deadline *ret_wait)
{
	*ret_wait = DEADLINE_NEVER;
	for (struct list *node = fault->late.next; node != &fault->late; node = node->next) {
		struct passing *passing = CONTAINER_OF(node, struct passing, node);
		bool is_free = fault->is_released && passing->what.kind == FAULT_HANG;
		if (is_free || fault->is_ending || deadline_is_over(passing->due))
			return passing;
		if (passing->due.ns < ret_wait->ns)
			*ret_wait = passing->due;
	}
	return NULL;
}

static struct passing *wait_for_due(struct source_fault *fault)
{
	HOLD(&fault->lock);
	for (;;) {
		struct deadline until;
		struct passing *passing = next_due_locked(fault, &until);
		if (passing) {
			list_remove(&passing->node);
			return passing;
		}
		if (fault->is_ending)
			return NULL;
		struct timespec at = deadline_timespec(until);
		if (deadline_is_never(until))
			(void) pthread_cond_wait(&fault->changed, &fault->lock);
		else
			(void) pthread_cond_timedwait(&fault->changed, &fault->lock, &at);
	}
}

static void *answer_late_ones(void *arg)
{
	struct passing *passing;
	while ((passing = wait_for_due(arg)))
		answer(passing);
	return NULL;
}

void source_fault_release(struct source *source)
{
	struct source_fault *fault = fault_of(source);
	HOLD(&fault->lock);
	fault->is_released = true;
	(void) pthread_cond_signal(&fault->changed);
}

uint64_t source_fault_count(struct source *source)
{
	struct source_fault *fault = fault_of(source);
	HOLD(&fault->lock);
	return fault->n_fetches;
}

static void fault_raise(struct source *source, struct fetch *fetch, enum priority priority)
{
	/* The copy that the inner source knows may be gone by now: it stays as urgent as it was. */
}

static void fault_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
	source_verdict(fault_of(source)->inner, fetch, is_good);
}

static void fault_shutdown(struct source *source)
{
	source_fault_release(source);
	source_shutdown(fault_of(source)->inner);
}

static int fault_list_namespaces(struct source *source, struct strv *ret, struct err *err)
{
	return source_list_namespaces(fault_of(source)->inner, ret, err);
}

static int fault_list_groups(struct source *source, const char *ns, struct group_list *ret,
			     struct err *err)
{
	return source_list_groups(fault_of(source)->inner, ns, ret, err);
}

static int fault_list_snapshots(struct source *source, const char *ns, const struct group *group,
				struct snapshot_list *ret, struct err *err)
{
	return source_list_snapshots(fault_of(source)->inner, ns, group, ret, err);
}

static int fault_open_snapshot(struct source *source, const char *ns,
			       const struct snapshot *snapshot, struct err *err)
{
	struct source *inner = fault_of(source)->inner;
	inner->only_looks = source->only_looks;
	return source_open_snapshot(inner, ns, snapshot, err);
}

static int fault_read_blob(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
			   struct err *err)
{
	return source_read_blob(fault_of(source)->inner, name, ret, ret_len, err);
}

static int fault_copy_index(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
			    struct err *err)
{
	return source_copy_index(fault_of(source)->inner, name, to_fd, ret_len, err);
}

static void fault_close(struct source *source)
{
	struct source_fault *fault = fault_of(source);
	if (fault->has_thread) {
		{
			HOLD(&fault->lock);
			fault->is_ending = true;
			(void) pthread_cond_signal(&fault->changed);
		}
		(void) pthread_join(fault->thread, NULL);
	}
	source_close(fault->inner);
	(void) pthread_cond_destroy(&fault->changed);
	(void) pthread_mutex_destroy(&fault->lock);
	free(fault->faults);
	free(fault);
}

static const struct source_ops fault_ops = {
	.close = fault_close,
	.list_namespaces = fault_list_namespaces,
	.list_groups = fault_list_groups,
	.list_snapshots = fault_list_snapshots,
	.open_snapshot = fault_open_snapshot,
	.read_blob = fault_read_blob,
	.copy_index = fault_copy_index,
	.fetch = fault_fetch,
	.raise = fault_raise,
	.verdict = fault_verdict,
	.shutdown = fault_shutdown,
};

int source_fault_open(struct source *take_inner, const struct fault *faults, size_t n_faults,
		      struct source **ret, struct err *err)
{
	struct source_fault *fault = calloc(1, sizeof *fault);
	if (!fault) {
		source_close(take_inner);
		return err_set(err, -ENOMEM, "no memory");
	}
	fault->source.ops = &fault_ops;
	fault->source.n_origins = take_inner->n_origins;
	fault->source.uid = take_inner->uid;
	fault->source.gid = take_inner->gid;
	fault->inner = take_inner;
	(void) pthread_mutex_init(&fault->lock, NULL);
	cond_init_for_deadlines(&fault->changed);
	list_init(&fault->late);
	fault->faults = calloc(n_faults + 1, sizeof *faults);
	fault->source.name = strdup(take_inner->name ? take_inner->name : "fault");
	int r = 0;
	if (!fault->faults || !fault->source.name)
		r = err_set(err, -ENOMEM, "no memory");
	if (r == 0) {
		if (n_faults)
			memcpy(fault->faults, faults, n_faults * sizeof *faults);
		fault->n_faults = n_faults;
		r = thread_start(&fault->thread, "fault", answer_late_ones, fault);
	}
	if (r < 0) {
		source_close(&fault->source);
		return err_set(err, r, "cannot start a faulty source");
	}
	fault->has_thread = true;
	*ret = &fault->source;
	return 0;
}
