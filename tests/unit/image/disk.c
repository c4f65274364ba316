/* SPDX-License-Identifier: Apache-2.0 */
#include <semaphore.h>
#include <string.h>

#include "image/image.h"
#include "memory_source.h"
#include "unit.h"
#include "util/bytes.h"

enum { CHUNK = 64 << 10 };

/* A disk over a stream over a memory source.  Chunks 1, 4, 7 … are zeros. */
struct scene {
	struct memory_source memory;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *image;
	uint64_t size;	/* of the stream */
	uint8_t *bytes; /* of the image, with the padding */
};

static void begin(struct scene *s, uint64_t size, uint32_t pad_to)
{
	*s = (struct scene){ .size = size };
	memory_source_init(&s->memory, size, CHUNK, NULL);
	struct stream_limits limits = { .cache_size = 100 * CHUNK, .n_decoders = 2, .typical_chunk = CHUNK };
	assert_int_equal(stream_shared_new(&limits, &s->shared, NULL), 0);
	struct stream_options options = { .source = &s->memory.source, .index = &s->memory.index };
	assert_int_equal(stream_open(s->shared, &options, &s->stream, NULL), 0);
	assert_int_equal(image_disk_open(s->stream, pad_to, &s->image, NULL), 0);
	s->bytes = calloc(1, s->image->size);
	assert_non_null(s->bytes);
	memcpy(s->bytes, s->memory.image, size);
}

static void end(struct scene *s)
{
	image_close(s->image);
	stream_close(s->stream);
	stream_shared_free(s->shared);
	memory_source_deinit(&s->memory);
	free(s->bytes);
}

static int try_pread(struct scene *s, uint64_t off, size_t len, struct err *err)
{
	CLEANUP(freep) uint8_t *got = malloc(len + 1);
	assert_non_null(got);
	memset(got, 0xee, len + 1);
	int r = image_pread(s->image, got, len, off, DEADLINE_NEVER, err);
	if (r == 0)
		assert_memory_equal(got, s->bytes + off, len);
	assert_int_equal(got[r == 0 ? len : 0], 0xee); /* nothing behind, nothing without success */
	return r;
}

/* A read that nobody sleeps on. */
struct asked {
	struct read read;
	sem_t done;
};

static void answered(struct read *read)
{
	(void) sem_post(&CONTAINER_OF(read, struct asked, read)->done);
}

static void ask(struct scene *s, struct asked *a, uint64_t off, size_t len)
{
	memset(a, 0, sizeof *a);
	(void) sem_init(&a->done, 0, 0);
	a->read = (struct read){ .off = off, .len = len, .until = DEADLINE_NEVER, .done = answered };
	image_submit(s->image, &a->read);
}

static void expect_bytes(struct scene *s, struct asked *a)
{
	(void) sem_wait(&a->done);
	assert_int_equal(a->read.result, 0);
	uint64_t at = a->read.off;
	if (a->read.n_segments > READ_INLINE_SEGMENTS)
		assert_ptr_not_equal(a->read.segments, a->read.inline_segments);
	for (unsigned i = 0; i < a->read.n_segments; i++) {
		assert_true(a->read.segments[i].len > 0);
		assert_memory_equal(a->read.segments[i].data, s->bytes + at, a->read.segments[i].len);
		at += a->read.segments[i].len;
	}
	assert_int_equal(at, a->read.off + a->read.len);
	read_release(&a->read);
}

/* -- padding -- */

static void pads_a_block_device_with_zeros(void **state)
{
	const struct {
		uint64_t size;
		uint32_t pad_to;
		uint64_t want;
	} rows[] = {
		{ 30 * CHUNK + 777, 512, 30 * CHUNK + 1024 },
		{ 31 * CHUNK + 1, 512, 31 * CHUNK + 512 }, /* ends in zeros */
		{ 3 * CHUNK + 777, 4096, 3 * CHUNK + 4096 },
		{ 3 * CHUNK + 777, 1, 3 * CHUNK + 777 },
		{ 3 * CHUNK, 512, 3 * CHUNK },
		{ 2 * CHUNK - 1, 4096, 2 * CHUNK },
		{ 1, 512, 512 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, rows[i].size, rows[i].pad_to);
		uint64_t size = s.image->size;
		assert_int_equal(size, rows[i].want);
		uint64_t first = size > 6000 ? size - 6000 : 0;
		for (uint64_t off = first; off < size; off += 97)
			for (uint64_t len = 1; len <= size - off; len = 2 * len + 1)
				assert_int_equal(try_pread(&s, off, len, NULL), 0);
		for (uint64_t off = first; off < size; off++) /* up to the end */
			assert_int_equal(try_pread(&s, off, size - off, NULL), 0);
		assert_int_equal(try_pread(&s, 0, size, NULL), 0);
		end(&s);
	}
}

