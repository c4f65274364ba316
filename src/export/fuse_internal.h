/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <sys/types.h>

#include "export/fuse_file.h"
#include "export/fuse_mount.h"
#include "util/list.h"

/* What fuse_file.c and fuse_serve.c share. */
struct fuse_file {
	struct image *image;
	blkcnt_t n_blocks; /* of 512 bytes, that are no holes */
	int64_t timeout_ms;
	struct fuse_session *session;
	bool is_on_path;
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
