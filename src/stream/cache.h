/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/source.h"
#include "stream/chunk.h"
#include "util/list.h"
#include "util/pool.h"

/*
 * Which chunks are in memory, on their way, or were lately.  No locks and no threads: the owner
 * guards it.
 *
 *            cache_add            load starts          load ends
 *   (none) ───────────▶ QUEUED ───────────▶ FETCHING ─▶ DECODING ───────▶ READY
 *      ▲                  │                    │            │                │ evicted
 *      │   nobody wants it│                    │ failed     │ failed         ▼
 *      └──────────────────┴────────────────────┴────────────┘   fresh: GHOST (only the key)
 *                                                               proven: (none)
 *
 * Replacement is 2Q: what comes in is fresh, a FIFO; however often it is read there, a scan
 * pushes it out again, and only its key is remembered.  What is wanted again while it is
 * remembered is proven, an LRU.  Fresh chunks go first, as long as they hold more than a quarter.
 *
 * What read-ahead brings does not make fresh chunks grow beyond half of the cache, even while there is
 * room: a scan reads each once, and uses the same memory again instead of touching more.
 */
enum entry_state { ENTRY_GHOST, ENTRY_QUEUED, ENTRY_FETCHING, ENTRY_DECODING, ENTRY_READY };

/* A plain chunk never answers for an encrypted index: the context is part of the key. */
struct cache_key {
	uint8_t digest[DIGEST_SIZE];
	uint32_t len;
	uint64_t context; /* 0 = not encrypted */
};

/* There may be a hundred thousand: what only a load needs is in its flight. */
struct entry {
	struct cache_key key;
	enum entry_state state;
	struct entry *next;   /* in its hash bucket */
	struct list node;     /* GHOST: ghosts; QUEUED: a queue of the loader; READY: fresh or proven */
	uint32_t room;	      /* counted in cache->used */
	bool is_proven;
	bool is_ahead;	      /* counted in its stream's read-ahead */
	enum priority priority;
	struct chunk *chunk;  /* READY */
	struct list waiters;  /* struct waiter; QUEUED to DECODING */
	uint64_t off;	      /* where it was wanted first: for messages */
	struct stream *stream; /* whose source and key bring it; QUEUED to DECODING */
	struct flight *flight; /* FETCHING and DECODING */
};

/* Bytes that an entry takes beside its buffer: itself, its chunk, and what malloc adds. */
#define CACHE_ENTRY_ROOM (sizeof(struct entry) + sizeof(struct chunk) + 32)
#define CACHE_GHOST_ROOM (sizeof(struct entry) + 16)

struct cache {
	uint64_t size;		/* bytes at most, ghosts included */
	uint64_t used;		/* bytes of READY entries and of those that were given room */
	uint64_t fresh_used;
	size_t n_ghosts, max_ghosts;
	struct entry **buckets;
	size_t n_buckets;	/* a power of two */
	struct list fresh, proven, ghosts;
};

int cache_init(struct cache *cache, uint64_t size, size_t typical_chunk, struct err *err) MUST_CHECK;
/* Every entry must be READY or GHOST. */
void cache_deinit(struct cache *cache);

/* Any state but GHOST; NULL = not there.  Counts as a use. */
struct entry *cache_find(struct cache *cache, const struct cache_key *key);

/* Proven at once, in whatever state it is: it will be wanted again. */
void cache_prove(struct cache *cache, struct entry *entry);

/* A QUEUED entry for a key that cache_find() does not know; NULL = no memory. */
struct entry *cache_add(struct cache *cache, const struct cache_key *key);

/* A QUEUED, FETCHING or DECODING entry goes; its waiters must be gone. */
void cache_remove(struct cache *cache, struct entry *entry);

/**
 * cache_make_room - count an entry that is about to be loaded
 *
 * @cap:      bytes its buffer will most likely take
 * @evicted:  chunks to unref once no lock is held, linked through nothing: up to @most of them
 *
 * Returns how many of @evicted were filled.  The room is given even if not enough could go:
 * chunks that are loading are bounded by the loader.
 */
size_t cache_make_room(struct cache *cache, struct entry *entry, size_t cap, struct chunk **evicted,
		       size_t most);
void cache_give_back_room(struct cache *cache, struct entry *entry);

/* The load ended well; takes @chunk, and counts what it really takes. */
void cache_settle(struct cache *cache, struct entry *entry, struct chunk *chunk);

/* One READY entry goes, the first the rules would choose; its chunk, or NULL when there is none. */
struct chunk *cache_evict(struct cache *cache);
