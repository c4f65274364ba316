/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "util/err.h"

/*
 * A connection to the kernel and the threads that take requests from it.  A thread takes one after the other;
 * none waits for a chunk, so a few are enough.  They end when the kernel lets go: the last descriptor was
 * closed, or the path was unmounted.
 */
#define FUSE_THREADS 4 /* one handles 100 k requests a second; more of them only helps answers from memory */

struct fuse_conn {
	struct fuse_session *session;
	pthread_t threads[FUSE_THREADS];
	unsigned n_threads;
	int event_fd;
	atomic_bool is_begun; /* the kernel's first request was answered */

	pthread_mutex_t lock; /* guards all below */
	unsigned n_users;     /* descriptors that are open now */
	bool has_ended;
};

/*
 * fuse_conn_open - serve
 *
 * @conn:          embedded by what is served: it is what fuse_req_userdata() says
 * @take_fuse_fd:  taken also when it fails
 *
 * To be closed after a failure, too, when the mount is gone.
 */
int fuse_conn_open(struct fuse_conn *conn, const struct fuse_lowlevel_ops *ops, int take_fuse_fd,
		   struct err *err) MUST_CHECK;

/* Waits for the threads, which is until the kernel let go. */
void fuse_conn_join(struct fuse_conn *conn);
/* After that, when every request was answered. */
void fuse_conn_close(struct fuse_conn *conn);

/* Something was opened or closed; makes event_fd readable when it was the last. */
void fuse_conn_count_user(struct fuse_conn *conn, int change);
bool fuse_conn_has_ended(struct fuse_conn *conn);
unsigned fuse_conn_n_users(struct fuse_conn *conn);
