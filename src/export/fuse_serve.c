/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "export/fuse_internal.h"
#include "util/bytes.h"

/* FUSE requests on the one file there is. */
static struct fuse_file *file_of(fuse_req_t req)
{
	return CONTAINER_OF(fuse_req_userdata(req), struct fuse_file, conn);
}

static void fill_attr(const struct fuse_file *file, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = FUSE_ROOT_ID,
		.st_mode = S_IFREG | 0400,
		.st_nlink = 1,
		.st_uid = getuid(),
		.st_gid = getgid(),
		.st_size = (off_t)file->image->size,
		.st_blksize = 4096,
		.st_blocks = file->n_blocks,
	};
}

static void on_init(void *user, struct fuse_conn_info *conn)
{
	conn->max_readahead = FUSE_MAX_READ;
	conn->max_background = 64; /* reads in flight; the default of 12 would starve deep queues */
	conn->congestion_threshold = 64;
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct stat attr;
	fill_attr(file_of(req), &attr);
	(void) fuse_reply_attr(req, &attr, 86400);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fuse_file *file = file_of(req);
	if ((info->flags & O_ACCMODE) != O_RDONLY) {
		(void) fuse_reply_err(req, EROFS);
		return;
	}
	/* A loop device keeps its own pages.  A file on a path is kept by the kernel, so that it can be
	 * mapped into memory. */
	info->direct_io = !file->is_on_path;
	info->keep_cache = 1;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 11)
	info->noflush = 1; /* nobody is asked when one of many descriptors is closed */
#endif
	fuse_conn_count_user(&file->conn, 1);
	if (fuse_reply_open(req, info) < 0)
		fuse_conn_count_user(&file->conn, -1);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fuse_file *file = file_of(req);
	fuse_conn_count_user(&file->conn, -1);
	(void) fuse_reply_err(req, 0);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *info)
{
	struct fuse_file *file = file_of(req);
	uint64_t begin = min_u64((uint64_t)off, file->image->size);
	size_t len = (size_t)min_u64(min_size(size, READ_MAX), file->image->size - begin);
	fuse_reads_submit(&file->reads, req, begin, len);
}

/* Where the next hole (or data) begins; -ENXIO behind the end.  lseek(2), SEEK_HOLE. */
static off_t seek(struct image *image, uint64_t off, int whence)
{
	bool wants_hole = whence == SEEK_HOLE;
	while (off < image->size) {
		uint64_t end;
		if (image_next_extent(image, off, image->size, &end) == wants_hole)
			return (off_t)off;
		off = end;
	}
	return wants_hole ? (off_t)image->size : -ENXIO;
}

static void on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *info)
{
	struct image *image = file_of(req)->image;
	off_t at = -EINVAL;
	if (whence == SEEK_HOLE || whence == SEEK_DATA)
		at = off < 0 || (uint64_t)off >= image->size ? -ENXIO : seek(image, (uint64_t)off, whence);
	if (at < 0)
		(void) fuse_reply_err(req, (int)-at);
	else
		(void) fuse_reply_lseek(req, at);
}

const struct fuse_lowlevel_ops fuse_serve_ops = {
	.init = on_init,
	.getattr = on_getattr,
	.open = on_open,
	.release = on_release,
	.read = on_read,
	.lseek = on_lseek,
};
