/* SPDX-License-Identifier: Apache-2.0 */
#include "nbdkit/waiting_read.h"

#include <string.h>

#include "memory_source.h"
#include "unit.h"

/* An image over a stream over a memory source, longer than one read may be. */
struct scene {
	struct memory_source memory;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *image;
	unsigned n_asked;    /* how often it was asked whether somebody waits */
	unsigned give_up_at; /* the time that it says no; 0 = never */
};

enum { CHUNK = 1 << 20, SIZE = READ_MAX + 3 * CHUNK + 100 };

static void begin(struct scene *s)
{
	*s = (struct scene){ .n_asked = 0 };
	memory_source_init(&s->memory, SIZE, CHUNK, NULL);
	struct stream_limits limits = { .cache_size = 4ull * CHUNK, .n_decoders = 2, .typical_chunk = CHUNK };
	assert_int_equal(stream_shared_new(&limits, &s->shared, NULL), 0);
	struct stream_options options = { .source = &s->memory.source, .index = &s->memory.index };
	assert_int_equal(stream_open(s->shared, &options, &s->stream, NULL), 0);
	assert_int_equal(image_disk_open(s->stream, 1, &s->image, NULL), 0);
}

static void end(struct scene *s)
{
	image_close(s->image);
	stream_close(s->stream);
	stream_shared_free(s->shared);
	memory_source_deinit(&s->memory);
}

static bool count(void *user)
{
	struct scene *s = user;
	return ++s->n_asked == s->give_up_at;
}

static bool release(void *user)
{
	struct scene *s = user;
	s->n_asked++;
	memory_source_release(&s->memory);
	return false;
}

static struct wanted want(struct scene *s, uint64_t off, size_t len)
{
	return (struct wanted){ .off = off, .len = len, .is_given_up = count, .user = s };
}

static void reads_more_than_one_read_may_be(void **state)
{
	struct scene s;
	begin(&s);
	uint8_t *got = malloc(SIZE);
	assert_non_null(got);
	struct wanted all = want(&s, 0, SIZE), some = want(&s, 5, READ_MAX + 1);
	assert_int_equal(waiting_read(s.image, &all, got, NULL), 0);
	assert_memory_equal(got, s.memory.image, SIZE);
	memset(got, 0xee, SIZE);
	assert_int_equal(waiting_read(s.image, &some, got, NULL), 0);
	assert_memory_equal(got, s.memory.image + 5, READ_MAX + 1);
	assert_int_equal(got[READ_MAX + 1], 0xee);
	free(got);
	end(&s);
}

static void without_a_buffer_bytes_are_in_memory_afterwards(void **state)
{
	struct scene s;
	begin(&s);
	uint8_t got[10];
	struct wanted prefetch = want(&s, 0, CHUNK), read = want(&s, 7, sizeof got);
	prefetch.priority = PRIORITY_PREFETCH;
	assert_int_equal(waiting_read(s.image, &prefetch, NULL, NULL), 0);
	assert_int_equal(s.memory.n_fetches, 1);
	assert_int_equal(waiting_read(s.image, &read, got, NULL), 0);
	assert_int_equal(s.memory.n_fetches, 1);
	assert_memory_equal(got, s.memory.image + 7, sizeof got);
	end(&s);
}

static void fails_with_the_words_of_the_read(void **state)
{
	struct scene s;
	begin(&s);
	uint8_t got[10];
	struct err err = ERR_NONE;
	struct wanted read = want(&s, 0, sizeof got);
	s.memory.gone_chunk = 0;
	assert_int_equal(waiting_read(s.image, &read, got, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_true(*err.msg);
	assert_int_equal(waiting_read(s.image, &read, NULL, NULL), -ENOENT);
	end(&s);
}

static void an_answer_that_comes_late_is_waited_for(void **state)
{
	struct scene s;
	begin(&s);
	uint8_t got[10];
	struct wanted read = want(&s, 0, sizeof got);
	read.is_given_up = release;
	memory_source_hold(&s.memory);
	assert_int_equal(waiting_read(s.image, &read, got, NULL), 0);
	assert_int_equal(s.n_asked, 1);
	assert_memory_equal(got, s.memory.image, sizeof got);
	end(&s);
}

static void a_read_that_takes_too_long_is_over_in_time(void **state)
{
	struct scene s;
	begin(&s);
	uint8_t got[10];
	struct wanted read = want(&s, 0, sizeof got);
	read.timeout_ms = 50;
	memory_source_hold(&s.memory);
	assert_int_equal(waiting_read(s.image, &read, got, NULL), -ETIMEDOUT);
	memory_source_release(&s.memory);
	end(&s);
}

static void a_read_that_nobody_waits_for_is_taken_back(void **state)
{
	struct scene s;
	begin(&s);
	uint8_t got[10];
	struct wanted read = want(&s, 0, sizeof got);
	s.give_up_at = 2;
	memory_source_hold(&s.memory);
	assert_int_equal(waiting_read(s.image, &read, got, NULL), -ECANCELED);
	assert_int_equal(s.n_asked, 2);
	memory_source_release(&s.memory);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_more_than_one_read_may_be),
		TEST(without_a_buffer_bytes_are_in_memory_afterwards),
		TEST(fails_with_the_words_of_the_read),
		TEST(an_answer_that_comes_late_is_waited_for),
		TEST(a_read_that_takes_too_long_is_over_in_time),
		TEST(a_read_that_nobody_waits_for_is_taken_back),
	};
	return RUN_TESTS(tests);
}
