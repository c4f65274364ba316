/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory_source.h"
#include "sample.h"
#include "unit.h"
#include "util/bytes.h"

static struct listing *list(struct sample *s, const char *path, uint64_t after)
{
	struct node dir = sample_node(s, path);
	struct listing *listing = NULL;
	assert_int_equal(listing_open(s->tree, &dir, after, &listing, NULL), 0);
	return listing;
}

static void lists_members_in_the_order_of_the_archive(void **state)
{
	static const char *const want[] = { "a.txt", "hard", "fifo", "null", "sock", "dir", "empty", "void",
					    "link", "absolute", "loop", "out", "attrs", "big" };
	struct sample s;
	struct member member;
	uint64_t cursors[ARRAY_LEN(want)];
	sample_begin(&s, true);
	struct listing *listing = list(&s, "", 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 1);
		assert_string_equal(member.name, want[i]);
		assert_int_equal(member.node.ino, sample_node(&s, want[i]).ino);
		assert_int_equal(member.link.pos != 0, i == 1);
		assert_true(member.cursor > 2 && (i == 0 || member.cursor > cursors[i - 1]));
		cursors[i] = member.cursor;
		if (i % 3 == 0)
			listing_rest(listing);
	}
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 0);
	listing_close(listing);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) { /* goes on from anywhere */
		listing = list(&s, "", cursors[i]);
		int r = listing_next(listing, DEADLINE_NEVER, &member, NULL);
		assert_int_equal(r, i + 1 < ARRAY_LEN(want));
		if (r)
			assert_string_equal(member.name, want[i + 1]);
		listing_close(listing);
	}
	listing = list(&s, "empty", 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 0);
	listing_close(listing);
	sample_end(&s);
}

/* More than three batches of 16384. */
static void lists_a_large_directory_and_finds_all_in_it(void **state)
{
	enum { N = 60000 };
	struct sample s;
	struct member member;
	char name[16];
	sample_begin_empty(&s, true);
	for (unsigned i = 0; i < N; i++) {
		(void) snprintf(name, sizeof name, "file-%u", i);
		(void) pxar_writer_file(&s.w, name, 0644, name, i % 5);
	}
	sample_finish(&s);
	struct listing *listing = list(&s, "", 0);
	for (unsigned i = 0; i < N; i++) {
		(void) snprintf(name, sizeof name, "file-%u", i);
		assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 1);
		assert_string_equal(member.name, name);
		assert_in_range(listing_room(listing), LISTING_BATCH * 24, LISTING_BATCH * 80);
		if (i % 7 == 0)
			assert_int_equal(sample_node(&s, name).ino, member.node.ino);
	}
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 0);
	listing_close(listing);
	for (unsigned i = 0; i < 1000; i++) {
		(void) snprintf(name, sizeof name, "file-%u", N + i);
		assert_int_equal(sample_try(&s, name, TREE_NO_LINKS, NULL), -ENOENT);
	}
	sample_end(&s);
}

static void goes_on_behind_a_damaged_member(void **state)
{
	struct sample s;
	struct member member;
	sample_begin(&s, false);
	memset(s.w.meta.data + s.hard_pos, 0xee, 8);
	struct listing *listing = list(&s, "", 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 1);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), -EBADMSG);
	assert_string_equal(member.name, "");
	assert_int_equal(member.cursor, s.hard_pos);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 1);
	assert_string_equal(member.name, "fifo");
	listing_close(listing);
	sample_end(&s);
}

static void says_the_name_of_a_damaged_member_that_has_one(void **state)
{
	struct sample s;
	struct member member;
	sample_begin(&s, false);
	memset(s.w.meta.data + sample_node(&s, "a.txt").pos + PXAR_HEADER_SIZE, 0xee, 8); /* its mode */
	struct listing *listing = list(&s, "", 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), -EBADMSG);
	assert_string_equal(member.name, "a.txt");
	listing_close(listing);
	sample_end(&s);
}

/* And has no cursor then: it is no member that is damaged. */
static void ends_with_a_table_that_cannot_be_read(void **state)
{
	struct sample s;
	struct member member;
	sample_begin(&s, false);
	struct node dir = sample_node(&s, "");
	dir.table_off = s.w.meta.len;
	struct listing *listing = NULL;
	assert_int_equal(listing_open(s.tree, &dir, 0, &listing, NULL), 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), -EBADMSG);
	assert_int_equal(member.cursor, 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 0);
	listing_close(listing);
	sample_end(&s);
}

