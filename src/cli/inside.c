/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inside.h"

#include <string.h>

#include "cli/args.h"
#include "mapping/environment.h"

static int open_files(const struct options *options, struct inside *ret, struct err *err)
{
	const struct opened_tree_options tree = {
		.backup = ret->backup,
		.cache_size = options->cache_size,
		.read_ahead = options->read_ahead,
		.timeout_ms = options->timeout_ms,
		.links = options->counts_links ? LINKS_EXACT : LINKS_AS_MET,
		.say = options->repository.say,
		.user = options->repository.user,
	};
	return opened_tree_open(&tree, &ret->opened, err);
}

size_t inside_first_path(const struct options *options)
{
	return options->repository.chunks ? 1 : 2;
}

int inside_open(const struct options *options, const char *command, struct inside *ret, struct failure *why)
{
	bool is_loose = options->repository.chunks;
	if (options->n_args < inside_first_path(options)) {
		(void) err_set(&why->err, -EINVAL, "%s needs SNAPSHOT ARCHIVE, as in host/web root.pxar", command);
		return args_point_to_help(command, &why->err);
	}
	int r = backup_open_tree(&options->repository, options->args[0], is_loose ? NULL : options->args[1],
				 &ret->backup, why);
	environment_forget_secrets(); /* those that were not needed */
	if (r < 0)
		return r;
	ret->backup->source->tell = options->repository.say;
	ret->backup->source->tell_user = options->repository.user;
	return open_files(options, ret, &why->err);
}

int inside_resolve(const struct opened_tree *opened, const char *path, enum tree_follow follow, struct node *ret,
		   struct err *err)
{
	int r = tree_resolve(opened->tree, path, follow, opened_tree_deadline(opened), ret, err);
	return r < 0 && strchr(path, '/') ? err_while(err, r, "looking for %s", path) : r;
}

void inside_close(struct inside *inside)
{
	/* What was read ahead and nobody wants any more is not waited for. */
	opened_tree_shutdown(&inside->opened);
	if (inside->backup)
		source_shutdown(inside->backup->source);
	opened_tree_close(&inside->opened);
	backup_close(inside->backup);
	*inside = INSIDE_NONE;
}
