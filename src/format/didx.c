/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "format/index.h"
#include "util/bytes.h"

/*
 * offset  0 magic 8 · 8 uuid 16 · 24 ctime i64 · 32 csum 32, then zeros up to 4096, then for each
 * chunk its end u64 and its digest.  All ends are checked here, once, so that look-ups need not.
 */
static const uint8_t didx_magic[8] = { 0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd };

static int check_ends(const uint8_t *table, uint64_t n, struct index *ret, struct err *err)
{
	uint64_t end = 0, longest = 0;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t next = load_le64(table + i * INDEX_DYNAMIC_ENTRY);
		if (next <= end || next > INT64_MAX)
			return err_set(err, -EBADMSG, "index entry %" PRIu64 " ends at %" PRIu64
				       ", the one before at %" PRIu64, i, next, end);
		if (next - end > INDEX_STEP_MAX)
			return err_set(err, -EBADMSG, "index entry %" PRIu64 " is %" PRIu64
				       " bytes long, at most %u are read", i, next - end,
				       INDEX_STEP_MAX);
		longest = max_u64(longest, next - end);
		end = next;
	}
	ret->size = end;
	ret->max_chunk = (uint32_t)longest;
	return 0;
}

int didx_parse(const uint8_t *map, size_t len, struct index *ret, struct err *err)
{
	if (len < INDEX_HEADER_SIZE)
		return err_set(err, -EBADMSG, "index of %zu bytes is too small", len);
	if (memcmp(map, didx_magic, sizeof didx_magic) != 0)
		return err_set(err, -EBADMSG, "unknown magic, not a dynamic index");
	size_t table_len = len - INDEX_HEADER_SIZE;
	uint64_t n = table_len / INDEX_DYNAMIC_ENTRY;
	if (table_len % INDEX_DYNAMIC_ENTRY)
		return err_set(err, -EBADMSG, "index ends in the middle of an entry");
	if (n == 0)
		return err_set(err, -EBADMSG, "index of an empty archive");
	if (n > INDEX_MAX_CHUNKS)
		return err_set(err, -EBADMSG, "index has %" PRIu64 " chunks, at most %u are read", n,
			       INDEX_MAX_CHUNKS);
	struct index index = {
		.kind = INDEX_DYNAMIC,
		.table = map + INDEX_HEADER_SIZE,
		.n_chunks = (uint32_t)n,
		.ctime = (int64_t)load_le64(map + 24),
	};
	memcpy(index.header_csum, map + 32, DIGEST_SIZE);
	int r = check_ends(index.table, n, &index, err);
	if (r < 0)
		return r;
	*ret = index;
	return 0;
}
