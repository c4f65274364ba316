/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"

#define LOOP_MARK "pbsmap:" /* how lo_file_name of our devices begins */

/*
 * A read-only loop device over a descriptor.  It exists as long as @fd is open or somebody uses
 * it: the kernel takes it away at the last close, also after kill -9.
 */
struct loop {
	int fd;		/* the device, O_RDONLY; -EBADF = none */
	unsigned number;
	char path[32];	/* "/dev/loop12" */
	dev_t dev;
};

#define LOOP_NONE ((struct loop){ .fd = -EBADF })

/**
 * loop_attach - a free loop device that shows @backing_fd
 *
 * @mark:  behind LOOP_MARK in lo_file_name, cut to fit in 64 bytes with the NUL
 *
 * Read-only, auto-clear, partition scan, direct I/O, 512-byte logical blocks.
 *
 * Errors:  -EPERM, -EACCES not root; -ENODEV no loop driver (the message says modprobe);
 *          -ENOSPC no free device and none can be made
 */
int loop_attach(int backing_fd, const char *mark, struct loop *ret, struct err *err) MUST_CHECK;

/* Let go.  Somebody who still has it open keeps it until the last close. */
void loop_detach(struct loop *loop);

/* Is /dev/loop@number ours; ret_mark (64 bytes) gets what is behind LOOP_MARK. */
bool loop_is_ours(unsigned number, char *ret_mark);
