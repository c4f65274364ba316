/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/output.h"
#include "cli/place.h"

/* The newest finished snapshot; NULL = none is finished, or that cannot be told. */
static const char *last_snapshot(const struct group_info *info, char ret[static SNAPSHOT_TEXT_SIZE])
{
	const struct snapshot last = { .group = info->group, .time = info->last_time };
	if (!info->has_finished || info->is_unread)
		return NULL;
	snapshot_format(&last, ret);
	return ret;
}

static json_t *known_number(const struct group_info *info, json_int_t number)
{
	return info->is_unread ? json_null() : json_integer(number);
}

/* Keys of the server's own answer, where it has such a one. */
static json_t *group_to_json(const struct group_info *info)
{
	char group[GROUP_TEXT_SIZE], last[SNAPSHOT_TEXT_SIZE];
	group_format(&info->group, group);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "group", group, "backup-type",
			 backup_type_name(info->group.type), "backup-id", info->group.id,
			 "backup-count", known_number(info, (json_int_t)info->n_snapshots), "last-backup",
			 known_number(info, info->last_time), "last-snapshot",
			 json_text_or_null(last_snapshot(info, last)), "owner",
			 json_text_or_null(info->owner));
}

static int print_json(const struct options *options, const struct group_list *list, struct err *err)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < list->n; i++)
		rows = json_with(rows, group_to_json(&list->items[i]));
	return output_json(options, rows, err);
}

static int add_group(struct table *table, const struct group_info *info, struct err *err)
{
	char group[GROUP_TEXT_SIZE], text[SNAPSHOT_TEXT_SIZE], count[32];
	const char *last = last_snapshot(info, text), *none = info->is_unread ? "not readable" : "none finished";
	group_format(&info->group, group);
	(void) snprintf(count, sizeof count, "%zu", info->n_snapshots);
	const char *const cells[] = { group, last ? last : none, info->is_unread ? "-" : count,
				      info->owner ? info->owner : "-" };
	return table_add(table, cells, err);
}

static int print_table(const struct group_list *list, struct err *err)
{
	static const char *const titles[] = { "GROUP", "LAST SNAPSHOT", "COUNT", "OWNER" };
	CLEANUP(table_deinit) struct table table = {
		.titles = titles, .n_columns = ARRAY_LEN(titles), .right = 1u << 2,
	};
	int r = 0;
	for (size_t i = 0; r == 0 && i < list->n; i++)
		r = add_group(&table, &list->items[i], err);
	return r < 0 ? r : table_print(&table, err);
}

int cmd_groups(const struct options *options, struct failure *why)
{
	CLEANUP(place_close) struct place place = PLACE_NONE;
	CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
	int r = place_open(options, &place, why);
	if (r == 0)
		r = place_explain(&place, NULL,
				  source_list_groups(place.source, place.ns, &list, &why->err), why);
	if (r == 0)
		r = options->is_json ? print_json(options, &list, &why->err) : print_table(&list, &why->err);
	return r < 0 ? r : place_say_unread(options, &list.unread);
}
