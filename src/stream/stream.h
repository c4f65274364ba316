/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/crypt_key.h"
#include "format/index.h"
#include "source/source.h"
#include "stream/chunk.h"
#include "util/deadline.h"
#include "util/err.h"
#include "util/list.h"
#include "util/pool.h"

/*
 * An index read as one range of bytes, every byte verified.  The shape of a read at every layer
 * above: submit(object, read); the answer comes by read->done, from any thread, perhaps before
 * submit returns.  No thread waits for a fetch.
 */
struct read;

/* Some bytes of the answer: inside a chunk that the read holds, or zeros (then no chunk). */
struct segment {
	const uint8_t *data;
	size_t len;
	struct chunk *chunk; /* held until read_release() */
};

/* A segment that is not there yet, on the list of the entry that will bring it. */
struct waiter {
	struct list node;
	struct read *read;
	struct entry *entry; /* NULL = waits no longer, or never did */
	unsigned n_segment;
	size_t off; /* of the segment inside the chunk */
};

#define READ_INLINE_SEGMENTS 4

/*
 * One read.  Embedded by who asks; the first block is set before submit, nothing is touched
 * until done.  Afterwards, read_release().
 */
struct read {
	uint64_t off;
	size_t len; /* off + len is inside the image; READ_MAX at most */
	enum priority priority;
	bool is_kept;	       /* its chunks stay in the cache before those of other reads do */
	struct deadline until; /* then done is called with -ETIMEDOUT; DEADLINE_PAST: at once, unless all of
				  it is in memory.  Nothing is loaded for such a read */
	void (*done)(struct read *read);
	void *user;

	/* the answer: valid from done until read_release() */
	int result; /* 0, or a negative errno: then there are no bytes at all */
	struct err err;
	struct segment *segments;
	unsigned n_segments;

	/* the stream's own */
	struct stream *stream;
	struct list node;	/* in order of deadline */
	unsigned n_missing;
	bool is_over;
	struct segment inline_segments[READ_INLINE_SEGMENTS];
	struct waiter inline_waiters[READ_INLINE_SEGMENTS];
	struct waiter *waiters;
};

#define READ_MAX (16u << 20) /* bytes of one read */

/* The bytes of an answer without an error, read->len of them; before read_release(). */
void read_copy_out(const struct read *read, void *to);

/* Give back what the answer holds. */
void read_release(struct read *read);

/**
 * read_and_wait - submit a read and sleep until it is answered
 *
 * @submit, @object:  of the layer that is read
 * @read:  off, len, priority, is_kept, until are set, the rest is zeros; released
 * @buf:   read->len bytes; written on success only
 *
 * Returns: the read's result
 */
int read_and_wait(void (*submit)(void *object, struct read *read), void *object, struct read *read,
		  void *buf, struct err *err) MUST_CHECK;

/* What all streams of a process share: memory cache, decode threads, buffers. */
struct stream_shared;

struct stream_limits {
	uint64_t cache_size;	/* bytes of decoded chunks kept; at least one chunk is */
	unsigned n_decoders;	/* 0 = as many as the machine has processors */
	size_t typical_chunk;	/* bytes; sizes the buffers */
};

#define STREAM_CACHE_DEFAULT (256ull << 20)

int stream_shared_new(const struct stream_limits *limits, struct stream_shared **ret,
		      struct err *err) MUST_CHECK;
/* After all its streams are closed. */
void stream_shared_free(struct stream_shared *shared);
/* Give idle buffers back to the system; with @drop_cache the cached chunks as well. */
void stream_shared_trim(struct stream_shared *shared, bool drop_cache);

struct stream_stats {
	uint64_t read_bytes;	 /* asked for and answered */
	uint64_t fetched_bytes;	 /* blobs as stored */
	uint64_t fetched_chunks;
	uint64_t cache_hits;	 /* chunk wanted, and there or on its way already */
	uint64_t damaged_chunks; /* different ones that could not be had, or did not verify */
};

/* A chunk that could not be had from anyone.  Once per chunk; from a decode thread. */
struct damage {
	const uint8_t *digest;
	uint64_t off, len; /* the first place in the stream where it was wanted */
	const struct err *err;
};

struct stream_options {
	struct source *source;	     /* lent; outlives the stream */
	const struct index *index;   /* lent */
	const struct crypt_key *key; /* lent; NULL: chunks are not encrypted */
	size_t read_ahead;	     /* bytes at most; 0 = none */
	void (*damaged)(void *user, const struct damage *damage); /* may be NULL */
	void *user;
};

#define STREAM_READ_AHEAD_DEFAULT (32u << 20)

int stream_open(struct stream_shared *shared, const struct stream_options *options,
		struct stream **ret, struct err *err) MUST_CHECK;

/*
 * Fails what is under way with -ESHUTDOWN, waits until the source and the decoders let go.  Who
 * submitted reads waits for their done before it calls this.
 */
void stream_close(struct stream *stream);

uint64_t stream_size(const struct stream *stream);

void stream_submit(struct stream *stream, struct read *read);

/*
 * stream_prefetch - the chunk at @off will be read soon
 *
 * @off:  inside the stream
 *
 * Returns: where that chunk ends; @off itself: not now, as much as may be is read ahead already
 */
uint64_t stream_prefetch(struct stream *stream, uint64_t off);

/* The waiting form: for whoever has a thread of its own.  @read and @buf as read_and_wait() takes them. */
int stream_pread(struct stream *stream, struct read *read, void *buf, struct err *err) MUST_CHECK;

/* done will be called with -ECANCELED, unless it was or is being called already. */
void stream_cancel(struct stream *stream, struct read *read);

/* From now on every read fails with -ESHUTDOWN, those under way as well. */
void stream_shutdown(struct stream *stream);

/*
 * stream_next_extent - how far it goes on like this from @off
 *
 * @limit:  behind @off; no chunk is looked at that begins there or later
 *
 * Of a dynamic index only the longest chunks are known to be zeros: what cuts a stream where its bytes say
 * so, cuts zeros only where a chunk may not be longer.
 *
 * Returns: true: bytes known to be zero without a fetch, false: data; *ret_end is where that ends, or where a
 * long one was looked at no further: the next call may say the same again
 */
bool stream_next_extent(const struct stream *stream, uint64_t off, uint64_t limit, uint64_t *ret_end);

void stream_get_stats(struct stream *stream, struct stream_stats *ret);

/* Those of this stream as well. */
void stream_add_stats(struct stream *stream, struct stream_stats *sum);
