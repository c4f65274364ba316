/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/links.h"

#include <stdlib.h>

#include "util/lock.h"

/*
 * One hash table for two kinds of keys: an inode number (even) has a count, the position of a link (made
 * odd) is there or not.
 */
void links_init(struct links *links)
{
	*links = (struct links){ 0 };
	(void) pthread_mutex_init(&links->lock, NULL);
}

void links_deinit(struct links *links)
{
	free(links->slots);
	(void) pthread_mutex_destroy(&links->lock);
}

static uint64_t key_of_link(uint64_t pos)
{
	return 2 * pos + 1;
}

/* Where the key is, or where it belongs. */
static struct link_slot *find(struct link_slot *slots, size_t cap, uint64_t key)
{
	size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (cap - 1);
	while (slots[i].key && slots[i].key != key)
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

/* Never more than half full, with the two that may come. */
static bool is_full(const struct links *links)
{
	return 2 * (links->n + 2) > links->cap;
}

static bool grow_locked(struct links *links)
{
	size_t cap = links->cap ? 2 * links->cap : 64;
	if (cap > 4 * LINKS_MAX)
		return true; /* further ones are not counted */
	struct link_slot *slots = calloc(cap, sizeof *slots);
	if (!slots)
		return false;
	for (size_t i = 0; i < links->cap; i++)
		if (links->slots[i].key)
			*find(slots, cap, links->slots[i].key) = links->slots[i];
	free(links->slots);
	links->slots = slots;
	links->cap = cap;
	return true;
}

bool links_note(struct links *links, uint64_t link_pos, uint64_t ino)
{
	HOLD(&links->lock);
	if (links->is_exact)
		return true;
	if (is_full(links) && !grow_locked(links))
		return false;
	if (is_full(links))
		return true;
	struct link_slot *link = find(links->slots, links->cap, key_of_link(link_pos));
	if (link->key)
		return true;
	link->key = key_of_link(link_pos);
	struct link_slot *file = find(links->slots, links->cap, ino);
	links->n += file->key ? 1 : 2;
	file->key = ino;
	file->count++;
	return true;
}

uint32_t links_count(struct links *links, uint64_t ino)
{
	HOLD(&links->lock);
	uint64_t more = links->cap ? find(links->slots, links->cap, ino)->count : 0;
	return more < UINT32_MAX ? (uint32_t)more + 1 : UINT32_MAX;
}

void links_set_exact(struct links *links)
{
	HOLD(&links->lock);
	links->is_exact = true;
}

bool links_is_exact(struct links *links)
{
	HOLD(&links->lock);
	return links->is_exact;
}
