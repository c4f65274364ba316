/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/chunk.h"

#include <stdlib.h>

struct chunk *chunk_new(struct bufpool *pool, struct mem mem, const uint8_t *data, size_t len)
{
	struct chunk *chunk = malloc(sizeof *chunk);
	if (!chunk) {
		bufpool_put(pool, mem);
		return NULL;
	}
	*chunk = (struct chunk){ .data = data, .len = len, .mem = mem, .pool = pool };
	atomic_init(&chunk->refs, 1);
	return chunk;
}

struct chunk *chunk_ref(struct chunk *chunk)
{
	atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
	return chunk;
}

void chunk_unref(struct chunk *chunk)
{
	if (!chunk || atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) != 1)
		return;
	bufpool_put(chunk->pool, chunk->mem);
	free(chunk);
}
