/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/sha256.h"
#include "format/snapshot.h"
#include "util/err.h"

/*
 * A datastore directory that is written to, as the server lays it out.  Source: backup server
 * manual, "Technical Overview".
 */
struct store {
	int fd;	       /* the directory; -EBADF = none */
	int chunks_fd; /* .chunks */
	bool is_root;  /* what is made is given to the user backup */
};

#define STORE_NONE ((struct store){ .fd = -EBADF, .chunks_fd = -EBADF })

enum store_layout {
	STORE_COMPLETE, /* all 65536 chunk directories, as the server wants them */
	STORE_LAZY,	/* a chunk directory when a chunk needs it: enough to read */
};

/* An existing store, or a new one: .lock and .chunks are made when they are missing. */
int store_open(const char *path, enum store_layout layout, struct store *ret,
	       struct err *err) MUST_CHECK;
void store_close(struct store *store);

/**
 * store_add_snapshot - the directory of a new snapshot, with group, owner and namespaces
 *
 * @ret_fd:  given
 *
 * Errors:  -EEXIST  there is one of this time already
 */
int store_add_snapshot(const struct store *store, const char *ns, const struct snapshot *snapshot,
		       int *ret_fd, struct err *err) MUST_CHECK;

/**
 * store_put_chunk - under a temporary name, then renamed; any number of threads
 *
 * Returns: 1 when the store had it already, 0 when it was written
 */
int store_put_chunk(const struct store *store, const uint8_t digest[static DIGEST_SIZE],
		    const uint8_t *raw, size_t len, struct err *err) MUST_CHECK;

/* Is there a chunk with this digest? */
bool store_has_chunk(const struct store *store, const uint8_t digest[static DIGEST_SIZE]);

/* A file of a snapshot, under a temporary name, then renamed. */
int store_put_file(const struct store *store, int dir_fd, const char *name, const void *data,
		   size_t len, struct err *err) MUST_CHECK;

/* The owner and mode every file of a store has. */
int store_settle_file(const struct store *store, int fd, const char *name,
		      struct err *err) MUST_CHECK;
