/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/pbs_session.h"

/*
 * Chunks of a backup server: fetches wait in one queue, and each connection, with a thread of its own, takes
 * from it what it can have under way.
 */
struct pbs_chunks;

#define PBS_CONNECTIONS_MAX 16

/* @source is told of news; it and @reader are lent.  No thread is started before the first fetch. */
int pbs_chunks_new(struct source *source, const struct pbs_reader *reader, unsigned n_connections,
		   struct pbs_chunks **ret, struct err *err) MUST_CHECK;

/* Every fetch was answered. */
void pbs_chunks_free(struct pbs_chunks *chunks);

/* The session of set-up, until the first fetch. */
struct pbs_session *pbs_chunks_session(struct pbs_chunks *chunks);

/* As source_fetch() and its like. */
void pbs_chunks_fetch(struct pbs_chunks *chunks, struct fetch *fetch);
void pbs_chunks_raise(struct pbs_chunks *chunks, struct fetch *fetch, enum priority priority);
void pbs_chunks_shutdown(struct pbs_chunks *chunks);
void pbs_chunks_health(struct pbs_chunks *chunks, struct source_health *ret);
