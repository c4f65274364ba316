/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/cache.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"

/* A buffer of 1024 bytes, and the rest; twenty ghosts take the room of three. */
enum { LEN = 1024, N_SLOTS = 16, ROOM = LEN + CACHE_ENTRY_ROOM };

static struct cache cache;
static struct bufpool *pool;

static int set_up(void **state)
{
	pool = bufpool_new(LEN, 4);
	return cache_init(&cache, ROOM * N_SLOTS, LEN, NULL);
}

static int tear_down(void **state)
{
	cache_deinit(&cache);
	bufpool_free(pool);
	return 0;
}

static struct cache_key key_of(unsigned n)
{
	struct cache_key key = { .len = LEN };
	store_le32(key.digest, n);
	return key;
}

static bool has(unsigned n)
{
	struct cache_key key = key_of(n);
	struct entry *entry = cache_find(&cache, &key);
	return entry && entry->state == ENTRY_READY;
}

/* What a read of chunk @n does: true = it was there. */
static bool use(unsigned n)
{
	if (has(n))
		return true;
	struct cache_key key = key_of(n);
	struct entry *entry = cache_add(&cache, &key);
	struct chunk *evicted[N_SLOTS];
	size_t n_evicted = cache_make_room(&cache, entry, LEN, evicted, N_SLOTS);
	for (size_t i = 0; i < n_evicted; i++)
		chunk_unref(evicted[i]);
	struct mem mem = bufpool_get(pool, LEN);
	cache_settle(&cache, entry, chunk_new(pool, mem, mem.data, LEN));
	return false;
}

static void keeps_what_fits(void **state)
{
	for (unsigned n = 0; n < N_SLOTS; n++)
		assert_false(use(n));
	for (unsigned n = 0; n < N_SLOTS; n++)
		assert_true(use(n));
	assert_int_equal(cache.used, ROOM * N_SLOTS);
}

static void stays_within_its_size(void **state)
{
	for (unsigned n = 0; n < 1000; n++) {
		(void) use(n % 77);
		assert_true(cache.used + cache.n_ghosts * CACHE_GHOST_ROOM <= cache.size);
	}
}

static void keeps_the_proven_through_a_scan(void **state)
{
	/* wanted, pushed out, wanted again: proven */
	for (unsigned n = 0; n < 4; n++)
		(void) use(n);
	for (unsigned n = 100; n < 100 + N_SLOTS; n++)
		(void) use(n);
	for (unsigned n = 0; n < 4; n++)
		assert_false(use(n));
	/* a scan of ten times the cache, each chunk read several times on the way */
	for (unsigned n = 1000; n < 1000 + 10 * N_SLOTS; n++)
		for (int again = 0; again < 4; again++)
			(void) use(n);
	for (unsigned n = 0; n < 4; n++)
		assert_true(has(n));
}

/* A chunk that is told to be wanted again is proven, whether it is there, comes or is asked for. */
static void keeps_what_is_said_to_be_wanted_through_a_scan(void **state)
{
	struct cache_key key = key_of(1);
	(void) use(0);
	struct entry *ready = cache_find(&cache, &(struct cache_key){ .len = LEN });
	uint64_t fresh_before = cache.fresh_used;
	cache_prove(&cache, ready);
	assert_int_equal(cache.fresh_used, fresh_before - ready->room);
	cache_prove(&cache, ready); /* again: nothing */
	assert_int_equal(cache.fresh_used, fresh_before - ready->room);
	struct entry *queued = cache_add(&cache, &key);
	cache_prove(&cache, queued);
	assert_int_equal(cache_make_room(&cache, queued, LEN, NULL, 0), 0);
	struct mem mem = bufpool_get(pool, LEN);
	cache_settle(&cache, queued, chunk_new(pool, mem, mem.data, LEN));
	for (unsigned n = 1000; n < 1000 + 10 * N_SLOTS; n++)
		(void) use(n);
	assert_true(has(0));
	assert_true(has(1));
	assert_true(cache.used <= cache.size);
}

static void tells_plain_and_encrypted_apart(void **state)
{
	(void) use(1);
	struct cache_key key = key_of(1);
	key.context = 1;
	assert_null(cache_find(&cache, &key));
	key = key_of(1);
	key.len--;
	assert_null(cache_find(&cache, &key));
}

static void remembers_a_bounded_number_of_keys(void **state)
{
	for (unsigned n = 0; n < 10000; n++)
		(void) use(n);
	assert_true(cache.n_ghosts <= cache.max_ghosts);
}

static void gives_room_back_when_a_load_fails(void **state)
{
	struct cache_key key = key_of(7);
	struct entry *entry = cache_add(&cache, &key);
	assert_int_equal(cache_make_room(&cache, entry, LEN, NULL, 0), 0);
	assert_int_equal(cache.used, ROOM);
	cache_give_back_room(&cache, entry);
	cache_remove(&cache, entry);
	assert_int_equal(cache.used, 0);
	assert_null(cache_find(&cache, &key));
}

/* A buffer may be larger than what it holds: where something larger came, or was idle. */
static void counts_what_a_chunk_takes_and_not_what_it_holds(void **state)
{
	struct cache_key key = key_of(7);
	struct entry *entry = cache_add(&cache, &key);
	assert_int_equal(cache_make_room(&cache, entry, LEN, NULL, 0), 0);
	struct mem mem = bufpool_get(pool, 3 * 4096);
	cache_settle(&cache, entry, chunk_new(pool, mem, mem.data, LEN));
	assert_int_equal(cache.used, 3 * 4096 + CACHE_ENTRY_ROOM);
	assert_int_equal(cache.fresh_used, cache.used);
	chunk_unref(cache_evict(&cache));
	assert_int_equal(cache.used, 0);
	assert_int_equal(cache.fresh_used, 0);
	assert_int_equal(cache.n_ghosts, 1);
	assert_true(CACHE_GHOST_ROOM < 200); /* a key, its place in two lists, and little else */
}

static void can_be_emptied(void **state)
{
	for (unsigned n = 0; n < 40; n++)
		(void) use(n % 20);
	struct chunk *chunk;
	while ((chunk = cache_evict(&cache)))
		chunk_unref(chunk);
	assert_int_equal(cache.used, 0);
	assert_int_equal(cache.fresh_used, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(keeps_what_fits),
		CASE(stays_within_its_size),
		CASE(keeps_the_proven_through_a_scan),
		CASE(keeps_what_is_said_to_be_wanted_through_a_scan),
		CASE(tells_plain_and_encrypted_apart),
		CASE(remembers_a_bounded_number_of_keys),
		CASE(gives_room_back_when_a_load_fails),
		CASE(counts_what_a_chunk_takes_and_not_what_it_holds),
		CASE(can_be_emptied),
	};
	return RUN_TESTS(tests);
}
