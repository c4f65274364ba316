/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util/err.h"

/* TLS 1.2 and 1.3 for clients that come to us: by certificates, or by keys that both sides have. */
struct tls_server;

struct tls_server_options {
	const char *certificates; /* a directory with server-cert.pem and server-key.pem; where ca-cert.pem is
				     there as well, a client needs a certificate of that authority, and none in
				     ca-crl.pem.  NULL = none */
	const char *psk_file;	  /* lines of NAME:KEY, the key in hex digits; NULL = none.  With both, a client needs
				     one of them */
};

/*
 * Reads all there is to read; afterwards no file is needed.
 *
 * Errors:  -EINVAL a file is none of its kind, or neither is given; -ENOENT, -EACCES; -ENOMEM
 */
int tls_server_open(const struct tls_server_options *options, struct tls_server **ret,
		    struct err *err) MUST_CHECK;
/* After all its sessions are closed. */
void tls_server_close(struct tls_server *server);

/* One connection, on one thread, its socket lent and not blocking. */
struct tls_session;

struct tls_session *tls_session_new(struct tls_server *server, int fd); /* NULL = no memory */
void tls_session_free(struct tls_session *session); /* says goodbye, if that can be said at once */

/* 1 = TLS has begun; 0 = more has to come, or to be sent where *ret_must_send; -EPROTO, -ECONNRESET: it is over. */
int tls_session_begin(struct tls_session *session, bool *ret_must_send) MUST_CHECK;

/* Like recv() and sendmsg(): bytes, 0 = closed, -EAGAIN, -ECONNRESET.  What was not sent is given again. */
ssize_t tls_session_receive(struct tls_session *session, void *buf, size_t len) MUST_CHECK;
ssize_t tls_session_send(struct tls_session *session, const struct iovec *iov, int n) MUST_CHECK;
