/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include "cli/output.h"

/* What could have been meant. */
static int show_mappings(const struct options *options, struct failure *why)
{
	CLEANUP(mapping_list_deinit) struct mapping_list list = MAPPING_LIST_EMPTY;
	int r = mapping_list(&list, &why->err);
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		repository_say(&options->repository, "%s: %s", list.items[i].device, list.items[i].name);
		r = strv_add(&why->candidates, list.items[i].device, &why->err);
	}
	if (r < 0)
		return r;
	(void) err_set(&why->err, -EINVAL, "%s", list.n ? "unmap needs one of these, or --all"
							: "unmap needs a device; nothing is mapped");
	return args_point_to_help("unmap", &why->err);
}

int cmd_unmap(const struct options *options, struct failure *why)
{
	enum unmap_flags flags = options->is_forced ? UNMAP_FORCE : 0;
	struct deadline until = options->wait_ms == INT64_MAX ? DEADLINE_NEVER
							      : deadline_in_ms(options->wait_ms);
	int r;
	if (options->is_all && options->n_args) {
		(void) err_set(&why->err, -EINVAL, "unmap takes --all or one device, not both");
		return args_point_to_help("unmap", &why->err);
	}
	if (options->is_all)
		r = mapping_unmap_all(flags, until, why);
	else if (options->n_args)
		r = mapping_unmap(options->args[0], flags, until, why);
	else
		return show_mappings(options, why);
	return r == 0 && options->is_json ? output_json(options, json_object(), &why->err) : r;
}
