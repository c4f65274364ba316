/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

#include "util/err.h"

/**
 * privileges_drop - what a process that only reads chunks and answers does not need
 *
 * @uid, @gid:  whom to become, where this process is root: who may read the chunks
 *
 * Afterwards: no other identity, no capabilities, no new privileges, no core dump, not to be traced by
 * others, and only the system calls that serving needs.
 */
int privileges_drop(uid_t uid, gid_t gid, struct err *err) MUST_CHECK;
