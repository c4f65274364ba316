/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/stream.h"

#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "memory_source.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/thread.h"

enum { CHUNK = 64 << 10, TAIL = 777 };
#define SIZE (30ull * CHUNK + TAIL)

/* A stream over a memory source, and reads one can wait for. */
struct scene {
	struct memory_source memory;
	struct stream_shared *shared;
	struct stream *stream;
	struct crypt_key *key;
	unsigned n_damaged;
	uint64_t damaged_off;
};

struct asked {
	struct read read;
	sem_t done;
};

static void damaged(void *user, const struct damage *damage)
{
	struct scene *s = user;
	s->n_damaged++;
	s->damaged_off = damage->off;
}

static void begin_over(struct scene *s, uint64_t cache_size, size_t read_ahead, size_t typical)
{
	struct stream_limits limits = { .cache_size = cache_size, .n_decoders = 2, .typical_chunk = typical };
	assert_int_equal(stream_shared_new(&limits, &s->shared, NULL), 0);
	struct stream_options options = {
		.source = &s->memory.source, .index = &s->memory.index, .key = s->key,
		.read_ahead = read_ahead, .damaged = damaged, .user = s,
	};
	assert_int_equal(stream_open(s->shared, &options, &s->stream, NULL), 0);
}

static void begin_like(struct scene *s, uint64_t cache_size, size_t read_ahead, bool with_key,
		       size_t typical)
{
	memset(s, 0, sizeof *s);
	uint8_t key[GCM_KEY_SIZE] = { 1, 2, 3 };
	if (with_key)
		assert_int_equal(crypt_key_new(key, &s->key, NULL), 0);
	memory_source_init(&s->memory, SIZE, CHUNK, s->key);
	begin_over(s, cache_size, read_ahead, typical);
}

/* Another image than the one that read_right() knows. */
static void begin_of(struct scene *s, uint64_t size, uint32_t chunk_size)
{
	memset(s, 0, sizeof *s);
	memory_source_init(&s->memory, size, chunk_size, NULL);
	begin_over(s, 100 * CHUNK, 0, chunk_size);
}

static void begin_with(struct scene *s, uint64_t cache_size, size_t read_ahead, bool with_key)
{
	begin_like(s, cache_size, read_ahead, with_key, CHUNK);
}

/* As for chunks so large that only FEW are on their way at a time. */
enum { FEW = 2 + 4 };

static void begin_narrow(struct scene *s, size_t read_ahead)
{
	begin_like(s, 1 << 30, read_ahead, false, 16 << 20);
}

static void begin(struct scene *s)
{
	begin_with(s, 100 * CHUNK, 0, false);
}

static void end(struct scene *s)
{
	stream_close(s->stream);
	stream_shared_free(s->shared);
	memory_source_deinit(&s->memory);
	crypt_key_free(s->key);
}

static void answered(struct read *read)
{
	(void) sem_post(&CONTAINER_OF(read, struct asked, read)->done);
}

static void ask(struct scene *s, struct asked *a, uint64_t off, size_t len, struct deadline until)
{
	memset(a, 0, sizeof *a);
	(void) sem_init(&a->done, 0, 0);
	a->read = (struct read){ .off = off, .len = len, .until = until, .done = answered };
	stream_submit(s->stream, &a->read);
}

/* Waits for the answer and compares it with the image. */
static void expect_bytes(struct scene *s, struct asked *a)
{
	(void) sem_wait(&a->done);
	assert_int_equal(a->read.result, 0);
	uint64_t at = a->read.off;
	for (unsigned i = 0; i < a->read.n_segments; i++) {
		const struct segment *segment = &a->read.segments[i];
		assert_memory_equal(segment->data, s->memory.image + at, segment->len);
		at += segment->len;
	}
	assert_int_equal(at, a->read.off + a->read.len);
	read_release(&a->read);
}

static void expect_failure(struct asked *a, int code)
{
	(void) sem_wait(&a->done);
	assert_int_equal(a->read.result, code);
	assert_int_equal(a->read.err.code, code);
	read_release(&a->read);
}

static void read_right(struct scene *s, uint64_t off, size_t len)
{
	struct asked a;
	ask(s, &a, off, len, DEADLINE_NEVER);
	expect_bytes(s, &a);
}

static void read_wrong(struct scene *s, uint64_t off, size_t len, int code)
{
	struct asked a;
	ask(s, &a, off, len, DEADLINE_NEVER);
	expect_failure(&a, code);
}

static struct stream_stats stats_of(struct scene *s)
{
	struct stream_stats stats;
	stream_get_stats(s->stream, &stats);
	return stats;
}

