/* SPDX-License-Identifier: Apache-2.0 */
#include "util/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/secret.h"

ssize_t pread_full(int fd, void *buf, size_t len, uint64_t off)
{
	size_t have = 0;
	while (have < len) {
		ssize_t n = pread(fd, (char *)buf + have, len - have, (off_t)(off + have));
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

int write_full(int fd, const void *buf, size_t len)
{
	size_t have = 0;
	while (have < len) {
		ssize_t n = write(fd, (const char *)buf + have, len - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	return 0;
}

int lock_until(int fd, struct deadline until)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || deadline_is_over(until))
			return errno == EINTR ? -EWOULDBLOCK : -errno;
		(void) nanosleep(&pause, NULL);
	}
	return 0;
}

int close_written(int *fd)
{
	return close(steal_fd(fd)) < 0 ? -errno : 0;
}

/* What a file says may be secret: nothing of it is left in memory that was grown out of. */
struct contents {
	uint8_t *data;
	size_t len, cap; /* one byte more is there, for the NUL */
};

static void contents_deinit(struct contents *c)
{
	secret_wipe_and_free(c->data, c->len);
}

static int contents_grow(struct contents *c, size_t cap, struct err *err)
{
	uint8_t *larger = malloc(cap + 1);
	if (!larger)
		return err_set(err, -ENOMEM, "no memory for %zu bytes of a file", cap);
	if (c->len)
		memcpy(larger, c->data, c->len);
	contents_deinit(c);
	c->data = larger;
	c->cap = cap;
	return 0;
}

int read_fd(int fd, size_t max, uint8_t **ret, size_t *ret_len, struct err *err)
{
	CLEANUP(contents_deinit) struct contents c = { 0 };
	for (;;) {
		/* one byte more than allowed shows that there is more */
		int r = c.len == c.cap ? contents_grow(&c, min_size(c.cap ? 2 * c.cap : 4096, max + 1), err) : 0;
		if (r < 0)
			return r;
		ssize_t n = read(fd, c.data + c.len, c.cap - c.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "cannot read");
		if (n == 0)
			break;
		c.len += (size_t)n;
		if (c.len > max)
			return err_set(err, -EFBIG, "longer than %zu bytes", max);
	}
	c.data[c.len] = '\0';
	*ret = STEAL(c.data);
	*ret_len = c.len;
	return 0;
}

int read_file_at(int dir_fd, const char *name, int open_flags, size_t max, uint8_t **ret,
		 size_t *ret_len, struct err *err)
{
	CLEANUP(closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | open_flags);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", name);
	int r = read_fd(fd, max, ret, ret_len, err);
	return r < 0 ? err_while(err, r, "reading %s", name) : 0;
}
