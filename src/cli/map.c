/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/args.h"
#include "cli/notify.h"
#include "cli/output.h"
#include "util/text.h"

static json_t *info_to_json(const struct mapping_info *info)
{
	json_t *json = json_pack("{s:s, s:s, s:I, s:o}", "via", mapping_via_name(info->via), "snapshot",
				 info->snapshot, "size", (json_int_t)info->size, "partitions",
				 json_names(&info->partitions));
	if (json_set_name(json, "name", info->name) < 0 ||
	    json_set_name(json, "device", info->device) < 0 ||
	    json_set_name(json, "archive", info->archive) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

/* The device is all there is on stdout, and exactly as it is: `dev=$(pbsmap map ...)`. */
static int print_device(const struct mapping_info *info, struct err *err)
{
	CLEANUP(buf_deinit) struct buf line = BUF_EMPTY;
	int r = buf_printf(&line, err, "%s\n", info->device);
	return r < 0 ? r : output_text(line.data, line.len, err);
}

static void say_mapped(const struct repository_options *repository, const struct mapping_info *info)
{
	char name[1024], device[512];
	repository_say(repository, "Image '%s' mapped as %s",
		       text_escape(info->name, name, sizeof name),
		       text_escape(info->device, device, sizeof device));
}

static int print_ready(void *user, const struct mapping_info *info, struct err *err)
{
	const struct options *options = user;
	if (options->is_verbose)
		say_mapped(&options->repository, info);
	int r = options->is_json ? output_json(options, info_to_json(info), err)
				 : print_device(info, err);
	if (r == 0 && options->is_foreground)
		notify_ready();
	return r;
}

/* SNAPSHOT ARCHIVE [TARGET], or with --chunks INDEX [TARGET] */
static int take_args(const struct options *options, struct mapping_options *ret, struct err *err)
{
	bool is_loose = options->repository.chunks;
	size_t n_source = is_loose ? 1 : 2;
	size_t n_wanted = n_source + (options->via == VIA_FILE);
	if (options->n_args < n_source)
		return err_set(err, -EINVAL, "map needs SNAPSHOT ARCHIVE, as in vm/100 drive-scsi0.img");
	if (options->n_args < n_wanted)
		return err_set(err, -EINVAL, "--via file needs a TARGET, the path of the file");
	if (options->n_args > n_wanted)
		return err_set(err, -EINVAL, "map: one word too many: '%s'%s", options->args[n_wanted],
			       options->via == VIA_LOOP ? "; a TARGET is for --via file" : "");
	ret->snapshot = options->args[0];
	ret->archive = is_loose ? NULL : options->args[1];
	ret->target = options->via == VIA_FILE ? options->args[n_source] : NULL;
	return 0;
}

int cmd_map(const struct options *options, struct failure *why)
{
	struct options own = *options;
	own.is_foreground |= own.is_verbose; /* as the reference client does */
	own.repository.timeout_ms = own.timeout_ms;
	struct mapping_options mapping = {
		.repository = &own.repository,
		.via = own.via,
		.name = own.name,
		.foreground = own.is_foreground,
		.cache_size = own.cache_size,
		.read_ahead = own.read_ahead,
		.timeout_ms = own.timeout_ms,
	};
	if (take_args(&own, &mapping, &why->err) < 0)
		return args_point_to_help("map", &why->err);
	return mapping_start(&mapping, print_ready, &own, why);
}
