/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "data.h"
#include "format/index.h"
#include "unit.h"
#include "util/bytes.h"

#define MIB (UINT64_C(1) << 20)
enum { ENTRY = 8 + DIGEST_SIZE };

static const uint8_t magic[8] = { 0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd };

/* Exactly as long as an index with these ends; digest i is the SHA-256 of the byte i + 1. */
static uint8_t *make(const uint64_t *ends, size_t n, size_t *ret_len)
{
	size_t len = INDEX_HEADER_SIZE + n * ENTRY;
	uint8_t *map = calloc(1, len);
	assert_non_null(map);
	memcpy(map, magic, sizeof magic);
	for (uint8_t i = 0; i < 16; i++)
		map[8 + i] = i;
	store_le64(map + 24, 1704164645);
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)(i + 1), *entry = map + INDEX_HEADER_SIZE + i * ENTRY;
		store_le64(entry, ends[i]);
		assert_int_equal(sha256_once(&byte, 1, entry + 8, NULL), 0);
	}
	assert_int_equal(sha256_once(map + INDEX_HEADER_SIZE, n * ENTRY, map + 32, NULL), 0);
	*ret_len = len;
	return map;
}

static const uint64_t example[] = { 100, 350, 1000 };

static void reads_the_worked_example(void **state)
{
	struct index index;
	size_t len;
	char hex[65];
	uint8_t csum[DIGEST_SIZE];
	CLEANUP(freep) uint8_t *map = make(example, 3, &len);
	assert_int_equal(len, 4216);
	assert_int_equal(didx_parse(map, len, &index, NULL), 0);
	assert_int_equal(index.kind, INDEX_DYNAMIC);
	assert_int_equal(index.n_chunks, 3);
	assert_int_equal(index.max_chunk, 650);
	assert_int_equal(index.size, 1000);
	assert_int_equal(index.ctime, 1704164645);
	assert_int_equal(index_csum(&index, csum, NULL), 0);
	assert_memory_equal(csum, index.header_csum, DIGEST_SIZE);
	hex_encode(csum, DIGEST_SIZE, hex);
	assert_string_equal(hex, "eeb16cb42549a2a858ffc6b7741faf470c4e16c76702e5720dcf5c4d273353c6");
}

