/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/pbs.h"
#include "util/err.h"

/*
 * Tickets of earlier log-ins, so that not every command asks for a password: the reference client's file
 * "tickets" in $XDG_RUNTIME_DIR, {"HOST":{"USER@REALM":{"ticket","timestamp","token"}}}.
 *
 * Never for API tokens: they have none.
 *
 * @host:  without port, an IPv6 address in brackets
 *
 * Errors:  whatever is wrong with the cache is no reason for a command to fail: go on without it
 */

/* 1 = one that is good for some minutes more, 0 = none.  -EPERM others may read it; -EBADMSG; -errno */
int tickets_load(const char *host, const char *user, struct pbs_ticket *ret, struct err *err) MUST_CHECK;

/* In the place of an older one.  Expired ones go; a cache that is broken, or was open to others, is begun anew. */
int tickets_save(const char *host, const char *user, const struct pbs_ticket *ticket, struct err *err) MUST_CHECK;

/* The server would not have it any more. */
int tickets_forget(const char *host, const char *user, struct err *err) MUST_CHECK;
