/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "cli/output.h"
#include "nbdkit/disks.h"
#include "nbdkit/params.h"
#include "nbdkit/waiting_read.h"
#include "util/text.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

/*
 * The callbacks, in the order nbdkit makes them:
 *
 *   load  config…  config_complete  get_ready   the user's terminal, environment and working directory; no thread
 *   (a fork into the background, another fork for --run, another user)
 *   after_fork  open get_size … pread …  close  unload                                   threads
 *
 * A connection to a server that get_ready has opened is used after the forks, by one of the processes: the others
 * only keep its descriptor open until they end, and close it without a word of TLS.
 *
 * Callbacks have no object of ours: this file holds the one there is, which is why the symbols' test lets it.
 */
static struct {
	struct params params;
	struct disks disks;
	bool is_serving; /* nbdkit's log is where words go, no longer the terminal */
} plugin;

#define THREAD_MODEL	NBDKIT_THREAD_MODEL_PARALLEL
#define LINE_SIZE	2048	  /* bytes of one line for people */
#define BLOCK_PREFERRED 4096	  /* bytes; a chunk is in memory once some of it was read */
#define BLOCK_MAX	(32u << 20) /* bytes; what clients ask for at most who know of no limit */

/* nbdkit has no level for news: after the start all that is worth a line is an error of its log. */
static void say(void *user, const char *line)
{
	char text[LINE_SIZE];
	(void) message_escape(line, text, sizeof text);
	if (plugin.is_serving)
		nbdkit_error("%s", text);
	else
		(void) fprintf(stderr, "nbdkit: pbs: %s\n", text);
}

/* 0, or -1 with the words said. */
static int finish(int r, const struct err *err)
{
	char text[LINE_SIZE], words[LINE_SIZE];
	if (r < 0)
		nbdkit_error("%s", message_escape(params_words(err->msg, words, sizeof words), text, sizeof text));
	return r < 0 ? -1 : 0;
}

/* -- life ------------------------------------------------------------------------------------ */

static void pbs_load(void)
{
	params_init(&plugin.params);
}

static void pbs_unload(void)
{
	disks_close(&plugin.disks);
	params_deinit(&plugin.params);
}

static void pbs_dump_plugin(void)
{
	(void) printf("pbsmap_version=%s\n", PBSMAP_VERSION);
}

static int pbs_config(const char *key, const char *value)
{
	struct err err = ERR_NONE;
	return finish(params_set(&plugin.params, key, value, &err), &err);
}

static int pbs_config_complete(void)
{
	struct err err = ERR_NONE;
	return finish(params_check(&plugin.params, &err), &err);
}

static int pbs_get_ready(void)
{
	struct failure why = FAILURE_NONE;
	(void) signal(SIGPIPE, SIG_IGN); /* nbdkit does so too, but later: a server may close before */
	int r = finish(disks_open(&plugin.params, say, &plugin.disks, &why), &why.err);
	failure_deinit(&why);
	return r;
}

static int pbs_after_fork(void)
{
	struct err err = ERR_NONE;
	plugin.is_serving = true;
	return finish(disks_start(&plugin.disks, &err), &err);
}

/* -- a connection ---------------------------------------------------------------------------- */

static int pbs_list_exports(int readonly, int is_tls, struct nbdkit_exports *ret)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < plugin.disks.n; i++)
		r = nbdkit_add_export(ret, plugin.disks.items[i].name, plugin.disks.items[i].description);
	return r;
}

static const char *pbs_default_export(int readonly, int is_tls)
{
	const struct shown_disk *only = disks_find(&plugin.disks, "");
	return only ? only->name : NULL;
}

static void *pbs_open(int readonly)
{
	char shown[512];
	const char *name = nbdkit_export_name();
	struct shown_disk *disk = name ? disks_find(&plugin.disks, name) : NULL;
	if (disk)
		return disk;
	nbdkit_error("there is no export '%s'", name ? text_escape(name, shown, sizeof shown) : "");
	nbdkit_set_error(ENOENT);
	return NULL;
}

