/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/internal.h"

#include <stdlib.h>
#include <string.h>

#include "format/blob.h"
#include "util/bytes.h"

/*
 * An entry's way through the source and the decoders.  Runs on whatever thread the source answers
 * from and on the decode threads; each holds the shared lock only to move the entry on.
 *
 *   load_start_more_locked ── source_fetch() ─▶ fetched() ── pool ─▶ decode() ─▶ settle()
 *                                  ▲                                   │
 *                                  └── the next origin, if this one's ─┘
 *                                      blob was bad
 *
 * While a load is on its way nobody else frees the entry or touches its flight.
 *
 * A source may answer before source_fetch() returns.  Then its caller goes on with the answer, so that
 * a queue of loads that all fail at once is a loop and no recursion.
 */
enum answer { STARTING, STARTED, ANSWERED };

static void fetched(struct fetch *fetch);
static void start_fetch(struct entry *entry, struct todo *todo);
static void decode(struct job *job, void *worker);

void todo_init(struct todo *todo)
{
	list_init(&todo->loads);
	list_init(&todo->reads);
	todo->n_evicted = 0;
}

static void drop_evicted(struct todo *todo)
{
	while (todo->n_evicted)
		chunk_unref(todo->evicted[--todo->n_evicted]);
}

void todo_run(struct todo *todo)
{
	struct list *node;
	drop_evicted(todo);
	while ((node = list_pop(&todo->loads))) {
		start_fetch(CONTAINER_OF(node, struct entry, node), todo);
		drop_evicted(todo); /* of the loads that came after one which failed at once */
	}
	while ((node = list_pop(&todo->reads))) {
		struct read *read = CONTAINER_OF(node, struct read, node);
		read->done(read);
	}
}

void load_enqueue_locked(struct stream *stream, struct entry *entry)
{
	entry->stream = stream;
	entry->is_ahead = entry->priority != PRIORITY_DEMAND;
	if (entry->is_ahead)
		stream->ahead_bytes += entry->key.len;
	list_append(&stream->shared->queue[entry->priority], &entry->node);
}

void load_raise_locked(struct stream_shared *shared, struct entry *entry, enum priority priority)
{
	if (entry->state == ENTRY_READY || priority >= entry->priority)
		return;
	entry->priority = priority;
	if (entry->state == ENTRY_QUEUED) {
		list_remove(&entry->node);
		list_append(&shared->queue[priority], &entry->node);
	} else if (entry->state == ENTRY_FETCHING) {
		source_raise(entry->stream->options.source, &entry->flight->fetch, priority);
	} else {
		pool_raise(shared->decoders, &entry->flight->decode, priority);
	}
}

/* No longer counted as read-ahead: it settled, or is gone. */
static void forget_ahead_locked(struct entry *entry)
{
	if (!entry->is_ahead)
		return;
	entry->stream->ahead_bytes -= entry->key.len;
	entry->is_ahead = false;
}

static void start_load_locked(struct stream_shared *shared, struct entry *entry, struct todo *todo)
{
	list_remove(&entry->node);
	entry->state = ENTRY_FETCHING;
	shared->n_loads++;
	shared->n_ahead_loads += entry->is_ahead;
	entry->stream->n_loads++;
	todo->n_evicted += cache_make_room(&shared->cache, entry,
					   bufpool_cap(shared->buffers, entry->key.len),
					   todo->evicted + todo->n_evicted,
					   ARRAY_LEN(todo->evicted) - todo->n_evicted);
	struct flight *flight = CONTAINER_OF(list_pop(&shared->idle_flights), struct flight, node);
	flight->entry = entry;
	entry->flight = flight;
	flight->fetch = (struct fetch){
		.max_len = entry->key.len + BLOB_HEADER_ENCRYPTED + 1024,
		.job.priority = entry->priority,
		.until = DEADLINE_NEVER,
		.pool = shared->buffers,
		.done = fetched,
	};
	memcpy(flight->fetch.digest, entry->key.digest, DIGEST_SIZE);
	list_init(&flight->fetch.job.node);
	list_append(&todo->loads, &entry->node);
}

