/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "export/fuse_internal.h"
#include "util/lock.h"
#include "util/thread.h"

/*
 * The session and its threads.  A thread takes one request after the other; none waits for a chunk, so
 * a few are enough.  They end when the kernel lets go: the last descriptor was closed, or the path
 * was unmounted.
 */
#define THREADS 4 /* one handles 100 k requests a second; more of them only helps answers from memory */

static void *take_requests(void *arg)
{
	struct fuse_file *file = arg;
	struct fuse_buf buf = { 0 };
	for (;;) {
		int r = fuse_session_receive_buf(file->session, &buf);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		fuse_session_process_buf(file->session, &buf);
	}
	free(buf.mem);
	{
		HOLD(&file->lock);
		file->has_ended = true;
	}
	fuse_tell(file);
	return NULL;
}

static int start_threads(struct fuse_file *file, struct err *err)
{
	while (file->n_threads < THREADS) {
		char name[16];
		(void) snprintf(name, sizeof name, "fuse-%u", file->n_threads);
		int r = thread_start(&file->threads[file->n_threads], name, take_requests, file);
		if (r < 0)
			return err_set(err, r, "cannot start a thread");
		file->n_threads++;
	}
	return 0;
}

static int new_session(struct fuse_file *file, struct err *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	if (fuse_opt_add_arg(&args, "pbsmap") == 0)
		file->session = fuse_session_new(&args, &fuse_serve_ops, sizeof fuse_serve_ops, file);
	fuse_opt_free_args(&args);
	return file->session ? 0 : err_set(err, -ENOMEM, "cannot make a FUSE session");
}

/* libfuse takes a connection that is ready by this name. */
static int begin_session(struct fuse_file *file, int *fuse_fd, struct err *err)
{
	char path[32];
	(void) snprintf(path, sizeof path, "/dev/fd/%d", *fuse_fd);
	if (fuse_session_mount(file->session, path) != 0)
		return err_set(err, -EIO, "cannot begin a FUSE session");
	(void) steal_fd(fuse_fd);
	return 0;
}

static int open_file(struct fuse_file *file, int *fuse_fd, struct err *err)
{
	file->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (file->event_fd < 0)
		return err_errno(err, -errno, "cannot make an eventfd");
	file->threads = calloc(THREADS, sizeof *file->threads);
	if (!file->threads)
		return err_set(err, -ENOMEM, "no memory for threads");
	int r = new_session(file, err);
	if (r == 0)
		r = begin_session(file, fuse_fd, err);
	return r < 0 ? r : start_threads(file, err);
}

/* What programs decide by whether to look for holes at all. */
static blkcnt_t count_blocks(struct image *image)
{
	uint64_t off = 0, data = 0;
	while (off < image->size) {
		uint64_t end;
		if (!image_next_extent(image, off, &end))
			data += end - off;
		off = end;
	}
	return (blkcnt_t)((data + 511) / 512);
}

int fuse_file_open(const struct fuse_file_options *options, struct fuse_file **ret, struct err *err)
{
	CLEANUP(closep) int fuse_fd = options->take_fuse_fd;
	struct fuse_file *file = calloc(1, sizeof *file);
	if (!file)
		return err_set(err, -ENOMEM, "no memory");
	file->image = options->image;
	file->n_blocks = options->is_on_path ? count_blocks(options->image) : 0;
	file->timeout_ms = options->timeout_ms;
	file->is_on_path = options->is_on_path;
	file->event_fd = -EBADF;
	list_init(&file->requests);
	(void) pthread_mutex_init(&file->lock, NULL);
	(void) pthread_cond_init(&file->answered, NULL);
	*ret = file;
	return open_file(file, &fuse_fd, err);
}

int fuse_file_event_fd(const struct fuse_file *file)
{
	return file->event_fd;
}

bool fuse_file_has_ended(struct fuse_file *file)
{
	HOLD(&file->lock);
	return file->has_ended;
}

unsigned fuse_file_n_users(struct fuse_file *file)
{
	HOLD(&file->lock);
	return file->n_users;
}

void fuse_file_close(struct fuse_file *file)
{
	if (!file)
		return;
	for (unsigned i = 0; i < file->n_threads; i++)
		(void) pthread_join(file->threads[i], NULL);
	fuse_wait_for_answers(file);
	if (file->session)
		fuse_session_destroy(file->session);
	closep(&file->event_fd);
	(void) pthread_cond_destroy(&file->answered);
	(void) pthread_mutex_destroy(&file->lock);
	free(file->threads);
	free(file);
}
