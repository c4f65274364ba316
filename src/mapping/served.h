/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/fuse_file.h"
#include "export/fuse_tree.h"
#include "image/image.h"
#include "mapping/keeper.h"
#include "mapping/mapping.h"
#include "mapping/opened_tree.h"
#include "mapping/served_nbd.h"
#include "mapping/told.h"
#include "stream/stream.h"

/* All layers of one mapping, from the source to the device. */
struct served {
	struct backup *backup;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *image;
	struct fuse_file *file;	   /* NULL = shown to NBD clients, or VIA_TREE */
	struct served_nbd nbd;
	struct opened_tree opened; /* VIA_TREE: instead of shared, stream, image */
	struct fuse_tree *files;   /* and of file */
	struct told told;	   /* of its entries */
	struct keeper keeper; /* started before there is anything else */
	struct mapping_info info; /* the name is the registry's business */
	void (*say)(void *user, const char *line); /* damage, a lost repository; from any thread */
	void *user;
};

#define SERVED_NONE ((struct served){ .keeper = KEEPER_NONE, .opened = OPENED_TREE_NONE })

/* What is read before there is a device: backup and key.  May ask for a password. */
int served_open_backup(struct served *served, const struct mapping_options *options,
		       struct failure *why) MUST_CHECK;

/* Stream, image, FUSE, device, partitions.  Starts threads. */
int served_show(struct served *served, const struct mapping_options *options, const char *run_dir,
		struct err *err) MUST_CHECK;

/*
 * Says how the file systems of a device are mounted, where that is not as one would.  It waits for reads, and in a disk
 * that hangs a thread of ours may: then rights cannot be given up any more, which is a matter of all threads.  So it
 * is for when they are gone.
 */
void served_look(struct served *served, const struct mapping_options *options);

/* What served->info says of traffic, and of the repository's health, is of now. */
void served_refresh(struct served *served);

/*
 * Take the device away.  Not forced: as soon as nobody uses it.  Forced: whoever reads gets errors from
 * now on.
 */
void served_end(struct served *served, bool is_forced);

/* Something happened to the file: an end that waited for its last user may go on. */
void served_go_on(struct served *served);

/* Becomes readable when served_has_ended() may have another answer; read it, then served_go_on(). */
int served_event_fd(const struct served *served);

/* The kernel let go, or the last client has left: nobody can read any more. */
bool served_has_ended(const struct served *served);

/* For those who add streams of their own: with the options of this mapping. */
int served_open_stream(struct served *served, const struct backup *backup, const struct mapping_options *options,
		       void (*damaged)(void *user, const struct damage *damage), void *user,
		       struct stream **ret, struct err *err) MUST_CHECK;
void served_tell_damage(const struct served *served, const char *archive, const struct damage *damage);

/* Takes away what is still shown, and waits until the kernel let go. */
void served_close(struct served *served);