static void pads_a_read_of_any_number_of_chunks(void **state)
{
	struct scene s;
	begin(&s, 12 * CHUNK + 5, 512);
	for (uint64_t n = 0; n <= 2 * READ_INLINE_SEGMENTS; n++) {
		struct asked padded, plain;
		uint64_t off = (12 - n) * CHUNK + 1;
		ask(&s, &padded, off, s.image->size - off);
		expect_bytes(&s, &padded);
		ask(&s, &plain, off, s.size - off);
		expect_bytes(&s, &plain);
	}
	end(&s);
}

static void asks_nobody_for_padding(void **state)
{
	struct scene s;
	begin(&s, 3 * CHUNK + 777, 512);
	s.memory.fail_code = -EIO;
	for (uint64_t off = s.size; off < s.image->size; off++)
		assert_int_equal(try_pread(&s, off, s.image->size - off, NULL), 0);
	assert_int_equal(s.memory.n_fetches, 0);
	end(&s);
}

static void refuses_blocks_longer_than_its_padding(void **state)
{
	struct scene s;
	struct image *image = NULL;
	struct err err = ERR_NONE;
	begin(&s, CHUNK, 1);
	assert_int_equal(image_disk_open(s.stream, 8192, &image, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "8192"));
	assert_null(image);
	image_close(NULL);
	end(&s);
}

static void refuses_what_is_outside(void **state)
{
	const struct {
		uint64_t off;
		size_t len;
		int code;
	} rows[] = { /* the stream ends at 777, the image at 1024 */
		{ 0, 1024, 0 },		 { 0, 1025, -EINVAL },	       { 776, 249, -EINVAL },
		{ 777, 247, 0 },	 { 777, 248, -EINVAL },	       { 1023, 1, 0 },
		{ 1023, 2, -EINVAL },	 { 1024, 1, -EINVAL },	       { 5000, 1, -EINVAL },
		{ UINT64_MAX, 1, -EINVAL }, { UINT64_MAX, 2, -EINVAL }, { UINT64_MAX - 99, 500, -EINVAL },
		{ 0, READ_MAX + 1, -EINVAL }, { 0, 0, 0 },	       { 777, 0, 0 },
		{ 1024, 0, 0 },
	};
	struct scene s;
	begin(&s, 777, 512);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		int r = try_pread(&s, rows[i].off, rows[i].len, &err);
		if (r != rows[i].code || err.code != rows[i].code)
			fail_msg("row %zu: %d and not %d: %s", i, r, rows[i].code, err.msg);
	}
	end(&s);
}

static void knows_where_the_zeros_are(void **state)
{
	enum { DATA, ZEROS };
	const struct {
		uint64_t size;
		uint32_t pad_to;
		uint64_t off;
		int kind;
		uint64_t want;
	} rows[] = {
		{ 3 * CHUNK + 777, 512, 0, DATA, CHUNK },
		{ 3 * CHUNK + 777, 512, CHUNK + 5, ZEROS, 2 * CHUNK },
		{ 3 * CHUNK + 777, 512, 2 * CHUNK, DATA, 3 * CHUNK + 777 },
		{ 3 * CHUNK + 777, 512, 3 * CHUNK + 776, DATA, 3 * CHUNK + 777 },
		{ 3 * CHUNK + 777, 512, 3 * CHUNK + 777, ZEROS, 3 * CHUNK + 1024 },
		{ 3 * CHUNK + 777, 512, 3 * CHUNK + 1023, ZEROS, 3 * CHUNK + 1024 },
		{ 4 * CHUNK + 1, 4096, 3 * CHUNK, DATA, 4 * CHUNK }, /* its last chunk is zeros */
		{ 4 * CHUNK + 1, 4096, 4 * CHUNK, ZEROS, 4 * CHUNK + 4096 },
		{ 4 * CHUNK + 1, 4096, 4 * CHUNK + 1, ZEROS, 4 * CHUNK + 4096 },
		{ 4 * CHUNK + 1, 1, 4 * CHUNK, ZEROS, 4 * CHUNK + 1 },
		{ 3 * CHUNK, 512, 2 * CHUNK, DATA, 3 * CHUNK },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, rows[i].size, rows[i].pad_to);
		uint64_t end_off = 0;
		bool is_zero = image_next_extent(s.image, rows[i].off, s.image->size, &end_off);
		if (is_zero != (rows[i].kind == ZEROS) || end_off != rows[i].want)
			fail_msg("row %zu: %d up to %llu", i, is_zero, (unsigned long long)end_off);
		end(&s);
	}
}

