/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/archives.h"
#include "cli/output.h"
#include "cli/place.h"
#include "util/text.h"

/* One snapshot with all that is to be said of it. */
struct row {
	const struct snapshot_info *info;
	struct manifest *manifest; /* NULL: it has none, or one that cannot be read */
	struct archive_list archives;
};

static void row_deinit(struct row *row)
{
	manifest_free(row->manifest);
	archive_list_deinit(&row->archives);
}

static int read_manifest(struct row *row, const struct place *place, struct err *err)
{
	char text[SNAPSHOT_TEXT_SIZE];
	int r = source_open_snapshot(place->source, place->ns, &row->info->snapshot, err);
	if (r == 0)
		r = backup_read_manifest(place->source, &row->manifest, err);
	snapshot_format(&row->info->snapshot, text);
	return r < 0 ? err_while(err, r, "reading the manifest of %s", text) : 0;
}

/* Of the manifest itself; a server that is lost has none of the others either. */
static bool is_damage(int code, bool is_remote)
{
	if (is_remote)
		return code == -EBADMSG || code == -EREMOTEIO || code == -EPROTO || code == -EMSGSIZE;
	return code != -ENOMEM && code != -EMFILE && code != -ENFILE;
}

/* A snapshot that is damaged is still listed: that it is there is the news. */
static int note_damage(const struct place *place, const struct err *why, struct unread *unread, struct err *err)
{
	bool is_remote = place->source->is_remote;
	if (is_remote && why->code == -EACCES)
		return 0; /* who may only list at a server, has all it lists */
	return is_damage(why->code, is_remote) ? unread_add(unread, why, err)
					       : err_set(err, why->code, "%s", why->msg);
}

/* 1 = done, 0 = the snapshot went away meanwhile. */
static int row_init(struct row *row, const struct place *place, struct unread *unread, struct err *err)
{
	struct err why = ERR_NONE;
	int r = row->info->is_finished ? read_manifest(row, place, &why) : 0;
	if (r == -ENOENT || (r == -EAGAIN && !place->source->is_remote))
		return 0;
	if (r < 0)
		r = note_damage(place, &why, unread, err);
	if (r == 0)
		r = archive_list_make(row->info, row->manifest, &row->archives, err);
	return r < 0 ? r : 1;
}

static int each_row(const struct place *place, struct snapshot_list *list,
		    int (*take)(void *user, const struct row *row, struct err *err), void *user, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		CLEANUP(row_deinit) struct row row = { .info = &list->items[i] };
		r = row_init(&row, place, &list->unread, err);
		if (r > 0)
			r = take(user, &row, err);
	}
	return r;
}

/* "not finished", "protected, verify ok"; "-" = nothing special */
static const char *state_of(const struct row *row, char *ret, size_t len)
{
	const char *verified = row->manifest ? row->manifest->verify_state : NULL;
	bool is_damaged = row->info->is_finished && !row->manifest;
	if (row->info->is_unread)
		return "not readable";
	(void) snprintf(ret, len, "%s%s%s%s%s", row->info->is_finished ? "" : ", not finished",
			is_damaged ? ", manifest not readable" : "",
			row->info->is_protected ? ", protected" : "", verified ? ", verify " : "",
			verified ? verified : "");
	return *ret ? ret + strlen(", ") : "-";
}

/* -- for programs ---------------------------------------------------------------------------- */

/* The first line of the notes, as the server has it in its lists. */
static json_t *comment_of(const struct manifest *manifest)
{
	if (!manifest || !manifest->notes)
		return json_null();
	return json_stringn(manifest->notes, strcspn(manifest->notes, "\r\n"));
}

static json_t *verification_of(const struct manifest *manifest)
{
	if (!manifest || !manifest->verify_state)
		return json_null();
	return json_pack("{s:s, s:o}", "state", manifest->verify_state, "upid",
			 json_text_or_null(manifest->verify_upid));
}

static json_t *known_bool(const struct snapshot_info *info, bool is_so)
{
	return info->is_unread ? json_null() : json_boolean(is_so);
}

/* Keys of the server's own answer, where it has such a one. */
static json_t *row_to_json(const struct row *row)
{
	const struct snapshot_info *info = row->info;
	char snapshot[SNAPSHOT_TEXT_SIZE];
	snapshot_format(&info->snapshot, snapshot);
	json_t *size = row->manifest ? json_integer((json_int_t)archive_list_size(&row->archives))
				     : json_null();
	return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "snapshot", snapshot,
			 "backup-type", backup_type_name(info->snapshot.group.type), "backup-id",
			 info->snapshot.group.id, "backup-time", (json_int_t)info->snapshot.time, "size",
			 size, "finished", known_bool(info, info->is_finished), "protected",
			 known_bool(info, info->is_protected), "comment", comment_of(row->manifest), "verification",
			 verification_of(row->manifest), "files", archive_list_to_json(&row->archives));
}

static int add_json(void *user, const struct row *row, struct err *err)
{
	json_t **rows = user;
	*rows = json_with(*rows, row_to_json(row));
	return 0; /* no memory: said where they are printed */
}

static int print_json(const struct options *options, const struct place *place, struct snapshot_list *list,
		      struct err *err)
{
	json_t *rows = json_array();
	int r = each_row(place, list, add_json, &rows, err);
	if (r == 0)
		return output_json(options, rows, err);
	json_decref(rows);
	return r;
}

/* -- for people ------------------------------------------------------------------------------ */

static int add_row(void *table, const struct row *row, struct err *err)
{
	CLEANUP(buf_deinit) struct buf names = BUF_EMPTY;
	char snapshot[SNAPSHOT_TEXT_SIZE], size[32], state[128];
	snapshot_format(&row->info->snapshot, snapshot);
	(void) text_size(archive_list_size(&row->archives), size, sizeof size);
	int r = archive_list_names(&row->archives, &names, err);
	const char *const cells[] = { snapshot, row->manifest ? size : "-",
				      state_of(row, state, sizeof state), names.data };
	return r < 0 ? r : table_add(table, cells, err);
}

static int print_table(const struct place *place, struct snapshot_list *list, struct err *err)
{
	static const char *const titles[] = { "SNAPSHOT", "SIZE", "STATE", "FILES" };
	CLEANUP(table_deinit) struct table table = {
		.titles = titles, .n_columns = ARRAY_LEN(titles), .right = 1u << 1,
	};
	int r = each_row(place, list, add_row, &table, err);
	return r < 0 ? r : table_print(&table, err);
}

/* -------------------------------------------------------------------------------------------- */

static int list_snapshots(const struct options *options, struct place *place,
			  struct snapshot_list *ret, struct failure *why)
{
	struct group group;
	const struct group *only = options->n_args ? &group : NULL;
	int r = only ? group_parse(options->args[0], &group, &why->err) : 0;
	if (r == 0)
		r = place_open(options, place, why);
	if (r < 0)
		return r;
	r = source_list_snapshots(place->source, place->ns, only, ret, &why->err);
	return place_explain(place, only, r, why);
}

int cmd_snapshots(const struct options *options, struct failure *why)
{
	CLEANUP(place_close) struct place place = PLACE_NONE;
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	int r = list_snapshots(options, &place, &list, why);
	if (r == 0)
		r = options->is_json ? print_json(options, &place, &list, &why->err)
				     : print_table(&place, &list, &why->err);
	return r < 0 ? r : place_say_unread(options, &list.unread);
}
