/* SPDX-License-Identifier: Apache-2.0 */
#include "source/dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "source/chunk_dir.h"
#include "source/folder.h"
#include "source/snapshot_lock.h"
#include "util/array.h"
#include "util/buf.h"
#include "util/file.h"

/*
 * A datastore as the server keeps it:
 *
 *   BASE/[ns/A/[ns/B/…]]{ct,host,vm}/ID/TIME/{index.json.blob, *.fidx, *.didx, *.blob}
 *   BASE/.chunks/HHHH/DIGEST
 *
 * Names out of grammar are somebody else's and left out of lists.
 */
#define OWNER_MAX 1024 /* bytes of an owner file; a name of an account */

struct source_dir {
	struct source source;
	char *path;
	int base_fd;
	struct chunk_dir *chunks;
	int snapshot_fd; /* the open snapshot; -EBADF = none */
	struct snapshot_lock lock;
	struct server_store store;
	bool is_store_unknown; /* the server's configuration cannot be read */
};

static struct source_dir *dir_of(struct source *source)
{
	return CONTAINER_OF(source, struct source_dir, source);
}

/* "ns/A/ns/B" for "A/B", then "/" and @more. */
static int path_of(const char *ns, const char *more, struct buf *ret, struct err *err)
{
	int r = 0;
	while (r == 0 && *ns) {
		size_t len = strcspn(ns, "/");
		r = buf_printf(ret, err, "ns/%.*s/", (int)len, ns);
		ns += len + (ns[len] == '/');
	}
	return r < 0 ? r : buf_puts(ret, more, err);
}

/* The directory of something in a namespace, open; -errno without words for -ENOENT's sake. */
static int open_in_ns(struct source_dir *dir, const char *ns, const char *more, struct err *err)
{
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	int r = namespace_check(ns, err);
	if (r == 0)
		r = path_of(ns, more, &path, err);
	if (r < 0)
		return r;
	int fd = folder_open(dir->base_fd, path.data);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return err_set(err, -ENOENT, "%s has no %s", dir->path, path.data);
	return fd < 0 ? err_errno(err, fd, "cannot open %s/%s", dir->path, path.data) : fd;
}

static int open_ns(struct source_dir *dir, const char *ns, struct err *err)
{
	struct err why = ERR_NONE;
	int fd = open_in_ns(dir, ns, "", &why);
	if (fd == -ENOENT)
		return err_set(err, fd, "there is no namespace %s in %s", ns, dir->path);
	if (fd < 0 && err)
		*err = why;
	return fd;
}

/* -- lists ----------------------------------------------------------------------------------- */

/* The descriptor; -ENOENT = it is not there (any more), or no directory: a symbolic link of somebody. */
static int open_listed(int dir_fd, const char *name, struct err *err)
{
	int fd = folder_open(dir_fd, name);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return -ENOENT;
	return fd < 0 ? err_errno(err, fd, "cannot open %s", name) : fd;
}

/*
 * One of a list cannot be read: it is noted, so that it does not look as if it were not there, or it went away
 * meanwhile.  0 = the list goes on; what runs short is the list's end.
 */
static int pass_over(struct unread *unread, int r, struct err *why, const char *what, struct err *err)
{
	if (r == -ENOENT)
		return 0;
	(void) err_while(why, r, "reading %s", what);
	if (r != -ENOMEM && r != -EMFILE && r != -ENFILE)
		return unread_add(unread, why, err);
	return err_set(err, r, "%s", why->msg);
}

static int listing(struct source_dir *dir, const char *ns, int r, struct err *err)
{
	return r < 0 ? err_while(err, r, "listing %s%s%s", dir->path, *ns ? ", namespace " : "", ns) : 0;
}

static int list_below(int parent_fd, const char *parent, int depth, struct strv *ret, struct err *err);

/* Namespace @name, found in @ns_fd below @parent, and those below it. */
static int list_child(int ns_fd, const char *parent, const char *name, int depth, struct strv *ret,
		      struct err *err)
{
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	int r = buf_printf(&path, err, "%s%s%s", parent, *parent ? "/" : "", name);
	if (r < 0)
		return r;
	if (namespace_check(path.data, NULL) < 0)
		return 0;
	CLEANUP(closep) int fd = open_listed(ns_fd, name, err);
	if (fd < 0)
		return fd;
	r = strv_add(ret, path.data, err);
	return r < 0 ? r : list_below(fd, path.data, depth + 1, ret, err);
}

