/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "format/manifest.h"
#include "mapping/backup.h"

/* From what a user typed to what there is; where there is no such thing, what there is instead. */

/**
 * choose_snapshot - "vm/100/2026-01-02T03:04:05Z", or a group: its newest finished one, which is said
 *
 * Errors:  -ENOENT with snapshots, groups or namespaces as candidates; -EINVAL; -errno of one that cannot be
 *          read, and may be the newest
 */
int choose_snapshot(const struct repository_options *options, struct source *source, const char *ns,
		    const char *text, struct snapshot *ret, struct failure *why) MUST_CHECK;

/* source_open_snapshot(), with candidates where it is not there. */
int choose_open(struct source *source, const char *ns, const struct snapshot *snapshot,
		struct failure *why) MUST_CHECK;

/**
 * choose_explain - what there is instead of a group or namespace that is not there
 *
 * @group:  what was asked for; NULL = only the namespace
 * @r:      what came of it, with its words in why->err; nothing is changed unless it is -ENOENT, and what there is can
 *          be listed
 *
 * Errors:  @r; -ENOENT with groups or namespaces as candidates, also in words
 */
int choose_explain(struct source *source, const char *ns, const struct group *group, int r,
		   struct failure *why) MUST_CHECK;

/*
 * A file of a snapshot as a user can write it for choose_image(): only ".img" stands for what the server adds
 * to it.  false = it is no image.
 */
bool choose_image_name(const char *server_name, char ret[static ARCHIVE_NAME_SIZE]) MUST_CHECK;

/* The same for a file archive, a pair named as if it were one. */
bool choose_tree_name(const char *server_name, char ret[static ARCHIVE_NAME_SIZE]);

/* The images of a snapshot, as a user can write them, sorted. */
int choose_images(const struct manifest *manifest, struct strv *ret, struct err *err) MUST_CHECK;

/**
 * choose_image - the manifest's entry of an archive that can be mapped
 *
 * Errors:  -ENOENT with the images there are; -EISDIR a file archive; -EINVAL no image
 */
int choose_image(const struct manifest *manifest, const char *archive,
		 const struct manifest_file **ret, struct failure *why) MUST_CHECK;

/* The file archive a user means: one stream, or its entries and the data of its files in one each. */
struct chosen_tree {
	const struct manifest_file *meta;
	const struct manifest_file *payload; /* NULL = not split */
};

/**
 * choose_tree - the manifest's entries of a file archive
 *
 * @archive:  "root.pxar" means root.pxar where that is, else the pair root.mpxar and root.ppxar, which may
 *            be called by either name as well
 *
 * Errors:  -ENOENT with the file archives there are; -EINVAL none; -EBADMSG one of a pair is missing
 */
int choose_tree(const struct manifest *manifest, const char *archive, struct chosen_tree *ret,
		struct failure *why) MUST_CHECK;
