/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include "cli/notify.h"
#include "cli/output.h"

static json_t *info_to_json(const struct mapping_info *info)
{
	json_t *json = json_pack("{s:s, s:s, s:I}", "via", mapping_via_name(info->via), "snapshot", info->snapshot,
				 "size", (json_int_t)info->size);
	if (json_set_name(json, "name", info->name) < 0 || json_set_name(json, "device", info->device) < 0 ||
	    json_set_name(json, "archive", info->archive) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

static int print_path(const struct mapping_info *info, struct err *err)
{
	CLEANUP(buf_deinit) struct buf line = BUF_EMPTY;
	int r = buf_printf(&line, err, "%s\n", info->device);
	return r < 0 ? r : output_text(line.data, line.len, err);
}

static int print_ready(void *user, const struct mapping_info *info, struct err *err)
{
	const struct options *options = user;
	int r = options->is_json ? output_json(options, info_to_json(info), err) : print_path(info, err);
	if (r == 0 && options->is_foreground)
		notify_ready();
	return r;
}

/* SNAPSHOT ARCHIVE DIR, or with --chunks INDEX DIR */
static int take_args(const struct options *options, struct mapping_options *ret, struct err *err)
{
	bool is_loose = options->repository.chunks;
	size_t n_source = is_loose ? 1 : 2;
	if (options->n_args != n_source + 1)
		return err_set(err, -EINVAL, "mount needs %s DIR", is_loose ? "INDEX" : "SNAPSHOT ARCHIVE");
	ret->snapshot = options->args[0];
	ret->archive = is_loose ? NULL : options->args[1];
	ret->target = options->args[n_source];
	return 0;
}

int cmd_mount(const struct options *options, struct failure *why)
{
	struct options own = *options;
	own.is_foreground |= own.is_verbose; /* as the reference client does */
	struct mapping_options mapping = {
		.repository = &own.repository,
		.via = VIA_TREE,
		.name = own.name,
		.foreground = own.is_foreground,
		.cache_size = own.cache_size,
		.read_ahead = own.read_ahead,
		.timeout_ms = own.timeout_ms,
		.mount_options = own.mount_options,
		.counts_links = own.counts_links,
	};
	if (take_args(&own, &mapping, &why->err) < 0)
		return args_point_to_help("mount", &why->err);
	return mapping_start(&mapping, print_ready, &own, why);
}