static void gives_every_range_as_the_image_has_it(void **state)
{
	struct scene s;
	for (int with_key = 0; with_key <= 1; with_key++) {
		begin_with(&s, 5 * CHUNK, with_key ? 0 : 8 * CHUNK, with_key);
		read_right(&s, 0, SIZE);
		read_right(&s, SIZE - 1, 1);
		read_right(&s, SIZE - TAIL - 1, TAIL + 1);
		unsigned seed = 1;
		for (int i = 0; i < 500; i++) {
			uint64_t off = (uint64_t)rand_r(&seed) % SIZE;
			size_t len = 1 + (size_t)rand_r(&seed) % (3 * CHUNK);
			read_right(&s, off, min_u64(len, SIZE - off));
		}
		for (uint64_t off = 0; off < SIZE; off += 1000)
			read_right(&s, off, min_u64(1000, SIZE - off));
		end(&s);
	}
}

static void refuses_what_is_outside(void **state)
{
	struct scene s;
	begin(&s);
	read_wrong(&s, SIZE, 1, -EINVAL);
	read_wrong(&s, SIZE - 1, 2, -EINVAL);
	read_wrong(&s, UINT64_MAX, 1, -EINVAL);
	read_wrong(&s, 0, (size_t)READ_MAX + 1, -EINVAL);
	read_right(&s, SIZE, 0);
	end(&s);
}

static void never_fetches_zeros(void **state)
{
	struct scene s;
	begin(&s);
	read_right(&s, 0, SIZE);
	for (size_t n = 0; n < s.memory.n_chunks; n++)
		assert_int_equal(s.memory.n_fetched[n], n % 3 != 1);
	end(&s);
}

/* The same chunks by a dynamic index, the last of them shorter.  free() */
static uint8_t *make_didx(const struct index *fixed, size_t *ret_len)
{
	static const uint8_t magic[8] = { 0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd };
	*ret_len = INDEX_HEADER_SIZE + fixed->n_chunks * (8 + DIGEST_SIZE);
	uint8_t *map = calloc(1, *ret_len);
	assert_non_null(map);
	memcpy(map, magic, sizeof magic);
	for (uint32_t n = 0; n < fixed->n_chunks; n++) {
		struct index_chunk chunk = index_chunk(fixed, n);
		uint8_t *entry = map + INDEX_HEADER_SIZE + n * (8 + DIGEST_SIZE);
		store_le64(entry, chunk.off + chunk.len);
		memcpy(entry + 8, chunk.digest, DIGEST_SIZE);
	}
	return map;
}

static void knows_the_longest_chunks_of_a_dynamic_index_as_zeros(void **state)
{
	struct scene s;
	struct index index;
	size_t len;
	uint64_t end_of;
	begin(&s);
	CLEANUP(freep) uint8_t *map = make_didx(&s.memory.index, &len);
	assert_int_equal(index_parse(map, len, &index, NULL), 0);
	struct stream_options options = { .source = &s.memory.source, .index = &index };
	stream_close(s.stream);
	assert_int_equal(stream_open(s.shared, &options, &s.stream, NULL), 0);
	assert_false(stream_next_extent(s.stream, 5, SIZE, &end_of));
	assert_int_equal(end_of, CHUNK);
	assert_true(stream_next_extent(s.stream, CHUNK, SIZE, &end_of));
	assert_int_equal(end_of, 2 * CHUNK);
	read_right(&s, 0, 8 * CHUNK);
	read_right(&s, SIZE - TAIL, TAIL);
	assert_int_equal(s.memory.n_fetched[0], 1);
	assert_int_equal(s.memory.n_fetched[1], 0);
	assert_int_equal(s.memory.n_fetched[4], 0);
	end(&s);
}

static void knows_where_the_zeros_are(void **state)
{
	struct scene s;
	begin(&s);
	uint64_t end_off;
	assert_false(stream_next_extent(s.stream, 5, SIZE, &end_off));
	assert_int_equal(end_off, CHUNK);
	assert_true(stream_next_extent(s.stream, CHUNK + 1, SIZE, &end_off));
	assert_int_equal(end_off, 2 * CHUNK);
	assert_false(stream_next_extent(s.stream, 2 * CHUNK, SIZE, &end_off));
	assert_int_equal(end_off, 4 * CHUNK);
	assert_false(stream_next_extent(s.stream, 2 * CHUNK, 3 * CHUNK - 1, &end_off));
	assert_int_equal(end_off, 3 * CHUNK - 1);
	assert_false(stream_next_extent(s.stream, SIZE - 1, SIZE, &end_off));
	assert_int_equal(end_off, SIZE);
	end(&s);
}

