/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/h2.h"
#include "net/tunnel.h"
#include "source/pbs_server.h"

/* What a refusal says, as much of it as people read. */
struct pbs_text {
	char data[400];
	size_t len;
};

/* -EMSGSIZE: the rest is not wanted. */
int pbs_text_add(struct pbs_text *text, const uint8_t *data, size_t len);

/* An index that was opened: a new session must open it as well before the server gives its chunks. */
struct pbs_index {
	char name[ARCHIVE_NAME_SIZE];
	uint8_t csum[DIGEST_SIZE]; /* of the whole file: it must not have changed */
};

#define PBS_INDEXES_MAX 64 /* more than a machine has disks */

/* What a session is about; the same for all connections of a source. */
struct pbs_reader {
	struct pbs_server *server; /* lent */
	char ns[NAMESPACE_MAX + 1];
	struct snapshot snapshot;
	struct pbs_index indexes[PBS_INDEXES_MAX];
	size_t n_indexes;
};

/*
 * A reader session: the connection to the server that keeps the snapshot from being removed and gives its
 * chunks.  One thread at a time; the set-up's first, then the one that fetches.
 */
struct pbs_session {
	const struct pbs_reader *reader; /* lent */
	struct link link;
	struct tunnel *tunnel; /* NULL = not connected */
	struct h2 *h2;
	uint8_t *input;
	int64_t ping_after_ms; /* without a byte, while something is asked for; lost after twice that */
	int64_t heard_ns;
	int64_t slept_ns; /* what the clocks differed by when it was heard of last */
	bool is_pinged;
	bool has_more;	 /* bytes were left where they are */
};

void pbs_session_init(struct pbs_session *session, const struct pbs_reader *reader);
void pbs_session_deinit(struct pbs_session *session);
bool pbs_session_is_open(const struct pbs_session *session);

/**
 * pbs_session_open - connect, log in, become a reader, open the indexes again
 *
 * Errors:  -EACCES; -ENOENT, -EBUSY, … as the server puts it; -EBADMSG an index is another one now;
 *          those of link_perform()
 */
int pbs_session_open(struct pbs_session *session, struct err *err) MUST_CHECK;

/* Requests under way end with H2_LOST. */
void pbs_session_close(struct pbs_session *session);

/* @target: "/chunk?digest=…".  As h2_submit(). */
int pbs_session_ask(struct pbs_session *session, struct h2_request *request, const char *target,
		    struct err *err) MUST_CHECK;

/**
 * pbs_session_turn - send what is to be sent, wait, take what came
 *
 * @wake_fd:  an eventfd that ends the wait and is taken back; -EBADF = none
 *
 * Errors:  the session is of no use any more: -ECONNRESET, -ETIMEDOUT, -EPROTO; -ECANCELED stopped
 */
int pbs_session_turn(struct pbs_session *session, int wake_fd, struct deadline until,
		     struct err *err) MUST_CHECK;

/* Where the bytes of a file go.  Negative: enough. */
struct pbs_sink {
	int (*take)(void *user, const uint8_t *data, size_t len, struct err *err);
	void *user;
	uint64_t max_len;
};

/**
 * pbs_session_download - a file of the snapshot, waiting for it
 *
 * Errors:  -ENOENT; -EBADMSG longer than @sink->max_len; what take() says; those of pbs_session_turn()
 */
int pbs_session_download(struct pbs_session *session, const char *name, const struct pbs_sink *sink,
			 struct err *err) MUST_CHECK;

