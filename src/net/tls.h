/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "crypto/sha256.h"
#include "util/err.h"

/* Which certificate a server may show. */
struct tls_trust {
	bool is_pinned; /* exactly this one, whoever else vouches for it */
	bool is_known;	/* this one, or one that an authority of this machine vouches for */
	uint8_t fingerprint[DIGEST_SIZE]; /* SHA-256 of the certificate, for both */
};

enum tls_verdict {
	TLS_NOT_SEEN,	/* it did not come so far */
	TLS_TRUSTED,
	TLS_UNKNOWN,	/* nothing vouches for it */
	TLS_CHANGED,	/* it is not the one that is pinned or known */
};

/* One connection's look at the server's certificate; outlives the connection. */
struct tls_check {
	const struct tls_trust *trust; /* lent */
	enum tls_verdict verdict;
	uint8_t seen[DIGEST_SIZE];
	unsigned n_messages; /* of TLS itself, that came */
};

/**
 * tls_check_install - let @check decide about the certificate of a connection to come
 *
 * @ssl_ctx:  an SSL_CTX, set up for a client
 * @host:     a name, an address, or an IPv6 address in brackets: what the certificate must be for
 *
 * Errors:  -ENOMEM, -EINVAL
 */
int tls_check_install(void *ssl_ctx, const char *host, struct tls_check *check,
		      struct err *err) MUST_CHECK;

/*
 * For who reads until there is nothing more: one system call brings many records.  Others would wait for
 * bytes that are here already.
 */
void tls_read_ahead(void *ssl_ctx);