/* Between the kept reads comes a scan of twice the cache. */
static void keeps_the_chunks_of_kept_reads_before_others(void **state)
{
	for (int is_kept = 0; is_kept < 2; is_kept++) {
		struct scene s;
		uint8_t got[100];
		begin_with(&s, 8 * CHUNK, 0, false);
		struct read read = { .off = 5, .len = sizeof got, .is_kept = is_kept, .until = DEADLINE_NEVER };
		assert_int_equal(stream_pread(s.stream, &read, got, NULL), 0);
		assert_memory_equal(got, s.memory.image + 5, sizeof got);
		for (unsigned n = 2; n < 30; n++)
			read_right(&s, (uint64_t)n * CHUNK, CHUNK);
		unsigned before = s.memory.n_fetched[0];
		assert_int_equal(before, 1);
		read_right(&s, 0, CHUNK);
		assert_int_equal(s.memory.n_fetched[0], is_kept ? 1 : 2);
		end(&s);
	}
}

static void waits_for_an_answer_of_either_kind(void **state)
{
	struct scene s;
	struct err err;
	uint8_t got[2 * CHUNK];
	begin(&s);
	struct read good = { .off = 3 * CHUNK - 9, .len = sizeof got, .until = DEADLINE_NEVER };
	assert_int_equal(stream_pread(s.stream, &good, got, &err), 0);
	assert_memory_equal(got, s.memory.image + 3 * CHUNK - 9, sizeof got);
	memset(got, 0xee, sizeof got);
	s.memory.gone_chunk = 9;
	struct read bad = { .off = 9 * CHUNK, .len = 10, .until = DEADLINE_NEVER };
	assert_int_equal(stream_pread(s.stream, &bad, got, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_int_equal(got[0], 0xee);
	memory_source_hold(&s.memory);
	struct read late = { .off = 12 * CHUNK, .len = 10, .until = deadline_in_ms(20) };
	assert_int_equal(stream_pread(s.stream, &late, got, &err), -ETIMEDOUT);
	memory_source_release(&s.memory);
	end(&s);
}

static void a_read_that_does_not_wait_takes_what_is_in_memory_and_begins_nothing(void **state)
{
	struct scene s;
	uint8_t got[2 * CHUNK];
	begin(&s);
	read_right(&s, 3 * CHUNK, CHUNK);
	unsigned n_fetches = s.memory.n_fetches;
	struct read both = { .off = 2 * CHUNK + 7, .len = CHUNK, .until = DEADLINE_PAST };
	assert_int_equal(stream_pread(s.stream, &both, got, NULL), -ETIMEDOUT);
	struct read here = { .off = 3 * CHUNK + 7, .len = CHUNK, .until = DEADLINE_PAST }; /* zeros behind it */
	assert_int_equal(stream_pread(s.stream, &here, got, NULL), 0);
	assert_memory_equal(got, s.memory.image + 3 * CHUNK + 7, CHUNK);
	struct read zeros = { .off = 7 * CHUNK, .len = CHUNK, .until = DEADLINE_PAST };
	assert_int_equal(stream_pread(s.stream, &zeros, got, NULL), 0);
	assert_int_equal(s.memory.n_fetches, n_fetches);

	/* On its way is not there. */
	struct asked on_its_way;
	memory_source_hold(&s.memory);
	ask(&s, &on_its_way, 9 * CHUNK, 10, DEADLINE_NEVER);
	struct read late = { .off = 9 * CHUNK, .len = 10, .until = DEADLINE_PAST };
	assert_int_equal(stream_pread(s.stream, &late, got, NULL), -ETIMEDOUT);
	memory_source_release(&s.memory);
	expect_bytes(&s, &on_its_way);
	end(&s);
}

static void fetches_a_chunk_once_however_many_ask(void **state)
{
	struct scene s;
	struct asked a[50];
	begin(&s);
	memory_source_hold(&s.memory);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		ask(&s, &a[i], i * 10, 100, DEADLINE_NEVER);
	assert_int_equal(memory_source_n_held(&s.memory), 1);
	memory_source_release(&s.memory);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_bytes(&s, &a[i]);
	assert_int_equal(s.memory.n_fetched[0], 1);
	assert_int_equal(stats_of(&s).cache_hits, ARRAY_LEN(a) - 1);
	end(&s);
}

static void fails_only_what_touches_a_bad_chunk(void **state)
{
	struct scene s;
	begin(&s);
	s.memory.bad_chunk = 2;
	s.memory.gone_chunk = 6;
	read_wrong(&s, 2 * CHUNK, 1, -EBADMSG);
	read_wrong(&s, 2 * CHUNK - 1, 2, -EBADMSG);
	read_wrong(&s, 0, 6 * CHUNK, -EBADMSG); /* of two bad ones either may be met first */
	read_wrong(&s, 6 * CHUNK + 5, 1, -ENOENT);
	read_right(&s, 0, 2 * CHUNK);
	read_right(&s, 3 * CHUNK, 3 * CHUNK);
	read_right(&s, 7 * CHUNK, CHUNK);
	assert_int_equal(s.n_damaged, 2); /* told once each */
	assert_int_equal(stats_of(&s).damaged_chunks, 2);
	assert_int_equal(s.damaged_off, 6 * CHUNK);
	assert_true(s.memory.n_bad > 0);
	end(&s);
}

static void tells_of_each_of_many_bad_chunks_once(void **state)
{
	struct scene s;
	enum { SMALL = 4096, N_CHUNKS = 3000 };
	begin_of(&s, (uint64_t)N_CHUNKS * SMALL, SMALL);
	s.memory.fail_code = -EIO;
	for (unsigned round = 0; round < 2; round++) {
		unsigned n_data = 0;
		for (uint64_t n = 0; n < N_CHUNKS; n++) {
			uint8_t byte;
			struct read read = { .off = n * SMALL, .len = 1, .until = DEADLINE_NEVER };
			bool is_data = stream_pread(s.stream, &read, &byte, NULL) == -EIO;
			n_data += is_data;
			assert_int_equal(s.n_damaged, round ? N_CHUNKS * 2 / 3 : n_data);
		}
		assert_int_equal(n_data, N_CHUNKS * 2 / 3); /* every third is zeros */
	}
	assert_int_equal(stats_of(&s).damaged_chunks, N_CHUNKS * 2 / 3);
	end(&s);
}

static void reads_a_chunk_that_was_repaired(void **state)
{
	struct scene s;
	begin(&s);
	s.memory.bad_chunk = 0;
	read_wrong(&s, 0, 10, -EBADMSG);
	s.memory.bad_chunk = -1;
	read_right(&s, 0, 10);
	s.memory.fail_code = -ENOMEM;
	read_wrong(&s, 3 * CHUNK, 10, -ENOMEM);
	s.memory.fail_code = 0;
	read_right(&s, 3 * CHUNK, 10);
	assert_int_equal(stats_of(&s).damaged_chunks, 1); /* no memory is no damage */
	end(&s);
}

static void asks_the_next_origin_for_a_bad_chunk(void **state)
{
	struct scene s;
	begin(&s);
	s.memory.source.n_origins = 2;
	s.memory.bad_chunk = 0;
	read_right(&s, 0, 10);
	assert_int_equal(s.memory.n_fetched[0], 2);
	assert_int_equal(s.n_damaged, 0);
	end(&s);
}

static void answers_at_the_deadline_and_goes_on(void **state)
{
	struct scene s;
	struct asked a, b, c;
	begin(&s);
	read_right(&s, 3 * CHUNK, 10);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 10, deadline_in_ms(30));
	ask(&s, &b, 5, 10, DEADLINE_NEVER);
	ask(&s, &c, 5, 10, deadline_in_ms(20)); /* sooner, though later asked */
	expect_failure(&c, -ETIMEDOUT);
	expect_failure(&a, -ETIMEDOUT);
	read_right(&s, 3 * CHUNK, 10); /* what is in memory does not wait */
	memory_source_release(&s.memory);
	expect_bytes(&s, &b);
	read_right(&s, 0, 10);
	assert_int_equal(s.memory.n_fetched[0], 1); /* the late answer was good for something */
	end(&s);
}

static void gives_a_read_up_when_told(void **state)
{
	struct scene s;
	struct asked a, b;
	begin(&s);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 3 * CHUNK, DEADLINE_NEVER);
	ask(&s, &b, 0, 3 * CHUNK, DEADLINE_NEVER);
	stream_cancel(s.stream, &a.read);
	expect_failure(&a, -ECANCELED);
	memory_source_release(&s.memory);
	expect_bytes(&s, &b);
	end(&s);
}

