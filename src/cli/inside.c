/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inside.h"

#include "cli/args.h"

int inside_open(const struct options *options, const char *command, struct opened_tree *ret,
		size_t *ret_paths, struct failure *why)
{
	bool is_loose = options->repository.chunks;
	size_t n_source = is_loose ? 1 : 2;
	if (options->n_args < n_source) {
		(void) err_set(&why->err, -EINVAL, "%s needs SNAPSHOT ARCHIVE, as in host/web root.pxar", command);
		return args_point_to_help(command, &why->err);
	}
	const struct opened_tree_options tree = {
		.repository = &options->repository,
		.snapshot = options->args[0],
		.archive = is_loose ? NULL : options->args[1],
		.cache_size = options->cache_size,
		.read_ahead = options->read_ahead,
		.timeout_ms = options->timeout_ms,
		.counts_links = options->counts_links,
	};
	*ret_paths = n_source;
	return opened_tree_open(&tree, ret, why);
}
