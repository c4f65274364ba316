/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/deadline.h"
#include "util/err.h"

/* All of @len unless the file ends first; bytes read, or -errno.  Retries EINTR. */
ssize_t pread_full(int fd, void *buf, size_t len, uint64_t off);

/* 0 or -errno; SIGPIPE-free on sockets is the caller's matter. */
int write_full(int fd, const void *buf, size_t len);

/*
 * Of a file that was written: some file systems say only now that there was no room for it.  0 or -errno; closed and
 * empty in any case.
 */
int close_written(int *fd);

/*
 * flock(2), for nobody else, until @fd is closed; waits.  -EWOULDBLOCK: somebody else had it until then; another
 * -errno: it cannot be locked
 */
int lock_until(int fd, struct deadline until) MUST_CHECK;

/*
 * read_fd - everything from the position on; no other copy of it is left in memory
 *
 * @max:  refuse with -EFBIG when there is more; protects memory from endless pipes
 * @ret:  given, free(); NUL behind @ret_len
 */
int read_fd(int fd, size_t max, uint8_t **ret, size_t *ret_len, struct err *err) MUST_CHECK;
int read_file_at(int dir_fd, const char *name, int open_flags, size_t max, uint8_t **ret,
		 size_t *ret_len, struct err *err) MUST_CHECK;
