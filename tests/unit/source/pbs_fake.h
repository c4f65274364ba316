/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "net/tls_peer.h"
#include "source/pbs_server.h"

/*
 * A backup server of a test's own: a port of 127.0.0.1 that speaks the reader protocol and does what the test
 * says.  It has every chunk whose digest is 32 times one byte, and files put there.
 */
struct pbs_fake;

struct pbs_fake *pbs_fake_start(void);
void pbs_fake_stop(struct pbs_fake *fake);

/* To be cut and refused. */
struct tls_peer *pbs_fake_server(struct pbs_fake *fake);

/* "u@pam!t", or "u@pam" where @with_ticket; it trusts the fake, and its secret is "secret". */
void pbs_fake_options(struct pbs_fake *fake, bool with_ticket, struct pbs_repository *repository,
		      struct pbs_options *ret);

/* -- what it does -- */

enum fake_act {
	FAKE_GOOD,
	FAKE_HOLD,   /* answers when it is good again */
	FAKE_REFUSE, /* REFUSED_STREAM */
	FAKE_RESET,  /* in the middle of the answer */
	FAKE_STATUS, /* that status, with a text */
	FAKE_LENGTH, /* as many bytes; their number is not announced */
	FAKE_ANNOUNCED, /* and is */
	FAKE_STALL,	/* as many bytes, and neither more of them nor an end */
};

struct fake_script {
	enum fake_act act;
	unsigned n_times; /* then it is good again; 0 = always */
	int status;
	const char *text;
	size_t len;
};

/* For chunk @n; -1 = all of them. */
void pbs_fake_script(struct pbs_fake *fake, int n, const struct fake_script *script);
#define SCRIPT(fake, n, ...) pbs_fake_script(fake, n, &(const struct fake_script){ __VA_ARGS__ })

void pbs_fake_put_file(struct pbs_fake *fake, const char *name, const void *data, size_t len);
/* The answer to who wants to read; 0 = it may; -1 = no answer. */
void pbs_fake_upgrade(struct pbs_fake *fake, int status, const char *text);
/* How many requests may be under way; of connections to come. */
void pbs_fake_limit(struct pbs_fake *fake, unsigned n);
/* The connections there are now do not even read. */
void pbs_fake_freeze(struct pbs_fake *fake);
/* They end when what came so far but for the last @n_refused requests is answered. */
void pbs_fake_go_away(struct pbs_fake *fake, int n_refused);

/* -- what it saw -- */

struct fake_seen {
	unsigned n_readers;	/* connections that became readers */
	unsigned n_logins;
	unsigned n_chunks;	/* requests for chunks */
	unsigned n_asked[256];	/* of each */
	unsigned n_downloads;
	uint8_t order[4096];	/* of the chunks asked for */
	unsigned n_on[16];	/* chunks asked for, by connection that became a reader */
	char upgrade[1000];	/* the last request to read */
	char login[1000];	/* the last request for a ticket */
};

void pbs_fake_seen(struct pbs_fake *fake, struct fake_seen *ret);

#define FAKE_LEN(n) (1000 + (size_t)(n)) /* of chunk @n */
uint8_t pbs_fake_byte(unsigned n, size_t at);
