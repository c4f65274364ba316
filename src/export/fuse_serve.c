/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "export/fuse_internal.h"
#include "util/bytes.h"
#include "util/lock.h"

/*
 * FUSE requests.  A read is submitted to the image and forgotten; its answer comes on whatever thread
 * has the bytes, and goes to the kernel straight from the chunks.
 *
 * A request that was interrupted is cancelled.  libfuse calls the interrupt function with what it
 * knew before it looked whether the request is still there, so a request is found in our own list and
 * pinned while it is cancelled.
 */
struct request {
	struct read read;
	fuse_req_t req;
	struct fuse_file *file;
	struct list node;

	/* guarded by file->lock */
	unsigned n_pins; /* the submitter's, the answer's, an interrupt's */
	bool is_submitted, is_interrupted;
};

int fuse_errno_of(int code)
{
	if (code == -ECANCELED)
		return EINTR;
	if (code == -ENOMEM)
		return ENOMEM;
	return EIO;
}

void fuse_tell(struct fuse_file *file)
{
	(void) eventfd_write(file->event_fd, 1);
}

static struct fuse_file *file_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void fill_attr(const struct fuse_file *file, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = FUSE_ROOT_ID,
		.st_mode = S_IFREG | 0400,
		.st_nlink = 1,
		.st_uid = getuid(),
		.st_gid = getgid(),
		.st_size = (off_t)file->image->size,
		.st_blksize = 4096,
		.st_blocks = file->n_blocks,
	};
}

static void on_init(void *user, struct fuse_conn_info *conn)
{
	conn->max_readahead = FUSE_MAX_READ;
	conn->max_background = 64; /* reads in flight; the default of 12 would starve deep queues */
	conn->congestion_threshold = 64;
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct stat attr;
	fill_attr(file_of(req), &attr);
	(void) fuse_reply_attr(req, &attr, 86400);
}

static void count_user(struct fuse_file *file, int change)
{
	{
		HOLD(&file->lock);
		file->n_users += (unsigned)change;
	}
	fuse_tell(file);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fuse_file *file = file_of(req);
	if ((info->flags & O_ACCMODE) != O_RDONLY) {
		(void) fuse_reply_err(req, EROFS);
		return;
	}
	/* A loop device keeps its own pages.  A file on a path is kept by the kernel, so that it can be
	 * mapped into memory. */
	info->direct_io = !file->is_on_path;
	info->keep_cache = 1;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 11)
	info->noflush = 1; /* nobody is asked when one of many descriptors is closed */
#endif
	count_user(file, 1);
	if (fuse_reply_open(req, info) < 0)
		count_user(file, -1);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fuse_file *file = file_of(req);
	count_user(file, -1);
	(void) fuse_reply_err(req, 0);
}

static void request_unpin(struct request *request)
{
	struct fuse_file *file = request->file;
	{
		HOLD(&file->lock);
		if (--request->n_pins > 0)
			return;
		list_remove(&request->node);
		if (list_is_empty(&file->requests))
			(void) pthread_cond_broadcast(&file->answered);
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
	char *to = data;
	for (unsigned i = 0; i < read->n_segments; i++) {
		memcpy(to, read->segments[i].data, read->segments[i].len);
		to += read->segments[i].len;
	}
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
		HOLD(&request->file->lock);
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
	struct fuse_file *file = data;
	struct request *request = NULL;
	{
		HOLD(&file->lock);
		for (struct list *node = file->requests.next; node != &file->requests; node = node->next) {
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
	image_cancel(file->image, &request->read);
	request_unpin(request);
}

static struct request *request_new(struct fuse_file *file, fuse_req_t req, uint64_t off, size_t len)
{
	struct request *request = malloc(sizeof *request);
	if (!request)
		return NULL;
	request->req = req;
	request->file = file;
	request->n_pins = 2;
	request->is_submitted = request->is_interrupted = false;
	memset(&request->read, 0, offsetof(struct read, inline_segments));
	request->read.waiters = NULL;
	request->read.off = off;
	request->read.len = len;
	request->read.priority = PRIORITY_DEMAND;
	request->read.until = file->timeout_ms ? deadline_in_ms(file->timeout_ms) : DEADLINE_NEVER;
	request->read.done = read_is_done;
	HOLD(&file->lock);
	list_append(&file->requests, &request->node);
	return request;
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *info)
{
	struct fuse_file *file = file_of(req);
	uint64_t begin = min_u64((uint64_t)off, file->image->size);
	size_t len = (size_t)min_u64(min_size(size, READ_MAX), file->image->size - begin);
	if (len == 0) {
		(void) fuse_reply_buf(req, NULL, 0);
		return;
	}
	struct request *request = request_new(file, req, begin, len);
	if (!request) {
		(void) fuse_reply_err(req, ENOMEM);
		return;
	}
	fuse_req_interrupt_func(req, on_interrupt, file);
	image_submit(file->image, &request->read);
	bool is_interrupted;
	{
		HOLD(&file->lock);
		request->is_submitted = true;
		is_interrupted = request->is_interrupted;
	}
	if (is_interrupted)
		image_cancel(file->image, &request->read);
	request_unpin(request);
}

/* Where the next hole (or data) begins; -ENXIO behind the end.  lseek(2), SEEK_HOLE. */
static off_t seek(struct image *image, uint64_t off, int whence)
{
	bool wants_hole = whence == SEEK_HOLE;
	while (off < image->size) {
		uint64_t end;
		if (image_next_extent(image, off, &end) == wants_hole)
			return (off_t)off;
		off = end;
	}
	return wants_hole ? (off_t)image->size : -ENXIO;
}

static void on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *info)
{
	struct image *image = file_of(req)->image;
	off_t at = -EINVAL;
	if (whence == SEEK_HOLE || whence == SEEK_DATA)
		at = off < 0 || (uint64_t)off >= image->size ? -ENXIO : seek(image, (uint64_t)off, whence);
	if (at < 0)
		(void) fuse_reply_err(req, (int)-at);
	else
		(void) fuse_reply_lseek(req, at);
}

void fuse_wait_for_answers(struct fuse_file *file)
{
	HOLD(&file->lock);
	while (!list_is_empty(&file->requests))
		(void) pthread_cond_wait(&file->answered, &file->lock);
}

const struct fuse_lowlevel_ops fuse_serve_ops = {
	.init = on_init,
	.getattr = on_getattr,
	.open = on_open,
	.release = on_release,
	.read = on_read,
	.lseek = on_lseek,
};
