/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/fuse_file.h"
#include "export/loop.h"
#include "image/image.h"
#include "mapping/mapping.h"
#include "stream/stream.h"

/* All layers of one mapping, from the source to the device. */
struct served {
	struct backup *backup;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *image;
	struct fuse_file *file;
	struct loop loop;
	struct mapping_info info; /* the name is the registry's business */
	void (*say)(void *user, const char *line); /* damage; from any thread */
	void *user;
};

#define SERVED_NONE ((struct served){ .loop = LOOP_NONE })

/* What is read before there is a device: backup and key.  May ask for a password. */
int served_open_backup(struct served *served, const struct mapping_options *options,
		       struct failure *why) MUST_CHECK;

/* Stream, image, FUSE, device, partitions.  Starts threads. */
int served_show(struct served *served, const struct mapping_options *options, const char *run_dir,
		struct err *err) MUST_CHECK;

/*
 * Take the device away.  Not forced: as soon as nobody uses it.  Forced: whoever reads gets errors from
 * now on.
 */
void served_end(struct served *served, bool is_forced);

/* The kernel let go: nobody can read any more. */
bool served_has_ended(const struct served *served);

/* It has ended, or it shall and nobody has the path open: that goes when this process does. */
bool served_is_over(const struct served *served);

/* After has_ended, or when it was never shown to anybody. */
void served_close(struct served *served);