static void fetches_nothing_for_reads_that_gave_up(void **state)
{
	struct scene s;
	struct asked all, most, fresh;
	begin_narrow(&s, 0);
	memory_source_hold(&s.memory);
	ask(&s, &all, 0, 27 * CHUNK, deadline_in_ms(30));
	ask(&s, &most, 3 * CHUNK, 27 * CHUNK, DEADLINE_NEVER); /* waits for the same, and more */
	expect_failure(&all, -ETIMEDOUT);
	stream_cancel(s.stream, &most.read);
	expect_failure(&most, -ECANCELED);
	ask(&s, &fresh, 24 * CHUNK, 10, DEADLINE_NEVER); /* was in the queue, too */
	assert_int_equal(memory_source_n_held(&s.memory), FEW);
	memory_source_release(&s.memory);
	expect_bytes(&s, &fresh);
	assert_int_equal(s.memory.n_fetches, FEW + 1);
	assert_int_equal(s.memory.n_fetched[24], 1);
	read_right(&s, 0, SIZE);
	end(&s);
}

static void fetches_what_another_read_still_waits_for(void **state)
{
	struct scene s;
	struct asked a, b;
	begin_narrow(&s, 0);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 30 * CHUNK, DEADLINE_NEVER);
	ask(&s, &b, 20 * CHUNK, 2 * CHUNK, DEADLINE_NEVER);
	stream_cancel(s.stream, &a.read);
	expect_failure(&a, -ECANCELED);
	memory_source_release(&s.memory);
	expect_bytes(&s, &b);
	assert_int_equal(s.memory.n_fetches, FEW + 2);
	end(&s);
}

