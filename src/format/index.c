/* SPDX-License-Identifier: Apache-2.0 */
#include "format/index.h"

#include "util/bytes.h"

int index_parse(const uint8_t *map, size_t len, struct index *ret, struct err *err)
{
	/* The first byte tells the magics apart; each half checks its whole magic. */
	if (len >= INDEX_HEADER_SIZE && map[0] == 0x1c)
		return didx_parse(map, len, ret, err);
	return fidx_parse(map, len, ret, err);
}

static uint64_t dynamic_end(const struct index *index, uint32_t n)
{
	return load_le64(index->table + (size_t)n * INDEX_DYNAMIC_ENTRY);
}

struct index_chunk index_chunk(const struct index *index, uint32_t n)
{
	if (index->kind == INDEX_FIXED) {
		uint64_t off = n * index->chunk_size;
		return (struct index_chunk){
			.off = off,
			.len = (uint32_t)min_u64(index->chunk_size, index->size - off),
			.digest = index->table + (size_t)n * INDEX_FIXED_ENTRY,
		};
	}
	uint64_t off = n ? dynamic_end(index, n - 1) : 0;
	return (struct index_chunk){
		.off = off,
		.len = (uint32_t)(dynamic_end(index, n) - off),
		.digest = index->table + (size_t)n * INDEX_DYNAMIC_ENTRY + 8,
	};
}

uint32_t index_find(const struct index *index, uint64_t off)
{
	if (index->kind == INDEX_FIXED)
		return (uint32_t)(off / index->chunk_size);
	uint32_t low = 0, high = index->n_chunks - 1; /* the smallest whose end is behind @off */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (off < dynamic_end(index, middle))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

int index_csum(const struct index *index, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	size_t entry = index->kind == INDEX_FIXED ? INDEX_FIXED_ENTRY : INDEX_DYNAMIC_ENTRY;
	return sha256_once(index->table, index->n_chunks * entry, ret, err);
}
