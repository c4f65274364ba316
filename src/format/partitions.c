/* SPDX-License-Identifier: Apache-2.0 */
#include "format/partitions.h"

#include <libdeflate.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"
#include "util/cleanup.h"

/*
 * The table comes out of a backup: whatever it says, a partition lies inside the disk, and reading it takes a
 * bounded number of steps and bytes.
 */
#define SECTOR		   512u
#define GPT_HEADER_MIN	   92u
#define GPT_ENTRY_MIN	   128u
#define GPT_ENTRIES_MAX	   (1u << 20) /* bytes; usually 16 KiB */
#define FIRST_LOGICAL	   5u
#define N_PRIMARY	   4u

/* An entry of an MBR, or of the record before a logical partition. */
struct mbr_entry {
	uint8_t flag, type;
	uint32_t start, n; /* sectors */
};

static struct mbr_entry mbr_entry(const uint8_t sector[static SECTOR], unsigned i)
{
	const uint8_t *at = sector + 446 + 16 * i;
	return (struct mbr_entry){ at[0], at[4], load_le32(at + 8), load_le32(at + 12) };
}

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static void add(const struct partition_disk *disk, unsigned number, uint64_t start, uint64_t n,
		struct partition_list *list)
{
	uint64_t n_disk = disk->size / SECTOR;
	if (n == 0 || start >= n_disk || list->n == PARTITIONS_MAX)
		return;
	list->items[list->n++] = (struct partition){ number, start * SECTOR, min_u64(n, n_disk - start) * SECTOR };
}

static int read_sector(const struct partition_disk *disk, uint64_t n, uint8_t ret[static SECTOR], struct err *err)
{
	return disk->read(disk->user, n * SECTOR, ret, SECTOR, err);
}

/* -- MBR ------------------------------------------------------------------------------------- */

/* The boot sector of a file system looks much like an MBR. */
static bool is_boot_sector(const uint8_t sector[static SECTOR])
{
	return memcmp(sector + 54, "FAT", 3) == 0 || memcmp(sector + 82, "FAT", 3) == 0 ||
	       memcmp(sector + 3, "NTFS    ", 8) == 0 || memcmp(sector + 3, "EXFAT   ", 8) == 0;
}

static bool is_mbr(const uint8_t sector[static SECTOR])
{
	if (load_le32(sector + 508) >> 16 != 0xaa55 || is_boot_sector(sector))
		return false;
	for (unsigned i = 0; i < N_PRIMARY; i++)
		if (mbr_entry(sector, i).flag & 0x7f)
			return false;
	return true;
}

/* Each record names one logical partition and where the next record is; a ring of them ends by their number. */
static int add_logical(const struct partition_disk *disk, uint64_t extended, unsigned *number,
		       struct partition_list *list, struct err *err)
{
	uint64_t at = extended;
	for (unsigned records = 0; records < PARTITIONS_MAX && at < disk->size / SECTOR; records++) {
		uint8_t sector[SECTOR];
		int r = read_sector(disk, at, sector, err);
		if (r < 0)
			return r;
		if (!is_mbr(sector))
			return 0;
		uint64_t next = 0;
		for (unsigned i = 0; i < N_PRIMARY; i++) {
			struct mbr_entry entry = mbr_entry(sector, i);
			if (is_extended(entry.type) && !next)
				next = entry.start;
			else if (entry.type && entry.n && !is_extended(entry.type))
				add(disk, (*number)++, at + entry.start, entry.n, list);
		}
		if (!next)
			return 0;
		at = extended + next;
	}
	return 0;
}

static int find_in_mbr(const struct partition_disk *disk, const uint8_t sector[static SECTOR],
		       struct partition_list *list, struct err *err)
{
	unsigned number = FIRST_LOGICAL;
	int r = 0;
	for (unsigned i = 0; i < N_PRIMARY; i++) {
		struct mbr_entry entry = mbr_entry(sector, i);
		if (entry.type && !is_extended(entry.type))
			add(disk, i + 1, entry.start, entry.n, list);
	}
	for (unsigned i = 0; r == 0 && i < N_PRIMARY; i++) {
		struct mbr_entry entry = mbr_entry(sector, i);
		if (is_extended(entry.type) && entry.n && entry.start)
			r = add_logical(disk, entry.start, &number, list, err);
	}
	return r;
}

