/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "format/index.h"
#include "util/bytes.h"

/*
 * offset  0 magic 8 · 8 uuid 16 · 24 ctime i64 · 32 csum 32 · 64 size u64 · 72 chunk size u64, then
 * zeros up to 4096, then a digest for each chunk.  Nothing signs the chunk size: its range, the exact
 * length of the file and the length of every chunk pin it together.
 */
static const uint8_t fidx_magic[8] = { 0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd };

int fidx_parse(const uint8_t *map, size_t len, struct index *ret, struct err *err)
{
	if (len < INDEX_HEADER_SIZE)
		return err_set(err, -EBADMSG, "index of %zu bytes is too small", len);
	if (memcmp(map, fidx_magic, sizeof fidx_magic) != 0)
		return err_set(err, -EBADMSG, "unknown magic, not a fixed index");
	uint64_t size = load_le64(map + 64), chunk_size = load_le64(map + 72);
	if (chunk_size < INDEX_CHUNK_SIZE_MIN || chunk_size > INDEX_CHUNK_SIZE_MAX ||
	    (chunk_size & (chunk_size - 1)))
		return err_set(err, -EBADMSG, "index has an impossible chunk size of %" PRIu64,
			       chunk_size);
	if (size == 0)
		return err_set(err, -EBADMSG, "index of an empty image");
	if (size > INT64_MAX)
		return err_set(err, -EBADMSG, "index has an impossible image size of %" PRIu64, size);
	uint64_t n = size / chunk_size + (size % chunk_size != 0);
	if (n > INDEX_MAX_CHUNKS)
		return err_set(err, -EBADMSG, "index needs %" PRIu64 " chunks, at most %u are read", n,
			       INDEX_MAX_CHUNKS);
	if (len - INDEX_HEADER_SIZE != n * INDEX_FIXED_ENTRY)
		return err_set(err, -EBADMSG, "index holds %zu bytes of digests, an image of %" PRIu64
			       " bytes needs %" PRIu64, len - INDEX_HEADER_SIZE, size,
			       n * INDEX_FIXED_ENTRY);
	*ret = (struct index){
		.kind = INDEX_FIXED,
		.table = map + INDEX_HEADER_SIZE,
		.n_chunks = (uint32_t)n,
		.max_chunk = (uint32_t)min_u64(chunk_size, size),
		.size = size,
		.chunk_size = chunk_size,
		.ctime = (int64_t)load_le64(map + 24),
	};
	memcpy(ret->header_csum, map + 32, DIGEST_SIZE);
	return 0;
}

void fidx_write_header(uint8_t ret[static INDEX_HEADER_SIZE], const uint8_t uuid[static 16],
		       int64_t ctime, const uint8_t csum[static DIGEST_SIZE], uint64_t size,
		       uint64_t chunk_size)
{
	memset(ret, 0, INDEX_HEADER_SIZE);
	memcpy(ret, fidx_magic, sizeof fidx_magic);
	memcpy(ret + 8, uuid, 16);
	store_le64(ret + 24, (uint64_t)ctime);
	memcpy(ret + 32, csum, DIGEST_SIZE);
	store_le64(ret + 64, size);
	store_le64(ret + 72, chunk_size);
}
