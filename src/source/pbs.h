/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "crypto/sha256.h"
#include "format/pbs_repository.h"
#include "source/source.h"
#include "util/secret.h"

/* A ticket of a log-in, good for two hours. */
struct pbs_ticket {
	struct secret ticket, csrf; /* text */
	int64_t since;		    /* epoch seconds */
};

#define PBS_TICKET_NONE ((struct pbs_ticket){ .ticket = SECRET_EMPTY, .csrf = SECRET_EMPTY })
void pbs_ticket_deinit(struct pbs_ticket *ticket);

/* What only this machine and its user can tell.  Called during set-up, on the caller's thread. */
struct pbs_guide {
	/* A password, or the secret of an API token.  -EACCES there is none to be had; -EINTR */
	int (*password)(void *user, struct secret *ret, struct err *err);
	bool is_typed; /* password() asks a person, who is not asked for the sake of a server nobody knows */
	/* Nothing vouches for this certificate: 0 = the user does; -EACCES */
	int (*unknown_certificate)(void *user, const uint8_t fingerprint[static DIGEST_SIZE],
				   struct err *err);
	/* A log-in gave this one: to be kept for the next command. */
	void (*new_ticket)(void *user, const struct pbs_ticket *ticket);
	void (*free)(void *user); /* once, when it is not needed any more: by source_close(), or at a failure */
	void *user;
};

struct pbs_options {
	const struct pbs_repository *repository; /* copied */
	struct pbs_guide guide;			 /* taken, whatever comes of it */
	struct pbs_ticket take_ticket; /* of an earlier log-in; PBS_TICKET_NONE */
	/* SHA-256 of the server's certificate. */
	bool is_pinned;	/* the user named it: it must be this one, whatever else vouches for it */
	bool is_known;	/* the user confirmed it once: good where no authority vouches for it */
	uint8_t fingerprint[DIGEST_SIZE];
	unsigned n_connections; /* 0 = 1 */
	int64_t timeout_ms;	/* of one answer during set-up; 0 = a minute */
};

/**
 * source_pbs_open - a datastore of a backup server
 *
 * Logs in.  Set-up calls run on the caller's thread; the first fetch starts one thread for each
 * connection, which makes it again whenever it is lost.  A fetch that somebody waits for waits
 * meanwhile, until source_shutdown(); others fail with -ECANCELED.
 *
 * Errors:  -EACCES  password, token, certificate; -ECONNREFUSED, -EHOSTUNREACH and the like;
 *          -ETIMEDOUT; -EPROTO the other end is no backup server; -EINTR the user ended it
 */
int source_pbs_open(struct pbs_options *options, struct source **ret, struct err *err) MUST_CHECK;
