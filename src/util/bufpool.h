/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Buffers for raw blobs and decoded chunks, kept for the next one: the page faults
 * of a fresh 4 MiB cost a tenth of decoding it.
 */
struct bufpool;

struct mem {
	uint8_t *data; /* NULL = none */
	size_t cap;
};

#define MEM_NONE ((struct mem){ 0 })

/*
 * @typical:  bytes most buffers need; smaller requests get this much, so that any can stand in
 * @keep:     idle buffers kept at most; the rest is returned to the system
 * NULL = no memory.  Threads: all functions from any thread.
 */
struct bufpool *bufpool_new(size_t typical, size_t keep);
void bufpool_free(struct bufpool *pool);

/* How many bytes a fresh buffer for @len takes. */
size_t bufpool_cap(const struct bufpool *pool, size_t len);

/* At least @len bytes, content undefined; .data NULL = no memory. */
struct mem bufpool_get(struct bufpool *pool, size_t len);

/* Takes it back; MEM_NONE is fine. */
void bufpool_put(struct bufpool *pool, struct mem mem);

/* Give idle buffers back to the system. */
void bufpool_trim(struct bufpool *pool);
