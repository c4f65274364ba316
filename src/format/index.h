/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "crypto/sha256.h"
#include "util/err.h"

#define INDEX_HEADER_SIZE    4096
#define INDEX_MAX_CHUNKS     (1u << 28)
#define INDEX_CHUNK_SIZE_MIN 4096u	   /* fixed index */
#define INDEX_CHUNK_SIZE_MAX (16u << 20) /* fixed index */
#define INDEX_STEP_MAX	     (128u << 20)  /* dynamic index: one chunk */
#define INDEX_FIXED_ENTRY    DIGEST_SIZE
#define INDEX_DYNAMIC_ENTRY  (8 + DIGEST_SIZE) /* where the chunk ends, and its digest */
#define INDEX_FILE_MAX	     (INDEX_HEADER_SIZE + (uint64_t)INDEX_DYNAMIC_ENTRY * INDEX_MAX_CHUNKS) /* bytes of a whole one */

enum index_kind {
	INDEX_FIXED,   /* .fidx: chunks of one size, the last may be short */
	INDEX_DYNAMIC, /* .didx: chunks with an end offset each */
};

/* Which chunks make up a stream of bytes.  Immutable; points into the file's bytes. */
struct index {
	enum index_kind kind;
	const uint8_t *table; /* n_chunks entries */
	uint32_t n_chunks;    /* at least 1 */
	uint32_t max_chunk;   /* bytes of the longest chunk */
	uint64_t size;	      /* bytes of the stream */
	uint64_t chunk_size;  /* fixed only */
	int64_t ctime;	      /* epoch seconds; informational */
	uint8_t header_csum[DIGEST_SIZE]; /* informational: the reference never looks at it */
};

struct index_chunk {
	uint64_t off;	       /* in the stream */
	uint32_t len;
	const uint8_t *digest; /* DIGEST_SIZE bytes inside the index */
};

/**
 * index_parse - check a whole index file, tell its kind by the magic
 *
 * @map:  the whole file, any alignment; must outlive @ret
 * @len:  bytes in @map
 * @ret:  written on success only
 *
 * Shape:   4096-byte header, then entries, nothing after
 * Errors:  -EBADMSG  magic, chunk size, file length or entries do not agree, or no chunk at all
 * Threads: pure; the result is immutable and may be shared
 * Source:  backup server manual, file formats, "Fixed Index Format", "Dynamic Index Format"
 */
int index_parse(const uint8_t *map, size_t len, struct index *ret, struct err *err) MUST_CHECK;

/* The two halves of index_parse. */
int fidx_parse(const uint8_t *map, size_t len, struct index *ret, struct err *err) MUST_CHECK;
int didx_parse(const uint8_t *map, size_t len, struct index *ret, struct err *err) MUST_CHECK;

/* Chunk @n of index->n_chunks. */
struct index_chunk index_chunk(const struct index *index, uint32_t n);

/* The chunk that holds @off, which is below index->size. */
uint32_t index_find(const struct index *index, uint64_t off);

/* SHA-256 over the entries: what the manifest calls csum. */
int index_csum(const struct index *index, uint8_t ret[static DIGEST_SIZE], struct err *err) MUST_CHECK;

/* Write the 4096-byte header of an index whose entries hash to @csum; for test data and tools. */
void fidx_write_header(uint8_t ret[static INDEX_HEADER_SIZE], const uint8_t uuid[static 16],
		       int64_t ctime, const uint8_t csum[static DIGEST_SIZE], uint64_t size,
		       uint64_t chunk_size);
