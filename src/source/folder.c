/* SPDX-License-Identifier: Apache-2.0 */
#include "source/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/blob.h"
#include "format/index.h"
#include "util/bytes.h"
#include "util/file.h"

#define COPY_PIECE (1u << 20) /* bytes */

int folder_open(int dir_fd, const char *path)
{
	int dir = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (dir >= 0 && *path) {
		size_t len = strcspn(path, "/");
		char name[256];
		int next = -ENAMETOOLONG;
		if (len < sizeof name) {
			memcpy(name, path, len);
			name[len] = '\0';
			next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			next = next < 0 ? -errno : next;
		}
		(void) close(dir);
		if (next < 0)
			return next == -ELOOP ? -ENOTDIR : next;
		dir = next;
		path += len + (path[len] == '/');
	}
	return dir < 0 ? -errno : dir;
}

static bool is_kind(int dir_fd, const struct dirent *entry, enum folder_want want)
{
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == (want == FOLDER_DIRS ? DT_DIR : DT_REG);
	struct stat st;
	if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno != ENOENT; /* whoever opens it learns why */
	return want == FOLDER_DIRS ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode);
}

int folder_list(int dir_fd, enum folder_want want, bool (*is_wanted)(const char *name),
		struct strv *ret, struct err *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int r = -errno;
		if (fd >= 0)
			(void) close(fd);
		return err_errno(err, r, "cannot list a directory");
	}
	struct dirent *entry;
	int r = 0;
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && (!is_wanted || is_wanted(entry->d_name)) &&
		    is_kind(dir_fd, entry, want))
			r = strv_add(ret, entry->d_name, err);
	}
	if (r == 0 && errno)
		r = err_errno(err, -errno, "cannot list a directory");
	strv_sort(ret);
	return r;
}

int folder_open_file(int dir_fd, const char *name, uint64_t *ret_size)
{
	CLEANUP(closep) int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	*ret_size = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

static int open_said(int dir_fd, const char *name, uint64_t max, uint64_t *ret_size, struct err *err)
{
	int fd = folder_open_file(dir_fd, name, ret_size);
	if (fd == -ENOENT)
		return err_set(err, fd, "there is no %s", name);
	if (fd == -EBADMSG)
		return err_set(err, fd, "%s is not a regular file", name);
	if (fd < 0)
		return err_errno(err, fd, "cannot open %s", name);
	if (*ret_size > max) {
		(void) close(fd);
		return err_set(err, -EBADMSG, "%s is too long: %llu bytes", name,
			       (unsigned long long)*ret_size);
	}
	return fd;
}

int folder_read_blob(int dir_fd, const char *name, uint8_t **ret, size_t *ret_len, struct err *err)
{
	uint64_t size;
	CLEANUP(closep) int fd = open_said(dir_fd, name, BLOB_FILE_MAX, &size, err);
	if (fd < 0)
		return fd;
	int r = read_fd(fd, BLOB_FILE_MAX, ret, ret_len, err);
	return r < 0 ? err_while(err, r, "reading %s", name) : 0;
}

int folder_copy_index(int dir_fd, const char *name, int to_fd, uint64_t *ret_len, struct err *err)
{
	uint64_t size, have = 0;
	CLEANUP(closep) int fd = open_said(dir_fd, name, INDEX_FILE_MAX, &size, err);
	if (fd < 0)
		return fd;
	CLEANUP(freep) void *piece = malloc(COPY_PIECE);
	if (!piece)
		return err_set(err, -ENOMEM, "no memory for %s", name);
	while (have < size) {
		ssize_t n = pread_full(fd, piece, min_u64(COPY_PIECE, size - have), have);
		if (n < 0)
			return err_errno(err, (int)n, "cannot read %s", name);
		if (n == 0)
			return err_set(err, -EBADMSG, "%s became shorter", name);
		int r = write_full(to_fd, piece, (size_t)n);
		if (r < 0)
			return err_errno(err, r, "cannot keep a copy of %s", name);
		have += (uint64_t)n;
	}
	*ret_len = have;
	return 0;
}
