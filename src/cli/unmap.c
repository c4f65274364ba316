/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/output.h"
#include "util/text.h"

/* What could have been meant. */
static int show_mappings(struct failure *why)
{
	CLEANUP(mapping_list_deinit) struct mapping_list list = MAPPING_LIST_EMPTY;
	int r = mapping_list(&list, &why->err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		char device[512], name[1024];
		(void) fprintf(stderr, "%s: %s\n", text_escape(list.items[i].device, device, sizeof device),
			       text_escape(list.items[i].name, name, sizeof name));
		r = strv_add(&why->candidates, list.items[i].device, &why->err);
	}
	return r < 0 ? r : err_set(&why->err, -EINVAL, "%s", list.n ? "unmap needs one of these, or --all"
								    : "nothing is mapped");
}

int cmd_unmap(const struct options *options, struct failure *why)
{
	enum unmap_flags flags = options->is_forced ? UNMAP_FORCE : 0;
	struct deadline until = options->wait_ms == INT64_MAX ? DEADLINE_NEVER
							      : deadline_in_ms(options->wait_ms);
	int r;
	if (options->is_all && options->n_args)
		return err_set(&why->err, -EINVAL, "unmap takes --all or one device, not both");
	if (options->is_all)
		r = mapping_unmap_all(flags, until, why);
	else if (options->n_args)
		r = mapping_unmap(options->args[0], flags, until, why);
	else
		return show_mappings(why);
	if (r == 0 && options->is_json)
		r = output_json(options, json_object(), &why->err);
	return r;
}
