/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "format/manifest.h"
#include "source/source.h"
#include "util/buf.h"

/* A file of a snapshot as the server lists it. */
struct archive {
	char name[ARCHIVE_NAME_SIZE]; /* on the server */
	uint64_t size;		      /* decoded, where the manifest knows it, else as stored */
	const char *crypt_mode;	      /* NULL = the manifest does not know it */
};

struct archive_list {
	struct archive *items;
	size_t n, cap;
};

#define ARCHIVE_LIST_EMPTY ((struct archive_list){ 0 })
void archive_list_deinit(struct archive_list *list);

/* Sorted by name.  @manifest NULL = there is none that can be read: sizes as stored. */
int archive_list_make(const struct snapshot_info *info, const struct manifest *manifest,
		      struct archive_list *ret, struct err *err) MUST_CHECK;

uint64_t archive_list_size(const struct archive_list *list);

/* "drive-scsi0.img index.json" */
int archive_list_names(const struct archive_list *list, struct buf *ret,
		       struct err *err) MUST_CHECK;

/* NULL = no memory */
json_t *archive_list_to_json(const struct archive_list *list);
