/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/fuse_conn.h"
#include "stream/stream.h"
#include "util/list.h"

/*
 * FUSE_READs on their way.  Each is submitted and forgotten; its answer comes on whatever thread has the bytes,
 * and goes to the kernel straight from the chunks.
 */
struct fuse_reads {
	void (*submit)(void *object, struct read *read); /* of what is read */
	void (*cancel)(void *object, struct read *read);
	void *object;
	int64_t timeout_ms; /* 0 = none */

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t answered;
	struct list requests; /* not answered yet */
};

/* The first block is set. */
void fuse_reads_init(struct fuse_reads *reads);
/* Waits until all are answered. */
void fuse_reads_deinit(struct fuse_reads *reads);

/* @len bytes at @off, which are there; none at all is answered at once. */
void fuse_reads_submit(struct fuse_reads *reads, fuse_req_t req, uint64_t off, size_t len);
