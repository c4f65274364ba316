/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"
#include "cli/ready.h"

/* SNAPSHOT [ARCHIVE ...], or with --chunks INDEX */
static int take_args(const struct options *options, struct mapping_options *ret, struct err *err)
{
	bool has_archive = options->n_args > 1;
	if (options->repository.chunks && has_archive)
		return err_set(err, -EINVAL, "serve: with --chunks there is an index file, and no ARCHIVE");
	if (options->socket && options->listen)
		return err_set(err, -EINVAL, "serve takes --socket or --listen, not both");
	ret->target = options->socket;
	ret->snapshot = options->args[0];
	ret->archive = has_archive ? options->args[1] : NULL;
	ret->more_archives = has_archive ? options->args + 2 : NULL;
	ret->n_more_archives = has_archive ? options->n_args - 2 : 0;
	return 0;
}

int cmd_serve(const struct options *options, struct failure *why)
{
	struct options own = *options;
	own.is_foreground = true;
	own.via = VIA_SOCKET;
	struct mapping_options mapping = mapping_options_of(&own);
	if (take_args(&own, &mapping, &why->err) < 0)
		return args_point_to_help("serve", &why->err);
	return mapping_start(&mapping, ready_print, &own, why);
}
