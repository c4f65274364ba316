/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/stream.h"

#include <stdlib.h>
#include <string.h>

#include "format/blob.h"
#include "stream/internal.h"
#include "util/bytes.h"

/*
 * From a range of bytes to chunks.  A read takes the lock once: each of its pieces is there, is
 * known to be zero, or is waited for; then read-ahead has a look, and what is to be loaded
 * starts.  What is there already is answered on the spot, on the caller's thread.
 */
#define LOOK_MAX (1u << 11) /* chunks looked at for one extent: some 20 microseconds */

/* -- one stream ------------------------------------------------------------------------------ */

/* What an index entry looks like whose chunk is all zeros: it need never be fetched. */
static int zero_digest(struct blob_codec *codec, const struct stream_options *options, uint64_t len,
		       uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	CLEANUP(freep) uint8_t *zeros = calloc(1, len);
	if (!zeros)
		return err_set(err, -ENOMEM, "no memory for a chunk");
	return blob_digest(codec, zeros, len, options->key, ret, err);
}

static int find_zero_digests(struct stream *stream, struct err *err)
{
	const struct index *index = stream->options.index;
	bool is_fixed = index->kind == INDEX_FIXED;
	if (!is_fixed && index->max_chunk > READ_MAX)
		return 0;
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	int r = blob_codec_new(&codec, err);
	if (r < 0)
		return r;
	stream->zero_len = is_fixed ? (uint32_t)index->chunk_size : index->max_chunk;
	r = zero_digest(codec, &stream->options, stream->zero_len, stream->zero_full, err);
	if (r == 0 && is_fixed)
		r = zero_digest(codec, &stream->options, index_chunk(index, index->n_chunks - 1).len,
				stream->zero_last, err);
	return r;
}

/* Window of read-ahead: what the cache can hold beside what is being read. */
static uint64_t ahead_window(const struct stream_shared *shared, size_t wanted)
{
	return min_u64(wanted, shared->cache.size / 4);
}

int stream_open(struct stream_shared *shared, const struct stream_options *options,
		struct stream **ret, struct err *err)
{
	struct stream *stream = calloc(1, sizeof *stream);
	if (!stream)
		return err_set(err, -ENOMEM, "no memory for a stream");
	stream->shared = shared;
	stream->options = *options;
	if (options->key)
		stream->context = load_le64(crypt_key_fingerprint(options->key)) | 1;
	(void) pthread_cond_init(&stream->idle, NULL);
	list_init(&stream->endless_reads);
	read_ahead_init(&stream->read_ahead, ahead_window(shared, options->read_ahead),
			options->index->max_chunk);
	int r = find_zero_digests(stream, err);
	if (r < 0) {
		stream_close(stream);
		return r;
	}
	*ret = stream;
	return 0;
}

static void fail_reads_locked(struct stream *stream, struct list *reads, const struct err *why,
			      struct todo *todo)
{
	struct list *node = reads->next;
	while (node != reads) {
		struct read *read = CONTAINER_OF(node, struct read, node);
		node = node->next;
		if (read->stream == stream)
			read_fail_locked(read, why, todo);
	}
}

void stream_shutdown(struct stream *stream)
{
	struct stream_shared *shared = stream->shared;
	struct err why;
	(void) err_set(&why, -ESHUTDOWN, "the mapping ends");
	struct todo todo;
	todo_init(&todo);
	{
		HOLD(&shared->lock);
		stream->is_shut_down = true;
		fail_reads_locked(stream, &shared->reads, &why, &todo);
		fail_reads_locked(stream, &stream->endless_reads, &why, &todo);
		load_drop_queued_locked(stream, &why, &todo);
	}
	todo_run(&todo);
}

void stream_close(struct stream *stream)
{
	if (!stream)
		return;
	stream_shutdown(stream);
	{
		HOLD(&stream->shared->lock);
		while (stream->n_loads)
			(void) pthread_cond_wait(&stream->idle, &stream->shared->lock);
	}
	(void) pthread_cond_destroy(&stream->idle);
	free(stream->damaged);
	free(stream);
}

uint64_t stream_size(const struct stream *stream)
{
	return stream->options.index->size;
}

/* -- a read ---------------------------------------------------------------------------------- */

static bool is_zero_chunk(const struct stream *stream, uint32_t n, const struct index_chunk *chunk)
{
	const struct index *index = stream->options.index;
	bool is_last = index->kind == INDEX_FIXED && n + 1 == index->n_chunks;
	if (!is_last && chunk->len != stream->zero_len)
		return false;
	return memcmp(chunk->digest, is_last ? stream->zero_last : stream->zero_full, DIGEST_SIZE) == 0;
}

static struct cache_key key_of(const struct stream *stream, const struct index_chunk *chunk)
{
	struct cache_key key = { .len = chunk->len, .context = stream->context };
	memcpy(key.digest, chunk->digest, DIGEST_SIZE);
	return key;
}

