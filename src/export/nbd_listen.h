/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/err.h"

/* Sockets that NBD clients come to.  They may take rights that a server does not keep. */

/* A unix socket in the file system; who made it removes it. */
struct nbd_path {
	char *path; /* absolute; NULL = none */
	dev_t dev;  /* which file it is: another one of that name is not ours */
	ino_t ino;
};

#define NBD_PATH_NONE ((struct nbd_path){ 0 })

/*
 * Can clients come to a socket at @path?  They name it by a path of so many bytes, however it was made.
 *
 * Errors:  -EINVAL it is too long, or nothing at all
 * Source:  unix(7), sun_path
 */
#define NBD_SOCKET_PATH_MAX 107u
int nbd_path_check(const char *path, struct err *err) MUST_CHECK;

/**
 * nbd_listen_path - a socket at @path, for its owner only
 *
 * A socket of ours that nobody has any more is replaced; of two who do so at once, one fails.
 *
 * @ret_fd:  listens
 *
 * Threads: sets the process's file mode mask for a moment: call it before there are any
 * Errors:  those of nbd_path_check(); -EEXIST something else is there, or somebody has it; -ENOENT, -EACCES, …
 */
int nbd_listen_path(const char *path, struct nbd_path *ret, int *ret_fd, struct err *err) MUST_CHECK;

/* Removes the socket, if it is still there. */
void nbd_path_remove(struct nbd_path *path);

/* Removes what those who are to remove it have left, because they were killed.  -EEXIST: as nbd_listen_path(). */
int nbd_path_clean(const char *path, struct err *err);

/* Is @address written as one?  -EINVAL: no. */
int nbd_address_check(const char *address, struct err *err) MUST_CHECK;

/**
 * nbd_listen_address - TCP
 *
 * @address:  "10809" or "localhost:10809": this machine only; "192.0.2.1:10809", "[2001:db8::1]:10809",
 *            "host:10809"; "*:10809": all addresses.  Port 0: a free one
 *
 * Errors:  -EINVAL no address; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, …
 */
int nbd_listen_address(const char *address, int *ret_fd, struct err *err) MUST_CHECK;

/* Can other machines come to it? */
bool nbd_is_for_others(int fd);

/**
 * nbd_uri_add - how a client names what @fd leads to, put behind what @to has
 *
 * @fd:      a stream socket that listens
 * @path:    of a unix socket; NULL: as the socket knows it
 * @export:  "" = the default one
 *
 * Errors:  -EINVAL it is no such socket; -ENOMEM
 * Source:  the NBD project's doc/uri.md
 */
int nbd_uri_add(struct buf *to, int fd, const char *path, bool has_tls, const char *export,
		struct err *err) MUST_CHECK;
