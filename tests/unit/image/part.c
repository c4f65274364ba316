/* SPDX-License-Identifier: Apache-2.0 */
#include <semaphore.h>
#include <string.h>

#include "image/image.h"
#include "memory_source.h"
#include "unit.h"
#include "util/bytes.h"

enum { CHUNK = 64 << 10, SIZE = 9 * CHUNK + 777 };

/* A part of a disk over a stream over a memory source.  Chunks 1, 4, 7 … are zeros. */
struct scene {
	struct memory_source memory;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *disk, *part;
	uint64_t off;
};

static void begin(struct scene *s, uint64_t off, uint64_t len)
{
	*s = (struct scene){ .off = off };
	memory_source_init(&s->memory, SIZE, CHUNK, NULL);
	struct stream_limits limits = { .cache_size = 100 * CHUNK, .n_decoders = 2, .typical_chunk = CHUNK };
	assert_int_equal(stream_shared_new(&limits, &s->shared, NULL), 0);
	struct stream_options options = { .source = &s->memory.source, .index = &s->memory.index };
	assert_int_equal(stream_open(s->shared, &options, &s->stream, NULL), 0);
	assert_int_equal(image_disk_open(s->stream, 512, &s->disk, NULL), 0);
	assert_int_equal(image_part_open(s->disk, off, len, &s->part, NULL), 0);
	assert_int_equal(s->part->size, len);
}

static void end(struct scene *s)
{
	image_close(s->part);
	image_close(s->disk);
	stream_close(s->stream);
	stream_shared_free(s->shared);
	memory_source_deinit(&s->memory);
}

static void reads_what_the_disk_has_there(void **state)
{
	const struct {
		uint64_t off, len;
	} rows[] = { { 0, SIZE }, { 512, 5 * CHUNK }, { CHUNK, 512 }, { 9 * CHUNK, 1024 }, { 9 * CHUNK + 512, 512 },
		     { SIZE - 1, 1 }, { 100, 0 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, rows[i].off, rows[i].len);
		uint64_t len = rows[i].len;
		CLEANUP(freep) uint8_t *disk = calloc(1, SIZE + 512), *got = calloc(1, len + 1);
		memcpy(disk, s.memory.image, SIZE);
		for (uint64_t off = 0; off < len; off += 1 + len / 50) {
			assert_int_equal(image_pread(s.part, got, len - off, off, DEADLINE_NEVER, NULL), 0);
			assert_memory_equal(got, disk + rows[i].off + off, len - off);
		}
		end(&s);
	}
}

static void refuses_what_is_outside_of_it(void **state)
{
	const struct {
		uint64_t off;
		size_t len;
		int want;
	} rows[] = { { 0, CHUNK, 0 }, { 0, CHUNK + 1, -EINVAL }, { CHUNK - 1, 2, -EINVAL }, { CHUNK, 1, -EINVAL },
		     { UINT64_MAX, 1, -EINVAL }, { UINT64_MAX - 511, 512, -EINVAL }, { UINT64_MAX - 511, 1024, -EINVAL } };
	struct scene s;
	static uint8_t got[2 * CHUNK];
	begin(&s, 512, CHUNK);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(image_pread(s.part, got, rows[i].len, rows[i].off, DEADLINE_NEVER, NULL), rows[i].want);
	struct image *part = NULL;
	assert_int_equal(image_part_open(s.disk, s.disk->size - 512, 513, &part, NULL), -EINVAL);
	assert_int_equal(image_part_open(s.disk, s.disk->size + 1, 0, &part, NULL), -EINVAL);
	assert_int_equal(image_part_open(s.disk, UINT64_MAX, 2, &part, NULL), -EINVAL);
	assert_null(part);
	end(&s);
}

static void knows_where_its_zeros_are(void **state)
{
	const struct {
		uint64_t off;
		bool is_zero;
		uint64_t end;
	} rows[] = { { 0, false, CHUNK - 512 }, { CHUNK - 512, true, 2 * CHUNK - 512 },
		     { 2 * CHUNK, false, 4 * CHUNK - 512 }, { 4 * CHUNK, true, 4 * CHUNK + 100 } };
	struct scene s;
	begin(&s, 512, 4 * CHUNK + 100); /* ends inside of zeros */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t end_off;
		assert_int_equal(image_next_extent(s.part, rows[i].off, s.part->size, &end_off), rows[i].is_zero);
		assert_int_equal(end_off, rows[i].end);
	}
	end(&s);
}

static void answered(struct read *read)
{
	(void) sem_post(read->user);
}

static void gives_a_read_up_when_told(void **state)
{
	struct scene s;
	sem_t done;
	begin(&s, 512, 2 * CHUNK);
	(void) sem_init(&done, 0, 0);
	memory_source_hold(&s.memory);
	struct read read = { .len = CHUNK, .until = DEADLINE_NEVER, .done = answered, .user = &done };
	image_submit(s.part, &read);
	image_cancel(s.part, &read);
	(void) sem_wait(&done);
	assert_int_equal(read.result, -ECANCELED);
	read_release(&read);
	memory_source_release(&s.memory);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_what_the_disk_has_there),
		TEST(refuses_what_is_outside_of_it),
		TEST(knows_where_its_zeros_are),
		TEST(gives_a_read_up_when_told),
	};
	return RUN_TESTS(tests);
}
