/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Scoped release.  Every CLEANUP variable gets its value at the declaration; what leaves the
 * scope on purpose is taken out with STEAL.
 */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define MUST_CHECK  __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))

/* Take a pointer out of a CLEANUP variable: the variable becomes NULL. */
#define STEAL(ptr)                            \
	(__extension__({                      \
		__typeof__(ptr) stolen_ = (ptr); \
		(ptr) = NULL;                 \
		stolen_;                      \
	}))

/* The object that embeds @member at @ptr. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* For CLEANUP on any pointer from malloc; keeps errno. */
static inline void freep(void *p)
{
	int saved = errno;
	free(*(void **)p);
	errno = saved;
}

/* For CLEANUP on a descriptor; -EBADF (any negative value) is "none".  Keeps errno. */
static inline void closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		(void) close(*fd);
		errno = saved;
	}
	*fd = -EBADF;
}

/* Take a descriptor out of a CLEANUP(closep) variable. */
static inline int steal_fd(int *fd)
{
	int stolen = *fd;
	*fd = -EBADF;
	return stolen;
}

static inline void fclosep(FILE **f)
{
	if (*f) {
		int saved = errno;
		(void) fclose(*f);
		errno = saved;
	}
	*f = NULL;
}

static inline void closedirp(DIR **dir)
{
	if (*dir) {
		int saved = errno;
		(void) closedir(*dir);
		errno = saved;
	}
	*dir = NULL;
}
