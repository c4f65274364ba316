/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <libdeflate.h>
#include <string.h>

#include "format/partitions.h"
#include "util/bytes.h"

/*
 * The first eight bytes are the disk's size, the rest its beginning; behind that are zeros.  No fuzzer guesses the
 * checksums of a GPT: where the lowest bit of the size says so they are made to fit.
 */
enum { SECTOR = 512, FIX_CRC = 1 };

struct disk {
	uint8_t *data;
	size_t len;
	unsigned n_reads;
};

static void fix_crc(struct disk *disk)
{
	uint8_t *header = disk->data + SECTOR;
	if (disk->len < 3 * SECTOR)
		return;
	uint64_t entries = load_le64(header + 72), len = (uint64_t)load_le32(header + 80) * load_le32(header + 84);
	if (entries < disk->len / SECTOR && len <= disk->len - entries * SECTOR)
		store_le32(header + 88, libdeflate_crc32(0, disk->data + entries * SECTOR, len));
	memset(header + 16, 0, 4);
	uint32_t header_len = load_le32(header + 12);
	if (header_len <= SECTOR)
		store_le32(header + 16, libdeflate_crc32(0, header, header_len));
}

static int read_disk(void *user, uint64_t off, void *buf, size_t len, struct err *err)
{
	struct disk *disk = user;
	MUST(++disk->n_reads < 2000);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = off + i < disk->len ? disk->data[off + i] : 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 8)
		return 0;
	struct disk from = { malloc(len), len - 8, 0 };
	struct partition_list list;
	uint64_t size = load_le64(data);
	memcpy(from.data, data + 8, len - 8);
	if (size & FIX_CRC)
		fix_crc(&from);
	const struct partition_disk disk = { size, read_disk, &from };
	MUST(partitions_find(&disk, &list, NULL) == 0 && list.n <= PARTITIONS_MAX);
	for (size_t i = 0; i < list.n; i++) {
		const struct partition *p = &list.items[i];
		MUST(p->len > 0 && p->off < size && p->len <= size - p->off);
		MUST(p->off % 512 == 0 && p->len % 512 == 0);
		MUST(p->number >= 1 && p->number <= PARTITIONS_MAX);
		MUST(i == 0 || p->number > list.items[i - 1].number);
	}
	free(from.data);
	return 0;
}
