/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/nbd_handshake.h"
#include "image/image.h"
#include "util/deadline.h"
#include "util/strv.h"

/* What an NBD server shows: disks by the names of their archives, and their partitions as NAME/p1 and so on. */
struct exports {
	struct nbd_export *items; /* a disk, its partitions, the next disk … */
	size_t n, cap;
	struct image **parts;	  /* the images of partitions */
	size_t n_parts, cap_parts;
	struct strv texts;	  /* what the items say */
};

#define EXPORTS_EMPTY ((struct exports){ 0 })

/* After the server that shows them is closed; before the disks are. */
void exports_deinit(struct exports *exports);

/* A disk without a look at what is in it. */
int exports_add_whole(struct exports *exports, const char *name, const char *about, struct image *disk,
		      struct err *err) MUST_CHECK;

/**
 * exports_add_disk - a disk and the partitions in it
 *
 * @name:   of the export
 * @about:  for people
 * @disk:   lent
 * @until:  for the table, which is read
 *
 * Returns: 0, or 1 = the table cannot be read, @err says why: then there are no partitions
 */
int exports_add_disk(struct exports *exports, const char *name, const char *about, struct image *disk,
		     struct deadline until, struct err *err) MUST_CHECK;