static unsigned times_fetched(struct scene *s, unsigned n)
{
	HOLD(&s->memory.lock);
	return s->memory.n_fetched[n];
}

static void goes_on_reading_ahead_for_reads_that_gave_up(void **state)
{
	enum { AHEAD = 23 };
	struct scene s;
	struct asked a, b = { 0 };
	begin_narrow(&s, 8 * CHUNK);
	read_right(&s, 0, 5 * CHUNK);
	memory_source_hold(&s.memory);
	ask(&s, &a, 5 * CHUNK, 5 * CHUNK, DEADLINE_NEVER);
	(void) sem_init(&b.done, 0, 0);
	b.read = (struct read){ .off = 15 * CHUNK, .len = 9 * CHUNK, .until = DEADLINE_NEVER,
				.priority = PRIORITY_READ_AHEAD, .done = answered };
	stream_submit(s.stream, &b.read);
	stream_cancel(s.stream, &a.read);
	stream_cancel(s.stream, &b.read);
	expect_failure(&a, -ECANCELED);
	expect_failure(&b, -ECANCELED);
	assert_int_equal(times_fetched(&s, AHEAD), 0);
	memory_source_release(&s.memory);
	struct deadline most = deadline_in_ms(5000);
	while (!times_fetched(&s, AHEAD) && !deadline_is_over(most))
		(void) usleep(1000);
	assert_int_equal(times_fetched(&s, AHEAD), 1);
	end(&s);
}

/* -- fetches nobody waits for any more: a source that lost its server gives them up -- */

static void tells_the_source_whether_anybody_waits(void **state)
{
	struct scene s;
	struct asked a, b, c, d;
	begin(&s);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 10, DEADLINE_NEVER);
	ask(&s, &b, 5, 10, DEADLINE_NEVER);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_DEMAND);
	stream_cancel(s.stream, &a.read);
	expect_failure(&a, -ECANCELED);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_DEMAND); /* the other one does */
	stream_cancel(s.stream, &b.read);
	expect_failure(&b, -ECANCELED);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_PREFETCH);
	ask(&s, &c, 7, 10, deadline_in_ms(30));
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_DEMAND);
	expect_failure(&c, -ETIMEDOUT);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_PREFETCH);
	ask(&s, &d, 8, 10, DEADLINE_NEVER);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_DEMAND);
	memory_source_release(&s.memory);
	expect_bytes(&s, &d);
	assert_int_equal(s.memory.n_fetched[0], 1);
	end(&s);
}

static void forgets_what_the_source_gave_up(void **state)
{
	struct scene s;
	struct asked a;
	begin(&s);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 3 * CHUNK, DEADLINE_NEVER);
	stream_cancel(s.stream, &a.read);
	expect_failure(&a, -ECANCELED);
	memory_source_give_up(&s.memory);
	assert_int_equal(memory_source_n_held(&s.memory), 0);
	assert_int_equal(s.n_damaged, 0);
	memory_source_release(&s.memory);
	read_right(&s, 0, 3 * CHUNK);
	end(&s);
}

