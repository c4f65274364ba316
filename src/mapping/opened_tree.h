/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/tree.h"
#include "mapping/backup.h"
#include "stream/stream.h"
#include "util/failure.h"

/* All layers of one file archive, from the source to its files. */
struct opened_tree {
	const struct repository_options *repository; /* whose say() hears of damage, from any thread */
	struct backup *backup;
	struct stream_shared *shared;
	struct stream *meta, *payload; /* NULL = not split */
	struct tree *tree;
	int64_t timeout_ms;
};

#define OPENED_TREE_NONE ((struct opened_tree){ .backup = NULL })

struct opened_tree_options {
	const struct repository_options *repository;
	const char *snapshot;
	const char *archive;  /* NULL with --chunks */
	uint64_t cache_size;  /* bytes; UINT64_MAX = default */
	uint64_t read_ahead;  /* bytes; UINT64_MAX = default */
	int64_t timeout_ms;   /* of one read; 0 = for ever */
	bool counts_links;    /* tree_count_links() */
};

/* Backup and key, which may ask for a password; starts threads.  Errors: those of backup_open_tree(). */
int opened_tree_open(const struct opened_tree_options *options, struct opened_tree *ret,
		     struct failure *why) MUST_CHECK;
void opened_tree_close(struct opened_tree *opened);

/* Of a read that begins now. */
struct deadline opened_tree_deadline(const struct opened_tree *opened);
