/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/file.h"

/* The user backup of Debian's base-passwd: a fixed number on every backup server. */
#define BACKUP_UID 34
#define BACKUP_GID 34

#define OWNER_LINE "root@pam\n"

/* "05cd/05cda6…14" and room for ".tmp_XXXXXXXX" */
#define CHUNK_PATH_SIZE (5 + 2 * DIGEST_SIZE + 1)
#define TMP_PATH_SIZE	(CHUNK_PATH_SIZE + 16)

/* 1 = it was there, 0 = made. */
static int make_dir(const struct store *store, int dir_fd, const char *name, mode_t mode,
		    struct err *err)
{
	if (mkdirat(dir_fd, name, mode) < 0) {
		if (errno == EEXIST)
			return 1;
		return err_errno(err, -errno, "cannot make directory %s", name);
	}
	if (store->is_root &&
	    fchownat(dir_fd, name, BACKUP_UID, BACKUP_GID, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, -errno, "cannot give directory %s to backup", name);
	return 0;
}

static int open_dir(int dir_fd, const char *name, int *ret_fd, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open directory %s", name);
	*ret_fd = fd;
	return 0;
}

/* Go one directory down: *fd becomes the child, which is made when it is missing. */
static int enter(const struct store *store, int *fd, const char *name, struct err *err)
{
	int child = -EBADF;
	int r = make_dir(store, *fd, name, 0755, err);
	if (r < 0)
		return r;
	r = open_dir(*fd, name, &child, err);
	if (r < 0)
		return r;
	closep(fd);
	*fd = child;
	return 0;
}

int store_settle_file(const struct store *store, int fd, const char *name, struct err *err)
{
	if (fchmod(fd, 0644) < 0 || (store->is_root && fchown(fd, BACKUP_UID, BACKUP_GID) < 0))
		return err_errno(err, -errno, "cannot set mode and owner of %s", name);
	return 0;
}

/* A new file with all of @data in it; none when that fails. */
static int write_new_file(const struct store *store, int dir_fd, const char *name, const void *data,
			  size_t len, struct err *err)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
	CLEANUP(closep) int fd = openat(dir_fd, name, flags, 0644);
	if (fd < 0)
		return err_errno(err, -errno, "cannot create %s", name);
	int r = store_settle_file(store, fd, name, err);
	if (r == 0) {
		r = write_full(fd, data, len);
		if (r < 0)
			err_errno(err, r, "cannot write %s", name);
	}
	if (r < 0)
		(void) unlinkat(dir_fd, name, 0);
	return r;
}

static int rename_or_unlink(int dir_fd, const char *tmp, const char *name, struct err *err)
{
	if (renameat(dir_fd, tmp, dir_fd, name) == 0)
		return 0;
	int r = err_errno(err, -errno, "cannot rename %s to %s", tmp, name);
	(void) unlinkat(dir_fd, tmp, 0);
	return r;
}

int store_put_file(const struct store *store, int dir_fd, const char *name, const void *data,
		   size_t len, struct err *err)
{
	char tmp[ARCHIVE_NAME_SIZE + 16];
	(void) snprintf(tmp, sizeof tmp, "%s.tmp_%08x", name, (unsigned)gettid());
	int r = write_new_file(store, dir_fd, tmp, data, len, err);
	return r < 0 ? r : rename_or_unlink(dir_fd, tmp, name, err);
}

static int make_all_chunk_dirs(const struct store *store, struct err *err)
{
	for (unsigned n = 0; n < 65536; n++) {
		char name[5];
		(void) snprintf(name, sizeof name, "%04x", n & 0xffff);
		int r = make_dir(store, store->chunks_fd, name, 0750, err);
		if (r < 0)
			return err_while(err, r, "making the chunk directories");
	}
	return 0;
}