/* The source had decided when the reader came: that is no failure of the reader's. */
static void starts_again_what_was_given_up_as_somebody_came(void **state)
{
	enum { TIMES = 50 };
	struct scene s;
	struct asked a, b, c;
	begin_with(&s, 8 * CHUNK, 0, false);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 10, DEADLINE_NEVER);
	stream_cancel(s.stream, &a.read);
	expect_failure(&a, -ECANCELED);
	ask(&s, &b, 0, CHUNK, DEADLINE_NEVER);
	for (int i = 0; i < TIMES; i++) {
		memory_source_give_up(&s.memory);
		assert_int_equal(memory_source_n_held(&s.memory), 1);
		assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_DEMAND);
	}
	ask(&s, &c, 2 * CHUNK - 1, 2, DEADLINE_NEVER); /* and other loads have room */
	assert_int_equal(memory_source_n_held(&s.memory), 2);
	memory_source_release(&s.memory);
	expect_bytes(&s, &b);
	expect_bytes(&s, &c);
	assert_int_equal(s.n_damaged, 0);
	read_right(&s, 3 * CHUNK, CHUNK);
	read_right(&s, 0, CHUNK); /* the cache has not lost room by it */
	read_right(&s, 2 * CHUNK, CHUNK);
	assert_int_equal(s.memory.n_fetched[0], 1);
	assert_int_equal(s.memory.n_fetched[2], 1);
	end(&s);
}

/* A source without its server would give it up for ever. */
static void waits_for_what_a_read_without_hurry_wants(void **state)
{
	struct scene s;
	struct asked a = { 0 };
	begin(&s);
	memory_source_hold(&s.memory);
	(void) sem_init(&a.done, 0, 0);
	a.read = (struct read){ .len = 10, .until = DEADLINE_NEVER, .priority = PRIORITY_PREFETCH, .done = answered };
	stream_submit(s.stream, &a.read);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_PREFETCH);
	memory_source_give_up(&s.memory);
	assert_int_equal(memory_source_priority(&s.memory, 0), PRIORITY_DEMAND);
	memory_source_release(&s.memory);
	expect_bytes(&s, &a);
	end(&s);
}

static void starts_nothing_again_when_it_was_shut_down(void **state)
{
	struct scene s;
	struct asked a;
	begin(&s);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 10, DEADLINE_NEVER);
	stream_shutdown(s.stream);
	expect_failure(&a, -ESHUTDOWN);
	memory_source_give_up(&s.memory);
	assert_int_equal(memory_source_n_held(&s.memory), 0);
	end(&s);
}

/* Other failures are, whoever came. */
static void fails_who_came_with_any_other_failure(void **state)
{
	struct scene s;
	struct asked a, b;
	begin(&s);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 10, DEADLINE_NEVER);
	stream_cancel(s.stream, &a.read);
	expect_failure(&a, -ECANCELED);
	ask(&s, &b, 0, 10, DEADLINE_NEVER);
	s.memory.fail_code = -ECONNRESET;
	memory_source_release(&s.memory);
	expect_failure(&b, -ECONNRESET);
	assert_int_equal(s.memory.n_fetched[0], 1);
	end(&s);
}

static void ends_with_reads_of_another_stream_in_the_queue(void **state)
{
	struct scene s;
	struct asked a, b;
	struct stream *other = NULL;
	begin_narrow(&s, 0);
	struct stream_options options = { .source = &s.memory.source, .index = &s.memory.index };
	assert_int_equal(stream_open(s.shared, &options, &other, NULL), 0);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, 15 * CHUNK, DEADLINE_NEVER);
	struct stream *first = s.stream;
	s.stream = other;
	ask(&s, &b, 0, SIZE, DEADLINE_NEVER); /* waits for what the first queued, and queues more */
	stream_shutdown(first);
	expect_failure(&a, -ESHUTDOWN);
	memory_source_release(&s.memory);
	(void) sem_wait(&b.done);
	assert_true(b.read.result == 0 || b.read.result == -ESHUTDOWN);
	read_release(&b.read);
	read_right(&s, 0, SIZE);
	stream_close(first);
	end(&s);
}

static void gives_up_nothing_that_was_answered(void **state)
{
	const struct {
		uint64_t off;
		size_t len;
		int code;
	} rows[] = { { 0, 0, 0 }, { SIZE, 1, -EINVAL }, { 0, 10, 0 }, { CHUNK, 10, 0 } };
	struct scene s;
	begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct asked a;
		int n_done;
		ask(&s, &a, rows[i].off, rows[i].len, DEADLINE_NEVER);
		(void) sem_wait(&a.done);
		stream_cancel(s.stream, &a.read); /* while who asked still looks at the answer */
		assert_int_equal(sem_getvalue(&a.done, &n_done), 0);
		assert_int_equal(n_done, 0);
		assert_int_equal(a.read.result, rows[i].code);
		read_release(&a.read);
	}
	end(&s);
}

