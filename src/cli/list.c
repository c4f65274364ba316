/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "util/text.h"

#define HOLDERS_SAID 3 /* the JSON has all */

static json_t *lost_to_json(const struct mapping_info *info)
{
	return info->lost_since ? json_pack("{s:I, s:o}", "since", (json_int_t)info->lost_since, "why",
					    json_text_or_null(info->lost_why))
				: json_null();
}

static json_t *info_to_json(const struct mapping_info *info)
{
	const struct stream_stats *stats = &info->stats;
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "via",
		mapping_via_name(info->via), "ns", info->ns, "snapshot", info->snapshot, "size",
		(json_int_t)info->size, "pid", (json_int_t)info->pid, "state",
		mapping_state_name(info->state), "since", (json_int_t)info->since, "lost", lost_to_json(info), "read_bytes",
		(json_int_t)stats->read_bytes, "fetched_bytes", (json_int_t)stats->fetched_bytes,
		"fetched_chunks", (json_int_t)stats->fetched_chunks, "cache_hits",
		(json_int_t)stats->cache_hits, "damaged_chunks", (json_int_t)stats->damaged_chunks,
		"holders", json_names(&info->holders));
	if (json_set_name(json, "name", info->name) < 0 ||
	    json_set_name(json, "device", info->device) < 0 ||
	    json_set_name(json, "archive", info->archive) < 0 ||
	    json_object_set_new(json, "uri", json_text_or_null(*info->uri ? info->uri : NULL)) < 0 ||
	    json_set_name(json, "repository", info->repository) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static int print_json(const struct options *options, const struct mapping_list *list,
		      struct err *err)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < list->n; i++)
		rows = json_with(rows, info_to_json(&list->items[i]));
	return output_json(options, rows, err);
}

/* A name the user chose does not tell what it shows. */
static int format_name(const struct mapping_info *info, struct buf *ret, struct err *err)
{
	if (strstr(info->name, info->snapshot) && strstr(info->name, info->archive))
		return buf_puts(ret, info->name, err);
	return buf_printf(ret, err, "%s: %s%s%s", info->name, info->snapshot,
			  *info->snapshot ? " " : "", info->archive);
}

/* "reconnecting for 12 s, 3 damaged" */
static void format_state(const struct mapping_info *info, char *ret, size_t len)
{
	uint64_t n_damaged = info->stats.damaged_chunks;
	char lost[48] = "", damaged[48] = "";
	if (info->lost_since)
		(void) snprintf(lost, sizeof lost, " for %lld s", (long long)(time(NULL) - info->lost_since));
	if (n_damaged)
		(void) snprintf(damaged, sizeof damaged, ", %" PRIu64 " damaged", n_damaged);
	(void) snprintf(ret, len, "%s%s%s", mapping_state_name(info->state), lost, damaged);
}

static int add_row(struct table *table, const struct mapping_info *info, struct err *err)
{
	CLEANUP(buf_deinit) struct buf name = BUF_EMPTY;
	char size[32], read[32], fetched[32], holders[256], state[128];
	strv_describe(&info->holders, HOLDERS_SAID, holders, sizeof holders);
	format_state(info, state, sizeof state);
	int r = format_name(info, &name, err);
	const char *const cells[] = {
		info->device,
		text_size(info->size, size, sizeof size),
		state,
		text_size(info->stats.read_bytes, read, sizeof read),
		text_size(info->stats.fetched_bytes, fetched, sizeof fetched),
		info->holders.n ? holders : "-",
		name.data,
	};
	return r < 0 ? r : table_add(table, cells, err);
}

static int print_table(const struct mapping_list *list, struct err *err)
{
	static const char *const titles[] = { "DEVICE", "SIZE", "STATE", "READ", "FETCHED",
					      "USED BY", "NAME" };
	CLEANUP(table_deinit) struct table table = {
		.titles = titles, .n_columns = ARRAY_LEN(titles),
		.right = 1u << 1 | 1u << 3 | 1u << 4,
	};
	int r = 0;
	for (size_t i = 0; r == 0 && i < list->n; i++)
		r = add_row(&table, &list->items[i], err);
	return r < 0 ? r : table_print(&table, err);
}

int cmd_list(const struct options *options, struct failure *why)
{
	CLEANUP(mapping_list_deinit) struct mapping_list list = MAPPING_LIST_EMPTY;
	int r = mapping_list(&list, &why->err);
	if (r < 0)
		return r;
	return options->is_json ? print_json(options, &list, &why->err)
				: print_table(&list, &why->err);
}