/* -- GPT ------------------------------------------------------------------------------------- */

struct gpt {
	uint64_t entries;     /* sector */
	uint64_t first, last; /* that partitions may have */
	uint32_t n, entry_size, crc;
};

static bool parse_header(const uint8_t sector[static SECTOR], uint64_t at, struct gpt *ret)
{
	uint32_t size = load_le32(sector + 12);
	if (memcmp(sector, "EFI PART", 8) != 0 || size < GPT_HEADER_MIN || size > SECTOR ||
	    load_le64(sector + 24) != at)
		return false;
	uint8_t copy[SECTOR];
	memcpy(copy, sector, SECTOR);
	memset(copy + 16, 0, 4);
	if (libdeflate_crc32(0, copy, size) != load_le32(sector + 16))
		return false;
	*ret = (struct gpt){
		.first = load_le64(sector + 40),
		.last = load_le64(sector + 48),
		.entries = load_le64(sector + 72),
		.n = load_le32(sector + 80),
		.entry_size = load_le32(sector + 84),
		.crc = load_le32(sector + 88),
	};
	return ret->entry_size >= GPT_ENTRY_MIN && ret->n && ret->n <= GPT_ENTRIES_MAX / ret->entry_size;
}

static void add_gpt_entry(const struct partition_disk *disk, const struct gpt *gpt, unsigned number,
			  const uint8_t *entry, struct partition_list *list)
{
	static const uint8_t unused[16];
	uint64_t first = load_le64(entry + 32), last = load_le64(entry + 40);
	if (memcmp(entry, unused, sizeof unused) != 0 && first <= last && first >= gpt->first && last <= gpt->last)
		add(disk, number, first, last - first + 1, list);
}

/* 1 = this is the table, 0 = there is none at this sector, or a broken one. */
static int find_in_gpt(const struct partition_disk *disk, uint64_t at, struct partition_list *list,
		       struct err *err)
{
	uint8_t sector[SECTOR];
	struct gpt gpt;
	int r = read_sector(disk, at, sector, err);
	if (r < 0 || !parse_header(sector, at, &gpt))
		return r;
	uint64_t n_disk = disk->size / SECTOR;
	size_t len = (size_t)gpt.n * gpt.entry_size;
	if (gpt.last >= n_disk || gpt.entries >= n_disk || len > (n_disk - gpt.entries) * SECTOR)
		return 0;
	CLEANUP(freep) uint8_t *entries = malloc(len);
	if (!entries)
		return err_set(err, -ENOMEM, "no memory for a partition table");
	r = disk->read(disk->user, gpt.entries * SECTOR, entries, len, err);
	if (r < 0 || libdeflate_crc32(0, entries, len) != gpt.crc)
		return r;
	for (uint32_t i = 0; i < gpt.n && i < PARTITIONS_MAX; i++)
		add_gpt_entry(disk, &gpt, i + 1, entries + (size_t)i * gpt.entry_size, list);
	return 1;
}

static bool is_protective(const uint8_t sector[static SECTOR])
{
	for (unsigned i = 0; i < N_PRIMARY; i++)
		if (mbr_entry(sector, i).type == 0xee)
			return true;
	return false;
}

int partitions_find(const struct partition_disk *disk, struct partition_list *ret, struct err *err)
{
	uint8_t sector[SECTOR];
	ret->n = 0;
	if (disk->size < 3 * SECTOR)
		return 0;
	int r = read_sector(disk, 0, sector, err);
	if (r < 0 || !is_mbr(sector))
		return r;
	if (!is_protective(sector))
		return find_in_mbr(disk, sector, ret, err);
	r = find_in_gpt(disk, 1, ret, err);
	if (r == 0)
		r = find_in_gpt(disk, disk->size / SECTOR - 1, ret, err);
	return r < 0 ? r : 0;
}