/* Two slots of a directory's table change places. */
static void swap_slots(struct sample *s, unsigned a, unsigned b)
{
	struct node dir = sample_node(s, "");
	uint8_t keep[PXAR_SLOT_SIZE], *slots = (uint8_t *)s->w.meta.data + dir.table_off + PXAR_HEADER_SIZE;
	memcpy(keep, slots + a * PXAR_SLOT_SIZE, sizeof keep);
	memcpy(slots + a * PXAR_SLOT_SIZE, slots + b * PXAR_SLOT_SIZE, sizeof keep);
	memcpy(slots + b * PXAR_SLOT_SIZE, keep, sizeof keep);
}

/* What a look-up does not find is not listed either. */
static void refuses_members_that_nobody_would_find(void **state)
{
	struct sample s;
	struct member member;
	unsigned n_lost = 0, n_found = 0;
	int r;
	sample_begin(&s, false);
	swap_slots(&s, 1, 2);
	struct listing *listing = list(&s, "", 0);
	while ((r = listing_next(listing, DEADLINE_NEVER, &member, NULL)) != 0) {
		assert_true(r == 1 || r == -EBADMSG);
		if (r < 0) {
			n_lost++;
			continue;
		}
		assert_int_equal(sample_node(&s, member.name).ino, member.node.ino);
		n_found++;
	}
	assert_int_equal(n_found + n_lost, 14);
	assert_true(n_lost >= 2 && n_found >= 1);
	listing_close(listing);
	sample_end(&s);
}

static void takes_the_first_of_two_with_the_same_name(void **state)
{
	struct sample s;
	struct member member;
	sample_begin_empty(&s, false);
	(void) pxar_writer_file(&s.w, "x", 0644, "", 0);
	(void) pxar_writer_file(&s.w, "twice", 0644, "first", 5);
	(void) pxar_writer_file(&s.w, "twice", 0600, "second", 6);
	(void) pxar_writer_file(&s.w, "twice", 0600, "third, too", 10);
	sample_finish(&s);
	assert_int_equal(sample_node(&s, "twice").size, 5);
	struct listing *listing = list(&s, "", 0);
	static const int want[] = { 1, 1, -EBADMSG, -EBADMSG, 0 };
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), want[i]);
	listing_close(listing);
	sample_end(&s);
}

/* Every slot has the hash that is looked for: each would cost a read. */
static void gives_up_on_a_table_of_one_hash(void **state)
{
	struct sample s;
	char name[16];
	sample_begin_empty(&s, false);
	for (unsigned i = 0; i < 5000; i++) {
		(void) snprintf(name, sizeof name, "%u", i);
		(void) pxar_writer_file(&s.w, name, 0644, "", 0);
	}
	sample_finish(&s);
	struct node dir = sample_node(&s, "");
	uint8_t *slot = (uint8_t *)s.w.meta.data + dir.table_off + PXAR_HEADER_SIZE;
	for (unsigned i = 0; i < 5000; i++, slot += PXAR_SLOT_SIZE)
		store_le64(slot, pxar_name_hash("17", 2));
	assert_int_equal(sample_try(&s, "17", TREE_NO_LINKS, NULL), -EBADMSG);
	sample_end(&s);
}

/* -- over a stream: each file is four chunks long, so the third has data only -- */

enum { CHUNK = 4096, N_FILES = 20 };

struct scene {
	struct sample s;
	struct memory_source memory;
	struct stream_shared *shared;
	struct stream *stream;
	unsigned first_chunks[N_FILES]; /* where their entries are */
};

static void open_over_a_stream(struct scene *x)
{
	const struct stream_limits limits = { .cache_size = 1 << 20, .n_decoders = 1, .typical_chunk = CHUNK };
	memory_source_init_of(&x->memory, x->s.w.meta.data, x->s.w.meta.len, CHUNK);
	const struct stream_options options = { .source = &x->memory.source, .index = &x->memory.index,
						.read_ahead = 64 * CHUNK };
	assert_int_equal(stream_shared_new(&limits, &x->shared, NULL), 0);
	assert_int_equal(stream_open(x->shared, &options, &x->stream, NULL), 0);
	const struct tree_options over = { .meta = input_of_stream(x->stream) };
	tree_close(x->s.tree);
	assert_int_equal(tree_open(&over, DEADLINE_NEVER, &x->s.tree, NULL), 0);
}

