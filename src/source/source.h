/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "crypto/sha256.h"
#include "format/snapshot.h"
#include "util/bufpool.h"
#include "util/deadline.h"
#include "util/err.h"
#include "util/pool.h"
#include "util/strv.h"

/*
 * Who has the chunks: a datastore directory, a backup server, loose files.
 *
 * Two halves.  Set-up calls (lists, snapshot, files) may block and are made by one thread at a
 * time.  Chunks are fetched: source_fetch() returns at once, the answer comes by a call from any
 * thread.  A source never looks into a blob; whether it was good, the stream tells it.
 */
struct source;

/* One chunk on its way.  Embedded by the caller, untouched by it until @done. */
struct fetch {
	/* set by the caller */
	uint8_t digest[DIGEST_SIZE];
	size_t max_len;		  /* a longer blob is -EBADMSG; nothing of it is kept */
	uint32_t skip_origins;	  /* bit n: origin n has given a bad one already */
	struct deadline until;	  /* a source that waits for a server gives up then, or sooner */
	struct bufpool *pool;	  /* where @raw comes from */
	void (*done)(struct fetch *fetch); /* exactly once, no lock held, maybe before
					      source_fetch() returns */

	/* set by the source before done */
	int result;	/* 0, -ENOENT nobody has it, -EBADMSG damage seen by the source, -errno */
	struct err err;
	struct mem raw; /* the blob, given to the caller; none unless result is 0 */
	size_t raw_len;
	unsigned origin; /* 0 … 31: who gave it */

	struct job job; /* priority and node set by the caller, for source_raise() at any time; the rest
			   is the source's own.  The caller lowers the priority when nobody waits any
			   more; a source that waits for its server then gives up: -ECANCELED. */
	void *owner;	/* the source's own */
	struct list node; /* the source's own */
	unsigned n_tries; /* the source's own */
};

struct snapshot_file {
	char name[ARCHIVE_NAME_SIZE]; /* on the server */
	uint64_t size;		      /* of the file as stored */
};

struct snapshot_info {
	struct snapshot snapshot;
	bool is_unread; /* it is there, and nothing more is known of it */
	bool is_finished, is_protected;
	struct snapshot_file *files;
	size_t n_files;
};

struct group_info {
	struct group group;
	char *owner; /* NULL = unknown */
	bool is_unread; /* it is there; what its newest finished snapshot is, cannot be told, nor what follows */
	size_t n_snapshots;
	bool has_finished;
	int64_t last_time; /* of the newest finished snapshot, else of the newest */
};

/*
 * What of a list cannot be read: on a dying disk the rest is what people need.  Whoever takes the newest of
 * a list must look at the marks of its items as well.
 */
struct unread {
	struct strv words; /* what it is, and why; one line for each of the first UNREAD_WORDS */
	size_t n;	   /* all of them */
	int code;	   /* of the first; 0 = none */
};

#define UNREAD_WORDS 20

struct group_list {
	struct group_info *items;
	size_t n, cap;
	struct unread unread;
};

struct snapshot_list {
	struct snapshot_info *items;
	size_t n, cap;
	bool is_cut; /* of the one group that was asked for there may be more, and newer ones */
	struct unread unread;
};

#define GROUP_LIST_EMPTY    ((struct group_list){ 0 })
#define SNAPSHOT_LIST_EMPTY ((struct snapshot_list){ 0 })
void group_list_deinit(struct group_list *list);
void snapshot_list_deinit(struct snapshot_list *list);

int unread_add(struct unread *unread, const struct err *why, struct err *err) MUST_CHECK;

/* Is it there? */
struct source_health {
	bool is_lost;	/* a server that is being looked for: what is fetched waits */
	int64_t since;	/* epoch seconds; of the loss */
	struct err why;
};

#define SOURCE_HEALTHY ((struct source_health){ 0 })

