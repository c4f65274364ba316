/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "export/nbd_handshake.h"
#include "image/image.h"
#include "net/tls_server.h"
#include "util/strv.h"

/*
 * Images shown to NBD clients that come over sockets.  One thread of its own does it all: no client, and no
 * read, has one for itself.  Needs no rights: the sockets are made by somebody else.
 */
struct nbd_server;

struct nbd_server_options {
	struct nbd_offer offer;	   /* lent, with all in it; each export has an image */
	struct tls_server *tls;	   /* lent; NULL = none, else offer.needs_tls */
	const int *listen_fds;	   /* stream sockets that listen; taken on success */
	size_t n_listen_fds;
	int64_t timeout_ms;	   /* deadline of one read; 0 = none */
	int64_t idle_ms;	   /* it ends when there was no client for so long, while it served; 0 = never */
	int64_t handshake_ms;	   /* until a client has to know what it wants; 0 = default */
	int64_t send_ms;	   /* that a client takes none of what it asked for; 0 = default */
	size_t held_bytes;	   /* of chunks, for all clients that take nothing now; 0 = default */
};

/* Serves at once; with sockets that listen, from nbd_server_listen() on: until then clients wait in them. */
int nbd_server_open(const struct nbd_server_options *options, struct nbd_server **ret,
		    struct err *err) MUST_CHECK;

/* Its thread has what rights the caller has now. */
int nbd_server_listen(struct nbd_server *server, struct err *err) MUST_CHECK;

/* A client that is connected already; taken. */
int nbd_server_add_client(struct nbd_server *server, int take_fd, struct err *err) MUST_CHECK;

/* The same of one that has chosen the first export and begins with a request, in the simple style: the kernel. */
int nbd_server_add_session(struct nbd_server *server, int take_fd, struct err *err) MUST_CHECK;

/* Becomes readable (POLLIN) when has_ended or the users may be others; read it to clear. */
int nbd_server_event_fd(const struct nbd_server *server);

/* Nobody can ask any more: it was told to end and the last client has left, or the idle limit is over. */
bool nbd_server_has_ended(struct nbd_server *server);

/* Clients that have chosen an export. */
unsigned nbd_server_n_users(struct nbd_server *server);

/* "process 123 (qemu-img)" once, however many connections it has; "192.0.2.1:4711"; sorted. */
int nbd_server_users(struct nbd_server *server, struct strv *ret, struct err *err);

/* No new client from now on; it ends when the last one leaves. */
void nbd_server_end(struct nbd_server *server);

/* Hangs up on everybody; waits until the images let go of all reads. */
void nbd_server_close(struct nbd_server *server);