static void begin_over_a_stream(struct scene *x)
{
	char name[16];
	memset(x, 0, sizeof *x);
	sample_begin_empty(&x->s, false);
	for (unsigned i = 0; i < N_FILES; i++) {
		uint8_t data[4 * CHUNK - 200];
		memset(data, (int)i + 1, sizeof data);
		for (unsigned k = 0; k < sizeof data; k += 64)
			data[k] = (uint8_t)(k / 64); /* no two chunks are alike */
		(void) snprintf(name, sizeof name, "file-%u", i);
		uint64_t pos = pxar_writer_file(&x->s.w, name, 0644, data, sizeof data);
		x->first_chunks[i] = (unsigned)(pos / CHUNK);
	}
	sample_finish(&x->s);
	open_over_a_stream(x);
}

/* Twenty thousand attributes, then data. */
static unsigned begin_with_a_long_entry(struct scene *x)
{
	static const uint8_t data[4 * CHUNK];
	memset(x, 0, sizeof *x);
	sample_begin_empty(&x->s, false);
	(void) pxar_writer_name(&x->s.w, "long");
	pxar_writer_entry(&x->s.w, S_IFREG | 0644);
	for (unsigned i = 0; i < 20000; i++)
		pxar_writer_attr_id(&x->s.w, PXAR_ACL_USER, i, 7);
	unsigned last = (unsigned)(x->s.w.meta.len / CHUNK);
	pxar_writer_payload(&x->s.w, data, sizeof data);
	sample_finish(&x->s);
	open_over_a_stream(x);
	return last;
}

static void end_over_a_stream(struct scene *x)
{
	tree_close(STEAL(x->s.tree));
	stream_close(x->stream);
	stream_shared_free(x->shared);
	memory_source_deinit(&x->memory);
	sample_end(&x->s);
}

static unsigned times_fetched(struct scene *x, unsigned n)
{
	HOLD(&x->memory.lock);
	return x->memory.n_fetched[n];
}

static bool comes_to_be_fetched(struct scene *x, unsigned n)
{
	struct deadline most = deadline_in_ms(5000);
	while (!times_fetched(x, n) && !deadline_is_over(most))
		(void) usleep(1000);
	return times_fetched(x, n) > 0;
}

static void asks_for_the_chunks_of_the_next_members_alone(void **state)
{
	struct scene x;
	struct member member;
	begin_over_a_stream(&x);
	struct listing *listing = list(&x.s, "", 0);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_true(comes_to_be_fetched(&x, x.first_chunks[i]));
	assert_int_equal(times_fetched(&x, x.first_chunks[12]), 0); /* not all at once */
	for (unsigned i = 1; i < N_FILES; i++)
		assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 1);
	assert_int_equal(listing_next(listing, DEADLINE_NEVER, &member, NULL), 0);
	listing_close(listing);
	for (unsigned i = 0; i < N_FILES; i++)
		assert_int_equal(times_fetched(&x, x.first_chunks[i] + 2), 0);
	end_over_a_stream(&x);
}

static uint64_t bytes_read(struct scene *x)
{
	struct stream_stats stats;
	stream_get_stats(x->stream, &stats);
	return stats.read_bytes;
}

static void reads_a_long_entry_a_few_times_only(void **state)
{
	struct scene x;
	for (int is_damaged = 0; is_damaged < 2; is_damaged++) {
		unsigned last = begin_with_a_long_entry(&x);
		x.memory.bad_chunk = is_damaged ? (int)last + 1 : -1; /* with its data */
		uint64_t before = bytes_read(&x);
		assert_int_equal(sample_try(&x.s, "long", TREE_NO_LINKS, NULL), 0);
		assert_in_range(bytes_read(&x) - before, (uint64_t)last * CHUNK, 8ull * last * CHUNK);
		end_over_a_stream(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists_members_in_the_order_of_the_archive),
		TEST(lists_a_large_directory_and_finds_all_in_it),
		TEST(goes_on_behind_a_damaged_member),
		TEST(says_the_name_of_a_damaged_member_that_has_one),
		TEST(ends_with_a_table_that_cannot_be_read),
		TEST(refuses_members_that_nobody_would_find),
		TEST(takes_the_first_of_two_with_the_same_name),
		TEST(gives_up_on_a_table_of_one_hash),
		TEST(asks_for_the_chunks_of_the_next_members_alone),
		TEST(reads_a_long_entry_a_few_times_only),
	};
	return RUN_TESTS(tests);
}