static const char *pbs_export_description(void *handle)
{
	const struct shown_disk *disk = handle;
	return disk->description;
}

static int64_t pbs_get_size(void *handle)
{
	const struct shown_disk *disk = handle;
	return (int64_t)disk->image->size;
}

static int pbs_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	*minimum = 1;
	*preferred = BLOCK_PREFERRED;
	*maximum = BLOCK_MAX;
	return 0;
}

/* All connections read the same, and nobody writes. */
static int pbs_can_multi_conn(void *handle)
{
	return 1;
}

static int pbs_is_rotational(void *handle)
{
	return 0;
}

static int pbs_can_extents(void *handle)
{
	return 1;
}

static int pbs_can_cache(void *handle)
{
	return NBDKIT_CACHE_NATIVE;
}

/* -- requests -------------------------------------------------------------------------------- */

/* The client went away, or nbdkit ends. */
static bool is_given_up(void *user)
{
	return nbdkit_nanosleep(0, 0) < 0;
}

static int read_range(const struct shown_disk *disk, const struct wanted *wanted, void *buf)
{
	char text[LINE_SIZE];
	struct err err = ERR_NONE;
	int r = waiting_read(disk->image, wanted, buf, &err);
	if (r == 0)
		return 0;
	nbdkit_error("%s: bytes %" PRIu64 " to %" PRIu64 " cannot be read: %s", disk->name, wanted->off,
		     wanted->off + wanted->len - 1, message_escape(err.msg, text, sizeof text));
	nbdkit_set_error(disk_errno_of(r));
	return -1;
}

static int pbs_pread(void *handle, void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	const struct wanted wanted = {
		.off = off,
		.len = count,
		.priority = PRIORITY_DEMAND,
		.timeout_ms = plugin.params.timeout_ms,
		.is_given_up = is_given_up,
	};
	return read_range(handle, &wanted, buf);
}

static int pbs_cache(void *handle, uint32_t count, uint64_t off, uint32_t flags)
{
	const struct wanted wanted = {
		.off = off,
		.len = count,
		.priority = PRIORITY_PREFETCH,
		.timeout_ms = plugin.params.timeout_ms,
		.is_given_up = is_given_up,
	};
	return read_range(handle, &wanted, NULL);
}

static int pbs_extents(void *handle, uint32_t count, uint64_t off, uint32_t flags, struct nbdkit_extents *ret)
{
	const struct shown_disk *disk = handle;
	uint64_t end = off + count;
	while (off < end) {
		uint64_t next;
		bool is_zero = image_next_extent(disk->image, off, end, &next);
		if (nbdkit_add_extent(ret, off, next - off, is_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) < 0)
			return -1;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			return 0;
		off = next;
	}
	return 0;
}

static struct nbdkit_plugin callbacks = {
	.name = "pbs",
	.longname = "Proxmox Backup Server backups, by pbsmap",
	.version = PBSMAP_VERSION,
	.description = "disk images of a backup, read on demand and verified",
	.load = pbs_load,
	.unload = pbs_unload,
	.dump_plugin = pbs_dump_plugin,
	.config = pbs_config,
	.config_complete = pbs_config_complete,
	.config_help = params_help,
	.magic_config_key = "snapshot",
	.get_ready = pbs_get_ready,
	.after_fork = pbs_after_fork,
	.list_exports = pbs_list_exports,
	.default_export = pbs_default_export,
	.open = pbs_open,
	.export_description = pbs_export_description,
	.get_size = pbs_get_size,
	.block_size = pbs_block_size,
	.can_multi_conn = pbs_can_multi_conn,
	.is_rotational = pbs_is_rotational,
	.can_extents = pbs_can_extents,
	.can_cache = pbs_can_cache,
	.pread = pbs_pread,
	.cache = pbs_cache,
	.extents = pbs_extents,
};

struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(callbacks)
