/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/pbs.h"
#include "source/source.h"

/*
 * What a backup server answers to the calls of its API: JSON text in, the lists of source/source.h out.
 *
 * A list is read one row at a time, so that its values never are in memory together; what is made of it is.
 * Names out of grammar are left out, as they are of a directory's lists; a row without what it has to have
 * is the server's mistake, and the list's end.  Members nobody here knows are passed over.
 *
 * Errors:  -EPROTO    no such answer, or not JSON
 *          -EMSGSIZE  more than PBS_LIST_MAX
 *          -ENOMEM
 * Threads: pure
 */

/* Rows of a list, with the files of snapshots: each takes 300 bytes here.  The text is the caller's to bound. */
#define PBS_LIST_MAX 1000000u

/* "namespace": sorted as a directory's, parents first; without the parent of all that was asked for, "". */
int pbs_answer_namespaces(const char *text, size_t len, struct strv *ret, struct err *err) MUST_CHECK;

/*
 * "groups".  The server tells only what the newest snapshot has in it.  If that one is finished, all is
 * known; if not, @has_finished is false and @last_time its own, which is right where there is no other one.
 * A group without snapshots is not in the answer.
 */
int pbs_answer_groups(const char *text, size_t len, struct group_list *ret, struct err *err) MUST_CHECK;

/* Which snapshot is the newest finished one, only the list of the group's snapshots can tell. */
bool pbs_group_is_open(const struct group_info *info);
void pbs_group_settle(struct group_info *info, const struct snapshot_list *snapshots);

/*
 * "snapshots".  Finished is one whose manifest is listed with its size: the server lists one whose manifest it
 * cannot read like an unfinished one.  Sizes are those of the manifest, for an image or archive what is in
 * it; 0 where the server tells none.  Files are sorted by name; of a name listed twice one is kept.
 */
int pbs_answer_snapshots(const char *text, size_t len, struct snapshot_list *ret, struct err *err) MUST_CHECK;

/**
 * pbs_answer_ticket - what a log-in gave
 *
 * @text:  the caller's, to be wiped; no copy of its secrets is left in other memory
 * @now:   epoch seconds
 * @ret:   written on success only
 *
 * Errors:  -EACCES  the account wants a second factor
 *          -EPROTO  no ticket
 */
int pbs_answer_ticket(const char *text, size_t len, int64_t now, struct pbs_ticket *ret,
		      struct err *err) MUST_CHECK;