static struct entry *next_queued_locked(struct stream_shared *shared)
{
	for (int i = 0; i < N_PRIORITIES; i++) {
		if (list_is_empty(&shared->queue[i]))
			continue;
		if (i != PRIORITY_DEMAND && shared->n_ahead_loads >= shared->max_ahead_loads)
			return NULL;
		return CONTAINER_OF(shared->queue[i].next, struct entry, node);
	}
	return NULL;
}

void load_start_more_locked(struct stream_shared *shared, struct todo *todo)
{
	struct entry *entry;
	while (shared->n_loads < shared->max_loads && (entry = next_queued_locked(shared)))
		start_load_locked(shared, entry, todo);
}

static void fail_waiters_locked(struct entry *entry, const struct err *why, struct todo *todo)
{
	struct list *node;
	while ((node = list_pop(&entry->waiters)))
		read_fail_locked(CONTAINER_OF(node, struct waiter, node)->read, why, todo);
}

static void drop_locked(struct entry *entry)
{
	struct cache *cache = &entry->stream->shared->cache;
	forget_ahead_locked(entry);
	cache_remove(cache, entry);
}

void load_unwant_locked(struct entry *entry)
{
	bool is_read_ahead = entry->is_ahead && entry->priority != PRIORITY_DEMAND;
	if (!list_is_empty(&entry->waiters))
		return;
	if (entry->state == ENTRY_QUEUED && !is_read_ahead) {
		drop_locked(entry);
	} else if (entry->state == ENTRY_FETCHING && entry->flight) {
		/* A source that waits for its server gives up what nobody waits for. */
		entry->priority = PRIORITY_PREFETCH;
		entry->flight->fetch.job.priority = PRIORITY_PREFETCH;
	}
}

/* Off the queues before the first read fails: that takes others off, too. */
static void take_queued_locked(struct stream *stream, struct list *to)
{
	struct stream_shared *shared = stream->shared;
	for (int i = 0; i < N_PRIORITIES; i++) {
		struct list *node = shared->queue[i].next;
		while (node != &shared->queue[i]) {
			struct entry *entry = CONTAINER_OF(node, struct entry, node);
			node = node->next;
			if (entry->stream != stream)
				continue;
			list_remove(&entry->node);
			list_append(to, &entry->node);
			entry->state = ENTRY_FETCHING;
		}
	}
}

void load_drop_queued_locked(struct stream *stream, const struct err *why, struct todo *todo)
{
	struct list entries, *node;
	list_init(&entries);
	take_queued_locked(stream, &entries);
	while ((node = list_pop(&entries))) {
		struct entry *entry = CONTAINER_OF(node, struct entry, node);
		fail_waiters_locked(entry, why, todo);
		drop_locked(entry);
	}
}

/* The end of a load that is common to good and bad. */
static void leave_locked(struct stream *stream, struct entry *entry)
{
	struct stream_shared *shared = stream->shared;
	struct flight *flight = STEAL(entry->flight);
	list_append(&shared->idle_flights, &flight->node);
	shared->n_loads--;
	shared->n_ahead_loads -= entry->is_ahead;
	forget_ahead_locked(entry);
	if (--stream->n_loads == 0)
		(void) pthread_cond_broadcast(&stream->idle);
}

static void settle_good(struct entry *entry, struct chunk *chunk, size_t raw_len, struct todo *todo)
{
	struct stream *stream = entry->stream;
	struct stream_shared *shared = stream->shared;
	HOLD(&shared->lock);
	stream->stats.fetched_chunks++;
	stream->stats.fetched_bytes += raw_len;
	struct list *node;
	while ((node = list_pop(&entry->waiters)))
		read_segment_came_locked(CONTAINER_OF(node, struct waiter, node), chunk, todo);
	leave_locked(stream, entry);
	cache_settle(&shared->cache, entry, chunk);
	load_start_more_locked(shared, todo);
}

