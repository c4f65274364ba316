/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>

#include "net/http.h"
#include "net/link.h"
#include "net/tunnel.h"
#include "source/pbs.h"

/*
 * Whom a source talks to and who it is there: what every connection needs, the first one and the one
 * after the server was lost.
 */
struct pbs_server {
	struct pbs_repository repository;
	char name[PBS_REPOSITORY_TEXT_SIZE];
	struct tls_trust trust; /* settled when set-up ends */
	int stop_fd;		/* an eventfd; readable = give up whatever waits */
	int64_t timeout_ms;	/* of one answer outside of the stream of chunks */

	/* Set-up only: one thread, which may be asked. */
	struct pbs_guide guide;
	bool has_guide;
	struct link link;
	struct http *http;

	pthread_mutex_t lock; /* guards all below */
	struct secret secret; /* password, or the token's; none = not known */
	struct pbs_ticket ticket;
};

/* Takes guide and ticket of @options, whatever comes of it. */
int pbs_server_init(struct pbs_server *server, struct pbs_options *options, struct err *err) MUST_CHECK;
void pbs_server_deinit(struct pbs_server *server);

/* Whoever waits for the server gives up, now and later, until it goes on: with nobody left who was to stop. */
void pbs_server_stop(struct pbs_server *server);
void pbs_server_go_on(struct pbs_server *server);

/* From here on nobody is asked for anything. */
void pbs_server_end_set_up(struct pbs_server *server);

/* A link of the caller's own. */
struct link pbs_server_link(const struct pbs_server *server);

/* tunnel_open(); during set-up the user is asked once about a certificate nothing vouches for. */
int pbs_server_connect(struct pbs_server *server, struct link *link, struct tunnel **ret, struct err *err) MUST_CHECK;

/**
 * pbs_server_credential - the header line that says who asks
 *
 * Logs in when there is no ticket that is good for a while.
 *
 * Errors:  -EACCES, those of http_call()
 */
int pbs_server_credential(struct pbs_server *server, struct link *link, struct secret *ret,
			  struct err *err) MUST_CHECK;

/* The server did not like the ticket: true = there is a way to another one, it is worth another try. */
bool pbs_server_drop_ticket(struct pbs_server *server);

/* When a ticket that nothing can replace wants to be renewed. */
struct deadline pbs_server_renew_at(struct pbs_server *server);
int pbs_server_renew(struct pbs_server *server, struct link *link, struct err *err) MUST_CHECK;

/**
 * pbs_server_get - the whole answer of a call; set-up only
 *
 * @target:   "/api2/json/admin/…", encoded
 * @max_len:  bytes
 *
 * Errors:  those of http_call(), and what the status says
 */
int pbs_server_get(struct pbs_server *server, const char *target, size_t max_len,
		   struct http_answer *ret, struct err *err) MUST_CHECK;
