/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/fuse_conn.h"

#include <sys/types.h>

#include "export/fuse_file.h"
#include "export/fuse_mount.h"
#include "export/fuse_reads.h"

/* What fuse_file.c and fuse_serve.c share. */
struct fuse_file {
	struct image *image;
	blkcnt_t n_blocks; /* of 512 bytes, that are no holes */
	bool is_on_path;
	struct fuse_conn conn;
	struct fuse_reads reads;
};

/* fuse_serve.c: answers requests; needs no rights */
extern const struct fuse_lowlevel_ops fuse_serve_ops; /* user data: the struct fuse_file */