/* The entry that has or will have this chunk; NULL = no memory.  A new one is queued. */
static struct entry *want_chunk_locked(struct stream *stream, const struct index_chunk *chunk,
				       enum priority priority)
{
	struct cache *cache = &stream->shared->cache;
	struct cache_key key = key_of(stream, chunk);
	struct entry *entry = cache_find(cache, &key);
	if (entry) {
		if (priority == PRIORITY_DEMAND)
			stream->stats.cache_hits++;
		load_raise_locked(stream->shared, entry, priority);
		return entry;
	}
	entry = cache_add(cache, &key);
	if (!entry)
		return NULL;
	entry->priority = priority;
	entry->off = chunk->off;
	load_enqueue_locked(stream, entry);
	return entry;
}

static uint64_t ahead_budget_locked(const struct stream *stream)
{
	uint64_t max = stream->read_ahead.max;
	return max > stream->ahead_bytes ? max - stream->ahead_bytes : 0;
}

static void read_ahead_locked(struct stream *stream, const struct read *read)
{
	uint64_t from, to, size = stream_size(stream);
	if (!read_ahead_note(&stream->read_ahead, read->off, read->len, ahead_budget_locked(stream), &from, &to))
		return;
	if (from >= size)
		return;
	const struct index *index = stream->options.index;
	uint32_t last = index_find(index, min_u64(to, size) - 1);
	for (uint32_t n = index_find(index, from); n <= last; n++) {
		struct index_chunk chunk = index_chunk(index, n);
		if (!is_zero_chunk(stream, n, &chunk))
			(void) want_chunk_locked(stream, &chunk, PRIORITY_READ_AHEAD);
	}
}

/* What one chunk gives to the read: a segment now, or a waiter.  False = no memory. */
static bool add_segment_locked(struct stream *stream, struct read *read, unsigned i, uint32_t n,
			       uint64_t at)
{
	struct index_chunk chunk = index_chunk(stream->options.index, n);
	size_t off = (size_t)(at - chunk.off);
	struct segment *segment = &read->segments[i];
	struct waiter *waiter = &read->waiters[i];
	*segment = (struct segment){ .len = min_u64(chunk.len - off, read->off + read->len - at) };
	*waiter = (struct waiter){ .read = read, .n_segment = i, .off = off };
	list_init(&waiter->node);
	if (is_zero_chunk(stream, n, &chunk)) {
		segment->data = stream->shared->zeros;
		return true;
	}
	struct entry *entry = want_chunk_locked(stream, &chunk, read->priority);
	if (!entry)
		return false;
	if (read->is_kept)
		cache_prove(&stream->shared->cache, entry);
	if (entry->state == ENTRY_READY) {
		segment->chunk = chunk_ref(entry->chunk);
		segment->data = entry->chunk->data + off;
	} else {
		read_wait_for_locked(read, i, entry);
	}
	return true;
}

/* For a read that takes what is there, and begins nothing. */
static bool is_in_memory_locked(struct stream *stream, uint32_t first, uint32_t last)
{
	for (uint32_t n = first; n <= last; n++) {
		struct index_chunk chunk = index_chunk(stream->options.index, n);
		struct cache_key key = key_of(stream, &chunk);
		const struct entry *entry = cache_find(&stream->shared->cache, &key);
		if (!(entry && entry->state == ENTRY_READY) && !is_zero_chunk(stream, n, &chunk))
			return false;
	}
	return true;
}

/* Room for as many segments as the read has chunks. */
static int make_segments(struct read *read, uint32_t n)
{
	read->segments = read->inline_segments;
	read->waiters = read->inline_waiters;
	if (n <= READ_INLINE_SEGMENTS)
		return 0;
	read->segments = calloc(n, sizeof *read->segments);
	read->waiters = calloc(n, sizeof *read->waiters);
	if (read->segments && read->waiters)
		return 0;
	free(read->segments);
	free(read->waiters);
	read->segments = NULL;
	read->waiters = NULL;
	return -ENOMEM;
}

static void submit_locked(struct stream *stream, struct read *read, uint32_t first, uint32_t last,
			  struct todo *todo)
{
	if (stream->is_shut_down) {
		read->result = err_set(&read->err, -ESHUTDOWN, "the mapping ends");
		return;
	}
	if (deadline_is_past(read->until) && !is_in_memory_locked(stream, first, last)) {
		read->result = err_set(&read->err, -ETIMEDOUT, "not in memory");
		return;
	}
	uint64_t at = read->off;
	for (uint32_t n = first; n <= last; n++) {
		unsigned i = read->n_segments++;
		if (!add_segment_locked(stream, read, i, n, at)) {
			struct err why;
			(void) err_set(&why, -ENOMEM, "no memory for a chunk");
			read_begin_waiting_locked(read);
			read_fail_locked(read, &why, todo);
			break;
		}
		at += read->segments[i].len;
	}
	if (!read->is_over && read->n_missing) {
		read_begin_waiting_locked(read);
	} else if (!read->is_over) {
		stream->stats.read_bytes += read->len;
	}
	read_ahead_locked(stream, read);
	load_start_more_locked(stream->shared, todo);
}