static void ends_with_reads_under_way(void **state)
{
	struct scene s;
	struct asked a, b;
	begin(&s);
	memory_source_hold(&s.memory);
	ask(&s, &a, 0, SIZE, DEADLINE_NEVER);
	ask(&s, &b, 0, 5, deadline_in_ms(3600000));
	stream_shutdown(s.stream);
	expect_failure(&a, -ESHUTDOWN);
	expect_failure(&b, -ESHUTDOWN);
	read_wrong(&s, 0, 1, -ESHUTDOWN);
	memory_source_release(&s.memory);
	end(&s);
}

static void bounds_what_is_on_its_way(void **state)
{
	struct scene s;
	struct asked a[31];
	begin_with(&s, 4 * CHUNK, 0, false);
	memory_source_hold(&s.memory);
	for (size_t i = 0; i < 31; i++)
		ask(&s, &a[i], i * CHUNK, 5, DEADLINE_NEVER);
	/* 21 of them are not zeros; RAW_MAX would allow more of this size, so all are on their way */
	assert_true(memory_source_n_held(&s.memory) <= 64 + 2);
	memory_source_release(&s.memory);
	for (size_t i = 0; i < 31; i++)
		expect_bytes(&s, &a[i]);
	end(&s);
}

static void reads_ahead_of_a_reader_and_loses_nothing(void **state)
{
	struct scene s;
	begin_with(&s, 64 * CHUNK, 8 * CHUNK, false);
	for (uint64_t off = 0; off + 16384 <= SIZE; off += 16384)
		read_right(&s, off, 16384);
	struct stream_stats stats = stats_of(&s);
	assert_true(stats.fetched_chunks <= s.memory.n_chunks);
	for (size_t n = 0; n < s.memory.n_chunks; n++)
		assert_true(s.memory.n_fetched[n] <= 1);
	end(&s);
}

static void fetches_what_is_wanted_soon_within_its_share(void **state)
{
	struct scene s;
	begin_with(&s, 64 * CHUNK, 2 * CHUNK, false);
	memory_source_hold(&s.memory);
	assert_int_equal(stream_prefetch(s.stream, 5 * CHUNK + 7), 6 * CHUNK);
	assert_int_equal(stream_prefetch(s.stream, 5 * CHUNK + 8), 6 * CHUNK);
	assert_int_equal(stream_prefetch(s.stream, 4 * CHUNK), 5 * CHUNK); /* zeros */
	assert_int_equal(stream_prefetch(s.stream, 6 * CHUNK), 7 * CHUNK);
	assert_int_equal(stream_prefetch(s.stream, 8 * CHUNK), 8 * CHUNK);
	assert_int_equal(memory_source_n_held(&s.memory), 2);
	memory_source_release(&s.memory);
	read_right(&s, 5 * CHUNK, 2 * CHUNK);
	assert_int_equal(s.memory.n_fetches, 2);
	assert_int_equal(stream_prefetch(s.stream, SIZE - 1), SIZE);
	stream_shutdown(s.stream);
	assert_int_equal(stream_prefetch(s.stream, 8 * CHUNK), 8 * CHUNK);
	end(&s);
}

/* A source that has nothing and says so at once, or, the first time, when it is told. */
struct failing_source {
	struct source source;
	bool is_holding;
	struct list held; /* struct fetch at job.node */
};

static void say_no(struct fetch *fetch)
{
	fetch->result = err_set(&fetch->err, -ECONNRESET, "made to fail");
	fetch->done(fetch);
}

static void failing_fetch(struct source *source, struct fetch *fetch)
{
	struct failing_source *failing = CONTAINER_OF(source, struct failing_source, source);
	if (failing->is_holding)
		list_append(&failing->held, &fetch->job.node);
	else
		say_no(fetch);
}

static void *say_no_to_held(void *arg)
{
	struct failing_source *failing = arg;
	struct list *node;
	failing->is_holding = false;
	while ((node = list_pop(&failing->held)))
		say_no(CONTAINER_OF(node, struct fetch, job.node));
	return NULL;
}

static void count(struct read *read)
{
	assert_int_equal(read->result, -ECONNRESET);
	++*(unsigned *)read->user;
}

