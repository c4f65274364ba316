/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mapping/damage_text.h"
#include "mapping/environment.h"
#include "mapping/journals.h"
#include "util/buf.h"

#define SECTOR 512

/* Once per chunk, on a decode thread. */
void served_tell_damage(const struct served *served, const char *archive, const struct damage *damage)
{
	char line[DAMAGE_TEXT_SIZE];
	damage_describe(damage, served->info.snapshot, archive, line);
	served->say(served->user, line);
}

static void tell_damage(void *user, const struct damage *damage)
{
	const struct served *served = user;
	served_tell_damage(served, served->backup->archive, damage);
}

static int copy_text(char **ret, const char *text, struct err *err)
{
	*ret = strdup(text);
	return *ret ? 0 : err_set(err, -ENOMEM, "no memory");
}

/* "drive-scsi0.img", "drive-scsi0.img,drive-scsi1.img" */
static int describe_archives(struct served *served, struct err *err)
{
	CLEANUP(buf_deinit) struct buf names = BUF_EMPTY;
	int r = buf_puts(&names, served->backup->archive, err);
	for (size_t i = 0; r == 0 && i < served->nbd.n_beside; i++)
		r = buf_printf(&names, err, ",%s", served->nbd.beside[i].backup->archive);
	if (r == 0)
		served->info.archive = STEAL(names.data);
	return r;
}

static int describe(struct served *served, const struct mapping_options *options, struct err *err)
{
	const struct backup *backup = served->backup;
	struct mapping_info *info = &served->info;
	info->via = options->via;
	info->size = backup->index.size + (backup->lacks_payload ? 0 : backup->payload.index.size);
	for (size_t i = 0; i < served->nbd.n_beside; i++)
		info->size += served->nbd.beside[i].backup->index.size;
	info->state = MAPPING_READY;
	info->since = time(NULL);
	int r = copy_text(&info->lost_why, "", err);
	if (r == 0)
		r = copy_text(&info->uri, "", err);
	if (r == 0)
		r = copy_text(&info->repository, backup->source->name, err);
	if (r == 0)
		r = copy_text(&info->ns, backup->ns, err);
	if (r == 0)
		r = copy_text(&info->snapshot, backup->snapshot, err);
	if (r == 0)
		r = describe_archives(served, err);
	return r;
}

int served_open_backup(struct served *served, const struct mapping_options *options,
		       struct failure *why)
{
	bool is_nbd = options->via == VIA_SOCKET || options->via == VIA_NBD;
	int r = is_nbd ? served_nbd_prepare(served, options, &why->err) : 0;
	if (r < 0)
		return r;
	r = options->via == VIA_TREE
		    ? backup_open_tree(options->repository, options->snapshot, options->archive, &served->backup, why)
		    : backup_open(options->repository, options->snapshot, options->archive, &served->backup, why);
	if (r == 0 && options->via == VIA_SOCKET)
		r = served_nbd_open(served, options, why);
	environment_forget_secrets(); /* those that were not needed */
	return r < 0 ? r : describe(served, options, &why->err);
}

int served_open_stream(struct served *served, const struct backup *backup, const struct mapping_options *options,
		       void (*damaged)(void *user, const struct damage *damage), void *user,
		       struct stream **ret, struct err *err)
{
	const struct stream_options stream = {
		.source = backup->source,
		.index = &backup->index,
		.key = backup->stream_key,
		.read_ahead = options->read_ahead == UINT64_MAX ? STREAM_READ_AHEAD_DEFAULT
								: (size_t)options->read_ahead,
		.damaged = damaged,
		.user = user,
	};
	return stream_open(served->shared, &stream, ret, err);
}

static bool is_device(const struct mapping_options *options)
{
	return options->via == VIA_LOOP || options->via == VIA_NBD;
}

static int open_stream(struct served *served, const struct mapping_options *options, struct err *err)
{
	const struct backup *backup = served->backup;
	const struct stream_limits limits = {
		.cache_size = options->cache_size == UINT64_MAX ? STREAM_CACHE_DEFAULT : options->cache_size,
		.typical_chunk = backup->index.max_chunk,
	};
	int r = stream_shared_new(&limits, &served->shared, err);
	if (r == 0)
		r = served_open_stream(served, backup, options, tell_damage, served, &served->stream, err);
	if (r < 0)
		return r;
	return image_disk_open(served->stream, is_device(options) ? SECTOR : 1, &served->image, err);
}

