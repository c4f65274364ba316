/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <curl/curl.h>
#include <stdint.h>

#include "net/tls.h"
#include "util/deadline.h"
#include "util/err.h"

/*
 * How a server is reached: TCP, a proxy where the environment names one, TLS.  A link belongs to one
 * thread; what it leads to is opened by http.h and tunnel.h.
 */
struct link {
	const char *host; /* as in a repository string: an IPv6 address in brackets; lent */
	uint16_t port;
	int stop_fd;	  /* readable: give up, -ECANCELED; -EBADF = none; lent */
	struct tls_check check; /* of the last handshake */
	size_t head_len;	/* bytes of the headers that came so far */
	char words[CURL_ERROR_SIZE]; /* of the library, about the last failure */
};

enum link_use { LINK_HTTP, LINK_TUNNEL };

/* A curl handle for this link, with the options that all have in common; NULL = no memory. */
CURL *link_handle(struct link *link, enum link_use use);

/**
 * link_perform - run @easy to its end
 *
 * Errors:  -EHOSTUNREACH no such host, -ECONNREFUSED and what else connect() says; -ETIMEDOUT;
 *          -EACCES the certificate: see link->check; -EPROTO no TLS, no HTTP, too much of it;
 *          -ECONNRESET; -ECANCELED
 */
int link_perform(struct link *link, CURLM *multi, CURL *easy, struct deadline until,
		 struct err *err) MUST_CHECK;
