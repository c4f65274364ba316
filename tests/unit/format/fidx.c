/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "data.h"
#include "format/index.h"
#include "unit.h"
#include "util/bytes.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const uint8_t magic[8] = { 0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd };

/* Exactly as long as an index with @n digests; digest i is the SHA-256 of the byte i + 1. */
static uint8_t *make(uint64_t size, uint64_t chunk_size, size_t n, size_t *ret_len)
{
	size_t len = INDEX_HEADER_SIZE + n * DIGEST_SIZE;
	uint8_t *map = calloc(1, len);
	assert_non_null(map);
	memcpy(map, magic, sizeof magic);
	for (uint8_t i = 0; i < 16; i++)
		map[8 + i] = i;
	store_le64(map + 24, 1704164645);
	store_le64(map + 64, size);
	store_le64(map + 72, chunk_size);
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)(i + 1);
		assert_int_equal(sha256_once(&byte, 1, map + INDEX_HEADER_SIZE + i * DIGEST_SIZE, NULL), 0);
	}
	assert_int_equal(sha256_once(map + INDEX_HEADER_SIZE, n * DIGEST_SIZE, map + 32, NULL), 0);
	*ret_len = len;
	return map;
}

static void reads_the_worked_example(void **state)
{
	struct index index;
	size_t len;
	char hex[65];
	uint8_t csum[DIGEST_SIZE];
	CLEANUP(freep) uint8_t *map = make(10 * MIB, 4 * MIB, 3, &len);
	sha256_hex(map, len, hex);
	assert_string_equal(hex, "642dc6030241fb2d68cbbf5f7785ac25b5f24a0f46f6c3cd37d612df213811fe");

	assert_int_equal(fidx_parse(map, len, &index, NULL), 0);
	assert_int_equal(index.kind, INDEX_FIXED);
	assert_int_equal(index.n_chunks, 3);
	assert_int_equal(index.max_chunk, 4 * MIB);
	assert_int_equal(index.size, 10 * MIB);
	assert_int_equal(index.chunk_size, 4 * MIB);
	assert_int_equal(index.ctime, 1704164645);
	assert_int_equal(index_csum(&index, csum, NULL), 0);
	assert_memory_equal(csum, index.header_csum, DIGEST_SIZE);
	hex_encode(csum, DIGEST_SIZE, hex);
	assert_string_equal(hex, "2628a7cbda257cd0dc45779e43080e0a93037468fe270faae515f7c7941069e3");
}

static void writes_the_header_of_the_worked_example(void **state)
{
	size_t len;
	uint8_t header[INDEX_HEADER_SIZE];
	CLEANUP(freep) uint8_t *map = make(10 * MIB, 4 * MIB, 3, &len);
	memset(header, 0xff, sizeof header);
	fidx_write_header(header, map + 8, 1704164645, map + 32, 10 * MIB, 4 * MIB);
	assert_memory_equal(header, map, sizeof header);
}

static void says_where_each_chunk_lies_and_how_long_the_last_one_is(void **state)
{
	static const struct {
		uint64_t size, chunk_size;
		uint32_t n, last_len, max;
	} rows[] = {
		{ 1, 4096, 1, 1, 1 },
		{ 4095, 4096, 1, 4095, 4095 },
		{ 4096, 4096, 1, 4096, 4096 },
		{ 4097, 4096, 2, 1, 4096 },
		{ 10 * MIB, 4 * MIB, 3, 2 * MIB, 4 * MIB },
		{ 12 * MIB, 4 * MIB, 3, 4 * MIB, 4 * MIB },
		{ 9 * MIB + 512, 4 * MIB, 3, MIB + 512, 4 * MIB },
		{ 16 * MIB + 1, 16 * MIB, 2, 1, 16 * MIB },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct index index;
		size_t len;
		uint64_t end = 0;
		CLEANUP(freep) uint8_t *map = make(rows[i].size, rows[i].chunk_size, rows[i].n, &len);
		assert_int_equal(fidx_parse(map, len, &index, NULL), 0);
		assert_int_equal(index.n_chunks, rows[i].n);
		assert_int_equal(index.max_chunk, rows[i].max);
		for (uint32_t n = 0; n < rows[i].n; n++) {
			struct index_chunk chunk = index_chunk(&index, n);
			assert_int_equal(chunk.off, n * rows[i].chunk_size);
			assert_int_equal(chunk.off, end);
			assert_ptr_equal(chunk.digest, map + INDEX_HEADER_SIZE + (size_t)n * DIGEST_SIZE);
			end += chunk.len;
			assert_int_equal(index_find(&index, chunk.off), n);
			assert_int_equal(index_find(&index, end - 1), n);
		}
		assert_int_equal(end, rows[i].size);
		assert_int_equal(index_chunk(&index, rows[i].n - 1).len, rows[i].last_len);
	}
}