/* Entries of so many bytes are gone through before it is shown, to count links. */
#define COUNTED_MAX ((uint64_t)64 << 20)

static enum count_links links_of(const struct mapping_options *options, const struct backup *backup)
{
	if (options->counts_links)
		return LINKS_EXACT;
	return backup->is_split && backup->index.size <= COUNTED_MAX ? LINKS_IF_POSSIBLE : LINKS_AS_MET;
}

static int open_tree(struct served *served, const struct mapping_options *options, struct err *err)
{
	const struct backup *backup = served->backup;
	const struct opened_tree_options tree = {
		.backup = backup,
		.cache_size = options->cache_size,
		.read_ahead = options->read_ahead,
		.timeout_ms = options->timeout_ms,
		.links = links_of(options, backup),
		.say = served->say,
		.user = served->user,
	};
	int r = opened_tree_open(&tree, &served->opened, err);
	if (r == 0 && served->opened.uncounted.code)
		repository_say(options->repository, "warning: link counts are of the names that were met: %s",
			       served->opened.uncounted.msg);
	return r;
}

/* An entry that is damaged, once; each look at it fails anew. */
static void tell_bad_entry(void *user, const struct err *why)
{
	struct served *served = user;
	char line[DAMAGE_TEXT_SIZE];
	const char *snapshot = served->info.snapshot; /* "" = an index file alone */
	(void) snprintf(line, sizeof line, "%s%s%s: %s", snapshot, *snapshot ? "/" : "", served->info.archive, why->msg);
	if (told_is_new(&served->told, why->msg))
		served->say(served->user, line);
}

static int serve_with(struct served *served, const struct mapping_options *options, int take_fuse_fd,
		      struct err *err)
{
	if (options->via == VIA_TREE) {
		told_init(&served->told);
		const struct fuse_tree_options files = {
			.tree = served->opened.tree,
			.take_fuse_fd = take_fuse_fd,
			.timeout_ms = options->timeout_ms,
			.damaged = tell_bad_entry,
			.user = served,
		};
		return fuse_tree_open(&files, &served->files, err);
	}
	const struct fuse_file_options file = {
		.image = served->image,
		.take_fuse_fd = take_fuse_fd,
		.timeout_ms = options->timeout_ms,
		.is_on_path = options->via == VIA_FILE,
	};
	return fuse_file_open(&file, &served->file, err);
}

/*
 * A device that comes into being is read at several places, each time as long as a read may take; whatever
 * comes of it, the device is there.  So a repository that does not answer is found before.
 */
static int try_to_read(struct served *served, const struct mapping_options *options, struct err *err)
{
	uint8_t byte;
	struct err why = ERR_NONE;
	struct read read = {
		.len = 1,
		.priority = PRIORITY_DEMAND,
		.until = deadline_of_timeout(options->timeout_ms),
	};
	if (!served->stream || stream_size(served->stream) == 0)
		return 0;
	if (stream_pread(served->stream, &read, &byte, &why) != -ETIMEDOUT)
		return 0; /* damage is the readers' matter */
	return err_set(err, -ETIMEDOUT, "%s, while reading the first byte of %s", why.msg, served->info.archive);
}

static int serve(struct served *served, const struct mapping_options *options, const char *run_dir,
		 struct err *err)
{
	CLEANUP(buf_deinit) struct buf fs_name = BUF_EMPTY;
	int r = buf_printf(&fs_name, err, "pbsmap:%s/%s", served->info.snapshot, served->info.archive);
	if (r < 0)
		return r;
	const struct keeper_mount mount = {
		.target = options->target,
		.fs_name = fs_name.data,
		.run_dir = run_dir,
		.is_directory = options->via == VIA_TREE,
		.options = options->mount_options,
	};
	int fuse_fd;
	r = keeper_mount(&served->keeper, &mount, &fuse_fd, err);
	return r < 0 ? r : serve_with(served, options, fuse_fd, err);
}

static const char *last_part(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? slash + 1 : name;
}

/* A device or a path: somebody is told of it only when reads come through. */
static int show_device(struct served *served, const struct mapping_options *options, const char *run_dir,
		       const char *mark, struct err *err)
{
	struct mapping_info *info = &served->info;
	int r = try_to_read(served, options, err);
	if (r == 0 && options->via == VIA_NBD)
		return served_nbd_connect(served, options, mark, err);
	if (r == 0)
		r = serve(served, options, run_dir, err);
	return r < 0 ? r : keeper_show(&served->keeper, mark, &info->device, &info->partitions, err);
}

