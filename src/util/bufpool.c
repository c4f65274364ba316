/* SPDX-License-Identifier: Apache-2.0 */
#include "util/bufpool.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/list.h"
#include "util/lock.h"

#define HUGE_PAGE (2u << 20)
#define SMALL	  (128u << 10) /* typical buffers below share a block: a page is too coarse for them */
#define BLOCK	  (1u << 20)

/*
 * Large buffers come from mmap, one by one, so that what is given back really goes back to the system:
 * malloc would keep it in an arena.  An idle one carries its own list node.
 *
 * Where the typical buffer is small, it is a slot in an aligned block.  All slots of a pool have the
 * same size, so a new block is mapped only when no slot is free anywhere: the blocks never take more
 * than the slots did that were in use at the same time.
 */
struct idle {
	struct list node;
	size_t cap;
};

struct block {
	struct list node;   /* on the pool's list while it has room */
	struct slot *free;  /* given back */
	uint32_t n_used;
	uint32_t n_touched; /* the slots behind were never used: their pages are not there yet */
};

struct slot {
	struct slot *next;
};

#define SLOTS_BEGIN 64 /* bytes of a block before its first slot */
static_assert(sizeof(struct block) <= SLOTS_BEGIN, "slots begin behind the head of a block");

struct bufpool {
	size_t typical, keep, page;
	uint32_t n_slots;     /* in a block; 0 = a typical buffer is not small */
	pthread_mutex_t lock; /* guards all below */
	struct list idle;     /* last used first: its pages are the warm ones */
	size_t n_idle;
	struct list blocks;   /* that have room; the only one may be all free */
};

struct bufpool *bufpool_new(size_t typical, size_t keep)
{
	struct bufpool *pool = calloc(1, sizeof *pool);
	if (!pool)
		return NULL;
	pool->page = (size_t)sysconf(_SC_PAGESIZE);
	bool is_small = typical < SMALL;
	pool->typical = is_small ? round_up(max_u64(typical, 1), 64) : round_up(typical, pool->page);
	pool->n_slots = is_small ? (uint32_t)((BLOCK - SLOTS_BEGIN) / pool->typical) : 0;
	pool->keep = keep;
	(void) pthread_mutex_init(&pool->lock, NULL);
	list_init(&pool->idle);
	list_init(&pool->blocks);
	return pool;
}

