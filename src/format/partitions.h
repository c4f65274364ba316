/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* Where the partitions of a disk are: GPT, or MBR with logical ones.  Sectors of 512 bytes. */
struct partition {
	unsigned number; /* as in /dev/sda3 */
	uint64_t off, len; /* bytes; inside the disk */
};

#define PARTITIONS_MAX 255u /* more of them are passed over, as the kernel does */

struct partition_list {
	struct partition items[PARTITIONS_MAX];
	size_t n;
};

/* A disk to look at. */
struct partition_disk {
	uint64_t size; /* bytes */
	/* @off and @len lie inside the disk. */
	int (*read)(void *user, uint64_t off, void *buf, size_t len, struct err *err);
	void *user;
};

/**
 * partitions_find - the partitions a table names, in order of their numbers
 *
 * A partition that does not begin on the disk is left out, one that ends behind it is cut; the one that holds the
 * logical ones is left out as well.  No table, or a broken one: there are none.
 *
 * Errors:  those of disk->read: then there may be one
 * Threads: pure, but for what disk->read does
 * Source:  UEFI specification 2.10, chapter 5: "GUID Partition Table (GPT) Disk Layout", with the legacy MBR
 */
int partitions_find(const struct partition_disk *disk, struct partition_list *ret, struct err *err) MUST_CHECK;
