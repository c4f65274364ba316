/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

#include "util/err.h"
#include "util/strv.h"

enum holders_flags { HOLDERS_OF_DEVICE = 1, HOLDERS_CLOSELY = 2 };

/*
 * What is asked about one mapping.
 *
 * @path:  "/dev/loop3", or the mount point of --via file
 * @flags:  HOLDERS_OF_DEVICE  @path is a block device, not a mount point
 *          HOLDERS_CLOSELY    as one must know before it is taken away: also who has it only mapped into
 *                             memory, and whether the kernel would give it to nobody else
 * @own:   processes that serve it
 * @ret:   one line each, fit for people: "mounted on /mnt", "process 123 (dd)",
 *         "used by /dev/dm-0", "swap"; sorted, nothing twice
 */
struct holders_query {
	const char *path;
	enum holders_flags flags;
	pid_t own[2];
	struct strv *ret;
};

/**
 * holders_find - who uses block devices, their partitions, or file systems mounted from a path
 *
 * @queries, @n:  of different devices and paths; all processes are looked at once for all of them
 *
 * Looks at /sys/block/N/holders, /proc/N/mountinfo, /proc/N/fd, cwd, root and exe, /proc/swaps, and loop devices
 * stacked on it, also for its partitions.  Without the right to look into a process, that process is not seen.
 */
int holders_find(const struct holders_query *queries, size_t n, struct err *err) MUST_CHECK;

/*
 * Every mount of the device or of one of its partitions in our mount namespace is taken out of the
 * mount table; whoever has a file of it open keeps that.
 */
int holders_detach_mounts(const char *device, struct err *err) MUST_CHECK;
