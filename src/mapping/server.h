/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "mapping/registry.h"
#include "mapping/served.h"

/* The main thread of a mapping's process: signals, control socket, end of the mapping. */
struct server {
	struct served served;
	struct registry registry;
	char socket_name[SOCKET_NAME_SIZE];
	int listen_fd, signal_fd;
	uid_t owner;	   /* who started it; only this user and root are answered */
	int clients[64];   /* waiting for the end of this process: that closes their connection */
	size_t n_clients;
	bool is_forced;
};

/* Calls server_deinit() in any case. */
void server_init(struct server *server);
void server_deinit(struct server *server);

/*
 * Choose a name that nobody has and listen: from now on commands find this mapping.
 *
 * @name:  NULL = made from what is shown, "#2" behind it when that is taken
 *
 * Errors:  -EEXIST @name is taken
 */
int server_register(struct server *server, const char *name, struct err *err) MUST_CHECK;

/* From now on SIGTERM, SIGINT and SIGHUP are read by server_run(). */
int server_block_signals(struct server *server, struct err *err) MUST_CHECK;

/*
 * Until nobody uses the mapping any more.  When it was forced, something may hang: then the process just
 * ends, without server_deinit().
 */
void server_run(struct server *server);
