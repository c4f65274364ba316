/* SPDX-License-Identifier: Apache-2.0 */
#include "nbdkit/disks.h"

#include <stdlib.h>
#include <string.h>

#include "mapping/choose.h"
#include "mapping/damage_text.h"
#include "mapping/environment.h"
#include "stream/stream.h"
#include "util/array.h"
#include "util/bytes.h"

int disk_errno_of(int code)
{
	if (code == -ENOMEM)
		return ENOMEM;
	if (code == -ESHUTDOWN || code == -ECANCELED)
		return ESHUTDOWN;
	return EIO;
}

static int add_disk(struct disks *disks, struct backup *take_backup, struct err *err)
{
	int r = array_grow(&disks->items, disks->n, &disks->cap, sizeof *disks->items, err);
	if (r < 0) {
		backup_close(take_backup);
		return r;
	}
	disks->items[disks->n++] = (struct shown_disk){
		.name = take_backup->archive,
		.description = take_backup->snapshot,
		.disks = disks,
		.backup = take_backup,
	};
	return 0;
}

/* The first one is open. */
static int open_others(struct disks *disks, struct failure *why)
{
	CLEANUP(strv_deinit) struct strv images = STRV_EMPTY;
	struct backup *first = disks->items[0].backup;
	int r = choose_images(first->manifest, &images, &why->err);
	for (size_t i = 1; r == 0 && i < images.n; i++) {
		struct backup *backup;
		r = backup_open_beside(&disks->repository, first, images.items[i], &backup, why);
		if (r == 0)
			r = add_disk(disks, backup, &why->err);
	}
	return r;
}

int disks_open(const struct params *params, void (*say)(void *user, const char *line), struct disks *ret,
	       struct failure *why)
{
	const char *archive = params->values[PARAM_ARCHIVE];
	bool is_one = archive || params->values[PARAM_CHUNKS];
	struct backup *first;
	ret->params = params;
	ret->repository = params_repository(params);
	ret->repository.say = say;
	int r = backup_open(&ret->repository, params->values[PARAM_SNAPSHOT], archive, &first, why);
	if (r == 0)
		r = add_disk(ret, first, &why->err);
	if (r == 0 && !is_one)
		r = open_others(ret, why);
	environment_forget_secrets(); /* those that were not needed */
	return r;
}

static void tell_damage(void *user, const struct damage *damage)
{
	const struct shown_disk *disk = user;
	char line[DAMAGE_TEXT_SIZE];
	damage_describe(damage, disk->description, disk->name, line);
	repository_say(&disk->disks->repository, "%s", line);
}

static int start_disk(struct disks *disks, struct shown_disk *disk, struct err *err)
{
	const struct stream_options options = {
		.source = disk->backup->source,
		.index = &disk->backup->index,
		.key = disk->backup->stream_key,
		.read_ahead = (size_t)disks->params->read_ahead,
		.damaged = tell_damage,
		.user = disk,
	};
	int r = stream_open(disks->shared, &options, &disk->stream, err);
	return r < 0 ? r : image_disk_open(disk->stream, 1, &disk->image, err);
}

static uint32_t longest_chunk(const struct disks *disks)
{
	uint64_t longest = 0;
	for (size_t i = 0; i < disks->n; i++)
		longest = max_u64(longest, disks->items[i].backup->index.max_chunk);
	return (uint32_t)longest;
}

int disks_start(struct disks *disks, struct err *err)
{
	struct source *source = disks->items[0].backup->source;
	const struct stream_limits limits = {
		.cache_size = disks->params->cache_size,
		.typical_chunk = longest_chunk(disks),
	};
	source->tell = disks->repository.say;
	source->tell_user = disks->repository.user;
	int r = stream_shared_new(&limits, &disks->shared, err);
	for (size_t i = 0; r == 0 && i < disks->n; i++)
		r = start_disk(disks, &disks->items[i], err);
	return r;
}

void disks_close(struct disks *disks)
{
	for (size_t i = 0; i < disks->n; i++)
		if (disks->items[i].stream)
			stream_shutdown(disks->items[i].stream);
	if (disks->shared)
		source_shutdown(disks->items[0].backup->source);
	for (size_t i = 0; i < disks->n; i++) {
		image_close(disks->items[i].image);
		stream_close(disks->items[i].stream);
	}
	while (disks->n)
		backup_close(disks->items[--disks->n].backup); /* the first last: the others use its source */
	free(disks->items);
	stream_shared_free(disks->shared);
	*disks = DISKS_NONE;
}

struct shown_disk *disks_find(const struct disks *disks, const char *name)
{
	char user_name[ARCHIVE_NAME_SIZE];
	if (!*name)
		return disks->n == 1 ? &disks->items[0] : NULL;
	archive_user_name(name, user_name);
	for (size_t i = 0; i < disks->n; i++)
		if (strcmp(disks->items[i].name, user_name) == 0)
			return &disks->items[i];
	return NULL;
}
