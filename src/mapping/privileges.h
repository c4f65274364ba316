/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"

/**
 * privileges_begin - what no thread may have; call it before there are threads
 *
 * @uid:  whom privileges_drop() will become
 *
 * Afterwards: no new privileges; where it stays root, no capabilities: they belong to each thread alone.
 */
int privileges_begin(uid_t uid, struct err *err) MUST_CHECK;

/* Of root's capabilities only these; for a process without threads.  @capabilities: 1 << CAP_... */
int privileges_keep(uint64_t capabilities, struct err *err) MUST_CHECK;

/* Who serves a mapping of a server's, which belongs to nobody here; not root, where we are root. */
void privileges_service_user(uid_t *ret_uid, gid_t *ret_gid);

enum privileges_need {
	PRIVILEGES_LOCAL,
	PRIVILEGES_REMOTE, /* names are looked up, and connections made */
};

/**
 * privileges_drop - what a process that only reads chunks and answers does not need
 *
 * @uid, @gid:  whom to become, where this process is root: who may read the chunks
 *
 * Afterwards: no other identity, no capabilities, no core dump, not to be traced by others, only the system calls
 * that serving needs, and no file opened for writing.
 */
int privileges_drop(uid_t uid, gid_t gid, enum privileges_need need, struct err *err) MUST_CHECK;
