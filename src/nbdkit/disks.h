/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/image.h"
#include "mapping/backup.h"
#include "nbdkit/params.h"

/* An image that clients can connect to. */
struct shown_disk {
	const char *name;	 /* of the export: "drive-scsi0.img" */
	const char *description; /* the snapshot's name */
	struct image *image;	 /* NULL before disks_start() */

	/* of disks.c */
	struct disks *disks;
	struct backup *backup;
	struct stream *stream;
};

/*
 * All the plugin shows, in the two steps between which nbdkit forks: without threads, and with them.
 */
struct disks {
	const struct params *params;
	struct repository_options repository; /* its say() hears of damage and lost servers, from any thread */
	struct stream_shared *shared;
	struct shown_disk *items; /* the first one's source is that of all */
	size_t n, cap;
};

#define DISKS_NONE ((struct disks){ .items = NULL })

/**
 * disks_open - what may ask for a password: repository, key, manifest, indexes.  Starts no thread
 *
 * @params:  lent
 * @say:     warnings and notes, one line each; from any thread after disks_start()
 * @ret:     DISKS_NONE, stays where it is; disks_close() in any case
 *
 * Errors:  those of backup_open()
 */
int disks_open(const struct params *params, void (*say)(void *user, const char *line), struct disks *ret,
	       struct failure *why) MUST_CHECK;

/* From now on images can be read.  Starts threads. */
int disks_start(struct disks *disks, struct err *err) MUST_CHECK;

/* Nobody reads any more.  Ends all threads. */
void disks_close(struct disks *disks);

/* The one of this name, which may end as it does on the server; "" where there is only one.  NULL = none. */
struct shown_disk *disks_find(const struct disks *disks, const char *name);

/* What a failed read is for a client: the codes NBD has words for. */
int disk_errno_of(int code);
