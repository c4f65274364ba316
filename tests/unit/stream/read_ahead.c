/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/read_ahead.h"

#include "unit.h"
#include "util/cleanup.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define UNIT (4 * MIB)

static struct read_ahead ra;
static uint64_t from, to;

static bool note(uint64_t off, uint64_t len)
{
	return read_ahead_note(&ra, off, len, UINT64_MAX / 2, &from, &to);
}

static int set_up(void **state)
{
	read_ahead_init(&ra, 32 * MIB, UNIT);
	return 0;
}

static void starts_with_one_chunk_and_doubles_with_each_that_was_read(void **state)
{
	uint64_t ahead = 0;
	for (uint64_t off = 0; off < 64 * MIB; off += MIB) {
		if (!note(off, MIB))
			continue;
		assert_true(from >= ahead);
		assert_true(to > from);
		ahead = to;
		uint64_t n_read = (off + MIB) / UNIT; /* whole chunks behind the reader */
		uint64_t window = UNIT << (n_read > 3 ? 3 : n_read);
		assert_true(to - (off + MIB) <= window);
	}
	/* it ran ahead by the full window in the end, and left no gap */
	assert_true(ahead >= 64 * MIB + 32 * MIB - UNIT);
}

static void asks_for_every_byte_once(void **state)
{
	uint64_t covered = 0;
	for (uint64_t off = 0; off < 200 * MIB; off += 128 * KIB) {
		if (!note(off, 128 * KIB))
			continue;
		if (covered)
			assert_int_equal(from, covered);
		covered = to;
	}
	assert_true(covered > 200 * MIB);
}

static void does_not_start_for_a_look_at_a_superblock(void **state)
{
	for (uint64_t off = 0; off < 128 * KIB; off += 4 * KIB)
		assert_false(note(off, 4 * KIB));
}

static void forgets_a_reader_that_jumps(void **state)
{
	(void) note(0, MIB);
	assert_true(note(MIB, MIB));
	for (int i = 1; i < 100; i++)
		assert_false(note(i * 100 * MIB, 4 * KIB));
	assert_false(note(2 * MIB, 4 * KIB)); /* begins anew */
}

static void does_not_take_two_looks_in_one_neighbourhood_for_a_reader(void **state)
{
	assert_false(note(MIB, 4 * KIB));
	assert_false(note(2 * MIB, 4 * KIB));
	assert_false(note(3 * MIB, 4 * KIB));
}

static void takes_reads_that_overtake_each_other(void **state)
{
	static const uint64_t order[] = { 0, 2, 1, 3, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13, 14, 15 };
	uint64_t covered = 0;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (note(order[i] * MIB, MIB))
			covered = to;
	assert_true(covered >= 16 * MIB);
}

static void tells_several_readers_apart(void **state)
{
	uint64_t ahead[READ_AHEAD_SEQUENCES] = { 0 };
	for (uint64_t step = 0; step < 16; step++)
		for (uint64_t reader = 0; reader < READ_AHEAD_SEQUENCES; reader++)
			if (note(reader * 1024 * MIB + step * MIB, MIB))
				ahead[reader] = to - reader * 1024 * MIB;
	for (int reader = 0; reader < READ_AHEAD_SEQUENCES; reader++)
		assert_true(ahead[reader] > 16 * MIB);
}

static void keeps_to_its_budget(void **state)
{
	(void) note(0, MIB);
	assert_true(read_ahead_note(&ra, MIB, MIB, 3 * MIB, &from, &to));
	assert_int_equal(to - from, 3 * MIB);
	assert_false(read_ahead_note(&ra, 2 * MIB, MIB, 0, &from, &to));
}

static void is_off_when_the_window_holds_no_chunk(void **state)
{
	read_ahead_init(&ra, UNIT - 1, UNIT);
	for (uint64_t off = 0; off < 16 * MIB; off += MIB)
		assert_false(note(off, MIB));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(starts_with_one_chunk_and_doubles_with_each_that_was_read, set_up),
		cmocka_unit_test_setup(asks_for_every_byte_once, set_up),
		cmocka_unit_test_setup(does_not_start_for_a_look_at_a_superblock, set_up),
		cmocka_unit_test_setup(forgets_a_reader_that_jumps, set_up),
		cmocka_unit_test_setup(does_not_take_two_looks_in_one_neighbourhood_for_a_reader, set_up),
		cmocka_unit_test_setup(takes_reads_that_overtake_each_other, set_up),
		cmocka_unit_test_setup(tells_several_readers_apart, set_up),
		cmocka_unit_test_setup(keeps_to_its_budget, set_up),
		cmocka_unit_test_setup(is_off_when_the_window_holds_no_chunk, set_up),
	};
	return RUN_TESTS(tests);
}
