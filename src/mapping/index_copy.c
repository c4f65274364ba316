/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/index_copy.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/vfs.h>

static bool is_in_memory(int fd)
{
	struct statfs fs;
	return fstatfs(fd, &fs) < 0 || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

/* A file without a name; where the file system cannot make one, its name is taken away at once. */
static int open_unnamed(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd;
	char path[512];
	if (snprintf(path, sizeof path, "%s/pbsmap-XXXXXX", dir) >= (int)sizeof path)
		return -1;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void) unlink(path);
	return fd;
}

static int open_scratch(int *ret_fd, struct err *err)
{
	const char *const dirs[] = { getenv("TMPDIR"), "/var/tmp", "/var/cache", "/tmp", "/dev/shm" };
	for (int in_memory = 0; in_memory < 2; in_memory++) {
		for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
			CLEANUP(closep) int fd = dirs[i] ? open_unnamed(dirs[i]) : -EBADF;
			if (fd < 0 || (!in_memory && is_in_memory(fd)))
				continue;
			*ret_fd = steal_fd(&fd);
			return 0;
		}
	}
	return err_set(err, -EACCES, "no place for a temporary file: set TMPDIR to a directory that can be written in");
}

int index_copy(struct source *source, const char *name, uint8_t **ret, size_t *ret_len, struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	uint64_t len;
	int r = open_scratch(&fd, err);
	if (r == 0)
		r = source_copy_index(source, name, fd, &len, err);
	if (r < 0)
		return r;
	if (len == 0)
		return err_set(err, -EBADMSG, "%s is empty", name);
	void *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return err_errno(err, -errno, "cannot map the copy of %s", name);
	*ret = map;
	*ret_len = len;
	return 0;
}