static int list_below(int parent_fd, const char *parent, int depth, struct strv *ret, struct err *err)
{
	if (depth == NAMESPACE_MAX_DEPTH)
		return 0;
	CLEANUP(closep) int fd = open_listed(parent_fd, "ns", err);
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = fd < 0 ? fd : folder_list(fd, FOLDER_DIRS, is_safe_id, &names, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return *parent ? err_while(err, r, "looking below namespace %s", parent) : r;
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		r = list_child(fd, parent, names.items[i], depth, ret, err);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static int dir_list_namespaces(struct source *source, struct strv *ret, struct err *err)
{
	struct source_dir *dir = dir_of(source);
	return listing(dir, "", list_below(dir->base_fd, "", 0, ret, err), err);
}

static bool is_snapshot_name(const char *name)
{
	int64_t time;
	return snapshot_time_parse(name, &time);
}

static bool is_archive_name(const char *name)
{
	return is_safe_id(name) && archive_kind_of(name) != ARCHIVE_OTHER;
}

/* 1 = there is one, 0 = none, -errno. */
static int has_file(int dir_fd, const char *name, struct err *err)
{
	struct stat st;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISREG(st.st_mode);
	return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot look at %s", name);
}

static int is_finished(int snapshot_fd, struct err *err)
{
	return has_file(snapshot_fd, MANIFEST_NAME, err);
}

/* The first line of the file "owner"; NULL = unknown. */
static int read_owner(int group_fd, char **ret, struct err *err)
{
	CLEANUP(freep) uint8_t *text = NULL;
	size_t len;
	*ret = NULL;
	if (read_file_at(group_fd, "owner", O_NOFOLLOW | O_NONBLOCK, OWNER_MAX, &text, &len, NULL) < 0)
		return 0;
	len = strcspn((char *)text, "\n");
	if (len == 0)
		return 0;
	*ret = strndup((char *)text, len);
	return *ret ? 0 : err_set(err, -ENOMEM, "no memory");
}

/* Snapshot @name of a group: 1 = finished, 0 = not, or gone by now. */
static int is_finished_at(int group_fd, const char *name, struct err *err)
{
	CLEANUP(closep) int fd = open_listed(group_fd, name, err);
	int r = fd < 0 ? fd : is_finished(fd, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? err_while(err, r, "reading snapshot %s", name) : r;
}

/* -ENOENT: it went away meanwhile. */
static int group_read(int type_fd, struct group_info *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv times = STRV_EMPTY;
	CLEANUP(closep) int fd = open_listed(type_fd, ret->group.id, err);
	int r = fd < 0 ? fd : folder_list(fd, FOLDER_DIRS, is_snapshot_name, &times, err);
	ret->n_snapshots = times.n;
	/* Sorted, and the newest one is what people want: from the end */
	for (size_t i = times.n; r == 0 && i-- > 0;) {
		int64_t time;
		if (!snapshot_time_parse(times.items[i], &time))
			continue;
		r = is_finished_at(fd, times.items[i], err);
		ret->has_finished = r > 0;
		if (r > 0 || i == times.n - 1)
			ret->last_time = time;
	}
	return r < 0 ? r : read_owner(fd, &ret->owner, err);
}

/* For each group of a namespace: @each(user, group, the directory it is in). */
static int each_group(int ns_fd, int (*each)(void *user, const struct group *group, int type_fd, struct err *err),
		      void *user, struct unread *unread, struct err *err)
{
	int r = 0;
	for (int type = 0; r == 0 && type < N_BACKUP_TYPES; type++) {
		struct group group = { .type = (enum backup_type)type };
		const char *name = backup_type_name(group.type);
		struct err why = ERR_NONE;
		CLEANUP(closep) int fd = open_listed(ns_fd, name, &why);
		CLEANUP(strv_deinit) struct strv ids = STRV_EMPTY;
		r = fd < 0 ? fd : folder_list(fd, FOLDER_DIRS, is_safe_id, &ids, &why);
		if (r < 0)
			r = pass_over(unread, r, &why, name, err);
		for (size_t i = 0; r == 0 && i < ids.n; i++) {
			(void) snprintf(group.id, sizeof group.id, "%s", ids.items[i]);
			r = each(user, &group, fd, err);
		}
	}
	return r;
}

static int pass_over_group(struct unread *unread, int r, struct err *why, const struct group *group,
			   struct err *err)
{
	char text[GROUP_TEXT_SIZE];
	group_format(group, text);
	return pass_over(unread, r, why, text, err);
}

static int add_group(void *user, const struct group *group, int type_fd, struct err *err)
{
	struct group_info info = { .group = *group };
	struct group_list *list = user;
	struct err why = ERR_NONE;
	int r = group_read(type_fd, &info, &why);
	if (r == -ENOENT)
		return 0;
	info.is_unread = r < 0;
	if (r < 0)
		r = pass_over_group(&list->unread, r, &why, group, err);
	if (r == 0)
		r = array_grow(&list->items, list->n, &list->cap, sizeof info, err);
	if (r < 0)
		free(info.owner);
	else
		list->items[list->n++] = info;
	return r;
}

static int dir_list_groups(struct source *source, const char *ns, struct group_list *ret,
			   struct err *err)
{
	struct source_dir *dir = dir_of(source);
	CLEANUP(closep) int ns_fd = open_ns(dir, ns, err);
	return ns_fd < 0 ? ns_fd : listing(dir, ns, each_group(ns_fd, add_group, ret, &ret->unread, err), err);
}

static int snapshot_read_files(int fd, struct snapshot_info *info, struct err *err)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = folder_list(fd, FOLDER_FILES, is_archive_name, &names, err);
	if (r < 0)
		return r;
	info->files = calloc(names.n + 1, sizeof *info->files);
	if (!info->files)
		return err_set(err, -ENOMEM, "no memory for a list of files");
	for (size_t i = 0; i < names.n; i++) {
		struct stat st;
		if (fstatat(fd, names.items[i], &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT)
				continue;
			return err_errno(err, -errno, "cannot look at %s", names.items[i]);
		}
		struct snapshot_file *file = &info->files[info->n_files++];
		(void) snprintf(file->name, sizeof file->name, "%s", names.items[i]);
		file->size = (uint64_t)st.st_size;
	}
	return 0;
}

/* -ENOENT: it went away meanwhile. */
static int snapshot_read(int group_fd, const char *name, struct snapshot_info *info, struct err *err)
{
	CLEANUP(closep) int fd = open_listed(group_fd, name, err);
	int r = fd < 0 ? fd : is_finished(fd, err);
	info->is_finished = r > 0;
	if (r >= 0)
		r = has_file(fd, ".protected", err);
	info->is_protected = r > 0;
	return r < 0 ? r : snapshot_read_files(fd, info, err);
}

static int pass_over_snapshot(struct unread *unread, int r, struct err *why, struct snapshot_info *info,
			      struct err *err)
{
	char text[SNAPSHOT_TEXT_SIZE];
	snapshot_format(&info->snapshot, text);
	free(info->files);
	*info = (struct snapshot_info){ .snapshot = info->snapshot, .is_unread = true };
	return pass_over(unread, r, why, text, err);
}

static int add_snapshot(struct snapshot_list *list, const struct group *group, int group_fd,
			const char *name, struct err *err)
{
	struct snapshot_info info = { .snapshot = { .group = *group } };
	struct err why = ERR_NONE;
	if (!snapshot_time_parse(name, &info.snapshot.time))
		return 0;
	int r = snapshot_read(group_fd, name, &info, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		r = pass_over_snapshot(&list->unread, r, &why, &info, err);
	if (r == 0)
		r = array_grow(&list->items, list->n, &list->cap, sizeof info, err);
	if (r < 0)
		free(info.files);
	else
		list->items[list->n++] = info;
	return r;
}

static int add_snapshots(struct snapshot_list *list, const struct group *group, int fd, struct err *err)
{
	CLEANUP(strv_deinit) struct strv times = STRV_EMPTY;
	struct err why = ERR_NONE;
	int r = folder_list(fd, FOLDER_DIRS, is_snapshot_name, &times, &why);
	list->is_cut = r < 0 && r != -ENOENT;
	if (r < 0)
		r = pass_over_group(&list->unread, r, &why, group, err);
	for (size_t i = 0; r == 0 && i < times.n; i++)
		r = add_snapshot(list, group, fd, times.items[i], err);
	return r;
}

static int add_snapshots_of(void *user, const struct group *group, int type_fd, struct err *err)
{
	struct snapshot_list *list = user;
	struct err why = ERR_NONE;
	CLEANUP(closep) int fd = open_listed(type_fd, group->id, &why);
	return fd < 0 ? pass_over_group(&list->unread, fd, &why, group, err)
		      : add_snapshots(list, group, fd, err);
}

static int dir_list_snapshots(struct source *source, const char *ns, const struct group *group,
			      struct snapshot_list *ret, struct err *err)
{
	struct source_dir *dir = dir_of(source);
	CLEANUP(closep) int ns_fd = open_ns(dir, ns, err);
	if (ns_fd < 0)
		return ns_fd;
	if (!group)
		return listing(dir, ns, each_group(ns_fd, add_snapshots_of, ret, &ret->unread, err), err);
	char text[GROUP_TEXT_SIZE];
	group_format(group, text);
	CLEANUP(closep) int fd = folder_open(ns_fd, text);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return err_set(err, -ENOENT, "there is no group %s in %s", text, dir->path);
	int r = fd < 0 ? err_errno(err, fd, "cannot open %s", text) : add_snapshots(ret, group, fd, err);
	return listing(dir, ns, r, err);
}

/* -- one snapshot ---------------------------------------------------------------------------- */

static const char *words_for(enum snapshot_locked locked)
{
	switch (locked) {
	case SNAPSHOT_LOCKED_NO_FILE:
		return "warning: the server's own lock file cannot be opened: a prune on this host may remove the "
		       "snapshot while it is in use";
	case SNAPSHOT_LOCKED_NOTHING:
		return "warning: the file system of the datastore has no locks: a prune may remove the snapshot while it "
		       "is in use";
	case SNAPSHOT_LOCKED_HERE:
		return "warning: the datastore is on a network file system: a prune on another host may remove the "
		       "snapshot while it is in use";
	default:
		return NULL;
	}
}

static int lock_snapshot(struct source_dir *dir, const char *ns, const struct snapshot *snapshot,
			 struct err *err)
{
	int r = snapshot_lock_take(&server_paths_default, dir->snapshot_fd, dir->store.name, ns, snapshot,
				   &dir->lock, err);
	const char *words = r < 0 ? NULL : words_for((enum snapshot_locked)r);
	if (words)
		r = strv_add(&dir->source.notes, words, err);
	if (r >= 0 && dir->is_store_unknown)
		r = strv_add(&dir->source.notes, "warning: the configuration of this host's server cannot be read: if it has "
			     "this datastore, a prune may remove the snapshot while it is in use", err);
	return r < 0 ? r : 0;
}

static int dir_open_snapshot(struct source *source, const char *ns, const struct snapshot *snapshot,
			     struct err *err)
{
	struct source_dir *dir = dir_of(source);
	char text[SNAPSHOT_TEXT_SIZE];
	snapshot_lock_release(&dir->lock);
	closep(&dir->snapshot_fd);
	snapshot_format(snapshot, text);
	int fd = open_in_ns(dir, ns, text, err);
	if (fd == -ENOENT)
		return err_set(err, fd, "there is no snapshot %s in %s", text, dir->path);
	if (fd < 0)
		return fd;
	dir->snapshot_fd = fd;
	int r = source->only_looks ? 0 : lock_snapshot(dir, ns, snapshot, err);
	if (r < 0)
		return r;
	r = is_finished(fd, err);
	if (r != 0)
		return r < 0 ? err_while(err, r, "opening snapshot %s", text) : 0;
	/* Was it removed after it was found?  A directory without a name has no links. */
	struct stat st;
	if (fstat(fd, &st) == 0 && st.st_nlink == 0)
		return err_set(err, -ENOENT, "snapshot %s is being removed", text);
	return err_set(err, -EAGAIN, "snapshot %s is not finished: it has no manifest", text);
}

static int dir_read_blob(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
			 struct err *err)
{
	return folder_read_blob(dir_of(source)->snapshot_fd, name, ret, ret_len, err);
}

static int dir_copy_index(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
			  struct err *err)
{
	return folder_copy_index(dir_of(source)->snapshot_fd, name, to_fd, ret_len, err);
}

/* -- chunks ---------------------------------------------------------------------------------- */

static void dir_fetch(struct source *source, struct fetch *fetch)
{
	chunk_dir_fetch(dir_of(source)->chunks, fetch);
}

static void dir_raise(struct source *source, struct fetch *fetch, enum priority priority)
{
	chunk_dir_raise(dir_of(source)->chunks, fetch, priority);
}

static void dir_shutdown(struct source *source)
{
	chunk_dir_shutdown(dir_of(source)->chunks);
}

/* Nothing to learn from it: the file is what it is. */
static void dir_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
}

/* -- life ------------------------------------------------------------------------------------ */

static void dir_close(struct source *source)
{
	struct source_dir *dir = dir_of(source);
	chunk_dir_close(dir->chunks);
	snapshot_lock_release(&dir->lock);
	closep(&dir->snapshot_fd);
	closep(&dir->base_fd);
	free(dir->path);
	free(dir);
}

static const struct source_ops dir_ops = {
	.close = dir_close,
	.list_namespaces = dir_list_namespaces,
	.list_groups = dir_list_groups,
	.list_snapshots = dir_list_snapshots,
	.open_snapshot = dir_open_snapshot,
	.read_blob = dir_read_blob,
	.copy_index = dir_copy_index,
	.fetch = dir_fetch,
	.raise = dir_raise,
	.verdict = dir_verdict,
	.shutdown = dir_shutdown,
};

/* Its server refuses reads; we do not: whoever reads the directory itself may have to do it just then. */
static int ask_server(struct source_dir *dir, struct err *err)
{
	CLEANUP(buf_deinit) struct buf note = BUF_EMPTY;
	dir->is_store_unknown = server_store_find(&server_paths_default, dir->path, &dir->store) > 0;
	if (!*dir->store.maintenance)
		return 0;
	int r = buf_printf(&note, err, "warning: the server has the datastore %s in maintenance mode '%s': it may "
			   "change or go away while it is read", dir->store.name, dir->store.maintenance);
	return r < 0 ? r : strv_add(&dir->source.notes, note.data, err);
}

static int dir_init(struct source_dir *dir, const char *path, struct err *err)
{
	/* The server process works in "/": from here on the path is absolute. */
	dir->path = realpath(path, NULL);
	if (!dir->path)
		return err_errno(err, -errno, "cannot open datastore %s", path);
	dir->source.name = strdup(dir->path);
	if (!dir->source.name)
		return err_set(err, -ENOMEM, "no memory");
	dir->base_fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->base_fd < 0)
		return err_errno(err, -errno, "cannot open datastore %s", path);
	struct stat st;
	if (fstatat(dir->base_fd, ".chunks", &st, 0) < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "%s is no datastore: it has no .chunks", path);
	CLEANUP(buf_deinit) struct buf chunks = BUF_EMPTY;
	int r = buf_printf(&chunks, err, "%s/.chunks", dir->path);
	if (r == 0)
		r = chunk_dir_open(chunks.data, &dir->chunks, err);
	if (r < 0)
		return r;
	chunk_dir_owner(dir->chunks, &dir->source.uid, &dir->source.gid);
	return ask_server(dir, err);
}

int source_dir_open(const char *path, struct source **ret, struct err *err)
{
	struct source_dir *dir = calloc(1, sizeof *dir);
	if (!dir)
		return err_set(err, -ENOMEM, "no memory");
	dir->source.ops = &dir_ops;
	dir->base_fd = dir->snapshot_fd = -EBADF;
	dir->lock = SNAPSHOT_LOCK_NONE;
	int r = dir_init(dir, path, err);
	if (r < 0) {
		source_close(&dir->source);
		return r;
	}
	*ret = &dir->source;
	return 0;
}