void bufpool_free(struct bufpool *pool)
{
	if (!pool)
		return;
	bufpool_trim(pool);
	(void) pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static struct idle *idle_of(struct list *node)
{
	return CONTAINER_OF(node, struct idle, node);
}

/* The first that is large enough and not wastefully so. */
static struct idle *take_idle_locked(struct bufpool *pool, size_t len)
{
	for (struct list *n = pool->idle.next; n != &pool->idle; n = n->next) {
		struct idle *idle = idle_of(n);
		if (idle->cap < len || idle->cap / 4 > max_u64(len, pool->typical))
			continue;
		list_remove(n);
		pool->n_idle--;
		return idle;
	}
	return NULL;
}

/* @cap bytes that begin at a multiple of @align, which is 0 for any page. */
static void *map_aligned(size_t cap, size_t align)
{
	uint8_t *map = mmap(NULL, cap + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	if (!align)
		return map;
	size_t before = round_up((uintptr_t)map, align) - (uintptr_t)map;
	if (before)
		(void) munmap(map, before);
	if (align - before)
		(void) munmap(map + before + cap, align - before);
	return map + before;
}

/*
 * Fresh memory from the system, on huge pages where it is large enough for them: first use of 256 MiB
 * takes 14 ms so, and 88 ms on small pages.
 */
static struct mem map_fresh(size_t cap)
{
	bool is_huge = cap >= HUGE_PAGE;
	uint8_t *map = map_aligned(cap, is_huge ? HUGE_PAGE : 0);
	if (!map)
		return MEM_NONE;
	if (is_huge)
		(void) madvise(map, cap, MADV_HUGEPAGE);
	return (struct mem){ map, cap };
}

/* -- slots ----------------------------------------------------------------------------------- */

static void *take_slot_locked(struct bufpool *pool)
{
	if (list_is_empty(&pool->blocks))
		return NULL;
	struct block *block = CONTAINER_OF(pool->blocks.next, struct block, node);
	struct slot *slot = block->free;
	if (slot)
		block->free = slot->next;
	else
		slot = (void *)((uint8_t *)block + SLOTS_BEGIN + block->n_touched++ * pool->typical);
	if (++block->n_used == pool->n_slots)
		list_remove(&block->node);
	return slot;
}

/* A block to unmap, or NULL. */
static struct block *put_slot_locked(struct bufpool *pool, struct slot *slot)
{
	struct block *block = (struct block *)((uintptr_t)slot & ~(uintptr_t)(BLOCK - 1));
	if (block->n_used-- == pool->n_slots)
		list_push(&pool->blocks, &block->node);
	slot->next = block->free;
	block->free = slot;
	bool is_only = pool->blocks.next == pool->blocks.prev;
	if (block->n_used || is_only)
		return NULL;
	list_remove(&block->node);
	return block;
}

static struct mem get_slot(struct bufpool *pool)
{
	for (;;) {
		{
			HOLD(&pool->lock);
			void *slot = take_slot_locked(pool);
			if (slot)
				return (struct mem){ slot, pool->typical };
		}
		struct block *block = map_aligned(BLOCK, BLOCK);
		if (!block)
			return MEM_NONE;
		HOLD(&pool->lock);
		list_push(&pool->blocks, &block->node);
	}
}

static void put_slot(struct bufpool *pool, void *slot)
{
	struct block *block;
	{
		HOLD(&pool->lock);
		block = put_slot_locked(pool, slot);
	}
	if (block)
		(void) munmap(block, BLOCK);
}

static bool is_slot(const struct bufpool *pool, size_t cap)
{
	return pool->n_slots && cap <= pool->typical;
}

size_t bufpool_cap(const struct bufpool *pool, size_t len)
{
	return len <= pool->typical ? pool->typical : round_up(len, pool->page);
}

struct mem bufpool_get(struct bufpool *pool, size_t len)
{
	if (is_slot(pool, len))
		return get_slot(pool);
	{
		HOLD(&pool->lock);
		struct idle *idle = take_idle_locked(pool, len);
		if (idle)
			return (struct mem){ (uint8_t *)idle, idle->cap };
	}
	return map_fresh(bufpool_cap(pool, len));
}

void bufpool_put(struct bufpool *pool, struct mem mem)
{
	if (!mem.data)
		return;
	if (is_slot(pool, mem.cap)) {
		put_slot(pool, mem.data);
		return;
	}
	{
		HOLD(&pool->lock);
		if (pool->n_idle < pool->keep) {
			struct idle *idle = (struct idle *)(void *)mem.data;
			idle->cap = mem.cap;
			list_push(&pool->idle, &idle->node);
			pool->n_idle++;
			return;
		}
	}
	(void) munmap(mem.data, mem.cap);
}

static void take_free_blocks_locked(struct bufpool *pool, struct list *to)
{
	struct list *node = pool->blocks.next;
	while (node != &pool->blocks) {
		struct block *block = CONTAINER_OF(node, struct block, node);
		node = node->next;
		if (block->n_used)
			continue;
		list_remove(&block->node);
		list_append(to, &block->node);
	}
}

void bufpool_trim(struct bufpool *pool)
{
	struct list all, blocks, *node;
	list_init(&all);
	list_init(&blocks);
	{
		HOLD(&pool->lock);
		list_take_all(&all, &pool->idle);
		pool->n_idle = 0;
		take_free_blocks_locked(pool, &blocks);
	}
	while ((node = list_pop(&all))) {
		struct idle *idle = idle_of(node);
		(void) munmap(idle, idle->cap);
	}
	while ((node = list_pop(&blocks)))
		(void) munmap(CONTAINER_OF(node, struct block, node), BLOCK);
}
