/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "stream/cache.h"
#include "stream/read_ahead.h"
#include "stream/stream.h"
#include "util/lock.h"

/* What an entry needs while it is FETCHING or DECODING. */
struct flight {
	struct list node; /* idle */
	struct entry *entry;
	struct fetch fetch;
	atomic_int answer; /* who of the source and the starter is late goes on */
	struct job decode;
};

/*
 * What the files of this folder share.  One lock guards all of it: every step under it is a few
 * comparisons and list moves, and the work (fetching, decoding, answering) is done outside.
 */
struct stream_shared {
	struct bufpool *buffers;
	struct pool *decoders;
	void *zeros;		  /* READ_MAX bytes */
	unsigned max_loads;	  /* FETCHING and DECODING at a time: bounds the raw blobs */
	unsigned max_ahead_loads; /* of them for read-ahead: a demanded chunk never queues behind */

	pthread_mutex_t lock; /* guards all below, and what is marked so in struct stream */
	struct cache cache;
	struct list queue[N_PRIORITIES]; /* struct entry, QUEUED */
	struct flight *flights;	 /* max_loads of them */
	struct list idle_flights;
	unsigned n_loads, n_ahead_loads;
	struct list reads;	 /* struct read with a deadline, soonest first */
	pthread_cond_t deadline_changed;
	bool has_deadline_thread, is_ending, is_sleeping_for_ever;
	pthread_t deadline_thread;
};

struct stream {
	struct stream_shared *shared;
	struct stream_options options;
	uint64_t context;	/* of cache keys */
	uint32_t zero_len; /* of chunks that may be known as zeros; 0 = none */
	uint8_t zero_full[DIGEST_SIZE], zero_last[DIGEST_SIZE];

	/* guarded by shared->lock */
	bool is_shut_down;
	unsigned n_loads;	   /* fetches that refer to this stream */
	pthread_cond_t idle;	   /* n_loads became 0 */
	struct list endless_reads; /* without a deadline */
	uint64_t ahead_bytes;	   /* QUEUED to DECODING for read-ahead */
	struct read_ahead read_ahead;
	struct stream_stats stats;
	uint8_t (*damaged)[DIGEST_SIZE]; /* those told already; NULL = none */
};

/* Loads to start and reads to answer, collected under the lock, done without it. */
struct todo {
	struct list loads; /* struct entry at node */
	struct list reads; /* struct read at node */
	struct chunk *evicted[64];
	size_t n_evicted;
};

void todo_init(struct todo *todo);
/* Without the lock: starts the loads, calls done of the reads. */
void todo_run(struct todo *todo);

/* load.c: an entry's way from QUEUED to READY or gone */
void load_enqueue_locked(struct stream *stream, struct entry *entry);
void load_raise_locked(struct stream_shared *shared, struct entry *entry, enum priority priority);
void load_start_more_locked(struct stream_shared *shared, struct todo *todo);
/*
 * A read gave up on it.  When nobody waits for it any more, a queued entry goes, unless it is read ahead, and
 * one that is being fetched is not urgent any more.
 */
void load_unwant_locked(struct entry *entry);
/* Queued entries of @stream go, their waiters fail with @why. */
void load_drop_queued_locked(struct stream *stream, const struct err *why, struct todo *todo);

/* read.c: a read's way from submitted to answered */
void read_wait_for_locked(struct read *read, unsigned n_segment, struct entry *entry);
void read_begin_waiting_locked(struct read *read);
void read_segment_came_locked(struct waiter *waiter, struct chunk *chunk, struct todo *todo);
void read_fail_locked(struct read *read, const struct err *why, struct todo *todo);
void *read_deadline_thread(void *shared);