/*
 * True the first time this chunk is reported.  A table of digests, at most half full; a place of zeros, which are
 * nobody's digest, is free.  Pages of it that nobody needs are never touched.
 */
static bool remember_damage_locked(struct stream *stream, const uint8_t digest[static DIGEST_SIZE])
{
	enum { MOST = 65536, N_PLACES = 2 * MOST }; /* then counting ends: a store in that state needs no numbers */
	static const uint8_t free_place[DIGEST_SIZE];
	size_t n = load_le64(digest) % N_PLACES;
	if (!stream->damaged)
		stream->damaged = calloc(N_PLACES, DIGEST_SIZE);
	if (!stream->damaged || stream->stats.damaged_chunks == MOST)
		return false;
	for (; memcmp(stream->damaged[n], free_place, DIGEST_SIZE) != 0; n = (n + 1) % N_PLACES)
		if (memcmp(stream->damaged[n], digest, DIGEST_SIZE) == 0)
			return false;
	memcpy(stream->damaged[n], digest, DIGEST_SIZE);
	stream->stats.damaged_chunks++;
	return true;
}

/* Failures that say something about the chunk, not about the moment. */
static bool is_damage(int code)
{
	return code == -EBADMSG || code == -ENOENT || code == -EIO;
}

/* The source gave up what nobody waited for, and at that moment somebody came: then it starts again. */
static bool start_again_locked(struct entry *entry, const struct err *why, struct todo *todo)
{
	struct stream *stream = entry->stream;
	if (why->code != -ECANCELED || list_is_empty(&entry->waiters) || stream->is_shut_down)
		return false;
	cache_give_back_room(&stream->shared->cache, entry);
	leave_locked(stream, entry);
	entry->state = ENTRY_QUEUED;
	entry->priority = PRIORITY_DEMAND;
	load_enqueue_locked(stream, entry);
	load_start_more_locked(stream->shared, todo);
	return true;
}

static void settle_bad(struct entry *entry, const struct err *why, struct todo *todo)
{
	struct stream *stream = entry->stream;
	struct stream_shared *shared = stream->shared;
	struct cache_key key = entry->key;
	struct damage damage = { .digest = key.digest, .off = entry->off, .len = key.len, .err = why };
	bool is_news = false;
	{
		HOLD(&shared->lock);
		if (start_again_locked(entry, why, todo))
			return;
		if (is_damage(why->code))
			is_news = remember_damage_locked(stream, key.digest);
	}
	/* Told before the readers learn it: still inside the load, so the stream is still there. */
	if (is_news && stream->options.damaged)
		stream->options.damaged(stream->options.user, &damage);

	HOLD(&shared->lock);
	fail_waiters_locked(entry, why, todo);
	cache_give_back_room(&shared->cache, entry);
	leave_locked(stream, entry);
	cache_remove(&shared->cache, entry);
	load_start_more_locked(shared, todo);
}

/* The source has answered. */
static void take_answer(struct entry *entry, struct todo *todo)
{
	struct flight *flight = entry->flight;
	struct fetch *fetch = &flight->fetch;
	struct stream_shared *shared = entry->stream->shared;
	if (fetch->result < 0) {
		struct err why = fetch->err;
		if (!why.code)
			(void) err_errno(&why, fetch->result, "cannot fetch a chunk");
		settle_bad(entry, &why, todo);
		return;
	}
	{
		HOLD(&shared->lock);
		entry->state = ENTRY_DECODING;
		flight->decode.run = decode;
		flight->decode.priority = entry->priority;
		list_init(&flight->decode.node);
	}
	struct err why = ERR_NONE;
	if (pool_submit(shared->decoders, &flight->decode, &why) < 0) {
		bufpool_put(shared->buffers, fetch->raw);
		settle_bad(entry, &why, todo);
	}
}