/* A file whose header and length do not agree, with what the message must say. */
static void refuses_headers_that_lie(void **state)
{
	static const struct {
		const char *name;
		uint64_t size, chunk_size;
		size_t n;
		const char *words;
	} rows[] = {
		{ "chunk size 0", 10 * MIB, 0, 3, "chunk size of 0" },
		{ "chunk size 1", 3, 1, 3, "chunk size of 1" },
		{ "chunk size 3", 9, 3, 3, "chunk size of 3" },
		{ "chunk size below the least", 6144, 2048, 3, "chunk size of 2048" },
		{ "no power of two", 36 * MIB, 12 * MIB, 3, "chunk size" },
		{ "one off a power of two", 10 * MIB, 4 * MIB + 1, 3, "chunk size" },
		{ "chunk size above the most", 96 * MIB, 32 * MIB, 3, "chunk size" },
		{ "chunk size 2^32", UINT64_C(3) << 32, UINT64_C(1) << 32, 3, "chunk size" },
		{ "chunk size 2^63", UINT64_MAX, UINT64_C(1) << 63, 3, "chunk size" },
		{ "chunk size 2^64-1", 10 * MIB, UINT64_MAX, 3, "chunk size" },
		{ "empty", 0, 4 * MIB, 0, "empty image" },
		{ "empty, with a digest", 0, 4 * MIB, 1, "empty image" },
		{ "size 2^63", UINT64_C(1) << 63, 4 * MIB, 3, "image size" },
		{ "size 2^64-1", UINT64_MAX, 4 * MIB, 3, "image size" },
		{ "size that wraps when rounded up", UINT64_MAX, 4 * MIB, 0, "image size" },
		{ "size 2^63-1", INT64_MAX, 4 * MIB, 3, "at most 268435456" },
		{ "one chunk too many to read", (UINT64_C(1) << 28) * 4096 + 1, 4096, 3, "at most 268435456" },
		{ "as many as can be read, not there", (UINT64_C(1) << 28) * 4096, 4096, 3, "index holds 96" },
		{ "digests that wrap in 32 bits", (UINT64_C(1) << 27) * 4096, 4096, 0, "index holds 0" },
		{ "one digest less", 10 * MIB, 4 * MIB, 2, "index holds 64 bytes of digests" },
		{ "one digest more", 10 * MIB, 4 * MIB, 4, "index holds 128" },
		{ "one byte more than fits", 8 * MIB + 1, 4 * MIB, 2, "needs 96" },
		{ "another chunk size", 10 * MIB, 2 * MIB, 3, "needs 160" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct index index = { .size = 77 };
		struct err err = ERR_NONE;
		size_t len;
		CLEANUP(freep) uint8_t *map = make(rows[i].size, rows[i].chunk_size, rows[i].n, &len);
		expect(rows[i].name, fidx_parse(map, len, &index, &err), &err, -EBADMSG, rows[i].words);
		assert_int_equal(index.size, 77);
	}
}

static void refuses_an_index_cut_anywhere(void **state)
{
	size_t len;
	CLEANUP(freep) uint8_t *map = make(10 * MIB, 4 * MIB, 3, &len);
	for (size_t cut = 0; cut < len; cut++) {
		struct index index;
		struct err err = ERR_NONE;
		CLEANUP(freep) uint8_t *copy = exact_copy(map, cut);
		expect("cut", fidx_parse(copy, cut, &index, &err), &err, -EBADMSG,
		       cut < INDEX_HEADER_SIZE ? "is too small" : "bytes of digests");
	}
}

static void refuses_another_magic(void **state)
{
	size_t len;
	CLEANUP(freep) uint8_t *map = make(10 * MIB, 4 * MIB, 3, &len);
	for (size_t bit = 0; bit < 64; bit++) {
		struct index index;
		struct err err = ERR_NONE;
		map[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect("flipped", fidx_parse(map, len, &index, &err), &err, -EBADMSG, "unknown magic");
		expect("either", index_parse(map, len, &index, NULL), &err, -EBADMSG, NULL);
		map[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Of a header, only magic, size and chunk size mean anything. */
static void takes_any_uuid_time_csum_and_reserved_bytes(void **state)
{
	size_t len;
	struct index index;
	CLEANUP(freep) uint8_t *map = make(10 * MIB, 4 * MIB, 3, &len);
	memset(map + 8, 0xff, 56);
	memset(map + 80, 0xff, INDEX_HEADER_SIZE - 80);
	assert_int_equal(fidx_parse(map, len, &index, NULL), 0);
	assert_int_equal(index.ctime, -1);
	assert_memory_equal(index.header_csum, map + 32, DIGEST_SIZE);
}

static void reads_from_any_alignment(void **state)
{
	size_t len;
	CLEANUP(freep) uint8_t *map = make(10 * MIB, 4 * MIB, 3, &len);
	for (size_t shift = 1; shift < 8; shift++) {
		struct index index;
		CLEANUP(freep) uint8_t *copy = malloc(len + shift);
		memcpy(copy + shift, map, len);
		assert_int_equal(index_parse(copy + shift, len, &index, NULL), 0);
		assert_int_equal(index_chunk(&index, 2).len, 2 * MIB);
	}
}

static void counts_beyond_four_gib(void **state)
{
	size_t len;
	struct index index;
	enum { N = (5 << 10) / 16 };
	CLEANUP(freep) uint8_t *map = make(5 * GIB, 16 * MIB, N, &len);
	assert_int_equal(fidx_parse(map, len, &index, NULL), 0);
	assert_int_equal(index_chunk(&index, N - 1).off, 5 * GIB - 16 * MIB);
	assert_int_equal(index_find(&index, 5 * GIB - 1), N - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_the_worked_example),
		TEST(writes_the_header_of_the_worked_example),
		TEST(says_where_each_chunk_lies_and_how_long_the_last_one_is),
		TEST(refuses_headers_that_lie),
		TEST(refuses_an_index_cut_anywhere),
		TEST(refuses_another_magic),
		TEST(takes_any_uuid_time_csum_and_reserved_bytes),
		TEST(reads_from_any_alignment),
		TEST(counts_beyond_four_gib),
	};
	return RUN_TESTS(tests);
}
