/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/fuse_conn.h"

#include "export/fuse_reads.h"
#include "export/fuse_tree.h"
#include "util/pool.h"

/* What fuse_tree.c, fuse_look.c and fuse_tree_dir.c share. */
struct fuse_tree {
	struct tree *tree;
	struct input data; /* where that of files is */
	int64_t timeout_ms;
	void (*damaged)(void *user, const struct err *why);
	void *user;
	struct pool *lookers;
	struct fuse_conn conn;
	struct fuse_reads reads;

	pthread_mutex_t lock; /* guards all below */
	struct list looks;    /* struct look: have to wait, not answered */
	struct list handles;  /* what the kernel has open; it does not give back what is open when it lets go of all */
	size_t listing_room;  /* bytes of listings that no request has in hand */
};

static inline struct fuse_tree *files_of(fuse_req_t req)
{
	return CONTAINER_OF(fuse_req_userdata(req), struct fuse_tree, conn);
}

/* -- fuse_look.c ------------------------------------------------------------------------------ */

enum look_stage {
	LOOK_NEW,     /* with the thread that took the request */
	LOOK_QUEUED,  /* for a thread of the pool */
	LOOK_RUNNING, /* there */
	LOOK_ANSWERED,
};

/* A request that takes a look into the archive. */
struct look {
	/* set by who asks; the rest is zeros */
	struct fuse_tree *files;
	fuse_req_t req;
	/*
	 * 0, and the request is answered if look_may_answer() let it; or an error, and it is not.
	 * -ETIMEDOUT of DEADLINE_PAST: it has to wait; then it is called again, from the start.
	 */
	int (*answer)(struct look *look, struct deadline until, struct err *err);
	fuse_ino_t ino;
	const char *name; /* of a member of the directory @ino; NULL = it is about @ino itself */
	const char *attr; /* of an extended attribute */
	size_t size;
	off_t off;
	struct fuse_file_info info;
	bool is_plus;

	/* fuse_look.c's own: of a request that has to wait */
	struct job job;
	int64_t since_ns;
	struct deadline until;

	/* guarded by files->lock */
	struct list node; /* not answered yet */
	enum look_stage stage;
	bool is_interrupted, is_killed;
};

/* Answered, now or later. */
void look_ask(const struct look *look);

/* Once, before an answer: false = it was interrupted, and is answered. */
bool look_may_answer(struct look *look);

/* Of something with this name in the directory @ino, or (NULL) of the file @ino itself. */
void look_tell_damage(const struct fuse_tree *files, uint64_t ino, const char *name, const struct err *why);

/* -- fuse_tree.c ------------------------------------------------------------------------------ */

#define FOR_EVER (365 * 86400.0) /* seconds the kernel keeps what it was told */
#define NAME_LEN_MAX 1024	 /* FUSE_NAME_MAX: the kernel takes a longer name for a broken directory */

/* What lstat(2) says.  -EBADMSG: Linux has no such thing. */
int fuse_tree_attr(const struct fuse_tree *files, const struct node *node, struct stat *ret,
		   struct err *err) MUST_CHECK;

/* The kernel may keep what it is given; of look->info. */
void fuse_tree_keep(struct look *look);

/* An open file or directory; the first member of either. */
struct handle {
	struct list node; /* guarded by files->lock */
	void (*drop)(struct fuse_tree *files, struct handle *handle); /* set by who opens */
};

/* The handle is the kernel's from here on, or nobody's. */
void fuse_tree_reply_open(struct look *look, struct handle *take_handle);

/* The kernel gives it back, and is answered. */
void fuse_tree_release(fuse_req_t req, struct fuse_file_info *info);

static inline void *handle_of(const struct fuse_file_info *info)
{
	return (void *)(uintptr_t)info->fh;
}

/* -- fuse_tree_dir.c: opendir, readdir, readdirplus, releasedir -------------------------------- */

void fuse_tree_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void fuse_tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info);
void fuse_tree_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info);
void fuse_tree_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);

/* Does a directory show something by this name that has none? */
bool fuse_tree_is_nameless(const char *name);
