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

/**
 * server_store_name - what the server of this host calls the datastore at @path
 *
 * @ret:  NULL = it does not know it, or there is no server here; else given, free()
 */
int server_store_name(const struct server_paths *paths, const char *path, char **ret,
		      struct err *err) MUST_CHECK;

/* "vm-100-2024\x2d01…": the name of a lock file, below @ret_len bytes.  -ENAMETOOLONG. */
int server_lock_name(const char *snapshot, char *ret, size_t ret_len, struct err *err) MUST_CHECK;

/**
 * snapshot_lock_take - without waiting
 *
 * @dir_fd:  the snapshot's directory, open for reading; must outlive the lock
 * @store:   as server_store_name() gives it; NULL = only the directory
 *
 * Returns: 1 = only the directory is locked, although the server has a lock file: we may not open it
 * Errors:  -EBUSY  somebody writes or removes it
 */
int snapshot_lock_take(const struct server_paths *paths, int dir_fd, const char *store,
		       const char *ns, const struct snapshot *snapshot, struct snapshot_lock *ret,
		       struct err *err) MUST_CHECK;
void snapshot_lock_release(struct snapshot_lock *lock);
