/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/archives.h"
#include "cli/output.h"
#include "cli/place.h"
#include "mapping/choose.h"

/* The names a user gives: without the server's endings. */
static int add_archive(struct table *table, const struct archive *archive, struct err *err)
{
	char size[32], name[ARCHIVE_NAME_SIZE];
	archive_user_name(archive->name, name);
	(void) snprintf(size, sizeof size, "%" PRIu64, archive->size);
	const char *const cells[] = { name, archive->crypt_mode ? archive->crypt_mode : "-", size };
	return table_add(table, cells, err);
}

static int print_table(const struct archive_list *list, struct err *err)
{
	static const char *const titles[] = { "FILE", "CRYPT MODE", "SIZE" };
	CLEANUP(table_deinit) struct table table = {
		.titles = titles, .n_columns = ARRAY_LEN(titles), .right = 1u << 2,
	};
	int r = 0;
	for (size_t i = 0; r == 0 && i < list->n; i++)
		r = add_archive(&table, &list->items[i], err);
	return r < 0 ? r : table_print(&table, err);
}

/* What lies in the directory of the open snapshot, and what its manifest says of it. */
static int list_archives(const struct place *place, const struct snapshot *snapshot,
			 struct archive_list *ret, struct err *err)
{
	CLEANUP(manifest_freep) struct manifest *manifest = NULL;
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct snapshot_info none = { 0 };
	const struct snapshot_info *info = &none;
	int r = backup_read_manifest(place->source, &manifest, err);
	if (r == 0)
		r = source_list_snapshots(place->source, place->ns, &snapshot->group, &list, err);
	for (size_t i = 0; r == 0 && i < list.n; i++)
		if (snapshot_compare(&list.items[i].snapshot, snapshot) == 0)
			info = &list.items[i];
	return r < 0 ? r : archive_list_make(info, manifest, ret, err);
}

int cmd_files(const struct options *options, struct failure *why)
{
	CLEANUP(place_close) struct place place = PLACE_NONE;
	CLEANUP(archive_list_deinit) struct archive_list list = ARCHIVE_LIST_EMPTY;
	struct snapshot snapshot;
	int r = place_open(options, &place, why);
	if (r == 0)
		r = choose_snapshot(&options->repository, place.source, place.ns, options->args[0],
				    &snapshot, why);
	if (r == 0)
		r = choose_open(place.source, place.ns, &snapshot, why);
	if (r == 0)
		r = list_archives(&place, &snapshot, &list, &why->err);
	if (r < 0)
		return r;
	return options->is_json ? output_json(options, archive_list_to_json(&list), &why->err)
				: print_table(&list, &why->err);
}
