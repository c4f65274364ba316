/* SPDX-License-Identifier: Apache-2.0 */
#include "format/partitions.h"

#include <stdio.h>
#include <string.h>

#include "partition_tables.h"
#include "unit.h"
#include "util/bytes.h"

static uint8_t bytes[N_SECTORS * SECTOR];
static unsigned n_reads;

static int read_bytes(void *user, uint64_t off, void *buf, size_t len, struct err *err)
{
	const uint64_t *fails_at = user;
	n_reads++;
	assert_true(off <= sizeof bytes && len <= sizeof bytes - off);
	if (fails_at && *fails_at >= off && *fails_at < off + len)
		return err_set(err, -EIO, "made to fail");
	memcpy(buf, bytes + off, len);
	return 0;
}

/* On a disk of @size that begins with what is in bytes. */
static int find_there(uint64_t size, const uint64_t *fails_at, char *ret, size_t len)
{
	struct partition_list list;
	const struct partition_disk disk = { size, read_bytes, (void *)(uintptr_t)fails_at };
	n_reads = 0;
	int r = partitions_find(&disk, &list, NULL);
	*ret = '\0';
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		const struct partition *p = &list.items[i];
		size_t have = strlen(ret);
		(void) snprintf(ret + have, len - have, "%s%u:%u+%u", have ? " " : "", p->number,
				(unsigned)(p->off / SECTOR), (unsigned)(p->len / SECTOR));
	}
	return r;
}

static int find(void (*fill)(uint8_t *disk), const uint64_t *fails_at, char *ret, size_t len)
{
	table_make(fill, bytes);
	return find_there(sizeof bytes, fails_at, ret, len);
}

static void finds_what_the_kernel_finds(void **state)
{
	for (size_t i = 0; i < n_table_rows; i++) {
		const struct table_row *row = &table_rows[i];
		const char *want = row->without_extended ? row->without_extended : row->partitions;
		char got[4096];
		assert_int_equal(find(row->fill, NULL, got, sizeof got), 0);
		if (strcmp(got, want) != 0)
			fail_msg("%s: '%s', not '%s'", row->name, got, want);
	}
	char got[4096];
	assert_int_equal(find(a_logical_one_right_behind_its_record, NULL, got, sizeof got), 0);
	assert_string_equal(got, "5:4097+1000");
}

static void looks_at_nothing_behind_the_end(void **state)
{
	for (size_t i = 0; i < n_table_rows; i++) {
		table_make(table_rows[i].fill, bytes);
		for (uint64_t size = 0; size < 70 * SECTOR; size += 100) {
			char got[4096];
			assert_int_equal(find_there(size, NULL, got, sizeof got), 0);
		}
	}
}

/* Links to each other, with nothing between them. */
static void empty_circle(uint8_t *disk)
{
	for (uint32_t at = 0; at <= 4096; at += 4096) {
		uint8_t *entry = disk + at * SECTOR + 446;
		entry[4] = 0x05;
		store_le32(entry + 8, at ? 1 : 4096);
		store_le32(entry + 12, 100);
		disk[at * SECTOR + 510] = 0x55;
		disk[at * SECTOR + 511] = 0xaa;
	}
	memcpy(disk + 4097 * SECTOR, disk + 4096 * SECTOR, SECTOR);
}

static void a_circle_has_an_end(void **state)
{
	char got[4096];
	assert_int_equal(find(empty_circle, NULL, got, sizeof got), 0);
	assert_string_equal(got, "");
	assert_true(n_reads > 2 && n_reads < 1000);
}

static void a_file_system_is_no_table(void **state)
{
	static const struct {
		size_t off;
		const char *mark;
	} rows[] = { { 54, "FAT16   " }, { 82, "FAT32   " }, { 3, "NTFS    " }, { 3, "EXFAT   " } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct partition_list list;
		const struct partition_disk disk = { sizeof bytes, read_bytes, NULL };
		table_make(table_rows[3].fill, bytes);
		memcpy(bytes + rows[i].off, rows[i].mark, 8);
		assert_int_equal(partitions_find(&disk, &list, NULL), 0);
		assert_int_equal(list.n, 0);
	}
}

static void says_when_it_cannot_look(void **state)
{
	const struct {
		const char *name;
		uint64_t sector;
		int want;
	} rows[] = { { "two and a gap", 0, -EIO }, { "logical", 6144, -EIO }, { "GPT", 1, -EIO },
		     { "GPT", 3, -EIO },	   { "GPT", N_SECTORS - 1, 0 }, { "GPT, second copy", N_SECTORS - 1, -EIO } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t t = 0; t < n_table_rows; t++) {
			char got[4096];
			uint64_t fails_at = rows[i].sector * SECTOR;
			if (strcmp(table_rows[t].name, rows[i].name) == 0)
				assert_int_equal(find(table_rows[t].fill, &fails_at, got, sizeof got),
						 rows[i].want);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_what_the_kernel_finds),
		TEST(looks_at_nothing_behind_the_end),
		TEST(a_circle_has_an_end),
		TEST(a_file_system_is_no_table),
		TEST(says_when_it_cannot_look),
	};
	return RUN_TESTS(tests);
}