/* -- failures -- */

static void fails_as_the_stream_does(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	begin(&s, 6 * CHUNK + 777, 512); /* 7 chunks */
	s.memory.gone_chunk = 6;
	s.memory.bad_chunk = 3;
	uint64_t off = 6 * CHUNK;
	assert_int_equal(try_pread(&s, off, 1, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_int_equal(try_pread(&s, off, s.image->size - off, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_true(try_pread(&s, CHUNK, s.image->size - CHUNK, NULL) < 0); /* either may be first */
	assert_int_equal(try_pread(&s, 3 * CHUNK, 10, &err), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	s.memory.gone_chunk = s.memory.bad_chunk = -1;
	assert_int_equal(try_pread(&s, 0, s.image->size, NULL), 0);
	end(&s);
}

static void stops_waiting_at_the_deadline(void **state)
{
	struct scene s;
	uint8_t got[1024] = { 1 };
	begin(&s, 777, 512);
	memory_source_hold(&s.memory);
	const size_t lens[] = { 10, 1024 }; /* without padding, and with it */
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		struct err err = ERR_NONE;
		struct deadline until = deadline_in_ms(20);
		assert_int_equal(image_pread(s.image, got, lens[i], 0, until, &err), -ETIMEDOUT);
		assert_int_equal(err.code, -ETIMEDOUT);
		assert_true(now_ns() >= until.ns);
		assert_int_equal(got[0], 1);
	}
	memory_source_release(&s.memory);
	assert_int_equal(try_pread(&s, 0, 1024, NULL), 0);
	end(&s);
}

static void gives_a_read_up_when_told(void **state)
{
	struct scene s;
	struct asked plain, other, padded;
	begin(&s, 3 * CHUNK + 777, 512);
	memory_source_hold(&s.memory);
	ask(&s, &plain, 0, 3 * CHUNK);
	ask(&s, &other, 0, 3 * CHUNK);
	ask(&s, &padded, 0, s.image->size);
	image_cancel(s.image, &plain.read);
	image_cancel(s.image, &padded.read); /* left alone: see disk_cancel() */
	(void) sem_wait(&plain.done);
	assert_int_equal(plain.read.result, -ECANCELED);
	read_release(&plain.read);
	memory_source_release(&s.memory);
	expect_bytes(&s, &other);
	expect_bytes(&s, &padded);
	end(&s);
}

static void keeps_the_bytes_until_they_are_released(void **state)
{
	struct scene s;
	struct asked a[3];
	begin(&s, 3 * CHUNK + 777, 512);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		ask(&s, &a[i], i * 100, s.image->size - i * 100);
	for (size_t i = 0; i < ARRAY_LEN(a); i++) {
		(void) sem_wait(&a[i].done);
		(void) sem_post(&a[i].done);
	}
	stream_shared_trim(s.shared, true);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_bytes(&s, &a[i]);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pads_a_block_device_with_zeros),
		TEST(pads_a_read_of_any_number_of_chunks),
		TEST(asks_nobody_for_padding),
		TEST(refuses_blocks_longer_than_its_padding),
		TEST(refuses_what_is_outside),
		TEST(knows_where_the_zeros_are),
		TEST(fails_as_the_stream_does),
		TEST(stops_waiting_at_the_deadline),
		TEST(gives_a_read_up_when_told),
		TEST(keeps_the_bytes_until_they_are_released),
	};
	return RUN_TESTS(tests);
}