static int make_lock_file(const struct store *store, struct err *err)
{
	CLEANUP(closep) int fd = openat(store->fd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(err, -errno, "cannot create .lock");
	return store_settle_file(store, fd, ".lock", err);
}

static int open_parts(struct store *store, const char *path, enum store_layout layout,
		      struct err *err)
{
	int r = make_dir(store, AT_FDCWD, path, 0755, err);
	if (r >= 0)
		r = open_dir(AT_FDCWD, path, &store->fd, err);
	if (r >= 0)
		r = make_dir(store, store->fd, ".chunks", 0750, err);
	if (r < 0)
		return r;
	bool is_new = r == 0;
	r = open_dir(store->fd, ".chunks", &store->chunks_fd, err);
	if (r == 0 && is_new)
		r = make_lock_file(store, err);
	if (r == 0 && is_new && layout == STORE_COMPLETE)
		r = make_all_chunk_dirs(store, err);
	return r;
}

int store_open(const char *path, enum store_layout layout, struct store *ret, struct err *err)
{
	struct store store = STORE_NONE;
	store.is_root = geteuid() == 0;
	int r = open_parts(&store, path, layout, err);
	if (r < 0) {
		store_close(&store);
		return err_while(err, r, "opening datastore %s", path);
	}
	*ret = store;
	return 0;
}

void store_close(struct store *store)
{
	closep(&store->fd);
	closep(&store->chunks_fd);
}

/* From the root of the store down to @ns: "a/b" is ns/a/ns/b. */
static int enter_namespace(const struct store *store, int *fd, const char *ns, struct err *err)
{
	while (*ns) {
		char part[SAFE_ID_MAX + 1];
		size_t len = strcspn(ns, "/");
		if (len >= sizeof part)
			return err_set(err, -EINVAL, "namespace part is too long: %s", ns);
		memcpy(part, ns, len);
		part[len] = '\0';
		int r = enter(store, fd, "ns", err);
		if (r == 0)
			r = enter(store, fd, part, err);
		if (r < 0)
			return r;
		ns += len + (ns[len] == '/');
	}
	return 0;
}

static int write_owner(const struct store *store, int group_fd, struct err *err)
{
	if (faccessat(group_fd, "owner", F_OK, 0) == 0)
		return 0;
	return store_put_file(store, group_fd, "owner", OWNER_LINE, strlen(OWNER_LINE), err);
}

static int enter_group(const struct store *store, int *fd, const struct group *group,
		       struct err *err)
{
	int r = enter(store, fd, backup_type_name(group->type), err);
	if (r == 0)
		r = enter(store, fd, group->id, err);
	return r < 0 ? r : write_owner(store, *fd, err);
}

int store_add_snapshot(const struct store *store, const char *ns, const struct snapshot *snapshot,
		       int *ret_fd, struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	char time[SNAPSHOT_TIME_SIZE];
	int r = open_dir(store->fd, ".", &fd, err);
	if (r == 0)
		r = enter_namespace(store, &fd, ns, err);
	if (r == 0)
		r = enter_group(store, &fd, &snapshot->group, err);
	if (r < 0)
		return r;
	snapshot_time_format(snapshot->time, time);
	r = make_dir(store, fd, time, 0755, err);
	if (r == 1)
		return err_set(err, -EEXIST, "there is a snapshot of %s already", time);
	return r < 0 ? r : open_dir(fd, time, ret_fd, err);
}

static void chunk_path(const uint8_t digest[static DIGEST_SIZE], char ret[static CHUNK_PATH_SIZE])
{
	hex_encode(digest, DIGEST_SIZE, ret + 5);
	memcpy(ret, ret + 5, 4);
	ret[4] = '/';
}

bool store_has_chunk(const struct store *store, const uint8_t digest[static DIGEST_SIZE])
{
	char path[CHUNK_PATH_SIZE];
	chunk_path(digest, path);
	return faccessat(store->chunks_fd, path, F_OK, 0) == 0;
}

int store_put_chunk(const struct store *store, const uint8_t digest[static DIGEST_SIZE],
		    const uint8_t *raw, size_t len, struct err *err)
{
	if (store_has_chunk(store, digest))
		return 1;
	char path[CHUNK_PATH_SIZE], dir[5], tmp[TMP_PATH_SIZE];
	chunk_path(digest, path);
	(void) snprintf(dir, sizeof dir, "%.4s", path);
	(void) snprintf(tmp, sizeof tmp, "%s.tmp_%08x", path, (unsigned)gettid());
	int r = write_new_file(store, store->chunks_fd, tmp, raw, len, err);
	if (r == -ENOENT) {
		r = make_dir(store, store->chunks_fd, dir, 0750, err);
		if (r >= 0)
			r = write_new_file(store, store->chunks_fd, tmp, raw, len, err);
	}
	return r < 0 ? r : rename_or_unlink(store->chunks_fd, tmp, path, err);
}
