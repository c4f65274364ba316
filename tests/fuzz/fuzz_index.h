/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <string.h>

#include "format/index.h"
#include "fuzz.h"

/*
 * An index from fewer bytes, for most of its header is zeros: the first 80 bytes are its beginning,
 * the rest comes behind the header.  Fewer than 80 are the whole file.
 */
enum { FUZZ_HEAD = 80 };

static inline uint8_t *fuzz_index_unfold(const uint8_t *data, size_t len, size_t *ret_len)
{
	size_t map_len = len < FUZZ_HEAD ? len : INDEX_HEADER_SIZE + (len - FUZZ_HEAD);
	uint8_t *map = malloc(map_len);
	MUST(map || !map_len);
	if (len < FUZZ_HEAD) {
		if (len)
			memcpy(map, data, len);
	} else {
		memset(map, 0, INDEX_HEADER_SIZE);
		memcpy(map, data, FUZZ_HEAD);
		memcpy(map + INDEX_HEADER_SIZE, data + FUZZ_HEAD, len - FUZZ_HEAD);
	}
	*ret_len = map_len;
	return map;
}

/* The chunks follow each other without a gap, are found again, and lie inside the file. */
static inline void fuzz_index_check(const struct index *index, const uint8_t *map, size_t len)
{
	uint64_t end = 0;
	uint8_t csum[DIGEST_SIZE];
	MUST(index->n_chunks >= 1);
	for (uint32_t n = 0; n < index->n_chunks; n++) {
		struct index_chunk chunk = index_chunk(index, n);
		MUST(chunk.off == end && chunk.len >= 1 && chunk.len <= index->max_chunk);
		MUST(chunk.digest >= map + INDEX_HEADER_SIZE && chunk.digest + DIGEST_SIZE <= map + len);
		end += chunk.len;
		MUST(index_find(index, chunk.off) == n && index_find(index, end - 1) == n);
	}
	MUST(end == index->size && end <= INT64_MAX);
	MUST(index_csum(index, csum, NULL) == 0);
}

static inline int fuzz_index(const uint8_t *data, size_t len, enum index_kind kind,
			     int (*parse)(const uint8_t *, size_t, struct index *, struct err *))
{
	struct index index, again;
	size_t map_len;
	uint8_t *map = fuzz_index_unfold(data, len, &map_len);
	int r = parse(map, map_len, &index, NULL), either = index_parse(map, map_len, &again, NULL);
	MUST(r == 0 || r == -EBADMSG);
	if (r == 0) {
		MUST(either == 0 && index.kind == kind && again.kind == kind);
		fuzz_index_check(&index, map, map_len);
	}
	free(map);
	return 0;
}
