/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/strv.h"

/**
 * block_add_partitions - the partition nodes /dev/loopNpM, /dev/nbdNpM, by kernel scan or by BLKPG
 *
 * @fd, @path:  the device, "/dev/loop3"
 * @ret:        their paths in order, none when there is no partition table.  They exist by now
 *
 * An unreadable or broken partition table is no failure: there are none.
 */
int block_add_partitions(int fd, const char *path, struct strv *ret, struct err *err) MUST_CHECK;
