/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/blob.h"
#include "stream/internal.h"
#include "util/bytes.h"
#include "util/thread.h"

/* What all streams of a process share: cache, buffers, decoders, and who watches the deadlines. */
#define RAW_MAX (32u << 20) /* bytes of blobs on their way, beside the one each decoder works on */

static int new_codec(void *user, void **ret_worker, struct err *err)
{
	struct blob_codec *codec = NULL;
	int r = blob_codec_new(&codec, err);
	*ret_worker = codec;
	return r;
}

static void free_codec(void *worker)
{
	blob_codec_free(worker);
}

static unsigned n_processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
							    : (int)sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : (unsigned)n;
}

static void limit_loads(struct stream_shared *shared, unsigned n_decoders, size_t typical_chunk)
{
	uint64_t n = RAW_MAX / max_u64(typical_chunk, 64u << 10);
	shared->max_ahead_loads = n_decoders + (unsigned)max_u64(min_u64(n, 64), 4) - 2;
	shared->max_loads = shared->max_ahead_loads + 2;
}

static int make_flights(struct stream_shared *shared, struct err *err)
{
	list_init(&shared->idle_flights);
	shared->flights = calloc(shared->max_loads, sizeof *shared->flights);
	if (!shared->flights)
		return err_set(err, -ENOMEM, "no memory for a stream");
	for (unsigned i = 0; i < shared->max_loads; i++)
		list_append(&shared->idle_flights, &shared->flights[i].node);
	return 0;
}

static int start_threads(struct stream_shared *shared, unsigned n_decoders, struct err *err)
{
	struct pool_options decoders = {
		.name = "decode",
		.n_threads = n_decoders,
		.init_worker = new_codec,
		.deinit_worker = free_codec,
	};
	int r = pool_new(&decoders, &shared->decoders, err);
	if (r < 0)
		return r;
	r = thread_start(&shared->deadline_thread, "deadline", read_deadline_thread, shared);
	if (r < 0)
		return err_set(err, r, "cannot start a thread");
	shared->has_deadline_thread = true;
	return 0;
}

int stream_shared_new(const struct stream_limits *limits, struct stream_shared **ret,
		      struct err *err)
{
	struct stream_shared *shared = calloc(1, sizeof *shared);
	if (!shared)
		return err_set(err, -ENOMEM, "no memory for the chunk cache");
	unsigned n_decoders = limits->n_decoders ? limits->n_decoders : n_processors();
	limit_loads(shared, n_decoders, limits->typical_chunk);
	(void) pthread_mutex_init(&shared->lock, NULL);
	cond_init_for_deadlines(&shared->deadline_changed);
	for (int i = 0; i < N_PRIORITIES; i++)
		list_init(&shared->queue[i]);
	list_init(&shared->reads);

	int r = cache_init(&shared->cache, limits->cache_size, limits->typical_chunk, err);
	/* The kernel's one page of zeros, many times: costs no memory. */
	shared->zeros = mmap(NULL, READ_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r == 0 && shared->zeros == MAP_FAILED)
		r = err_set(err, -ENOMEM, "no memory for the chunk cache");
	/* A raw blob is at most as long as its chunk and an envelope: one size of buffer for both. */
	shared->buffers = bufpool_new(limits->typical_chunk + BLOB_HEADER_ENCRYPTED, n_decoders);
	if (r == 0 && !shared->buffers)
		r = err_set(err, -ENOMEM, "no memory for the chunk cache");
	if (r == 0)
		r = make_flights(shared, err);
	if (r == 0)
		r = start_threads(shared, n_decoders, err);
	if (r < 0) {
		stream_shared_free(shared);
		return r;
	}
	*ret = shared;
	return 0;
}

static void end_deadline_thread(struct stream_shared *shared)
{
	if (!shared->has_deadline_thread)
		return;
	{
		HOLD(&shared->lock);
		shared->is_ending = true;
		(void) pthread_cond_signal(&shared->deadline_changed);
	}
	(void) pthread_join(shared->deadline_thread, NULL);
}

void stream_shared_free(struct stream_shared *shared)
{
	if (!shared)
		return;
	end_deadline_thread(shared);
	pool_free(shared->decoders);
	cache_deinit(&shared->cache);
	if (shared->zeros != MAP_FAILED)
		(void) munmap(shared->zeros, READ_MAX);
	bufpool_free(shared->buffers);
	free(shared->flights);
	(void) pthread_cond_destroy(&shared->deadline_changed);
	(void) pthread_mutex_destroy(&shared->lock);
	free(shared);
}

void stream_shared_trim(struct stream_shared *shared, bool drop_cache)
{
	while (drop_cache) {
		struct chunk *chunk;
		{
			HOLD(&shared->lock);
			chunk = cache_evict(&shared->cache);
		}
		if (!chunk)
			break;
		chunk_unref(chunk);
	}
	bufpool_trim(shared->buffers);
}
