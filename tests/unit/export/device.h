/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "export/loop.h"

/* An empty file without a name. */
int device_file(uint64_t size);

/*
 * loop_attach(), which must work; where this system has no loop devices for us the test is skipped with
 * the reason.  However the process ends, the device goes with it: auto-clear.
 */
struct loop device_attach(int backing_fd, const char *mark);

/* Skips the test the same way: for one that attaches in a child. */
void device_needed(int backing_fd);

/* A loop device that somebody else has made, showing this name; auto-clear as well. */
struct loop device_of_others(int backing_fd, const char *name);

/* A mark that no other process has. */
const char *device_mark(void);

/* Waits until no device has this mark. */
void device_await_end(const struct loop *loop, const char *mark);
