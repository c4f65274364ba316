/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "util/lock.h"
#include "util/thread.h"

static void tell(struct fuse_conn *conn)
{
	(void) eventfd_write(conn->event_fd, 1);
}

static void *take_requests(void *arg)
{
	struct fuse_conn *conn = arg;
	struct fuse_buf buf = { 0 };
	for (;;) {
		int r = fuse_session_receive_buf(conn->session, &buf);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		fuse_session_process_buf(conn->session, &buf);
	}
	free(buf.mem);
	{
		HOLD(&conn->lock);
		conn->has_ended = true;
	}
	tell(conn);
	return NULL;
}

static int start_threads(struct fuse_conn *conn, struct err *err)
{
	while (conn->n_threads < FUSE_THREADS) {
		char name[16];
		(void) snprintf(name, sizeof name, "fuse-%u", conn->n_threads);
		int r = thread_start(&conn->threads[conn->n_threads], name, take_requests, conn);
		if (r < 0)
			return err_set(err, r, "cannot start a thread");
		conn->n_threads++;
	}
	return 0;
}

static int new_session(struct fuse_conn *conn, const struct fuse_lowlevel_ops *ops, void *user, struct err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	if (fuse_opt_add_arg(&args, "pbsmap") == 0)
		conn->session = fuse_session_new(&args, ops, sizeof *ops, user);
	fuse_opt_free_args(&args);
	return conn->session ? 0 : err_set(err, -ENOMEM, "cannot make a FUSE session");
}

/* libfuse takes a connection that is ready by this name. */
static int begin_session(struct fuse_conn *conn, int *fuse_fd, struct err *err)
{
	char path[32];
	(void) snprintf(path, sizeof path, "/dev/fd/%d", *fuse_fd);
	if (fuse_session_mount(conn->session, path) != 0)
		return err_set(err, -EIO, "cannot begin a FUSE session");
	(void) steal_fd(fuse_fd);
	return 0;
}

int fuse_conn_open(struct fuse_conn *conn, const struct fuse_lowlevel_ops *ops, void *user, int take_fuse_fd,
		   struct err *err)
{
	CLEANUP(closep) int fuse_fd = take_fuse_fd;
	*conn = (struct fuse_conn){ .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	(void) pthread_mutex_init(&conn->lock, NULL);
	if (conn->event_fd < 0)
		return err_errno(err, -errno, "cannot make an eventfd");
	int r = new_session(conn, ops, user, err);
	if (r == 0)
		r = begin_session(conn, &fuse_fd, err);
	return r < 0 ? r : start_threads(conn, err);
}

void fuse_conn_join(struct fuse_conn *conn)
{
	while (conn->n_threads)
		(void) pthread_join(conn->threads[--conn->n_threads], NULL);
}

void fuse_conn_close(struct fuse_conn *conn)
{
	if (conn->session)
		fuse_session_destroy(conn->session);
	closep(&conn->event_fd);
	(void) pthread_mutex_destroy(&conn->lock);
}

void fuse_conn_count_user(struct fuse_conn *conn, int change)
{
	bool is_last;
	{
		HOLD(&conn->lock);
		conn->n_users += (unsigned)change;
		is_last = conn->n_users == 0;
	}
	if (is_last)
		tell(conn);
}

bool fuse_conn_has_ended(struct fuse_conn *conn)
{
	HOLD(&conn->lock);
	return conn->has_ended;
}

unsigned fuse_conn_n_users(struct fuse_conn *conn)
{
	HOLD(&conn->lock);
	return conn->n_users;
}
