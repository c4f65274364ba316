/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/args.h"
#include "cli/ready.h"

/* `map SNAPSHOT ARCHIVE /dev/nbd0` says how, too. */
static enum mapping_via via_of(const struct options *options, size_t n_source)
{
	bool is_nbd = options->n_args > n_source && strncmp(options->args[n_source], "/dev/nbd", 8) == 0;
	return options->via == VIA_LOOP && is_nbd ? VIA_NBD : options->via;
}

/* SNAPSHOT ARCHIVE [TARGET], or with --chunks INDEX [TARGET] */
static int take_args(const struct options *options, struct mapping_options *ret, struct err *err)
{
	bool is_loose = options->repository.chunks;
	size_t n_source = is_loose ? 1 : 2;
	ret->via = via_of(options, n_source);
	bool needs_target = ret->via == VIA_FILE || ret->via == VIA_SOCKET;
	bool has_target = needs_target || (ret->via == VIA_NBD && options->n_args > n_source);
	size_t n_wanted = n_source + has_target;
	if (options->n_args < n_source)
		return err_set(err, -EINVAL, "map needs SNAPSHOT ARCHIVE, as in vm/100 drive-scsi0.img");
	if (options->n_args < n_wanted)
		return err_set(err, -EINVAL, "--via %s needs a TARGET, the path of the %s",
			       mapping_via_name(options->via), mapping_via_name(options->via));
	if (options->idle_ms && options->via != VIA_SOCKET)
		return err_set(err, -EINVAL, "--idle is for --via socket");
	if (options->n_args > n_wanted)
		return err_set(err, -EINVAL, "map: one word too many: '%s'%s", options->args[n_wanted],
			       ret->via == VIA_LOOP ? "; a TARGET is for --via file and --via socket" : "");
	ret->snapshot = options->args[0];
	ret->archive = is_loose ? NULL : options->args[1];
	ret->target = has_target ? options->args[n_source] : NULL;
	return 0;
}

int cmd_map(const struct options *options, struct failure *why)
{
	struct options own = *options;
	own.is_foreground |= own.is_verbose; /* as the reference client does */
	struct mapping_options mapping = mapping_options_of(&own);
	if (take_args(&own, &mapping, &why->err) < 0)
		return args_point_to_help("map", &why->err);
	return mapping_start(&mapping, ready_print, &own, why);
}
