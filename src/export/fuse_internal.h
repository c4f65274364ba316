/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <sys/types.h>

#include "export/fuse_file.h"
#include "util/list.h"

/* What the files fuse_*.c share. */
#define FUSE_MAX_READ (1u << 20) /* bytes of one request: the most a kernel asks for */

struct fuse_file {
	struct image *image;
	blkcnt_t n_blocks; /* of 512 bytes, that are no holes */
	int64_t timeout_ms;
	struct fuse_session *session;
	char *path;    /* where it is mounted; NULL = nowhere */
	int helper_fd; /* see struct fuse_mount */
	pthread_t *threads;
	unsigned n_threads;
	int event_fd;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t answered;
	struct list requests; /* struct request, not answered yet */
	unsigned n_users;
	bool has_ended;
};

/* fuse_serve.c: answers requests; needs no rights */
extern const struct fuse_lowlevel_ops fuse_serve_ops; /* user data: the struct fuse_file */
void fuse_tell(struct fuse_file *file); /* makes event_fd readable */
void fuse_wait_for_answers(struct fuse_file *file);

/* fuse_attach.c: the mount; needs root, except on a path with fusermount3 */
struct fuse_mount {
	int fuse_fd;   /* the connection; taken by libfuse when the session begins */
	int mount_fd;  /* a mount that is attached nowhere; -EBADF = it is at @path */
	int helper_fd; /* when this process is gone, who has the other end unmounts the path; else -EBADF */
	char path[256];
};

#define FUSE_MOUNT_NONE \
	((struct fuse_mount){ .fuse_fd = -EBADF, .mount_fd = -EBADF, .helper_fd = -EBADF })

/*
 * A mount whose root is the file: on the mount point of @options; else attached nowhere or, without
 * fsopen, at a file of @run_dir.
 */
int fuse_attach(const struct fuse_file_options *options, struct fuse_mount *ret,
		struct err *err) MUST_CHECK;

/* The file itself, for direct I/O.  The session must be serving. */
int fuse_attach_open(const struct fuse_mount *mount, int *ret_fd, struct err *err) MUST_CHECK;

/* What is not needed any more once the file is open, or all of it after a failure. */
void fuse_attach_finish(struct fuse_mount *mount);