int served_show(struct served *served, const struct mapping_options *options, const char *run_dir,
		struct err *err)
{
	struct mapping_info *info = &served->info;
	char mark[64];
	(void) snprintf(mark, sizeof mark, "%.30s/%.25s", info->snapshot, last_part(info->archive));
	served->backup->source->tell = served->say;
	served->backup->source->tell_user = served->user;
	int r = options->via == VIA_TREE ? open_tree(served, options, err) : open_stream(served, options, err);
	if (r == 0 && options->via == VIA_SOCKET)
		r = served_nbd_show(served, options, err);
	else if (r == 0)
		r = show_device(served, options, run_dir, mark, err);
	if (r == 0)
		stream_shared_trim(options->via == VIA_TREE ? served->opened.shared : served->shared, false);
	return r;
}

void served_look(struct served *served, const struct mapping_options *options)
{
	struct mapping_info *info = &served->info;
	const struct strv *found = &info->journals;
	if (!is_device(options))
		return;
	journals_find(served->image, info->device, &info->partitions, &info->journals);
	stream_shared_trim(served->shared, false);
	for (size_t i = 0; i + JOURNAL_TEXTS <= found->n; i += JOURNAL_TEXTS)
		repository_say(options->repository, "%s: %s: mount -o %s", found->items[i], found->items[i + 1],
			       found->items[i + 2]);
}

void served_refresh(struct served *served)
{
	struct mapping_info *info = &served->info;
	struct source_health health;
	if (served->files)
		opened_tree_get_stats(&served->opened, &info->stats);
	else
		stream_get_stats(served->stream, &info->stats);
	if (served->nbd.server)
		served_nbd_refresh(served);
	source_get_health(served->backup->source, &health);
	char *why = strdup(health.is_lost ? health.why.msg : "");
	if (why) {
		free(info->lost_why);
		info->lost_why = why;
	}
	info->lost_since = health.is_lost ? health.since : 0;
	if (info->state != MAPPING_ENDING)
		info->state = health.is_lost ? MAPPING_RECONNECTING : MAPPING_READY;
}

/* Who reads gets errors from now on. */
static void shut_down(struct served *served)
{
	if (served->stream)
		stream_shutdown(served->stream);
	served_nbd_shutdown(served);
	opened_tree_shutdown(&served->opened);
	if (served->backup)
		source_shutdown(served->backup->source);
}

static unsigned n_users(const struct served *served)
{
	return served->files ? fuse_tree_n_users(served->files) : fuse_file_n_users(served->file);
}

void served_end(struct served *served, bool is_forced)
{
	served->info.state = MAPPING_ENDING;
	if (is_forced)
		shut_down(served);
	served_go_on(served);
}

static void end_nbd(struct served *served)
{
	nbd_server_end(served->nbd.server); /* with its last client */
	keeper_end(&served->keeper);
}

void served_go_on(struct served *served)
{
	if (served->nbd.server) {
		if (served->info.state == MAPPING_ENDING)
			end_nbd(served);
		return;
	}
	/* A device goes with its last user by itself; a path must be unmounted when it has none. */
	bool is_free = served->info.via == VIA_LOOP || n_users(served) == 0;
	if (served->info.state == MAPPING_ENDING && is_free)
		keeper_end(&served->keeper);
}

bool served_has_ended(const struct served *served)
{
	if (served->nbd.server)
		return nbd_server_has_ended(served->nbd.server);
	return served->files ? fuse_tree_has_ended(served->files) : fuse_file_has_ended(served->file);
}

int served_event_fd(const struct served *served)
{
	if (served->nbd.server)
		return nbd_server_event_fd(served->nbd.server);
	return served->files ? fuse_tree_event_fd(served->files) : fuse_file_event_fd(served->file);
}

void served_close(struct served *served)
{
	shut_down(served);
	keeper_close(&served->keeper);
	fuse_file_close(served->file);
	served_nbd_close(served);
	fuse_tree_close(served->files);
	opened_tree_close(&served->opened);
	image_close(served->image);
	if (served->stream)
		stream_close(served->stream);
	if (served->backup)
		backup_close(served->backup);
	stream_shared_free(served->shared);
	mapping_info_deinit(&served->info);
	*served = SERVED_NONE;
}
