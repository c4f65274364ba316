/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"
#include "util/err.h"

/*
 * An image as one regular file served by FUSE.  Requests are taken by a few threads and answered by whoever
 * has the bytes.  Needs no rights: the mount is made by somebody else (fuse_mount.h).
 */
struct fuse_file;

struct fuse_file_options {
	struct image *image; /* lent */
	int take_fuse_fd;    /* the connection; taken also when it fails */
	int64_t timeout_ms;  /* deadline of one read; 0 = none */
	bool is_on_path;     /* for everybody's eyes, not below a loop device: the kernel keeps pages, and is
				told how much of it is data */
};

/* Serve.  @ret is written first: after a failure it is still to be closed, when the mount is gone. */
int fuse_file_open(const struct fuse_file_options *options, struct fuse_file **ret,
		   struct err *err) MUST_CHECK;

/* Becomes readable (POLLIN) when it has ended, or has no users any more; read it to clear. */
int fuse_file_event_fd(const struct fuse_file *file);

/* The kernel let go of it: nobody can ask any more. */
bool fuse_file_has_ended(struct fuse_file *file);

/* How often it is open now. */
unsigned fuse_file_n_users(struct fuse_file *file);

/* Waits until the kernel let go, which is up to whoever has the mount, and all reads are answered. */
void fuse_file_close(struct fuse_file *file);

/* The one place where a code becomes what FUSE wants: a positive errno. */
int fuse_errno_of(int code);
