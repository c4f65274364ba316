/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_reads.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "export/fuse_file.h"
#include "util/lock.h"

/*
 * A request that was interrupted is cancelled.  libfuse calls the interrupt function with what it
 * knew before it looked whether the request is still there, so a request is found in our own list and
 * pinned while it is cancelled.
 */
struct request {
	struct read read;
	fuse_req_t req;
	struct fuse_reads *reads;
	struct list node;

	/* guarded by reads->lock */
	unsigned n_pins; /* the submitter's, the answer's, an interrupt's */
	bool is_submitted, is_interrupted;
};

void fuse_reads_init(struct fuse_reads *reads)
{
	(void) pthread_mutex_init(&reads->lock, NULL);
	(void) pthread_cond_init(&reads->answered, NULL);
	list_init(&reads->requests);
}

void fuse_reads_deinit(struct fuse_reads *reads)
{
	{
		HOLD(&reads->lock);
		while (!list_is_empty(&reads->requests))
			(void) pthread_cond_wait(&reads->answered, &reads->lock);
	}
	(void) pthread_cond_destroy(&reads->answered);
	(void) pthread_mutex_destroy(&reads->lock);
}

int fuse_errno_of(int code)
{
	if (code == -ECANCELED)
		return EINTR;
	if (code == -ENOMEM)
		return ENOMEM;
	return EIO;
}

static void request_unpin(struct request *request)
{
	struct fuse_reads *reads = request->reads;
	{
		HOLD(&reads->lock);
		if (--request->n_pins > 0)
			return;
		list_remove(&request->node);
		if (list_is_empty(&reads->requests))
			(void) pthread_cond_broadcast(&reads->answered);
	}
	free(request);
}

/* More pieces than the kernel takes in one call: the only case where they are put together first. */
static void reply_copied(fuse_req_t req, const struct read *read)
{
	CLEANUP(freep) char *data = malloc(read->len);
	if (!data) {
		(void) fuse_reply_err(req, ENOMEM);
		return;
	}
	read_copy_out(read, data);
	(void) fuse_reply_buf(req, data, read->len);
}

static void reply_segments(fuse_req_t req, const struct read *read)
{
	enum { MOST = 64 }; /* 1 MiB in chunks of 16 KiB; more of them cost a copy */
	struct iovec iov[MOST];
	if (read->n_segments > MOST) {
		reply_copied(req, read);
		return;
	}
	for (unsigned i = 0; i < read->n_segments; i++) {
		/* writev() takes what it may not change as void * */
		memcpy(&iov[i].iov_base, &read->segments[i].data, sizeof iov[i].iov_base);
		iov[i].iov_len = read->segments[i].len;
	}
	(void) fuse_reply_iov(req, iov, (int)read->n_segments);
}

static void read_is_done(struct read *read)
{
	struct request *request = CONTAINER_OF(read, struct request, read);
	fuse_req_t req = request->req;
	{
		HOLD(&request->reads->lock);
		request->req = NULL; /* libfuse may use the address again */
	}
	if (read->result < 0)
		(void) fuse_reply_err(req, fuse_errno_of(read->result));
	else
		reply_segments(req, read);
	read_release(read);
	request_unpin(request);
}

/* The kernel's reader was killed. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct fuse_reads *reads = data;
	struct request *request = NULL;
	{
		HOLD(&reads->lock);
		for (struct list *node = reads->requests.next; node != &reads->requests; node = node->next) {
			struct request *one = CONTAINER_OF(node, struct request, node);
			if (one->req == req)
				request = one;
		}
		if (!request)
			return;
		request->is_interrupted = true;
		if (!request->is_submitted)
			return; /* who submits it sees the mark */
		request->n_pins++;
	}
	reads->cancel(reads->object, &request->read);
	request_unpin(request);
}

static struct request *request_new(struct fuse_reads *reads, fuse_req_t req, uint64_t off, size_t len)
{
	struct request *request = malloc(sizeof *request);
	if (!request)
		return NULL;
	request->req = req;
	request->reads = reads;
	request->n_pins = 2;
	request->is_submitted = request->is_interrupted = false;
	memset(&request->read, 0, offsetof(struct read, inline_segments));
	request->read.waiters = NULL;
	request->read.off = off;
	request->read.len = len;
	request->read.priority = PRIORITY_DEMAND;
	request->read.until = deadline_of_timeout(reads->timeout_ms);
	request->read.done = read_is_done;
	HOLD(&reads->lock);
	list_append(&reads->requests, &request->node);
	return request;
}

void fuse_reads_submit(struct fuse_reads *reads, fuse_req_t req, uint64_t off, size_t len)
{
	if (len == 0) {
		(void) fuse_reply_buf(req, NULL, 0);
		return;
	}
	struct request *request = request_new(reads, req, off, len);
	if (!request) {
		(void) fuse_reply_err(req, ENOMEM);
		return;
	}
	fuse_req_interrupt_func(req, on_interrupt, reads);
	reads->submit(reads->object, &request->read);
	bool is_interrupted;
	{
		HOLD(&reads->lock);
		request->is_submitted = true;
		is_interrupted = request->is_interrupted;
	}
	if (is_interrupted)
		reads->cancel(reads->object, &request->read);
	request_unpin(request);
}
