/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/client_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "util/deadline.h"
#include "util/file.h"
#include "util/home.h"

#define LOCK_MS 3000 /* another one holds it for the time of writing a small file */

static char *base_of(enum client_place place)
{
	return place == CLIENT_CONFIG ? home_dir("XDG_CONFIG_HOME", ".config") : home_dir("XDG_RUNTIME_DIR", NULL);
}

/* Owned by this user, and nothing for anybody else. */
static bool is_private(const struct stat *st)
{
	return st->st_uid == geteuid() && (st->st_mode & 077) == 0;
}

static int check_place(const struct client_dir *dir, int fd, const char *path, struct stat *ret, struct err *err)
{
	if (fstat(fd, ret) < 0)
		return err_errno(err, -errno, "cannot look at %s", path);
	if (dir->place == CLIENT_RUNTIME && !is_private(ret))
		return err_set(err, -EPERM, "%s belongs to somebody else, or others may use it", path);
	return 0;
}

/* What root makes in somebody's home is that one's, else it would be in that one's way. */
static int make_dir(const char *path)
{
	struct stat above;
	if (mkdir(path, 0700) < 0)
		return -errno;
	if (geteuid() != 0)
		return 0;
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 || fstatat(fd, "..", &above, 0) < 0 || fchown(fd, above.st_uid, above.st_gid) < 0 ? -errno : 0;
}

/* Whatever goes wrong, opening it says. */
static int make_place(const struct client_dir *dir, const char *base, struct err *err)
{
	struct stat st;
	/* There is no use for secrets of ours in another one's. */
	if (dir->place == CLIENT_RUNTIME && stat(base, &st) == 0 && st.st_uid != geteuid())
		return err_set(err, -EPERM, "%s belongs to somebody else", base);
	if (dir->place == CLIENT_CONFIG && access(base, F_OK) < 0)
		(void) make_dir(base);
	(void) make_dir(dir->path);
	return 0;
}

int client_dir_open(enum client_place place, bool make, struct client_dir *ret, struct err *err)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	CLEANUP(freep) char *base = base_of(place);
	struct stat st;
	if (!base)
		return 0;
	dir.place = place;
	if (asprintf(&dir.path, "%s/proxmox-backup", base) < 0) {
		dir.path = NULL;
		return err_set(err, -ENOMEM, "no memory");
	}
	int r = make ? make_place(&dir, base, err) : 0;
	if (r < 0)
		return r;
	int no_link = place == CLIENT_RUNTIME ? O_NOFOLLOW : 0;
	dir.fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | no_link);
	if (dir.fd < 0 && errno == ENOENT && !make)
		return 0;
	if (dir.fd < 0)
		return err_errno(err, -errno, "cannot open %s", dir.path);
	r = check_place(&dir, dir.fd, dir.path, &st, err);
	if (r < 0)
		return r;
	*ret = dir;
	dir = CLIENT_DIR_NONE;
	return 1;
}

void client_dir_close(struct client_dir *dir)
{
	closep(&dir->fd);
	freep(&dir->path);
	*dir = CLIENT_DIR_NONE;
}

int client_dir_lock(const struct client_dir *dir, struct err *err)
{
	int r = lock_until(dir->fd, deadline_in_ms(LOCK_MS));
	return r == -EWOULDBLOCK ? err_set(err, -EBUSY, "somebody has locked %s", dir->path) : 0;
}

static int read_regular(const struct client_dir *dir, int fd, const char *path, uint8_t **ret, size_t *ret_len,
			struct err *err)
{
	struct stat st;
	int r = check_place(dir, fd, path, &st, err);
	if (r == 0 && !S_ISREG(st.st_mode))
		r = err_set(err, -EINVAL, "%s is not a regular file", path);
	if (r < 0)
		return r;
	r = read_fd(fd, CLIENT_FILE_MAX, ret, ret_len, err);
	return r < 0 ? err_while(err, r, "reading %s", path) : 1;
}

int client_file_read(const struct client_dir *dir, const char *name, uint8_t **ret, size_t *ret_len,
		     struct err *err)
{
	CLEANUP(freep) char *path = NULL;
	int no_link = dir->place == CLIENT_RUNTIME ? O_NOFOLLOW : 0;
	CLEANUP(closep) int fd = openat(dir->fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | no_link);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s/%s", dir->path, name);
	if (asprintf(&path, "%s/%s", dir->path, name) < 0) {
		path = NULL;
		return err_set(err, -ENOMEM, "no memory");
	}
	return read_regular(dir, fd, path, ret, ret_len, err);
}

/* What root writes into somebody's home is that one's. */
static int give_to_owner(const struct client_dir *dir, int fd)
{
	struct stat st;
	if (geteuid() != 0)
		return 0;
	return fstat(dir->fd, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0 ? -errno : 0;
}

static int write_new(const struct client_dir *dir, const char *name, const void *data, size_t len)
{
	CLEANUP(closep) int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = write_full(fd, data, len);
	if (r == 0)
		r = give_to_owner(dir, fd);
	/* Before the name is: after a crash there is the old one or this, not an empty one. */
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

int client_file_replace(const struct client_dir *dir, const char *name, const void *data, size_t len,
			struct err *err)
{
	uint64_t random;
	char temporary[64];
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return err_errno(err, -errno, "no random numbers");
	(void) snprintf(temporary, sizeof temporary, ".%.32s.%016llx", name, (unsigned long long)random);
	int r = write_new(dir, temporary, data, len);
	if (r == 0 && renameat(dir->fd, temporary, dir->fd, name) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	if (r != -EEXIST)
		(void) unlinkat(dir->fd, temporary, 0);
	return err_errno(err, r, "cannot write %s/%s", dir->path, name);
}
