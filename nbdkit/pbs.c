/* SPDX-License-Identifier: Apache-2.0 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "mapping/backup.h"
#include "stream/stream.h"
#include "util/bytes.h"

/*
 * nbdkit pbs repository=R snapshot=S archive=A: one disk image, for nbdkit's servers and filters.
 *
 * What may fail for a user's mistake, or ask for a password, is done before nbdkit goes to the background; threads
 * begin behind that.  nbdkit has one plugin of a kind in a process, and asks it by functions without an object:
 * the only place of this project where state hangs off nothing.
 */
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

struct plugin {
	const char *repository, *snapshot, *archive;
	struct repository_options options;
	int64_t cache_size, read_ahead; /* bytes; -1 = default */
	int64_t timeout_ms;
	struct backup *backup;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *image;
};

static struct plugin plugin_state = { .cache_size = -1, .read_ahead = -1, .timeout_ms = 60000 };

static void say(void *user, const char *line)
{
	(void) fprintf(stderr, "nbdkit: pbs: %s\n", line);
}

static int fail(const struct err *err)
{
	nbdkit_error("%s", err->msg);
	return -1;
}

/* -- what is asked for ----------------------------------------------------------------------- */

static int set_size(int64_t *ret, const char *value)
{
	*ret = nbdkit_parse_size(value);
	return *ret < 0 ? -1 : 0;
}

static int set_timeout(struct plugin *p, const char *value)
{
	unsigned seconds;
	if (nbdkit_parse_unsigned("timeout", value, &seconds) < 0)
		return -1;
	p->timeout_ms = (int64_t)seconds * 1000;
	return 0;
}

static int set_allow_unsigned(struct plugin *p, const char *value)
{
	int r = nbdkit_parse_bool(value);
	p->options.allow_unsigned = r > 0;
	return r < 0 ? -1 : 0;
}

static int plugin_config(const char *key, const char *value)
{
	struct plugin *p = &plugin_state;
	const struct { const char *key; const char **to; } texts[] = {
		{ "repository", &p->repository }, { "snapshot", &p->snapshot }, { "archive", &p->archive },
		{ "ns", &p->options.ns }, { "keyfile", &p->options.keyfile }, { "chunks", &p->options.chunks },
		{ "fingerprint", &p->options.fingerprint },
	};
	/* nbdkit keeps the words of the command line as long as it runs. */
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strcmp(key, texts[i].key) == 0) {
			*texts[i].to = value;
			return 0;
		}
	if (strcmp(key, "cache-size") == 0)
		return set_size(&p->cache_size, value);
	if (strcmp(key, "read-ahead") == 0)
		return set_size(&p->read_ahead, value);
	if (strcmp(key, "timeout") == 0)
		return set_timeout(p, value);
	if (strcmp(key, "allow-unsigned") == 0)
		return set_allow_unsigned(p, value);
	nbdkit_error("there is no parameter %s", key);
	return -1;
}

static int plugin_config_complete(void)
{
	struct plugin *p = &plugin_state;
	if (!p->snapshot || (!p->archive && !p->options.chunks)) {
		nbdkit_error("snapshot=SNAPSHOT and archive=ARCHIVE are needed, as in snapshot=vm/100 archive=drive-scsi0.img");
		return -1;
	}
	p->options.repositories = &p->repository;
	p->options.n_repositories = p->repository ? 1 : 0;
	p->options.say = say;
	return 0;
}

/* -- from the backup to bytes ---------------------------------------------------------------- */

static int plugin_get_ready(void)
{
	struct plugin *p = &plugin_state;
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	return backup_open(&p->options, p->snapshot, p->archive, &p->backup, &why) < 0 ? fail(&why.err) : 0;
}

static void tell_damage(void *user, const struct damage *damage)
{
	char digest[2 * DIGEST_SIZE + 1];
	hex_encode(damage->digest, DIGEST_SIZE, digest);
	nbdkit_error("chunk %s cannot be read: %s", digest, damage->err->msg);
}

