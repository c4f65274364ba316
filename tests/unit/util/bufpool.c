/* SPDX-License-Identifier: Apache-2.0 */
#include "util/bufpool.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "util/bytes.h"
#include "util/cleanup.h"

static void hands_a_buffer_out_again(void **state)
{
	struct bufpool *pool = bufpool_new(100000, 1);
	struct mem a = bufpool_get(pool, 10), b = bufpool_get(pool, 200000);
	assert_true(a.cap >= 100000 && b.cap >= 200000);
	memset(b.data, 1, b.cap);
	bufpool_put(pool, a);
	bufpool_put(pool, b); /* one too many: given back to the system */
	struct mem c = bufpool_get(pool, 100000);
	assert_ptr_equal(c.data, a.data);
	struct mem d = bufpool_get(pool, 100000);
	assert_ptr_not_equal(d.data, c.data);
	bufpool_put(pool, c);
	bufpool_put(pool, d);
	bufpool_put(pool, MEM_NONE);
	bufpool_free(pool);
}

static void hands_out_large_buffers_whole(void **state)
{
	struct bufpool *pool = bufpool_new((4u << 20) + 44, 2);
	for (int i = 0; i < 8; i++) {
		struct mem a = bufpool_get(pool, 1), b = bufpool_get(pool, 16u << 20);
		memset(a.data, 1, a.cap);
		memset(b.data, 1, b.cap);
		bufpool_put(pool, a);
		bufpool_put(pool, b);
	}
	bufpool_free(pool);
}

/* -- small ones -- */

enum { CHUNK = 4096, RAW = CHUNK + 44, N = 2000, BLOCK = 1 << 20 };

static void wastes_little_on_small_buffers(void **state)
{
	struct bufpool *pool = bufpool_new(RAW, 2);
	const struct {
		size_t len, most;
	} rows[] = {
		{ 1, RAW + 63 }, { CHUNK, RAW + 63 }, { RAW, RAW + 63 }, /* one size for all of these */
		{ RAW + 100, 2 * 4096 }, { 100000, 100000 + 4095 }, { 1 << 20, 1 << 20 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct mem mem = bufpool_get(pool, rows[i].len);
		assert_in_range(mem.cap, rows[i].len, rows[i].most);
		assert_int_equal(mem.cap, bufpool_cap(pool, rows[i].len));
		bufpool_put(pool, mem);
		bufpool_trim(pool);
	}
	bufpool_free(pool);
}

static void get_filled(struct bufpool *pool, struct mem *ret, unsigned n)
{
	*ret = bufpool_get(pool, n % 17 ? RAW : 3 * RAW); /* some have no slot */
	memset(ret->data, (int)n, ret->cap);
}

static void put_checked(struct bufpool *pool, struct mem *mem, unsigned n)
{
	for (size_t i = 0; i < mem->cap; i++)
		if (mem->data[i] != (uint8_t)n)
			fail_msg("buffer %u was written to by another one", n);
	bufpool_put(pool, *mem);
	*mem = MEM_NONE;
}

static void keeps_small_buffers_apart(void **state)
{
	struct bufpool *pool = bufpool_new(RAW, 2);
	struct mem *mems = calloc(N, sizeof *mems);
	unsigned seed = 1;
	for (int i = 0; i < 10 * N; i++) {
		unsigned n = (unsigned)rand_r(&seed) % N;
		if (mems[n].data)
			put_checked(pool, &mems[n], n);
		else
			get_filled(pool, &mems[n], n);
	}
	for (unsigned n = 0; n < N; n++)
		if (mems[n].data)
			put_checked(pool, &mems[n], n);
	bufpool_free(pool);
	free(mems);
}

static uintptr_t block_of(struct mem mem)
{
	return (uintptr_t)mem.data / BLOCK;
}

static void takes_no_more_memory_while_a_slot_is_free(void **state)
{
	struct bufpool *pool = bufpool_new(RAW, 2);
	struct mem *mems = calloc(N, sizeof *mems);
	uintptr_t blocks[N];
	for (unsigned n = 0; n < N; n++) {
		mems[n] = bufpool_get(pool, RAW);
		blocks[n] = block_of(mems[n]);
	}
	for (unsigned n = 0; n < N; n += 2)
		bufpool_put(pool, mems[n]);
	for (unsigned n = 0; n < N; n += 2) {
		mems[n] = bufpool_get(pool, CHUNK);
		unsigned known = 0;
		while (known < N && blocks[known] != block_of(mems[n]))
			known++;
		assert_true(known < N);
	}
	for (unsigned n = 0; n < N; n++)
		bufpool_put(pool, mems[n]);
	bufpool_free(pool);
	free(mems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hands_a_buffer_out_again),
		TEST(hands_out_large_buffers_whole),
		TEST(wastes_little_on_small_buffers),
		TEST(keeps_small_buffers_apart),
		TEST(takes_no_more_memory_while_a_slot_is_free),
	};
	return RUN_TESTS(tests);
}