/* Every thread has a small stack. */
static void fails_a_long_queue_in_a_loop(void **state)
{
	enum { N = 100000, LEN = INDEX_CHUNK_SIZE_MIN };
	const struct source_ops ops = { .fetch = failing_fetch };
	struct failing_source failing = { .source.ops = &ops, .is_holding = true };
	list_init(&failing.held);
	size_t index_len = INDEX_HEADER_SIZE + (size_t)N * DIGEST_SIZE;
	uint8_t *index_file = calloc(1, index_len);
	const uint8_t none[DIGEST_SIZE] = { 0 };
	fidx_write_header(index_file, none, 0, none, (uint64_t)N * LEN, LEN);
	for (uint32_t n = 0; n < N; n++)
		store_le32(index_file + INDEX_HEADER_SIZE + n * DIGEST_SIZE, n);
	struct index index;
	assert_int_equal(index_parse(index_file, index_len, &index, NULL), 0);

	struct stream_limits limits = { .cache_size = 1 << 20, .n_decoders = 1, .typical_chunk = LEN };
	struct stream_options options = { .source = &failing.source, .index = &index };
	struct stream_shared *shared;
	struct stream *stream;
	assert_int_equal(stream_shared_new(&limits, &shared, NULL), 0);
	assert_int_equal(stream_open(shared, &options, &stream, NULL), 0);
	struct read *reads = calloc(N, sizeof *reads);
	unsigned n_failed = 0;
	for (uint32_t n = 0; n < N; n++) {
		reads[n] = (struct read){ .off = (uint64_t)n * LEN, .len = LEN, .until = DEADLINE_NEVER,
					  .done = count, .user = &n_failed };
		stream_submit(stream, &reads[n]);
	}
	assert_int_equal(n_failed, 0);
	pthread_t thread;
	assert_int_equal(thread_start(&thread, "no", say_no_to_held, &failing), 0);
	(void) pthread_join(thread, NULL);
	assert_int_equal(n_failed, N);
	stream_close(stream);
	stream_shared_free(shared);
	free(reads);
	free(index_file);
}

/* Many threads, a cache far too small, chunks failing now and then: right bytes or an error. */
struct hammer {
	struct scene *s;
	unsigned seed;
};

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	for (int i = 0; i < 400; i++) {
		struct asked a;
		uint64_t off = (uint64_t)rand_r(&h->seed) % SIZE;
		uint64_t len = 1 + (uint64_t)rand_r(&h->seed) % (2 * CHUNK);
		ask(h->s, &a, off, min_u64(len, SIZE - off),
		    i % 5 ? DEADLINE_NEVER : deadline_in_ms(1));
		if (i % 7 == 0)
			stream_cancel(h->s->stream, &a.read);
		(void) sem_wait(&a.done);
		if (a.read.result == 0) {
			(void) sem_post(&a.done);
			expect_bytes(h->s, &a);
		} else {
			read_release(&a.read);
		}
	}
	return NULL;
}

static void stays_right_under_many_readers(void **state)
{
	struct scene s;
	begin_with(&s, 3 * CHUNK, 2 * CHUNK, false);
	s.memory.bad_chunk = 9;
	pthread_t threads[4];
	struct hammer hammers[4];
	for (unsigned i = 0; i < 4; i++) {
		hammers[i] = (struct hammer){ &s, i + 1 };
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		(void) pthread_join(threads[i], NULL);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gives_every_range_as_the_image_has_it),
		TEST(refuses_what_is_outside),
		TEST(never_fetches_zeros),
		TEST(knows_where_the_zeros_are),
		TEST(knows_the_longest_chunks_of_a_dynamic_index_as_zeros),
		TEST(keeps_the_chunks_of_kept_reads_before_others),
		TEST(waits_for_an_answer_of_either_kind),
		TEST(a_read_that_does_not_wait_takes_what_is_in_memory_and_begins_nothing),
		TEST(fetches_a_chunk_once_however_many_ask),
		TEST(fails_only_what_touches_a_bad_chunk),
		TEST(tells_of_each_of_many_bad_chunks_once),
		TEST(reads_a_chunk_that_was_repaired),
		TEST(asks_the_next_origin_for_a_bad_chunk),
		TEST(answers_at_the_deadline_and_goes_on),
		TEST(gives_a_read_up_when_told),
		TEST(fetches_nothing_for_reads_that_gave_up),
		TEST(fetches_what_another_read_still_waits_for),
		TEST(goes_on_reading_ahead_for_reads_that_gave_up),
		TEST(tells_the_source_whether_anybody_waits),
		TEST(forgets_what_the_source_gave_up),
		TEST(starts_again_what_was_given_up_as_somebody_came),
		TEST(waits_for_what_a_read_without_hurry_wants),
		TEST(starts_nothing_again_when_it_was_shut_down),
		TEST(fails_who_came_with_any_other_failure),
		TEST(ends_with_reads_of_another_stream_in_the_queue),
		TEST(gives_up_nothing_that_was_answered),
		TEST(ends_with_reads_under_way),
		TEST(bounds_what_is_on_its_way),
		TEST(reads_ahead_of_a_reader_and_loses_nothing),
		TEST(fetches_what_is_wanted_soon_within_its_share),
		TEST(fails_a_long_queue_in_a_loop),
		TEST(stays_right_under_many_readers),
	};
	return RUN_TESTS(tests);
}