static int open_stream(struct plugin *p, struct err *err)
{
	const struct stream_limits limits = {
		.cache_size = p->cache_size < 0 ? STREAM_CACHE_DEFAULT : (uint64_t)p->cache_size,
		.typical_chunk = p->backup->index.max_chunk,
	};
	const struct stream_options options = {
		.source = p->backup->source,
		.index = &p->backup->index,
		.key = p->backup->stream_key,
		.read_ahead = p->read_ahead < 0 ? STREAM_READ_AHEAD_DEFAULT : (size_t)p->read_ahead,
		.damaged = tell_damage,
	};
	int r = stream_shared_new(&limits, &p->shared, err);
	if (r == 0)
		r = stream_open(p->shared, &options, &p->stream, err);
	return r < 0 ? r : image_disk_open(p->stream, 1, &p->image, err);
}

static int plugin_after_fork(void)
{
	struct err err = ERR_NONE;
	return open_stream(&plugin_state, &err) < 0 ? fail(&err) : 0;
}

static void plugin_unload(void)
{
	struct plugin *p = &plugin_state;
	if (p->stream) {
		stream_shutdown(p->stream);
		source_shutdown(p->backup->source);
	}
	image_close(p->image);
	stream_close(p->stream);
	backup_close(p->backup);
	stream_shared_free(p->shared);
}

/* -- clients --------------------------------------------------------------------------------- */

static void *plugin_open(int is_read_only)
{
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t plugin_get_size(void *handle)
{
	return (int64_t)plugin_state.image->size;
}

static int plugin_can_multi_conn(void *handle)
{
	return 1;
}

/* What is read is kept: a read that throws its bytes away is all it takes. */
static int plugin_can_cache(void *handle)
{
	return NBDKIT_CACHE_EMULATE;
}

static int plugin_pread(void *handle, void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	const struct plugin *p = &plugin_state;
	struct deadline until = p->timeout_ms ? deadline_in_ms(p->timeout_ms) : DEADLINE_NEVER;
	struct err err = ERR_NONE;
	int r = 0;
	for (uint32_t have = 0, len; r == 0 && have < count; have += len) {
		len = (uint32_t)min_u64(count - have, READ_MAX);
		r = image_pread(p->image, (uint8_t *)buf + have, len, off + have, until, &err);
	}
	if (r == 0)
		return 0;
	nbdkit_set_error(r == -ENOMEM ? ENOMEM : r == -ESHUTDOWN ? ESHUTDOWN : EIO);
	return fail(&err);
}

static int plugin_extents(void *handle, uint32_t count, uint64_t off, uint32_t flags,
			  struct nbdkit_extents *extents)
{
	struct image *image = plugin_state.image;
	uint64_t end = off + count;
	while (off < end) {
		uint64_t to;
		bool is_zero = image_next_extent(image, off, &to);
		uint32_t kind = is_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;
		if (nbdkit_add_extent(extents, off, to - off, kind) < 0)
			return -1;
		off = to;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			break;
	}
	return 0;
}

static int plugin_block_size(void *handle, uint32_t *ret_min, uint32_t *ret_preferred, uint32_t *ret_max)
{
	*ret_min = 1;
	*ret_preferred = 4096;
	*ret_max = UINT32_MAX;
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "pbs",
	.longname = "disk images of Proxmox Backup Server backups",
	.version = PBSMAP_VERSION,
	.description = "Shows a disk image of a backup, read on demand and verified.",
	.unload = plugin_unload,
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help =
		"repository=R      user@realm@host:store, /path or ./path (PBS_REPOSITORY)\n"
		"snapshot=S        vm/100/2026-01-02T03:04:05Z, or vm/100: its newest one\n"
		"archive=A         drive-scsi0.img\n"
		"ns=NS             namespace (PBS_NAMESPACE)\n"
		"keyfile=FILE      encryption key; else the default key file\n"
		"fingerprint=FP    the server's certificate must be this (PBS_FINGERPRINT)\n"
		"chunks=DIR        snapshot= is an index file, its chunks are in DIR\n"
		"allow-unsigned=B  with keyfile=: a manifest needs no signature\n"
		"cache-size=SIZE   memory for chunks (default 256M)\n"
		"read-ahead=SIZE   most to fetch in advance (default 32M)\n"
		"timeout=SEC       a read that takes longer fails (default 60, 0 = never)",
	.get_ready = plugin_get_ready,
	.after_fork = plugin_after_fork,
	.open = plugin_open,
	.get_size = plugin_get_size,
	.can_multi_conn = plugin_can_multi_conn,
	.can_cache = plugin_can_cache,
	.pread = plugin_pread,
	.extents = plugin_extents,
	.block_size = plugin_block_size,
};

struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