/* What a source of any kind can do; the functions below call these. */
struct source_ops {
	void (*close)(struct source *source);
	int (*list_namespaces)(struct source *source, struct strv *ret, struct err *err);
	int (*list_groups)(struct source *source, const char *ns, struct group_list *ret,
			   struct err *err);
	int (*list_snapshots)(struct source *source, const char *ns, const struct group *group,
			      struct snapshot_list *ret, struct err *err);
	int (*open_snapshot)(struct source *source, const char *ns, const struct snapshot *snapshot,
			     struct err *err);
	int (*read_blob)(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
			 struct err *err);
	int (*copy_index)(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
			  struct err *err);
	void (*fetch)(struct source *source, struct fetch *fetch);
	void (*raise)(struct source *source, struct fetch *fetch, enum priority priority);
	void (*verdict)(struct source *source, const struct fetch *fetch, bool is_good);
	void (*shutdown)(struct source *source); /* NULL: it never waits */
	void (*health)(struct source *source, struct source_health *ret); /* NULL: always well */
};

/* The part all sources begin with. */
struct source {
	const struct source_ops *ops;
	char *name;	    /* the repository as a user would write it */
	unsigned n_origins; /* who may be asked for a chunk in turn; 0 means 1 */
	uid_t uid;	    /* whose the chunks are: enough rights to read them */
	gid_t gid;
	bool is_remote;	    /* it connects to a server, and again when that was lost */
	bool only_looks;    /* set by the caller: a snapshot is opened for a list, and not locked */
	struct strv notes;  /* what set-up calls found that a user should know; one line each */
	/* News of its connection, one line each, from any thread; NULL = nobody listens. */
	void (*tell)(void *user, const char *line);
	void *tell_user;
};

void source_close(struct source *source);
static inline void source_closep(struct source **source)
{
	source_close(*source);
}

/**
 * source_list_namespaces - all below the root, parents before children, without the root
 *
 * Errors:  -errno; a name out of grammar is left out, not an error
 */
int source_list_namespaces(struct source *source, struct strv *ret, struct err *err) MUST_CHECK;

/* Sorted; without what it notes as unread.  -ENOENT: no such namespace. */
int source_list_groups(struct source *source, const char *ns, struct group_list *ret,
		       struct err *err) MUST_CHECK;

/* The same; @group NULL = all.  -ENOENT: no such namespace or group. */
int source_list_snapshots(struct source *source, const char *ns, const struct group *group,
			  struct snapshot_list *ret, struct err *err) MUST_CHECK;

/**
 * source_open_snapshot - what the later calls are about; keeps it from being removed
 *
 * Holds a shared lock on the snapshot, where the kind of source has one, until source_close() or
 * until another one is opened; none where the source only looks.
 *
 * Errors:  -ENOENT  no such snapshot
 *          -EBUSY   somebody removes or writes it
 *          -EAGAIN  it is not finished: there is no manifest
 */
int source_open_snapshot(struct source *source, const char *ns, const struct snapshot *snapshot,
			 struct err *err) MUST_CHECK;

/**
 * source_read_blob - a whole .blob file of the open snapshot, envelope included
 *
 * Errors:  -ENOENT; -EBADMSG longer than a blob may be
 */
int source_read_blob(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
		     struct err *err) MUST_CHECK;

/* Append an index file of the open snapshot to @to_fd.  -ENOENT; -EBADMSG too long. */
int source_copy_index(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
		      struct err *err) MUST_CHECK;

/* See struct fetch. */
void source_fetch(struct source *source, struct fetch *fetch);

/* A fetch on its way has become more urgent. */
void source_raise(struct source *source, struct fetch *fetch, enum priority priority);

/* Fetches that wait for something to come back fail now with -ESHUTDOWN, and later ones. */
void source_shutdown(struct source *source);

void source_get_health(struct source *source, struct source_health *ret);

/* For sources: a line to whoever listens. */
void source_tell(const struct source *source, const char *fmt, ...) PRINTF(2, 3);

/* The blob of @fetch was good, or was not: its origin learns it. */
void source_verdict(struct source *source, const struct fetch *fetch, bool is_good);
