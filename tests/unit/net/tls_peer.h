/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypto/sha256.h"

/*
 * A server on a port of 127.0.0.1, with a thread for each connection and a certificate made for the occasion:
 * its own, or one that the test's authority vouches for.
 */
struct tls_peer;

struct tls_conn {
	struct tls_peer *server;
	int fd;
	SSL *ssl; /* NULL = without TLS */
	void *user;
};

enum tls_issuer { ISSUER_SELF, ISSUER_AUTHORITY };

struct tls_peer_options {
	enum tls_issuer issuer;
	const char *names; /* subjectAltName: "DNS:localhost,IP:127.0.0.1" */
	bool is_expired;
	bool is_plain;	   /* no TLS: serve() gets the connection as it is */
	void (*serve)(struct tls_conn *conn); /* the connection ends when it returns */
	void *user;
};

/* SIGPIPE is the test's to ignore. */
struct tls_peer *tls_peer_start(const struct tls_peer_options *options);
/* Connections are cut, and their threads joined. */
void tls_peer_stop(struct tls_peer *server);

/* Those there are now; new ones are taken. */
void tls_peer_cut(struct tls_peer *server);
/* New ones are cut at once, before the handshake, until it is told otherwise. */
void tls_peer_refuse(struct tls_peer *server, bool is_refusing);

uint16_t tls_peer_port(const struct tls_peer *server);
const uint8_t *tls_peer_fingerprint(const struct tls_peer *server);
/* How many were accepted. */
unsigned tls_peer_n_accepted(struct tls_peer *server);

/* The test authority's certificate is written to @path: for SSL_CERT_FILE. */
void tls_authority_write(const char *path);
/* A new certificate, of which only issuer, names (NULL = none) and is_expired are looked at, and its key. */
void tls_certificate_write(const struct tls_peer_options *options, const char *cert_path, const char *key_path);

/* -1 = the end.  All of @len, or false. */
int tls_conn_read(struct tls_conn *conn, void *to, size_t len);
bool tls_conn_write(struct tls_conn *conn, const void *data, size_t len);
/* A request's head with its blank line, and of its body what @content-length says; false = the end. */
bool tls_conn_read_request(struct tls_conn *conn, char *ret, size_t len);
