/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "mapping/choose.h"
#include "util/buf.h"
#include "util/text.h"

/*
 * What there is in a repository: namespaces, groups, snapshots, files.  The JSON has the keys of the
 * server's own answers, where it has such an answer.
 */
static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static int add_row(json_t *rows, json_t *take_row, struct err *err)
{
	if (json_array_append_new(rows, take_row) < 0)
		return err_set(err, -ENOMEM, "no memory for the result");
	return 0;
}

/* Whichever of the two was filled. */
static int print_result(const struct options *options, const struct table *table, json_t *take_rows,
			struct err *err)
{
	if (options->is_json)
		return output_json(options, take_rows, err);
	json_decref(take_rows);
	return table_print(table, err);
}

static const char *first_line(const char *text, char *buf, size_t len)
{
	(void) snprintf(buf, len, "%.*s", (int)strcspn(text, "\r\n"), text);
	return buf;
}

/* -- namespaces ------------------------------------------------------------------------------ */

int cmd_namespaces(const struct options *options, struct failure *why)
{
	CLEANUP(source_closep) struct source *source = NULL;
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = repository_open(&options->repository, &source, why);
	if (r == 0)
		r = source_list_namespaces(source, &names, &why->err);
	if (r < 0)
		return r;
	json_t *rows = json_array();
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		if (options->is_json)
			r = add_row(rows, json_pack("{s:s}", "ns", names.items[i]), &why->err);
		else
			(void) printf("%s\n", names.items[i]);
	}
	if (r == 0 && options->is_json)
		return output_json(options, rows, &why->err);
	json_decref(rows);
	return r < 0 ? r : output_flush(&why->err);
}

/* -- a namespace of a source ----------------------------------------------------------------- */

struct place {
	struct source *source;
	const char *ns;
};

static int open_place(const struct options *options, struct place *ret, struct failure *why)
{
	int r = repository_namespace(&options->repository, &ret->ns, &why->err);
	return r < 0 ? r : repository_open(&options->repository, &ret->source, why);
}

static void place_close(struct place *place)
{
	source_close(place->source);
}

/* An unknown namespace: what there is instead. */
static int with_namespaces(const struct place *place, int r, struct failure *why)
{
	struct err ignored = ERR_NONE;
	if (r == -ENOENT && *place->ns && source_list_namespaces(place->source, &why->candidates, &ignored) < 0)
		return r;
	return r;
}

/* -- groups ---------------------------------------------------------------------------------- */

static json_t *group_to_json(const struct group_info *info)
{
	char group[GROUP_TEXT_SIZE];
	group_format(&info->group, group);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:o}", "group", group, "backup-type",
			 backup_type_name(info->group.type), "backup-id", info->group.id, "backup-count",
			 (json_int_t)info->n_snapshots, "last-backup", (json_int_t)info->last_time,
			 "finished", (int)info->has_finished, "owner", text_or_null(info->owner));
}

static int add_group(struct table *table, const struct group_info *info, struct err *err)
{
	char group[GROUP_TEXT_SIZE], last[SNAPSHOT_TIME_SIZE], count[32];
	group_format(&info->group, group);
	snapshot_time_format(info->last_time, last);
	(void) snprintf(count, sizeof count, "%zu", info->n_snapshots);
	const char *const cells[] = { group, info->has_finished ? last : "none finished", count,
				      info->owner ? info->owner : "-" };
	return table_add(table, cells, err);
}

int cmd_groups(const struct options *options, struct failure *why)
{
	static const char *const titles[] = { "GROUP", "LAST SNAPSHOT", "COUNT", "OWNER" };
	CLEANUP(place_close) struct place place = { 0 };
	CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
	CLEANUP(table_deinit) struct table table = { .titles = titles, .n_columns = ARRAY_LEN(titles),
						     .right = 1u << 2 };
	int r = open_place(options, &place, why);
	if (r == 0)
		r = with_namespaces(&place, source_list_groups(place.source, place.ns, &list, &why->err), why);
	if (r < 0)
		return r;
	json_t *rows = json_array();
	for (size_t i = 0; r == 0 && i < list.n; i++)
		r = options->is_json ? add_row(rows, group_to_json(&list.items[i]), &why->err)
				     : add_group(&table, &list.items[i], &why->err);
	if (r < 0)
		json_decref(rows);
	return r < 0 ? r : print_result(options, &table, rows, &why->err);
}

