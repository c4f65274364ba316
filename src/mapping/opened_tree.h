/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/tree.h"
#include "mapping/backup.h"
#include "stream/stream.h"
#include "util/err.h"

/* The layers of one file archive, from an opened backup to its files. */
struct opened_tree {
	const struct backup *backup;
	struct stream_shared *shared;
	struct stream *meta, *payload; /* NULL = not split, or there is none */
	struct tree *tree;
	int64_t timeout_ms;
	struct err uncounted; /* why links could not be counted; code 0 = they were, or it was not asked for */
	void (*say)(void *user, const char *line); /* of damage; from any thread */
	void *user;
};

#define OPENED_TREE_NONE ((struct opened_tree){ .backup = NULL })

enum count_links {
	LINKS_AS_MET,
	LINKS_IF_POSSIBLE, /* where entries are damaged, as met: the others are shown */
	LINKS_EXACT,
};

struct opened_tree_options {
	const struct backup *backup; /* of backup_open_tree(); lent */
	uint64_t cache_size;  /* bytes; UINT64_MAX = default */
	uint64_t read_ahead;  /* bytes; UINT64_MAX = default */
	int64_t timeout_ms;   /* of one read; 0 = for ever */
	enum count_links links;
	void (*say)(void *user, const char *line);
	void *user;
};

/* Starts threads.  @ret stays where it is until it is closed, which is to be done after a failure, too. */
int opened_tree_open(const struct opened_tree_options *options, struct opened_tree *ret,
		     struct err *err) MUST_CHECK;
/* Reads fail from now on. */
void opened_tree_shutdown(struct opened_tree *opened);
/* Of both streams. */
void opened_tree_get_stats(struct opened_tree *opened, struct stream_stats *ret);
void opened_tree_close(struct opened_tree *opened);

/* Of a read that begins now. */
struct deadline opened_tree_deadline(const struct opened_tree *opened);
