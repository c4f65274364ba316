/* SPDX-License-Identifier: Apache-2.0 */
#include "format/journal.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "util/bytes.h"
#include "util/cleanup.h"

static uint8_t bytes[JOURNAL_START];

/* A field of a superblock. */
struct field {
	size_t off;
	uint32_t value; /* four bytes of it, little-endian */
};

#define EXT(compat, incompat, ro_compat) \
	{ { 1024 + 56, 0xef53 }, { 1024 + 92, compat }, { 1024 + 96, incompat }, { 1024 + 100, ro_compat } }
#define BTRFS 65536 + 64

static const struct row {
	const char *name;
	struct field fields[4];
	const char *fs, *option; /* NULL = nothing to say */
	bool is_perhaps;
	size_t len; /* that is enough */
} rows[] = {
	/* The features are those mke2fs 1.47 gives them, and the kernel while they are mounted. */
	{ "ext4, mounted", EXT(0x3c, 0x2c6, 0x46b), "ext4", "noload", false, 1128 },
	{ "ext4, unmounted or frozen", EXT(0x3c, 0x2c2, 0x46b), NULL, NULL, false, 0 },
	{ "ext3, mounted", EXT(0x3c, 0x6, 0x3), "ext3", "noload", false, 1128 },
	{ "ext3, of a directory too large for it", EXT(0x3c, 0x6, 0x23), "ext4", "noload", false, 1128 },
	{ "ext2: without a journal", EXT(0x38, 0x2, 0x3), NULL, NULL, false, 0 },
	{ "one to recover, without a journal", EXT(0x38, 0x6, 0x3), NULL, NULL, false, 0 },
	{ "another magic number", { { 1024 + 56, 0xef54 }, { 1024 + 92, 4 }, { 1024 + 96, 4 } }, NULL, NULL, false, 0 },
	{ "one at another place", { { 56, 0xef53 }, { 92, 4 }, { 96, 4 } }, NULL, NULL, false, 0 },
	{ "xfs", { { 0, 0x42534658 } }, "xfs", "norecovery", true, 4 },
	{ "nearly xfs", { { 0, 0x42534659 } }, NULL, NULL, false, 0 },
	{ "btrfs, with a log", { { BTRFS, 0x5248425f }, { BTRFS + 4, 0x4d5f5366 }, { 65536 + 96, 0x10000 } }, "btrfs",
	  "rescue=nologreplay", false, 65640 },
	{ "btrfs, with one far away", { { BTRFS, 0x5248425f }, { BTRFS + 4, 0x4d5f5366 }, { 65536 + 100, 1 } }, "btrfs",
	  "rescue=nologreplay", false, 65640 },
	{ "btrfs, without one", { { BTRFS, 0x5248425f }, { BTRFS + 4, 0x4d5f5366 } }, NULL, NULL, false, 0 },
	{ "btrfs that was never finished", { { BTRFS, 0x5248425f }, { 65536 + 96, 0x10000 } }, NULL, NULL, false, 0 },
	{ "zeros", { { 0, 0 } }, NULL, NULL, false, 0 },
};

static void make(const struct row *row)
{
	memset(bytes, 0, sizeof bytes);
	for (size_t i = 0; i < ARRAY_LEN(row->fields); i++)
		if (row->fields[i].value)
			store_le32(bytes + row->fields[i].off, row->fields[i].value);
}

/* Of the first @len bytes and not one more: a sanitizer sees who looks behind them. */
static bool find(size_t len, struct journal *ret)
{
	CLEANUP(freep) uint8_t *start = malloc(len + !len);
	assert_non_null(start);
	memcpy(start, bytes, len);
	return journal_find(start, len, ret);
}

static void knows_what_must_be_left_alone(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct journal journal;
		make(row);
		if (find(sizeof bytes, &journal) != (row->fs != NULL))
			fail_msg("%s: %s", row->name, row->fs ? "nothing is found" : "something is found");
		if (!row->fs)
			continue;
		assert_string_equal(journal.fs, row->fs);
		assert_string_equal(journal.option, row->option);
		assert_int_equal(journal.is_perhaps, row->is_perhaps);
	}
}

static void finds_nothing_in_too_few_bytes(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct journal journal;
		make(row);
		for (size_t len = 0; len <= sizeof bytes; len = len < 1200 || len >= 65000 ? len + 1 : 65000)
			assert_int_equal(find(len, &journal), row->fs && len >= row->len);
	}
}

static void nonsense_is_no_journal_of_another_kind(void **state)
{
	uint64_t seed = 1;
	for (int i = 0; i < 200; i++) {
		struct journal journal;
		for (size_t at = 0; at + 8 <= sizeof bytes; at += 8) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			store_le64(bytes + at, seed ^ seed >> 29);
		}
		/* Half of them with what they are known by. */
		if (i % 2)
			memcpy(bytes + 1024 + 56, "\x53\xef", 2);
		if (find((size_t)(seed >> 32) % (sizeof bytes + 1), &journal))
			assert_string_equal(journal.option, "noload");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(knows_what_must_be_left_alone),
		TEST(finds_nothing_in_too_few_bytes),
		TEST(nonsense_is_no_journal_of_another_kind),
	};
	return RUN_TESTS(tests);
}
