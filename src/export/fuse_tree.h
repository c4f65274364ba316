/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "archive/tree.h"
#include "util/err.h"

/*
 * The files of an archive served by FUSE.  Data is answered by whoever has the bytes, as of an image; what is
 * looked up takes a few small reads one after the other, which a few threads wait for.  Needs no rights.
 */
struct fuse_tree;

struct fuse_tree_options {
	struct tree *tree;   /* lent */
	int take_fuse_fd;    /* the connection; taken also when it fails */
	int64_t timeout_ms;  /* deadline of one request; 0 = none */
	/* Something could not be looked up, each time; from any thread.  May be NULL. */
	void (*damaged)(void *user, const struct err *why);
	void *user;
};

/* Serve.  @ret is written first: after a failure it is still to be closed, when the mount is gone. */
int fuse_tree_open(const struct fuse_tree_options *options, struct fuse_tree **ret, struct err *err) MUST_CHECK;

/* As those of fuse_file.h. */
int fuse_tree_event_fd(const struct fuse_tree *files);
bool fuse_tree_has_ended(struct fuse_tree *files);
unsigned fuse_tree_n_users(struct fuse_tree *files);
void fuse_tree_close(struct fuse_tree *files);
