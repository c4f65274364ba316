/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_conn.h"

#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

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

static int new_session(struct fuse_conn *conn, const struct fuse_lowlevel_ops *ops, struct err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	if (fuse_opt_add_arg(&args, "pbsmap") == 0)
		conn->session = fuse_session_new(&args, ops, sizeof *ops, conn);
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

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 14) && FUSE_VERSION < FUSE_MAKE_VERSION(3, 16)
/*
 * libfuse before 3.16 does not pass FUSE_CAP_PARALLEL_DIROPS on.  Then the kernel lets one process at a time into a
 * directory, and all others wait for it, and cannot be killed.  So the word is put into the first answer, which is
 * that to FUSE_INIT, on its way.
 */
static ssize_t write_answer(int fd, struct iovec *iov, int count, void *user)
{
	struct fuse_conn *conn = user;
	struct fuse_init_out *init = count == 2 ? iov[1].iov_base : NULL;
	if (!atomic_exchange(&conn->is_begun, true) && init && iov[1].iov_len >= sizeof *init)
		init->flags |= FUSE_PARALLEL_DIROPS;
	return writev(fd, iov, count);
}

static ssize_t read_request(int fd, void *buf, size_t len, void *user)
{
	return read(fd, buf, len);
}

static int begin_with_directories(struct fuse_conn *conn, int *fuse_fd, struct err *err)
{
	const struct fuse_custom_io io = { .writev = write_answer, .read = read_request };
	if (fuse_session_custom_io(conn->session, &io, *fuse_fd) != 0)
		return err_set(err, -EIO, "cannot begin a FUSE session");
	(void) steal_fd(fuse_fd);
	return 0;
}
#else
static int begin_with_directories(struct fuse_conn *conn, int *fuse_fd, struct err *err)
{
	return begin_session(conn, fuse_fd, err);
}
#endif

int fuse_conn_open(struct fuse_conn *conn, const struct fuse_lowlevel_ops *ops, int take_fuse_fd, struct err *err)
{
	CLEANUP(closep) int fuse_fd = take_fuse_fd;
	*conn = (struct fuse_conn){ .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	(void) pthread_mutex_init(&conn->lock, NULL);
	if (conn->event_fd < 0)
		return err_errno(err, -errno, "cannot make an eventfd");
	int r = new_session(conn, ops, err);
	if (r == 0)
		r = ops->lookup ? begin_with_directories(conn, &fuse_fd, err) : begin_session(conn, &fuse_fd, err);
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
