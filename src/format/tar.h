/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/pxar_attrs.h"
#include "util/buf.h"

/*
 * Headers of a tar archive in the POSIX pax format.  What its old fields cannot hold (long names, bytes
 * above 127, large numbers, nanoseconds, attributes) is put into an extended header before it; what they can
 * hold is not.
 *
 * Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Storing
 * Sparse Files"; attributes and lists as star, GNU tar and bsdtar have them (SCHILY.xattr.*, SCHILY.acl.*)
 */
#define TAR_BLOCK 512

/* A piece of a sparse file that is no hole. */
struct tar_extent {
	uint64_t off, len;
};

struct tar_entry {
	const char *path;   /* relative; of a directory without the '/' behind it; "" = "." */
	uint32_t mode;	    /* with its type: S_IFREG and so on; no socket */
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t size;	    /* regular files */
	const char *link;   /* the target of a symbolic link; of a regular file: the path it is a name more of */
	uint32_t major, minor;
	const struct pxar_xattrs *xattrs; /* NULL = none */
	bool is_sparse;
	const struct tar_extent *extents; /* is_sparse: in order, apart; the last may be empty, at the end */
	size_t n_extents;
};

/**
 * tar_entry_format - what comes before the data
 *
 * Behind it comes the data, of a sparse file only that of its extents, and zeros up to a whole block.
 *
 * @ret_stored:  bytes of data that follow, without those zeros
 *
 * Errors:  -ENOMEM
 */
int tar_entry_format(const struct tar_entry *entry, struct buf *ret, uint64_t *ret_stored, struct err *err) MUST_CHECK;

/* An access control list of Linux as text, "user::rw-,user:1000:r--,…".  -EBADMSG it is none. */
int tar_acl_format(const uint8_t *value, size_t len, struct buf *ret, struct err *err) MUST_CHECK;
