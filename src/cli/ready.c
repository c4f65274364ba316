/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ready.h"

#include "cli/notify.h"
#include "cli/output.h"
#include "mapping/journals.h"
#include "util/text.h"

struct mapping_options mapping_options_of(const struct options *options)
{
	return (struct mapping_options){
		.repository = &options->repository,
		.via = options->via,
		.name = options->name,
		.foreground = options->is_foreground,
		.listen = options->listen,
		.tls = options->tls,
		.idle_ms = options->idle_ms,
		.cache_size = options->cache_size,
		.read_ahead = options->read_ahead,
		.timeout_ms = options->timeout_ms,
		.mount_options = options->mount_options,
		.counts_links = options->counts_links,
	};
}

/* Of those that cannot be mounted read-only just so. */
static json_t *mount_options_to_json(const struct strv *journals)
{
	json_t *json = json_object();
	for (size_t i = 0; json && i + JOURNAL_TEXTS <= journals->n; i += JOURNAL_TEXTS)
		if (json_object_set_new(json, journals->items[i], json_string(journals->items[i + 2])) < 0) {
			json_decref(json);
			return NULL;
		}
	return json;
}

static json_t *info_to_json(const struct options *options, const struct mapping_info *info)
{
	json_t *json = json_pack("{s:s, s:s, s:I, s:o}", "via", mapping_via_name(info->via), "snapshot",
				 info->snapshot, "size", (json_int_t)info->size, "partitions",
				 json_names(&info->partitions));
	bool is_device = info->via == VIA_LOOP || info->via == VIA_NBD;
	bool has_looked = is_device && !options->is_foreground; /* see served_look() */
	if (json_set_name(json, "name", info->name) < 0 ||
	    json_set_name(json, "device", info->device) < 0 ||
	    json_object_set_new(json, "uri", json_text_or_null(*info->uri ? info->uri : NULL)) < 0 ||
	    json_set_name(json, "archive", info->archive) < 0 ||
	    (has_looked &&
	     json_object_set_new(json, "mount_options", mount_options_to_json(&info->journals)) < 0)) {
		json_decref(json);
		return NULL;
	}
	return json;
}

/* What others are to use. */
static const char *shown_as(const struct mapping_info *info)
{
	return *info->uri ? info->uri : info->device;
}

/* The device is all there is on stdout, and exactly as it is: `dev=$(pbsmap map ...)`. */
static int print_device(const struct mapping_info *info, struct err *err)
{
	CLEANUP(buf_deinit) struct buf line = BUF_EMPTY;
	int r = buf_printf(&line, err, "%s\n", shown_as(info));
	return r < 0 ? r : output_text(line.data, line.len, err);
}

static void say_mapped(const struct repository_options *repository, const struct mapping_info *info)
{
	char name[1024], device[512];
	repository_say(repository, "Image '%s' mapped as %s",
		       text_escape(info->name, name, sizeof name),
		       text_escape(shown_as(info), device, sizeof device));
}

int ready_print(void *user, const struct mapping_info *info, struct err *err)
{
	const struct options *options = user;
	if (options->is_verbose)
		say_mapped(&options->repository, info);
	int r = options->is_json ? output_json(options, info_to_json(options, info), err)
				 : print_device(info, err);
	if (r == 0 && options->is_foreground)
		notify_ready();
	return r;
}