/* Before anybody else knows of the read: a cancel finds it over. */
static void answer_at_once(struct read *read)
{
	read->is_over = true;
	read->done(read);
}

static void begin(struct stream *stream, struct read *read)
{
	read->result = 0;
	read->err = ERR_NONE;
	read->stream = stream;
	read->n_segments = 0;
	read->n_missing = 0;
	read->is_over = false;
	read->segments = read->inline_segments;
	read->waiters = read->inline_waiters;
	list_init(&read->node);
}

void stream_submit(struct stream *stream, struct read *read)
{
	const struct index *index = stream->options.index;
	begin(stream, read);
	bool is_inside = read->off < index->size && read->len <= index->size - read->off;
	if (read->len == 0 || read->len > READ_MAX || !is_inside) {
		if (read->len)
			read->result = err_set(&read->err, -EINVAL, "read outside of the image");
		answer_at_once(read);
		return;
	}
	uint32_t first = index_find(index, read->off);
	uint32_t last = index_find(index, read->off + read->len - 1);
	if (make_segments(read, last - first + 1) < 0) {
		read->result = err_set(&read->err, -ENOMEM, "no memory for a read");
		answer_at_once(read);
		return;
	}
	struct todo todo;
	todo_init(&todo);
	bool is_answered;
	{
		HOLD(&stream->shared->lock);
		submit_locked(stream, read, first, last, &todo);
		/* Once the lock is gone, a read that waits may be answered and freed. */
		is_answered = !read->is_over && read->n_missing == 0;
		read->is_over |= is_answered;
	}
	todo_run(&todo);
	if (is_answered)
		read->done(read);
}

static void submit_to_stream(void *stream, struct read *read)
{
	stream_submit(stream, read);
}

uint64_t stream_prefetch(struct stream *stream, uint64_t off)
{
	struct stream_shared *shared = stream->shared;
	uint32_t n = index_find(stream->options.index, off);
	struct index_chunk chunk = index_chunk(stream->options.index, n);
	struct todo todo;
	todo_init(&todo);
	{
		HOLD(&shared->lock);
		if (stream->is_shut_down || chunk.len > ahead_budget_locked(stream))
			return off;
		if (!is_zero_chunk(stream, n, &chunk))
			(void) want_chunk_locked(stream, &chunk, PRIORITY_READ_AHEAD);
		load_start_more_locked(shared, &todo);
	}
	todo_run(&todo);
	return chunk.off + chunk.len;
}

int stream_pread(struct stream *stream, struct read *read, void *buf, struct err *err)
{
	return read_and_wait(submit_to_stream, stream, read, buf, err);
}

void stream_cancel(struct stream *stream, struct read *read)
{
	struct err why;
	(void) err_set(&why, -ECANCELED, "the read was given up");
	struct todo todo;
	todo_init(&todo);
	{
		HOLD(&stream->shared->lock);
		read_fail_locked(read, &why, &todo);
	}
	todo_run(&todo);
}

bool stream_next_extent(const struct stream *stream, uint64_t off, uint64_t limit, uint64_t *ret_end)
{
	const struct index *index = stream->options.index;
	uint32_t n = index_find(index, off);
	struct index_chunk chunk = index_chunk(index, n);
	bool is_zero = is_zero_chunk(stream, n, &chunk);
	uint64_t end = chunk.off + chunk.len;
	uint32_t stop = index->n_chunks - n > LOOK_MAX ? n + LOOK_MAX : index->n_chunks;
	while (end < limit && ++n < stop) {
		chunk = index_chunk(index, n);
		if (is_zero_chunk(stream, n, &chunk) != is_zero)
			break;
		end = chunk.off + chunk.len;
	}
	*ret_end = min_u64(end, limit);
	return is_zero;
}

void stream_get_stats(struct stream *stream, struct stream_stats *ret)
{
	HOLD(&stream->shared->lock);
	*ret = stream->stats;
}

void stream_add_stats(struct stream *stream, struct stream_stats *sum)
{
	struct stream_stats stats;
	stream_get_stats(stream, &stats);
	sum->read_bytes += stats.read_bytes;
	sum->fetched_bytes += stats.fetched_bytes;
	sum->fetched_chunks += stats.fetched_chunks;
	sum->cache_hits += stats.cache_hits;
	sum->damaged_chunks += stats.damaged_chunks;
}