/* -- snapshots ------------------------------------------------------------------------------- */

/* NULL = it has none, or one that cannot be read: the list still shows that the snapshot is there. */
static struct manifest *manifest_of(const struct place *place, const struct snapshot_info *info)
{
	struct manifest *manifest = NULL;
	struct err ignored = ERR_NONE;
	if (!info->is_finished ||
	    source_open_snapshot(place->source, place->ns, &info->snapshot, &ignored) < 0 ||
	    backup_read_manifest(place->source, &manifest, &ignored) < 0)
		return NULL;
	return manifest;
}

static uint64_t size_of(const struct manifest *manifest)
{
	uint64_t size = 0;
	for (size_t i = 0; i < manifest->n_files; i++)
		size += manifest->files[i].size;
	return size;
}

/* One object for each file that is there; what the manifest says of it. */
static json_t *files_to_json(const struct snapshot_info *info, const struct manifest *manifest)
{
	json_t *rows = json_array();
	for (size_t i = 0; rows && i < info->n_files; i++) {
		const struct snapshot_file *file = &info->files[i];
		const struct manifest_file *entry = manifest ? manifest_find(manifest, file->name) : NULL;
		json_t *row = json_pack("{s:s, s:I, s:o}", "filename", file->name, "size",
					(json_int_t)(entry ? entry->size : file->size), "crypt-mode",
					text_or_null(entry ? crypt_mode_name(entry->mode) : NULL));
		if (json_array_append_new(rows, row) < 0) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}

static json_t *snapshot_to_json(const struct snapshot_info *info, const struct manifest *manifest)
{
	char snapshot[SNAPSHOT_TEXT_SIZE], comment[256];
	snapshot_format(&info->snapshot, snapshot);
	const char *notes = manifest ? manifest->notes : NULL;
	return json_pack("{s:s, s:s, s:s, s:I, s:o, s:b, s:b, s:o, s:o, s:o}", "snapshot", snapshot,
			 "backup-type", backup_type_name(info->snapshot.group.type), "backup-id",
			 info->snapshot.group.id, "backup-time", (json_int_t)info->snapshot.time, "size",
			 manifest ? json_integer((json_int_t)size_of(manifest)) : json_null(), "finished",
			 (int)info->is_finished, "protected", (int)info->is_protected, "comment",
			 text_or_null(notes ? first_line(notes, comment, sizeof comment) : NULL), "verification",
			 text_or_null(manifest ? manifest->verify_state : NULL), "files",
			 files_to_json(info, manifest));
}

/* "drive-scsi0.img qemu-server.conf" */
static int archive_names(const struct snapshot_info *info, struct buf *ret, struct err *err)
{
	int r = buf_puts(ret, "", err);
	for (size_t i = 0; r == 0 && i < info->n_files; i++) {
		char name[ARCHIVE_NAME_SIZE];
		archive_user_name(info->files[i].name, name);
		r = buf_printf(ret, err, "%s%s", ret->len ? " " : "", name);
	}
	return r;
}

static int add_snapshot(struct table *table, const struct snapshot_info *info,
			const struct manifest *manifest, struct err *err)
{
	CLEANUP(buf_deinit) struct buf names = BUF_EMPTY;
	char snapshot[SNAPSHOT_TEXT_SIZE], size[32], state[128];
	snapshot_format(&info->snapshot, snapshot);
	int r = archive_names(info, &names, err);
	if (r < 0)
		return r;
	(void) snprintf(state, sizeof state, "%s%s%s%s", info->is_finished ? "" : "not finished",
			info->is_protected ? " protected" : "",
			manifest && manifest->verify_state ? " verify " : "",
			manifest && manifest->verify_state ? manifest->verify_state : "");
	const char *shown_state = state + (state[0] == ' ');
	const char *const cells[] = { snapshot, manifest ? text_size(size_of(manifest), size, sizeof size) : "-",
				      *shown_state ? shown_state : "-", names.data };
	return table_add(table, cells, err);
}

static int list_snapshots(const struct options *options, struct place *place,
			  struct snapshot_list *ret, struct failure *why)
{
	struct group group;
	int r = open_place(options, place, why);
	if (r == 0 && options->n_args)
		r = group_parse(options->args[0], &group, &why->err);
	if (r == 0)
		r = with_namespaces(place, source_list_snapshots(place->source, place->ns,
								 options->n_args ? &group : NULL, ret,
								 &why->err), why);
	return r;
}

int cmd_snapshots(const struct options *options, struct failure *why)
{
	static const char *const titles[] = { "SNAPSHOT", "SIZE", "STATE", "FILES" };
	CLEANUP(place_close) struct place place = { 0 };
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	CLEANUP(table_deinit) struct table table = { .titles = titles, .n_columns = ARRAY_LEN(titles),
						     .right = 1u << 1 };
	int r = list_snapshots(options, &place, &list, why);
	if (r < 0)
		return r;
	json_t *rows = json_array();
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		CLEANUP(manifest_freep) struct manifest *manifest = manifest_of(&place, &list.items[i]);
		r = options->is_json
			    ? add_row(rows, snapshot_to_json(&list.items[i], manifest), &why->err)
			    : add_snapshot(&table, &list.items[i], manifest, &why->err);
	}
	if (r < 0)
		json_decref(rows);
	return r < 0 ? r : print_result(options, &table, rows, &why->err);
}

