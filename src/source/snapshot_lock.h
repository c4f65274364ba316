/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "format/snapshot.h"
#include "util/err.h"

/*
 * The shared lock that keeps a snapshot from being removed while it is read.  Two of them: an flock
 * on the snapshot's directory (any server before 3.3.5, and everyone who copies a datastore), and the
 * lock file of a newer server on its own host.
 */
struct snapshot_lock {
	int dir_fd;  /* the directory, lent */
	int file_fd; /* the server's lock file; -EBADF = none */
};

#define SNAPSHOT_LOCK_NONE ((struct snapshot_lock){ .dir_fd = -EBADF, .file_fd = -EBADF })

/* Where the server keeps its things; other places in tests. */
struct server_paths {
	const char *run_dir;  /* "/run/proxmox-backup" */
	const char *config;   /* "/etc/proxmox-backup/datastore.cfg" */
	const char *removable; /* "/mnt/datastore": where removable datastores are mounted */
};

extern const struct server_paths server_paths_default;

/* What the server of this host says of a datastore. */
struct server_store {
	char name[SAFE_ID_MAX + 1]; /* "" = it does not know it, or there is no server here */
	char maintenance[16];	    /* "offline", …: it refuses to read it now; "" = it does not */
};

/* 0; 1 = there is a server, but its configuration cannot be read: @ret is empty then. */
int server_store_find(const struct server_paths *paths, const char *path,
		      struct server_store *ret) MUST_CHECK;

/* "vm-100-2024\x2d01…": the name of a lock file, below @ret_len bytes.  -ENAMETOOLONG. */
int server_lock_name(const char *snapshot, char *ret, size_t ret_len, struct err *err) MUST_CHECK;

/* What was locked, and who may remove the snapshot all the same. */
enum snapshot_locked {
	SNAPSHOT_LOCKED,
	SNAPSHOT_LOCKED_NO_FILE, /* not the server's lock file: we may not open it */
	SNAPSHOT_LOCKED_NOTHING, /* the file system of the datastore has no locks, there is no lock file */
	SNAPSHOT_LOCKED_HERE,	 /* the datastore is on the network: a server elsewhere sees no lock */
};

/**
 * snapshot_lock_take - without waiting
 *
 * @dir_fd:  the snapshot's directory, open for reading; must outlive the lock
 * @store:   as server_store_find() gives it; "" = only the directory
 *
 * Returns: enum snapshot_locked
 * Errors:  -EBUSY  somebody writes or removes it
 */
int snapshot_lock_take(const struct server_paths *paths, int dir_fd, const char *store,
		       const char *ns, const struct snapshot *snapshot, struct snapshot_lock *ret,
		       struct err *err) MUST_CHECK;
void snapshot_lock_release(struct snapshot_lock *lock);
