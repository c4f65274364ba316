/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mapping/mapping.h"
#include "util/deadline.h"

/*
 * The run directory with the control sockets: /run/pbsmap; without root $XDG_RUNTIME_DIR/pbsmap, or
 * /tmp/pbsmap-UID where there is no such variable.  PBSMAP_RUN_DIR names another one.  A mapping is alive when
 * its socket accepts; a socket that does not is swept, under a lock, by whoever comes next.
 */
struct registry {
	int fd;
	char path[512];
};

#define REGISTRY_NONE ((struct registry){ .fd = -EBADF })

/* Makes the directory where it is missing; another user's is refused to all but root (-EPERM). */
int registry_open(struct registry *ret, struct err *err) MUST_CHECK;
/* Only where it is there; -ENOENT.  For a look that changes nothing. */
int registry_open_existing(struct registry *ret, struct err *err) MUST_CHECK;
void registry_close(struct registry *registry);

/* Names may be compared and sockets be swept until the descriptor is closed.  Waits. */
int registry_lock(const struct registry *registry, int *ret_fd, struct err *err) MUST_CHECK;

/* Names of all sockets, alive or not; sorted. */
int registry_sockets(const struct registry *registry, struct strv *ret, struct err *err) MUST_CHECK;

#define SOCKET_NAME_SIZE 32

/* A listening socket of a new name. */
int registry_listen(const struct registry *registry, char ret_name[static SOCKET_NAME_SIZE],
		    int *ret_fd, struct err *err) MUST_CHECK;

/* -ECONNREFUSED, -ENOENT: nobody listens there; -EAGAIN: it listens, and has not answered many others. */
int registry_connect(const struct registry *registry, const char *name, int *ret_fd,
		     struct err *err) MUST_CHECK;

/*
 * What others may know of a mapping without asking it: it may be stuck.  @what: "name", "device", "keeper" (a
 * process number), "via".
 * registry_noted() gives NULL = it is not noted, or no memory; else given, free().
 */
int registry_note(const struct registry *registry, const char *socket_name, const char *what,
		  const char *text, struct err *err) MUST_CHECK;
char *registry_noted(const struct registry *registry, const char *socket_name, const char *what);

/* The socket and what is noted of it. */
void registry_remove(const struct registry *registry, const char *name);

/* Removes the sockets nobody listens on. */
int registry_sweep(const struct registry *registry, struct err *err) MUST_CHECK;
