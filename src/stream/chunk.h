/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "util/bufpool.h"

/* The verified content of a chunk: immutable, shared by reference count. */
struct chunk {
	atomic_uint refs;
	const uint8_t *data; /* @len bytes inside @mem */
	size_t len;
	struct mem mem;
	struct bufpool *pool;
};

/* Takes @mem; NULL = no memory (then @mem is given back to @pool). One reference, the caller's. */
struct chunk *chunk_new(struct bufpool *pool, struct mem mem, const uint8_t *data, size_t len);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk *chunk);
