/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include "cli/ready.h"

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
	own.via = VIA_TREE;
	struct mapping_options mapping = mapping_options_of(&own);
	if (take_args(&own, &mapping, &why->err) < 0)
		return args_point_to_help("mount", &why->err);
	return mapping_start(&mapping, ready_print, &own, why);
}
