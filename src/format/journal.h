/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The journal of a file system, where mounting it read-only means to replay that first. */
struct journal {
	const char *fs;	    /* "ext4" */
	const char *option; /* of mount(8), to leave it alone: "noload" */
	bool is_perhaps;    /* the start of this kind does not tell whether there is anything to replay */
};

#define JOURNAL_START ((size_t)(64 << 10) + 104) /* bytes, in which all that is looked at lies */

/**
 * journal_find - a file system that cannot be mounted from a read-only device just so
 *
 * @start, @len:  its first bytes, JOURNAL_START or as many as there are
 * @ret:          written where there is one; its texts are constants
 *
 * Returns: false: nothing to replay, none of the kinds that are known, or not enough bytes
 * Threads: pure
 * Source:  Linux: Documentation/filesystems/ext4/super.rst, fs/xfs/libxfs/xfs_format.h,
 *          include/uapi/linux/btrfs_tree.h
 */
bool journal_find(const uint8_t *start, size_t len, struct journal *ret);
