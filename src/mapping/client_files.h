/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * Small files that the reference client keeps, read and written by both: what one learnt the other knows.
 */
enum client_place {
	CLIENT_CONFIG,	/* $XDG_CONFIG_HOME/proxmox-backup, else ~/.config/proxmox-backup */
	CLIENT_RUNTIME, /* $XDG_RUNTIME_DIR/proxmox-backup: secrets, so nobody else's hands are in it */
};

struct client_dir {
	enum client_place place;
	int fd;
	char *path;
};

#define CLIENT_DIR_NONE ((struct client_dir){ .fd = -EBADF })

/**
 * client_dir_open
 *
 * @make:  where it is missing, with mode 0700; for whom the directory above belongs to
 *
 * Returns: 1 = it is there, 0 = it is not, or no variable says where it would be
 * Errors:  -EPERM CLIENT_RUNTIME, and others own it or may look into it; -errno
 */
int client_dir_open(enum client_place place, bool make, struct client_dir *ret, struct err *err) MUST_CHECK;
void client_dir_close(struct client_dir *dir);

/*
 * Nobody else of us writes there until it is closed.  -EBUSY after a few seconds.  Where the file system has no
 * such locks nothing is locked: files are replaced as a whole all the same.
 */
int client_dir_lock(const struct client_dir *dir, struct err *err) MUST_CHECK;

/**
 * client_file_read - a whole regular file; NUL behind @ret_len
 *
 * Returns: 1 = there it is, given, free(); 0 = it is not there
 * Errors:  -EPERM as for the directory; -EFBIG; -errno
 */
#define CLIENT_FILE_MAX (1u << 20) /* bytes; a thousand servers have a tenth of it */
int client_file_read(const struct client_dir *dir, const char *name, uint8_t **ret, size_t *ret_len,
		     struct err *err) MUST_CHECK;

/* At once or not at all; mode 0600.  A symbolic link is replaced, not followed. */
int client_file_replace(const struct client_dir *dir, const char *name, const void *data, size_t len,
			struct err *err) MUST_CHECK;