/* -- files ----------------------------------------------------------------------------------- */

static int add_file(struct table *table, const struct manifest_file *file, struct err *err)
{
	char size[32], name[ARCHIVE_NAME_SIZE];
	archive_user_name(file->name, name);
	(void) snprintf(size, sizeof size, "%" PRIu64, file->size);
	const char *const cells[] = { name, crypt_mode_name(file->mode), size };
	return table_add(table, cells, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct manifest_file *)a)->name, ((const struct manifest_file *)b)->name);
}

int cmd_files(const struct options *options, struct failure *why)
{
	static const char *const titles[] = { "FILE", "CRYPT MODE", "SIZE" };
	CLEANUP(place_close) struct place place = { 0 };
	CLEANUP(manifest_freep) struct manifest *manifest = NULL;
	CLEANUP(table_deinit) struct table table = { .titles = titles, .n_columns = ARRAY_LEN(titles),
						     .right = 1u << 2 };
	struct snapshot snapshot;
	int r = open_place(options, &place, why);
	if (r == 0)
		r = choose_snapshot(&options->repository, place.source, place.ns, options->args[0], &snapshot,
				    why);
	if (r == 0)
		r = choose_open(place.source, place.ns, &snapshot, why);
	if (r == 0)
		r = backup_read_manifest(place.source, &manifest, &why->err);
	if (r < 0)
		return r;
	qsort(manifest->files, manifest->n_files, sizeof *manifest->files, by_name);
	json_t *rows = json_array();
	for (size_t i = 0; r == 0 && i < manifest->n_files; i++) {
		const struct manifest_file *file = &manifest->files[i];
		r = options->is_json ? add_row(rows, json_pack("{s:s, s:I, s:s}", "filename", file->name, "size",
							       (json_int_t)file->size, "crypt-mode",
							       crypt_mode_name(file->mode)), &why->err)
				     : add_file(&table, file, &why->err);
	}
	if (r < 0)
		json_decref(rows);
	return r < 0 ? r : print_result(options, &table, rows, &why->err);
}
