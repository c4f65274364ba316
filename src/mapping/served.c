/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/served.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "util/buf.h"
#include "util/bytes.h"

#define SECTOR 512

/* Once per chunk, on a decode thread. */
static void tell_damage(void *user, const struct damage *damage)
{
	struct served *served = user;
	char line[1024], digest[2 * DIGEST_SIZE + 1];
	hex_encode(damage->digest, DIGEST_SIZE, digest);
	(void) snprintf(line, sizeof line, "%s: bytes %" PRIu64 " to %" PRIu64 " cannot be read: %s (chunk %s)",
			served->info.device, damage->off, damage->off + damage->len - 1, damage->err->msg,
			digest);
	served->say(served->user, line);
}

static int copy_text(char **ret, const char *text, struct err *err)
{
	*ret = strdup(text);
	return *ret ? 0 : err_set(err, -ENOMEM, "no memory");
}

static int describe(struct served *served, const struct mapping_options *options, struct err *err)
{
	const struct backup *backup = served->backup;
	struct mapping_info *info = &served->info;
	info->via = options->via;
	info->size = backup->index.size;
	info->state = MAPPING_READY;
	info->since = time(NULL);
	int r = copy_text(&info->repository, backup->source->name, err);
	if (r == 0)
		r = copy_text(&info->ns, backup->ns, err);
	if (r == 0)
		r = copy_text(&info->snapshot, backup->snapshot, err);
	if (r == 0)
		r = copy_text(&info->archive, backup->archive, err);
	return r;
}

int served_open_backup(struct served *served, const struct mapping_options *options,
		       struct failure *why)
{
	int r = backup_open(options->repository, options->snapshot, options->archive, &served->backup, why);
	return r < 0 ? r : describe(served, options, &why->err);
}

static int open_stream(struct served *served, const struct mapping_options *options, struct err *err)
{
	const struct backup *backup = served->backup;
	const struct stream_limits limits = {
		.cache_size = options->cache_size == UINT64_MAX ? STREAM_CACHE_DEFAULT : options->cache_size,
		.typical_chunk = backup->index.max_chunk,
	};
	int r = stream_shared_new(&limits, &served->shared, err);
	if (r < 0)
		return r;
	const struct stream_options stream = {
		.source = backup->source,
		.index = &backup->index,
		.key = backup->stream_key,
		.read_ahead = options->read_ahead == UINT64_MAX ? STREAM_READ_AHEAD_DEFAULT
								: (size_t)options->read_ahead,
		.damaged = tell_damage,
		.user = served,
	};
	r = stream_open(served->shared, &stream, &served->stream, err);
	if (r < 0)
		return r;
	return image_disk_open(served->stream, options->via == VIA_LOOP ? SECTOR : 1, &served->image, err);
}

static const char *last_part(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? slash + 1 : name;
}

static int show_as_loop(struct served *served, const struct fuse_file_options *file_options,
			struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	int r = fuse_file_open(file_options, &served->file, &fd, err);
	if (r < 0)
		return r;
	char mark[64];
	(void) snprintf(mark, sizeof mark, "%.30s/%.25s", served->info.snapshot, last_part(served->info.archive));
	r = loop_attach(fd, mark, &served->loop, err);
	if (r < 0)
		return r;
	r = copy_text(&served->info.device, served->loop.path, err);
	return r < 0 ? r : loop_add_partitions(&served->loop, &served->info.partitions, err);
}

/* An absolute path, because the server works in "/"; the file made where there is none. */
static int prepare_target(struct mapping_info *info, const char *target, struct err *err)
{
	CLEANUP(closep) int fd = open(target, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	info->is_target_made = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(target, O_PATH | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "cannot use %s", target);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s is not a regular file", target);
	if (st.st_size > 0)
		return err_set(err, -EEXIST, "%s has something in it: give a new name, or an empty file",
			       target);
	info->device = realpath(target, NULL);
	return info->device ? 0 : err_errno(err, -errno, "cannot use %s", target);
}

static int show_as_file(struct served *served, struct fuse_file_options *file_options,
			const char *target, struct err *err)
{
	int fd;
	int r = prepare_target(&served->info, target, err);
	if (r < 0)
		return r;
	file_options->mount_point = served->info.device;
	r = fuse_file_open(file_options, &served->file, &fd, err);
	if (r < 0 && served->info.is_target_made)
		(void) unlink(served->info.device);
	return r;
}

/* One read by the way all readers take.  A damaged chunk is no reason to hide the others. */
static int check_answers(struct served *served, struct err *err)
{
	CLEANUP(closep) int fd = open(served->info.device, O_RDONLY | O_CLOEXEC);
	char sector[SECTOR];
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", served->info.device);
	ssize_t n = pread(fd, sector, sizeof sector, 0);
	if (n < 0 && errno != EIO)
		return err_errno(err, -errno, "%s does not answer", served->info.device);
	return 0;
}

int served_show(struct served *served, const struct mapping_options *options, const char *run_dir,
		struct err *err)
{
	int r = open_stream(served, options, err);
	if (r < 0)
		return r;
	CLEANUP(buf_deinit) struct buf fs_name = BUF_EMPTY;
	r = buf_printf(&fs_name, err, "pbsmap:%s/%s", served->info.snapshot, served->info.archive);
	if (r < 0)
		return r;
	struct fuse_file_options file_options = {
		.image = served->image,
		.timeout_ms = options->timeout_ms,
		.fs_name = fs_name.data,
		.run_dir = run_dir,
	};
	r = options->via == VIA_LOOP ? show_as_loop(served, &file_options, err)
				     : show_as_file(served, &file_options, options->target, err);
	if (r == 0)
		r = check_answers(served, err);
	if (r == 0)
		stream_shared_trim(served->shared, false);
	return r;
}

void served_end(struct served *served, bool is_forced)
{
	served->info.state = MAPPING_ENDING;
	if (is_forced) {
		stream_shutdown(served->stream);
		source_shutdown(served->backup->source);
		loop_detach_force(&served->loop);
	} else {
		loop_detach(&served->loop);
	}
}

bool served_has_ended(const struct served *served)
{
	return fuse_file_has_ended(served->file);
}

bool served_is_over(const struct served *served)
{
	bool is_unused_path = served->info.via == VIA_FILE && fuse_file_n_users(served->file) == 0;
	return served_has_ended(served) || (served->info.state == MAPPING_ENDING && is_unused_path);
}

void served_close(struct served *served)
{
	loop_detach(&served->loop);
	if (served->stream) {
		stream_shutdown(served->stream);
		source_shutdown(served->backup->source);
	}
	fuse_file_close(served->file);
	image_close(served->image);
	if (served->stream)
		stream_close(served->stream);
	if (served->backup)
		backup_close(served->backup);
	stream_shared_free(served->shared);
	mapping_info_deinit(&served->info);
	*served = SERVED_NONE;
}