static void finds_the_chunk_of_an_offset(void **state)
{
	static const struct {
		uint64_t off;
		uint32_t n;
		uint64_t within;
	} rows[] = {
		{ 0, 0, 0 }, { 99, 0, 99 }, { 100, 1, 0 }, { 349, 1, 249 }, { 350, 2, 0 }, { 999, 2, 649 },
	};
	struct index index;
	size_t len;
	CLEANUP(freep) uint8_t *map = make(example, 3, &len);
	assert_int_equal(didx_parse(map, len, &index, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t n = index_find(&index, rows[i].off);
		assert_int_equal(n, rows[i].n);
		assert_int_equal(rows[i].off - index_chunk(&index, n).off, rows[i].within);
	}
}

static void finds_every_offset_whatever_the_number_of_chunks(void **state)
{
	uint64_t ends[17];
	for (size_t n = 1; n <= ARRAY_LEN(ends); n++) {
		struct index index;
		size_t len;
		uint64_t end = 0;
		for (size_t i = 0; i < n; i++)
			ends[i] = (i ? ends[i - 1] : 0) + 1 + i * 7 % 5;
		CLEANUP(freep) uint8_t *map = make(ends, n, &len);
		assert_int_equal(didx_parse(map, len, &index, NULL), 0);
		for (uint32_t i = 0; i < n; i++) {
			struct index_chunk chunk = index_chunk(&index, i);
			assert_int_equal(chunk.off, end);
			assert_ptr_equal(chunk.digest, map + INDEX_HEADER_SIZE + (size_t)i * ENTRY + 8);
			for (uint64_t off = end; off < end + chunk.len; off++)
				assert_int_equal(index_find(&index, off), i);
			end += chunk.len;
		}
		assert_int_equal(end, index.size);
	}
}

static void refuses_ends_that_do_not_grow_or_grow_too_much(void **state)
{
	static const struct {
		const char *name;
		size_t n;
		uint64_t ends[3];
		const char *words;
	} rows[] = {
		{ "no chunk", 0, { 0 }, "empty archive" },
		{ "first is empty", 1, { 0 }, "entry 0 ends at 0" },
		{ "second is empty", 2, { 100, 100 }, "entry 1 ends at 100, the one before at 100" },
		{ "backwards", 2, { 100, 50 }, "entry 1 ends at 50" },
		{ "back at the very end", 3, { 100, 200, 199 }, "entry 2" },
		{ "longer than a chunk can be", 1, { 128 * MIB + 1 }, "bytes long" },
		{ "the second one is", 2, { 1, 128 * MIB + 2 }, "entry 1 is 134217729 bytes long" },
		{ "step of 2^32", 2, { 1, (UINT64_C(1) << 32) + 1 }, "bytes long" },
		{ "end 2^63", 1, { UINT64_C(1) << 63 }, "entry 0" },
		{ "end 2^64-1", 3, { 1, 2, UINT64_MAX }, "entry 2" },
		{ "end wraps", 2, { 100, UINT64_MAX - 27 }, "entry 1" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct index index = { .size = 77 };
		struct err err = ERR_NONE;
		size_t len;
		CLEANUP(freep) uint8_t *map = make(rows[i].ends, rows[i].n, &len);
		expect(rows[i].name, didx_parse(map, len, &index, &err), &err, -EBADMSG, rows[i].words);
		assert_int_equal(index.size, 77);
	}
}

static void takes_the_longest_chunk_and_the_shortest(void **state)
{
	static const uint64_t ends[] = { 1, 128 * MIB + 1, 128 * MIB + 2 };
	struct index index;
	size_t len;
	CLEANUP(freep) uint8_t *map = make(ends, 3, &len);
	assert_int_equal(didx_parse(map, len, &index, NULL), 0);
	assert_int_equal(index.max_chunk, 128 * MIB);
	assert_int_equal(index_chunk(&index, 1).len, 128 * MIB);
	assert_int_equal(index_chunk(&index, 2).len, 1);
}

static void refuses_an_index_cut_anywhere_but_between_entries(void **state)
{
	size_t len;
	CLEANUP(freep) uint8_t *map = make(example, 3, &len);
	for (size_t cut = 0; cut < len; cut++) {
		struct index index;
		struct err err = ERR_NONE;
		size_t table = cut < INDEX_HEADER_SIZE ? 0 : cut - INDEX_HEADER_SIZE;
		CLEANUP(freep) uint8_t *copy = exact_copy(map, cut);
		int r = didx_parse(copy, cut, &index, &err);
		if (cut < INDEX_HEADER_SIZE)
			expect("header", r, &err, -EBADMSG, "is too small");
		else if (table == 0)
			expect("no entry", r, &err, -EBADMSG, "empty archive");
		else if (table % ENTRY)
			expect("entry", r, &err, -EBADMSG, "in the middle of an entry");
		else
			expect("fewer", r, &err, 0, NULL); /* csum and size of the manifest notice */
	}
}

static void refuses_another_magic(void **state)
{
	size_t len;
	CLEANUP(freep) uint8_t *map = make(example, 3, &len);
	for (size_t bit = 0; bit < 64; bit++) {
		struct index index;
		struct err err = ERR_NONE;
		map[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect("flipped", didx_parse(map, len, &index, &err), &err, -EBADMSG, "unknown magic");
		expect("either", index_parse(map, len, &index, NULL), &err, -EBADMSG, NULL);
		map[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void tells_the_kinds_apart_by_the_magic(void **state)
{
	size_t len;
	struct index index;
	uint8_t fixed[INDEX_HEADER_SIZE + DIGEST_SIZE] = { 0 };
	CLEANUP(freep) uint8_t *map = make(example, 3, &len);
	assert_int_equal(index_parse(map, len, &index, NULL), 0);
	assert_int_equal(index.kind, INDEX_DYNAMIC);
	assert_int_equal(fidx_parse(map, len, &index, NULL), -EBADMSG);
	fidx_write_header(fixed, fixed + 100, 0, fixed + 100, 4096, 4096);
	assert_int_equal(index_parse(fixed, sizeof fixed, &index, NULL), 0);
	assert_int_equal(index.kind, INDEX_FIXED);
	assert_int_equal(didx_parse(fixed, sizeof fixed, &index, NULL), -EBADMSG);
	assert_int_equal(index_parse(map, 0, &index, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_the_worked_example),
		TEST(finds_the_chunk_of_an_offset),
		TEST(finds_every_offset_whatever_the_number_of_chunks),
		TEST(refuses_ends_that_do_not_grow_or_grow_too_much),
		TEST(takes_the_longest_chunk_and_the_shortest),
		TEST(refuses_an_index_cut_anywhere_but_between_entries),
		TEST(refuses_another_magic),
		TEST(tells_the_kinds_apart_by_the_magic),
	};
	return RUN_TESTS(tests);
}
