/* SPDX-License-Identifier: Apache-2.0 */
#include "partition_tables.h"

#include <string.h>

#include "util/bytes.h"
#include "util/cleanup.h"

#define LAST (N_SECTORS - 1)

/* UEFI specification, section 5.2.1; sectors relative to @base. */
static void put_mbr(uint8_t *disk, uint32_t at, unsigned slot, uint8_t type, uint32_t start, uint32_t sectors)
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
static void put_gpt_header(uint8_t *disk, uint32_t at, uint32_t other, uint32_t entries)
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

static void put_gpt_entry(uint8_t *disk, unsigned slot, uint64_t first, uint64_t last)
{
	uint8_t *entry = disk + 2 * SECTOR + slot * 128;
	memset(entry, 0x22, 16);
	memset(entry + 16, 0x30 + (int)slot, 16);
	store_le64(entry + 32, first);
	store_le64(entry + 40, last);
}

static void finish_gpt(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0xee, 1, LAST);
	memcpy(disk + (LAST - 32) * SECTOR, disk + 2 * SECTOR, N_ENTRIES * 128);
	put_gpt_header(disk, 1, LAST, 2);
	put_gpt_header(disk, LAST, 1, LAST - 32);
}

/* -- what is on the disk --------------------------------------------------------------------- */

static void nothing(uint8_t *disk)
{
}

static void noise(uint8_t *disk)
{
	uint32_t seed = 7;
	for (size_t i = 0; i < 64 * SECTOR; i++)
		disk[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

static void a_signature_alone(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0, 0, 0);
}

static void two_partitions_and_a_gap(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x83, 2048, 1024);
	put_mbr(disk, 0, 2, 0x83, 8192, 8192);
}

static void logical_partitions(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x83, 64, 64);
	put_mbr(disk, 0, 1, 0x05, 4096, 8192);
	put_mbr(disk, 4096, 0, 0x83, 64, 1000); /* from this sector on */
	put_mbr(disk, 4096, 1, 0x05, 2048, 4096); /* from the extended one's first on */
	put_mbr(disk, 6144, 0, 0x83, 64, 2000);
}

void a_logical_one_right_behind_its_record(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x05, 4096, 4096);
	put_mbr(disk, 4096, 0, 0x83, 1, 1000);
}

static void records_in_a_circle(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x05, 4096, 4096);
	put_mbr(disk, 4096, 0, 0x83, 64, 1000);
	put_mbr(disk, 4096, 1, 0x05, 0, 4096);
}

static void one_that_ends_behind_the_disk(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x83, 64, 64);
	put_mbr(disk, 0, 1, 0x83, 16000, 100000);
}

static void one_that_begins_behind_the_disk(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x83, 64, 64);
	put_mbr(disk, 0, 1, 0x83, N_SECTORS, 64);
	put_mbr(disk, 0, 2, 0x83, 0xffffffff, 0xffffffff);
}

static void a_gpt(uint8_t *disk)
{
	put_gpt_entry(disk, 0, 34, 2047);
	put_gpt_entry(disk, 3, 4096, 4096);
	put_gpt_entry(disk, 127, 8192, LAST - 33);
	finish_gpt(disk);
}

static void a_gpt_whose_first_copy_is_damaged(uint8_t *disk)
{
	a_gpt(disk);
	disk[SECTOR + 40] ^= 1;
}

static void a_gpt_with_both_copies_damaged(uint8_t *disk)
{
	a_gpt(disk);
	disk[2 * SECTOR] ^= 1;
	disk[(LAST - 32) * SECTOR] ^= 1;
}

static void a_gpt_with_entries_out_of_its_range(uint8_t *disk)
{
	put_gpt_entry(disk, 0, 64, 127);
	put_gpt_entry(disk, 1, 1, 33);		  /* over the table */
	put_gpt_entry(disk, 2, 8192, LAST);		  /* over the second copy */
	put_gpt_entry(disk, 3, N_SECTORS, 2 * N_SECTORS);
	put_gpt_entry(disk, 4, UINT64_MAX - 5, UINT64_MAX);
	put_gpt_entry(disk, 5, 4096, 0);
	finish_gpt(disk);
}

static void a_gpt_that_says_it_has_endless_entries(uint8_t *disk)
{
	a_gpt(disk);
	for (uint32_t at = 1; at <= LAST; at += LAST - 1) {
		uint8_t *header = disk + at * SECTOR;
		store_le32(header + 80, 0xffffffff);
		store_le32(header + 16, 0);
		store_le32(header + 16, crc32_of(header, 92));
	}
}

static void a_gpt_for_a_larger_disk(uint8_t *disk)
{
	a_gpt(disk);
	for (uint32_t at = 1; at <= LAST; at += LAST - 1) {
		uint8_t *header = disk + at * SECTOR;
		store_le64(header + 48, 10 * N_SECTORS);
		store_le32(header + 16, 0);
		store_le32(header + 16, crc32_of(header, 92));
	}
}

void overlap_of_two(uint8_t *disk)
{
	put_mbr(disk, 0, 0, 0x83, 64, 1000);
	put_mbr(disk, 0, 1, 0x83, 512, 4096);
	put_mbr(disk, 0, 2, 0x83, 8192, 64);
}

/* -- all of them ------------------------------------------------------------------------------ */

const struct table_row table_rows[] = {
	{ "nothing", nothing, "" },
	{ "noise", noise, "" },
	{ "a signature alone", a_signature_alone, "" },
	{ "two and a gap", two_partitions_and_a_gap, "1:2048+1024 3:8192+8192" },
	{ "logical", logical_partitions, "1:64+64 2:4096+2 5:4160+1000 6:6208+2000",
	  "1:64+64 5:4160+1000 6:6208+2000" },
	{ "circle", records_in_a_circle, "1:4096+2 5:4160+1000", "5:4160+1000" },
	{ "ends behind", one_that_ends_behind_the_disk, "1:64+64 2:16000+384" },
	{ "begins behind", one_that_begins_behind_the_disk, "1:64+64" },
	{ "GPT", a_gpt, "1:34+2014 4:4096+1 128:8192+8159" },
	{ "GPT, second copy", a_gpt_whose_first_copy_is_damaged, "1:34+2014 4:4096+1 128:8192+8159" },
	{ "GPT, no copy", a_gpt_with_both_copies_damaged, "" },
	{ "GPT, out of range", a_gpt_with_entries_out_of_its_range, "1:64+64", NULL,
	  "1:64+64 2:1+33 3:8192+8192" },
	{ "GPT, endless", a_gpt_that_says_it_has_endless_entries, "" },
	{ "GPT, larger disk", a_gpt_for_a_larger_disk, "" },
};

const size_t n_table_rows = ARRAY_LEN(table_rows);

void table_make(void (*fill)(uint8_t *disk), uint8_t *disk)
{
	/* Where a GPT has its entries: one that is not empty counts, for the kernel, whatever it says. */
	const size_t behind_entries = 2 + N_ENTRIES * 128 / SECTOR;
	memset(disk, 0, N_SECTORS * SECTOR);
	for (size_t i = behind_entries; i < N_SECTORS; i++)
		store_le32(disk + i * SECTOR, (uint32_t)i << 8);
	fill(disk);
}
