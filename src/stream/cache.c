/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/cache.h"

#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"

int cache_init(struct cache *cache, uint64_t size, size_t typical_chunk, struct err *err)
{
	uint64_t n_chunks = size / (typical_chunk + CACHE_ENTRY_ROOM) + 1;
	size_t n_buckets = 256;
	/* Ghosts and queued entries are in the table as well; 2^18 pointers are 2 MiB. */
	while (n_buckets < 4 * n_chunks && n_buckets < 1u << 18)
		n_buckets *= 2;
	*cache = (struct cache){ .size = size, .n_buckets = n_buckets, .max_ghosts = n_chunks };
	list_init(&cache->fresh);
	list_init(&cache->proven);
	list_init(&cache->ghosts);
	cache->buckets = calloc(n_buckets, sizeof(struct entry *));
	return cache->buckets ? 0 : err_set(err, -ENOMEM, "no memory for the chunk cache");
}

void cache_deinit(struct cache *cache)
{
	for (size_t i = 0; cache->buckets && i < cache->n_buckets; i++) {
		struct entry *entry = cache->buckets[i];
		while (entry) {
			struct entry *next = entry->next;
			chunk_unref(entry->chunk);
			free(entry);
			entry = next;
		}
	}
	freep(&cache->buckets);
}

/* A digest is uniform already. */
static struct entry **bucket_of(struct cache *cache, const struct cache_key *key)
{
	return &cache->buckets[load_le64(key->digest) & (cache->n_buckets - 1)];
}

static bool key_is_equal(const struct cache_key *a, const struct cache_key *b)
{
	return a->len == b->len && a->context == b->context &&
	       memcmp(a->digest, b->digest, DIGEST_SIZE) == 0;
}

static struct entry *look_up(struct cache *cache, const struct cache_key *key)
{
	struct entry *entry = *bucket_of(cache, key);
	while (entry && !key_is_equal(&entry->key, key))
		entry = entry->next;
	return entry;
}

static void unhash(struct cache *cache, struct entry *entry)
{
	struct entry **at = bucket_of(cache, &entry->key);
	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
}

struct entry *cache_find(struct cache *cache, const struct cache_key *key)
{
	struct entry *entry = look_up(cache, key);
	if (!entry || entry->state == ENTRY_GHOST)
		return NULL;
	if (entry->state == ENTRY_READY && entry->is_proven) {
		list_remove(&entry->node);
		list_append(&cache->proven, &entry->node);
	}
	return entry;
}

void cache_prove(struct cache *cache, struct entry *entry)
{
	if (entry->is_proven)
		return;
	entry->is_proven = true;
	if (entry->state != ENTRY_READY)
		return; /* cache_settle() looks at the mark */
	cache->fresh_used -= entry->room;
	list_remove(&entry->node);
	list_append(&cache->proven, &entry->node);
}

struct entry *cache_add(struct cache *cache, const struct cache_key *key)
{
	struct entry *entry = look_up(cache, key);
	if (entry) { /* a ghost: wanted again so soon, it is worth keeping */
		list_remove(&entry->node);
		cache->n_ghosts--;
		entry->is_proven = true;
		entry->state = ENTRY_QUEUED;
		return entry;
	}
	entry = calloc(1, sizeof *entry);
	if (!entry)
		return NULL;
	entry->key = *key;
	entry->state = ENTRY_QUEUED;
	list_init(&entry->node);
	list_init(&entry->waiters);
	struct entry **bucket = bucket_of(cache, key);
	entry->next = *bucket;
	*bucket = entry;
	return entry;
}

void cache_remove(struct cache *cache, struct entry *entry)
{
	unhash(cache, entry);
	list_remove(&entry->node);
	free(entry);
}

static void forget_oldest_ghost(struct cache *cache)
{
	struct list *node = list_pop(&cache->ghosts);
	struct entry *entry = CONTAINER_OF(node, struct entry, node);
	cache->n_ghosts--;
	unhash(cache, entry);
	free(entry);
}

struct chunk *cache_evict(struct cache *cache)
{
	bool fresh_first = cache->fresh_used > cache->size / 4 || list_is_empty(&cache->proven);
	struct list *from = fresh_first && !list_is_empty(&cache->fresh) ? &cache->fresh
									 : &cache->proven;
	struct list *node = list_pop(from);
	if (!node)
		return NULL;
	struct entry *entry = CONTAINER_OF(node, struct entry, node);
	struct chunk *chunk = STEAL(entry->chunk);
	if (!entry->is_proven)
		cache->fresh_used -= entry->room;
	cache_give_back_room(cache, entry);
	if (entry->is_proven) {
		unhash(cache, entry);
		free(entry);
		return chunk;
	}
	entry->state = ENTRY_GHOST;
	list_append(&cache->ghosts, &entry->node);
	if (++cache->n_ghosts > cache->max_ghosts)
		forget_oldest_ghost(cache);
	return chunk;
}

static bool is_full(const struct cache *cache)
{
	return cache->used + cache->n_ghosts * CACHE_GHOST_ROOM > cache->size;
}

size_t cache_make_room(struct cache *cache, struct entry *entry, size_t cap, struct chunk **evicted,
		       size_t most)
{
	size_t n = 0;
	entry->room = (uint32_t)(cap + CACHE_ENTRY_ROOM);
	cache->used += entry->room;
	while (n < most && (is_full(cache) || (entry->is_ahead && cache->fresh_used > cache->size / 2))) {
		struct chunk *chunk = cache_evict(cache);
		if (!chunk)
			break;
		evicted[n++] = chunk;
	}
	return n;
}

void cache_give_back_room(struct cache *cache, struct entry *entry)
{
	cache->used -= entry->room;
	entry->room = 0;
}

void cache_settle(struct cache *cache, struct entry *entry, struct chunk *chunk)
{
	cache_give_back_room(cache, entry);
	entry->room = (uint32_t)(chunk->mem.cap + CACHE_ENTRY_ROOM);
	cache->used += entry->room;
	entry->chunk = chunk;
	entry->state = ENTRY_READY;
	entry->stream = NULL;
	if (!entry->is_proven)
		cache->fresh_used += entry->room;
	list_append(entry->is_proven ? &cache->proven : &cache->fresh, &entry->node);
}
