/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "util/array.h"

/*
 * What is in a snapshot's directory, and what the manifest says of it.  A file that only the manifest
 * knows is listed all the same: mapping it will tell that it is lost.
 */
void archive_list_deinit(struct archive_list *list)
{
	free(list->items);
	*list = ARCHIVE_LIST_EMPTY;
}

static int add(struct archive_list *list, const char *name, uint64_t size, const char *crypt_mode,
	       struct err *err)
{
	int r = array_grow(&list->items, list->n, &list->cap, sizeof *list->items, err);
	if (r < 0)
		return r;
	struct archive *archive = &list->items[list->n++];
	*archive = (struct archive){ .size = size, .crypt_mode = crypt_mode };
	(void) snprintf(archive->name, sizeof archive->name, "%s", name);
	return 0;
}

/* The manifest cannot speak of itself; the server calls it signed when it has a signature. */
static const char *mode_of_rest(const struct manifest *manifest, const char *name)
{
	if (!manifest || strcmp(name, MANIFEST_NAME) != 0)
		return NULL;
	return crypt_mode_name(manifest->has_signature ? CRYPT_SIGN_ONLY : CRYPT_NONE);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct archive *)a)->name, ((const struct archive *)b)->name);
}

int archive_list_make(const struct snapshot_info *info, const struct manifest *manifest,
		      struct archive_list *ret, struct err *err)
{
	CLEANUP(archive_list_deinit) struct archive_list list = ARCHIVE_LIST_EMPTY;
	int r = 0;
	for (size_t i = 0; r == 0 && manifest && i < manifest->n_files; i++) {
		const struct manifest_file *file = &manifest->files[i];
		r = add(&list, file->name, file->size, crypt_mode_name(file->mode), err);
	}
	for (size_t i = 0; r == 0 && i < info->n_files; i++) {
		const struct snapshot_file *file = &info->files[i];
		if (!manifest || !manifest_find(manifest, file->name))
			r = add(&list, file->name, file->size, mode_of_rest(manifest, file->name), err);
	}
	if (r < 0)
		return r;
	if (list.n)
		qsort(list.items, list.n, sizeof *list.items, by_name);
	*ret = list;
	list = ARCHIVE_LIST_EMPTY;
	return 0;
}

uint64_t archive_list_size(const struct archive_list *list)
{
	uint64_t size = 0;
	for (size_t i = 0; i < list->n; i++)
		size += list->items[i].size;
	return size;
}

int archive_list_names(const struct archive_list *list, struct buf *ret, struct err *err)
{
	int r = buf_puts(ret, "", err);
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		char name[ARCHIVE_NAME_SIZE];
		archive_user_name(list->items[i].name, name);
		r = buf_printf(ret, err, "%s%s", i ? " " : "", name);
	}
	return r;
}

json_t *archive_list_to_json(const struct archive_list *list)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < list->n; i++) {
		const struct archive *archive = &list->items[i];
		rows = json_with(rows, json_pack("{s:s, s:I, s:o}", "filename", archive->name, "size",
						 (json_int_t)archive->size, "crypt-mode",
						 json_text_or_null(archive->crypt_mode)));
	}
	return rows;
}
