/* SPDX-License-Identifier: Apache-2.0 */
#include "export/block_partitions.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util/cleanup.h"

/*
 * The kernel has scanned for partitions when LOOP_CONFIGURE returned, or when an NBD device was opened, if it knows
 * the kind of table; what it found is in sysfs.  Where it found nothing, libblkid reads the table and each partition is added by
 * BLKPG.  The table comes out of a backup: whatever it says, a partition lies inside the device.  The kernel is not as careful
 * (a GPT entry that ends before it begins becomes a partition of 2^64 bytes, on Linux 6.1): what it adds and should not is
 * taken away again.
 */
#define PARTITIONS_MAX 255 /* minor numbers the kernel gives one device at most */
#define SECTOR	       512
#define EXTENDED_SIZE  1024 /* bytes the kernel shows of an extended partition: its boot records */

/* A device and what it is called in sysfs. */
struct block {
	int fd;
	const char *path, *name; /* "/dev/loop3", "loop3" */
};

/* /sys/block/loop3/loop3p1/dev: the numbers of a partition that exists. */
static bool find_partition(const struct block *block, int number, dev_t *ret)
{
	char path[128];
	unsigned maj, min;
	(void) snprintf(path, sizeof path, "/sys/block/%s/%sp%d/dev", block->name, block->name, number);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	if (!file || fscanf(file, "%u:%u", &maj, &min) != 2)
		return false;
	*ret = makedev(maj, min);
	return true;
}

static uint64_t size_of(const struct block *block)
{
	uint64_t size = 0;
	return ioctl(block->fd, BLKGETSIZE64, &size) < 0 ? 0 : size;
}

static int change_partition(const struct block *block, int op, int number, uint64_t start, uint64_t len)
{
	struct blkpg_partition partition = {
		.start = (long long)start,
		.length = (long long)len,
		.pno = number,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op,
		.datalen = sizeof partition,
		.data = &partition,
	};
	return ioctl(block->fd, BLKPG, &arg) < 0 ? -errno : 0;
}

/* In sectors; false: there is none of that number. */
static bool find_extent(const struct block *block, int number, uint64_t *ret_start, uint64_t *ret_len)
{
	uint64_t *const values[] = { ret_start, ret_len };
	static const char *const names[] = { "start", "size" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[128];
		(void) snprintf(path, sizeof path, "/sys/block/%s/%sp%d/%s", block->name, block->name, number,
				names[i]);
		CLEANUP(fclosep) FILE *file = fopen(path, "re");
		if (!file || fscanf(file, "%" SCNu64, values[i]) != 1)
			return false;
	}
	return true;
}

static void remove_what_lies_outside(const struct block *block)
{
	uint64_t start, len, sectors = size_of(block) / SECTOR;
	for (int number = 1; number <= PARTITIONS_MAX; number++)
		if (find_extent(block, number, &start, &len) && (start >= sectors || len > sectors - start))
			(void) change_partition(block, BLKPG_DEL_PARTITION, number, 0, 0);
}

static int list_partitions(const struct block *block, struct strv *ret, struct err *err)
{
	for (int number = 1; number <= PARTITIONS_MAX; number++) {
		char path[64];
		dev_t dev;
		if (!find_partition(block, number, &dev))
			continue;
		(void) snprintf(path, sizeof path, "%sp%d", block->path, number);
		/* The kernel's own /dev has it by now; another one gets it here. */
		if (access(path, F_OK) < 0)
			(void) mknod(path, S_IFBLK | 0660, dev);
		int r = strv_add(ret, path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void add_entry(const struct block *block, blkid_partition one, uint64_t size)
{
	int number = blkid_partition_get_partno(one);
	blkid_loff_t start = blkid_partition_get_start(one), sectors = blkid_partition_get_size(one);
	if (number < 1 || number > PARTITIONS_MAX || start < 0 || sectors <= 0 ||
	    (uint64_t)start >= size / SECTOR)
		return;
	uint64_t len = (uint64_t)sectors, room = size / SECTOR - (uint64_t)start;
	if (len > room)
		len = room; /* as the kernel does: a disk that was cut still shows what is left */
	uint64_t bytes = len * SECTOR;
	if (blkid_partition_is_extended(one) && bytes > EXTENDED_SIZE)
		bytes = EXTENDED_SIZE;
	/* One that overlaps another is refused: as it should be. */
	(void) change_partition(block, BLKPG_ADD_PARTITION, number, (uint64_t)start * SECTOR, bytes);
}

/* Extended ones last: a logical one may begin in their second sector, and is worth more than they are. */
static void add_from_table(const struct block *block, blkid_partlist table, uint64_t size)
{
	int n = blkid_partlist_numof_partitions(table);
	for (int extended = 0; extended < 2; extended++) {
		for (int i = 0; i < n && i < PARTITIONS_MAX; i++) {
			blkid_partition one = blkid_partlist_get_partition(table, i);
			if (one && blkid_partition_is_extended(one) == extended)
				add_entry(block, one, size);
		}
	}
}

static void scan(const struct block *block)
{
	uint64_t size = size_of(block);
	blkid_probe probe = size ? blkid_new_probe() : NULL;
	if (!probe)
		return;
	if (blkid_probe_set_device(probe, block->fd, 0, (blkid_loff_t)size) == 0 &&
	    blkid_probe_enable_superblocks(probe, 0) == 0 &&
	    blkid_probe_enable_partitions(probe, 1) == 0) {
		blkid_partlist table = blkid_probe_get_partitions(probe);
		if (table)
			add_from_table(block, table, size);
	}
	blkid_free_probe(probe);
}

int block_add_partitions(int fd, const char *path, struct strv *ret, struct err *err)
{
	const struct block block = { fd, path, path + strlen("/dev/") };
	remove_what_lies_outside(&block);
	int r = list_partitions(&block, ret, err);
	if (r < 0 || ret->n)
		return r;
	scan(&block);
	return list_partitions(&block, ret, err);
}