static void start_fetch(struct entry *entry, struct todo *todo)
{
	struct flight *flight = entry->flight;
	atomic_store(&flight->answer, STARTING);
	source_fetch(entry->stream->options.source, &flight->fetch);
	/* Once it is started, the answer may come and the entry go. */
	int expected = STARTING;
	if (!atomic_compare_exchange_strong(&flight->answer, &expected, STARTED))
		take_answer(entry, todo);
}

static void fetched(struct fetch *fetch)
{
	struct flight *flight = CONTAINER_OF(fetch, struct flight, fetch);
	if (atomic_exchange(&flight->answer, ANSWERED) == STARTING)
		return; /* who started it goes on */
	struct todo todo;
	todo_init(&todo);
	take_answer(flight->entry, &todo);
	todo_run(&todo);
}

/* Another origin may have a good one: true = it was asked. */
static bool ask_next_origin(struct entry *entry, struct todo *todo)
{
	struct source *source = entry->stream->options.source;
	struct fetch *fetch = &entry->flight->fetch;
	uint32_t skip = fetch->skip_origins | 1u << fetch->origin;
	if ((unsigned)__builtin_popcount(skip) >= source->n_origins)
		return false;
	{
		HOLD(&entry->stream->shared->lock);
		entry->state = ENTRY_FETCHING;
		list_init(&fetch->job.node);
	}
	fetch->skip_origins = skip;
	fetch->result = 0;
	fetch->err = ERR_NONE;
	fetch->raw = MEM_NONE;
	start_fetch(entry, todo);
	return true;
}

static int decode_into(struct entry *entry, struct blob_codec *codec, struct chunk **ret,
		       struct err *err)
{
	struct stream_shared *shared = entry->stream->shared;
	struct fetch *fetch = &entry->flight->fetch;
	struct mem raw = fetch->raw;
	fetch->raw = MEM_NONE;
	struct mem out = bufpool_get(shared->buffers, entry->key.len);
	if (!codec || !out.data) {
		bufpool_put(shared->buffers, raw);
		bufpool_put(shared->buffers, out);
		return err_set(err, -ENOMEM, "no memory to decode a chunk");
	}
	struct chunk_want want = { .len = entry->key.len, .key = entry->stream->options.key };
	memcpy(want.digest, entry->key.digest, DIGEST_SIZE);
	const uint8_t *data = NULL;
	int r = blob_decode_chunk(codec, raw.data, fetch->raw_len, &want, out.data, &data, err);
	if (r < 0) {
		bufpool_put(shared->buffers, raw);
		bufpool_put(shared->buffers, out);
		return r;
	}
	/* What was stored uncompressed stays where it arrived. */
	bool is_in_out = data == out.data;
	bufpool_put(shared->buffers, is_in_out ? raw : out);
	*ret = chunk_new(shared->buffers, is_in_out ? out : raw, data, entry->key.len);
	return *ret ? 0 : err_set(err, -ENOMEM, "no memory to keep a chunk");
}

static void decode(struct job *job, void *worker)
{
	struct flight *flight = CONTAINER_OF(job, struct flight, decode);
	struct entry *entry = flight->entry;
	struct source *source = entry->stream->options.source;
	struct chunk *chunk = NULL;
	struct err why = ERR_NONE;
	struct todo todo;
	todo_init(&todo);
	int r = decode_into(entry, worker, &chunk, &why);
	if (r == 0 || r == -EBADMSG)
		source_verdict(source, &flight->fetch, r == 0);
	if (r == 0)
		settle_good(entry, chunk, flight->fetch.raw_len, &todo);
	else if (r != -EBADMSG || !ask_next_origin(entry, &todo))
		settle_bad(entry, &why, &todo);
	todo_run(&todo);
}
