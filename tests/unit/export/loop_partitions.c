/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "export/loop.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/file.h"

/*
 * Tables of all kinds, written as bytes: what the kernel finds by itself, or libblkid where the kernel knows
 * no partitions, is the same.
 */
#define SECTOR	  512u
#define N_SECTORS 16384u /* 8 MiB */
#define LAST	  (N_SECTORS - 1)

static uint8_t disk[N_SECTORS * SECTOR];

/* UEFI specification, section 5.2.1; sectors relative to @base. */
static void put_mbr(uint32_t at, unsigned slot, uint8_t type, uint32_t start, uint32_t sectors)
{
	uint8_t *entry = disk + at * SECTOR + 446 + slot * 16;
	entry[4] = type;
	store_le32(entry + 8, start);
	store_le32(entry + 12, sectors);
	disk[at * SECTOR + 510] = 0x55;
	disk[at * SECTOR + 511] = 0xaa;
}

static uint32_t crc32_of(const uint8_t *data, size_t len)
{
	uint32_t crc = 0xffffffff;
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

#define N_ENTRIES 128u

/* UEFI specification, section 5.3: a header and its checksums over @entries. */
static void put_gpt_header(uint32_t at, uint32_t other, uint32_t entries)
{
	uint8_t *header = disk + at * SECTOR;
	memset(header, 0, SECTOR);
	memcpy(header, "EFI PART\0\0\1\0\x5c\0\0\0", 16);
	store_le64(header + 24, at);
	store_le64(header + 32, other);
	store_le64(header + 40, 34);
	store_le64(header + 48, LAST - 33);
	memset(header + 56, 0x11, 16);
	store_le64(header + 72, entries);
	store_le32(header + 80, N_ENTRIES);
	store_le32(header + 84, 128);
	store_le32(header + 88, crc32_of(disk + entries * SECTOR, N_ENTRIES * 128));
	store_le32(header + 16, crc32_of(header, 92));
}

static void put_gpt_entry(unsigned slot, uint64_t first, uint64_t last)
{
	uint8_t *entry = disk + 2 * SECTOR + slot * 128;
	memset(entry, 0x22, 16);
	memset(entry + 16, 0x30 + (int)slot, 16);
	store_le64(entry + 32, first);
	store_le64(entry + 40, last);
}

static void finish_gpt(void)
{
	put_mbr(0, 0, 0xee, 1, LAST);
	memcpy(disk + (LAST - 32) * SECTOR, disk + 2 * SECTOR, N_ENTRIES * 128);
	put_gpt_header(1, LAST, 2);
	put_gpt_header(LAST, 1, LAST - 32);
}

/* -- what is on the disk --------------------------------------------------------------------- */

static void nothing(void)
{
}

static void noise(void)
{
	uint32_t seed = 7;
	for (size_t i = 0; i < 64 * SECTOR; i++)
		disk[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

static void a_signature_alone(void)
{
	put_mbr(0, 0, 0, 0, 0);
}

static void two_partitions_and_a_gap(void)
{
	put_mbr(0, 0, 0x83, 2048, 1024);
	put_mbr(0, 2, 0x83, 8192, 8192);
}

static void logical_partitions(void)
{
	put_mbr(0, 0, 0x83, 64, 64);
	put_mbr(0, 1, 0x05, 4096, 8192);
	put_mbr(4096, 0, 0x83, 64, 1000); /* from this sector on */
	put_mbr(4096, 1, 0x05, 2048, 4096); /* from the extended one's first on */
	put_mbr(6144, 0, 0x83, 64, 2000);
}

static void a_logical_one_right_behind_its_record(void)
{
	put_mbr(0, 0, 0x05, 4096, 4096);
	put_mbr(4096, 0, 0x83, 1, 1000);
}

static void records_in_a_circle(void)
{
	put_mbr(0, 0, 0x05, 4096, 4096);
	put_mbr(4096, 0, 0x83, 64, 1000);
	put_mbr(4096, 1, 0x05, 0, 4096);
}

static void one_that_ends_behind_the_disk(void)
{
	put_mbr(0, 0, 0x83, 64, 64);
	put_mbr(0, 1, 0x83, 16000, 100000);
}

static void one_that_begins_behind_the_disk(void)
{
	put_mbr(0, 0, 0x83, 64, 64);
	put_mbr(0, 1, 0x83, N_SECTORS, 64);
	put_mbr(0, 2, 0x83, 0xffffffff, 0xffffffff);
}

static void a_gpt(void)
{
	put_gpt_entry(0, 34, 2047);
	put_gpt_entry(3, 4096, 4096);
	put_gpt_entry(127, 8192, LAST - 33);
	finish_gpt();
}

static void a_gpt_whose_first_copy_is_damaged(void)
{
	a_gpt();
	disk[SECTOR + 40] ^= 1;
}

static void a_gpt_with_both_copies_damaged(void)
{
	a_gpt();
	disk[2 * SECTOR] ^= 1;
	disk[(LAST - 32) * SECTOR] ^= 1;
}

static void a_gpt_with_entries_out_of_its_range(void)
{
	put_gpt_entry(0, 64, 127);
	put_gpt_entry(1, 1, 33);		  /* over the table */
	put_gpt_entry(2, 8192, LAST);		  /* over the second copy */
	put_gpt_entry(3, N_SECTORS, 2 * N_SECTORS);
	put_gpt_entry(4, UINT64_MAX - 5, UINT64_MAX);
	put_gpt_entry(5, 4096, 0);
	finish_gpt();
}

static void a_gpt_that_says_it_has_endless_entries(void)
{
	a_gpt();
	for (uint32_t at = 1; at <= LAST; at += LAST - 1) {
		uint8_t *header = disk + at * SECTOR;
		store_le32(header + 80, 0xffffffff);
		store_le32(header + 16, 0);
		store_le32(header + 16, crc32_of(header, 92));
	}
}

static void a_gpt_for_a_larger_disk(void)
{
	a_gpt();
	for (uint32_t at = 1; at <= LAST; at += LAST - 1) {
		uint8_t *header = disk + at * SECTOR;
		store_le64(header + 48, 10 * N_SECTORS);
		store_le32(header + 16, 0);
		store_le32(header + 16, crc32_of(header, 92));
	}
}

/* -- what is shown --------------------------------------------------------------------------- */

static uint64_t number_of(const struct loop *loop, const char *partition, const char *what)
{
	char path[128];
	unsigned long long number = 0;
	(void) snprintf(path, sizeof path, "/sys/block/loop%u/%s/%s", loop->number, strrchr(partition, '/') + 1, what);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	assert_true(file && fscanf(file, "%llu", &number) == 1);
	return number;
}

static bool same_bytes(const char *path, uint64_t start)
{
	uint8_t sector[SECTOR];
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && pread_full(fd, sector, SECTOR, 0) == SECTOR &&
	       memcmp(sector, disk + start * SECTOR, SECTOR) == 0;
}

/* "1:64+64 …": number, first sector, sectors of each; all of them readable and inside the disk. */
static void show(void (*fill)(void), char *ret, size_t len)
{
	CLEANUP(strv_deinit) struct strv partitions = STRV_EMPTY;
	CLEANUP(closep) int file = device_file(sizeof disk);
	for (size_t i = 0; i < N_SECTORS; i++) { /* a different one each */
		memset(disk + i * SECTOR, 0, SECTOR);
		store_le32(disk + i * SECTOR, i ? (uint32_t)i << 8 : 0);
	}
	fill();
	assert_int_equal(write_full(file, disk, sizeof disk), 0);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	assert_int_equal(loop_add_partitions(&loop, &partitions, NULL), 0);
	*ret = '\0';
	for (size_t i = 0; i < partitions.n; i++) {
		const char *path = partitions.items[i];
		uint64_t start = number_of(&loop, path, "start"), sectors = number_of(&loop, path, "size");
		size_t have = strlen(ret);
		assert_memory_equal(path, loop.path, strlen(loop.path));
		assert_true(start < N_SECTORS && sectors <= N_SECTORS - start && sectors > 0);
		assert_true(same_bytes(path, start));
		assert_int_equal(number_of(&loop, path, "ro"), 1);
		(void) snprintf(ret + have, len - have, "%s%s:%u+%u", have ? " " : "",
				path + strlen(loop.path) + 1, (unsigned)start, (unsigned)sectors);
	}
}

static void shows_the_partitions_of_tables_good_and_bad(void **state)
{
	static const struct {
		const char *name;
		void (*fill)(void);
		const char *partitions;
	} rows[] = {
		{ "nothing", nothing, "" },
		{ "noise", noise, "" },
		{ "a signature alone", a_signature_alone, "" },
		{ "two and a gap", two_partitions_and_a_gap, "1:2048+1024 3:8192+8192" },
		{ "logical", logical_partitions, "1:64+64 2:4096+2 5:4160+1000 6:6208+2000" },
		{ "circle", records_in_a_circle, "1:4096+2 5:4160+1000" },
		{ "ends behind", one_that_ends_behind_the_disk, "1:64+64 2:16000+384" },
		{ "begins behind", one_that_begins_behind_the_disk, "1:64+64" },
		{ "GPT", a_gpt, "1:34+2014 4:4096+1 128:8192+8159" },
		{ "GPT, second copy", a_gpt_whose_first_copy_is_damaged, "1:34+2014 4:4096+1 128:8192+8159" },
		{ "GPT, no copy", a_gpt_with_both_copies_damaged, "" },
		{ "GPT, out of range", a_gpt_with_entries_out_of_its_range, "1:64+64" },
		{ "GPT, endless", a_gpt_that_says_it_has_endless_entries, "" },
		{ "GPT, larger disk", a_gpt_for_a_larger_disk, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char shown[4096];
		show(rows[i].fill, shown, sizeof shown);
		if (strcmp(shown, rows[i].partitions) != 0)
			fail_msg("%s: '%s', not '%s'", rows[i].name, shown, rows[i].partitions);
	}
}

/* Which of the two is shown is the kernel's matter where it has scanned itself. */
static void overlap_of_two(void)
{
	put_mbr(0, 0, 0x83, 64, 1000);
	put_mbr(0, 1, 0x83, 512, 4096);
	put_mbr(0, 2, 0x83, 8192, 64);
}

static void shows_the_others_when_two_overlap(void **state)
{
	char shown[4096];
	show(overlap_of_two, shown, sizeof shown);
	assert_non_null(strstr(shown, "1:64+1000"));
	assert_non_null(strstr(shown, "3:8192+64"));
	show(a_logical_one_right_behind_its_record, shown, sizeof shown);
	assert_non_null(strstr(shown, "5:4097+1000"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_the_partitions_of_tables_good_and_bad),
		TEST(shows_the_others_when_two_overlap),
	};
	return RUN_TESTS(tests);
}
