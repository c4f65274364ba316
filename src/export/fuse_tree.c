/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_tree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "export/fuse_mount.h"
#include "export/fuse_tree_internal.h"
#include "util/bytes.h"
#include "util/lock.h"

/*
 * A file is its inode number, which is the kernel's handle of it as well: it leads back to its place in the
 * archive, so there is nothing to remember between two requests and nothing to forget.  A table of what the kernel
 * knows would grow with what is looked at, and save one small read from the cache; this takes no memory, whatever
 * the size of the archive, and needs no lock.
 *
 * Whatever takes a look into the archive goes through fuse_look.c; a read of data is submitted on the spot, by
 * what open() found.  The archive never changes: the kernel may keep all it learns.
 */
#define LOOKERS 16 /* threads, started when needed; each waits for one chunk at a time */

/* Of a larger file only so much is looked at for holes when somebody asks for its attributes: 64 k chunks. */
#define HOLES_MAX (UINT64_C(256) << 30)

/* -- attributes ------------------------------------------------------------------------------ */

/* Programs decide by that whether to look for holes. */
static blkcnt_t count_blocks(const struct fuse_tree *files, const struct node *node)
{
	uint64_t off = 0, holes = 0;
	while (S_ISREG(node->mode) && off < min_u64(node->size, HOLES_MAX)) {
		uint64_t end;
		if (tree_next_extent(files->tree, node, off, &end))
			holes += end - off;
		off = end;
	}
	return (blkcnt_t)((node->size - holes + 511) / 512);
}

int fuse_tree_attr(const struct fuse_tree *files, const struct node *node, struct stat *ret, struct err *err)
{
	const struct timespec time = { .tv_sec = node->mtime, .tv_nsec = node->mtime_ns };
	/* As wide as the protocol has them, and the kernel. */
	if (node->major > 0xfff || node->minor > 0xfffff)
		return err_set(err, -EBADMSG, "no device of Linux has the number %" PRIu32 ":%" PRIu32, node->major,
			       node->minor);
	*ret = (struct stat){
		.st_ino = node->ino,
		.st_mode = node->mode,
		.st_nlink = node->nlink, /* of directories 1, which says that nobody counted what is in them */
		.st_uid = node->uid,
		.st_gid = node->gid,
		.st_size = (off_t)node->size,
		.st_blksize = 4096,
		.st_blocks = count_blocks(files, node),
		.st_rdev = makedev(node->major, node->minor),
		.st_atim = time,
		.st_mtim = time,
		.st_ctim = time,
	};
	return 0;
}

/* Of a name that is not there, number 0: the kernel may keep that as well. */
static int find_entry(struct look *look, struct deadline until, struct fuse_entry_param *ret, struct err *err)
{
	struct tree *tree = look->files->tree;
	struct node dir, node;
	*ret = (struct fuse_entry_param){ .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER };
	int r = tree_node(tree, look->ino, until, &dir, err);
	if (r == 0)
		r = tree_lookup(tree, &dir, look->name, until, &node, err);
	if (r == -ENOENT && fuse_tree_is_nameless(look->name))
		return err_set(err, -EBADMSG, "an entry whose name cannot be read");
	if (r == 0)
		r = fuse_tree_attr(look->files, &node, &ret->attr, err);
	if (r == 0)
		ret->ino = node.ino;
	return r == -ENOENT ? 0 : r;
}

static int look_up(struct look *look, struct deadline until, struct err *err)
{
	struct fuse_entry_param entry;
	int r = find_entry(look, until, &entry, err);
	if (r == 0 && look_may_answer(look))
		(void) fuse_reply_entry(look->req, &entry);
	return r;
}

static int get_attr(struct look *look, struct deadline until, struct err *err)
{
	struct node node;
	struct stat attr;
	int r = tree_node(look->files->tree, look->ino, until, &node, err);
	if (r == 0)
		r = fuse_tree_attr(look->files, &node, &attr, err);
	if (r == 0 && look_may_answer(look))
		(void) fuse_reply_attr(look->req, &attr, FOR_EVER);
	return r;
}

static int read_link(struct look *look, struct deadline until, struct err *err)
{
	struct node node;
	char target[PXAR_NAME_MAX + 1];
	int r = tree_node(look->files->tree, look->ino, until, &node, err);
	if (r == 0 && node.size >= PATH_MAX)
		r = err_set(err, -EBADMSG, "a symbolic link longer than Linux has them");
	if (r == 0)
		r = tree_readlink(look->files->tree, &node, until, target, err);
	if (r == 0 && look_may_answer(look))
		(void) fuse_reply_readlink(look->req, target);
	return r;
}

/* Most files have none: that is known by the entry alone. */
static int xattrs_of(const struct look *look, struct deadline until, struct tree_xattrs *ret, struct err *err)
{
	struct node node;
	int r = tree_node(look->files->tree, look->ino, until, &node, err);
	return r < 0 || node.attrs_len == 0 ? r : tree_xattrs(look->files->tree, &node, until, ret, err);
}

/* As getxattr(2) has it: 0 asks how long it is. */
static void reply_value(const struct look *look, const void *value, size_t len)
{
	if (look->size == 0)
		(void) fuse_reply_xattr(look->req, len);
	else if (len > look->size)
		(void) fuse_reply_err(look->req, ERANGE);
	else
		(void) fuse_reply_buf(look->req, value, len);
}

static int get_xattr(struct look *look, struct deadline until, struct err *err)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	int r = xattrs_of(look, until, &xattrs, err);
	if (r < 0 || !look_may_answer(look))
		return r;
	const struct pxar_xattr *found = pxar_xattrs_find(&xattrs.list, look->attr);
	if (found)
		reply_value(look, found->value, found->len);
	else
		(void) fuse_reply_err(look->req, ENODATA);
	return 0;
}

static int list_xattrs(struct look *look, struct deadline until, struct err *err)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	CLEANUP(buf_deinit) struct buf names = BUF_EMPTY;
	int r = xattrs_of(look, until, &xattrs, err);
	for (size_t i = 0; r == 0 && i < xattrs.list.n; i++)
		r = buf_add(&names, xattrs.list.items[i].name, strlen(xattrs.list.items[i].name) + 1, err);
	if (r == 0 && look_may_answer(look))
		reply_value(look, names.data, names.len);
	return r;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = look_up, .ino = parent, .name = name });
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = get_attr, .ino = ino });
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = read_link, .ino = ino });
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = get_xattr, .ino = ino, .attr = name,
				 .size = size });
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = list_xattrs, .ino = ino, .size = size });
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = (fsblkcnt_t)(files_of(req)->data.size / 4096 + 1),
		.f_namemax = NAME_LEN_MAX,
	};
	(void) fuse_reply_statfs(req, &st);
}

/* -- files ----------------------------------------------------------------------------------- */

void fuse_tree_keep(struct look *look)
{
	look->info.keep_cache = 1;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 11)
	look->info.noflush = 1; /* nobody is asked when one of many descriptors is closed */
#endif
}

static void forget_handle(struct fuse_tree *files, struct handle *handle)
{
	{
		HOLD(&files->lock);
		list_remove(&handle->node);
	}
	fuse_conn_count_user(&files->conn, -1);
	handle->drop(files, handle);
}

void fuse_tree_reply_open(struct look *look, struct handle *take_handle)
{
	struct fuse_tree *files = look->files;
	if (!look_may_answer(look)) {
		take_handle->drop(files, take_handle);
		return;
	}
	{
		HOLD(&files->lock);
		list_append(&files->handles, &take_handle->node);
	}
	look->info.fh = (uint64_t)(uintptr_t)take_handle;
	fuse_conn_count_user(&files->conn, 1);
	if (fuse_reply_open(look->req, &look->info) != 0)
		forget_handle(files, take_handle);
}

void fuse_tree_release(fuse_req_t req, struct fuse_file_info *info)
{
	forget_handle(files_of(req), handle_of(info));
	(void) fuse_reply_err(req, 0);
}

/* The node, as data is read by it. */
struct open_file {
	struct handle handle;
	struct node node;
};

static void drop_file(struct fuse_tree *files, struct handle *handle)
{
	free(CONTAINER_OF(handle, struct open_file, handle));
}

static int open_file(struct look *look, struct deadline until, struct err *err)
{
	CLEANUP(freep) struct open_file *file = calloc(1, sizeof *file);
	if (!file)
		return err_set(err, -ENOMEM, "no memory for an open file");
	file->handle.drop = drop_file;
	int r = tree_node(look->files->tree, look->ino, until, &file->node, err);
	if (r == 0)
		r = tree_check_payload(look->files->tree, &file->node, until, err);
	if (r < 0)
		return r;
	fuse_tree_keep(look);
	fuse_tree_reply_open(look, &STEAL(file)->handle);
	return 0;
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	if ((info->flags & O_ACCMODE) != O_RDONLY)
		(void) fuse_reply_err(req, EROFS);
	else
		look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = open_file, .ino = ino,
					 .info = *info });
}

static const struct node *node_of(const struct fuse_file_info *info)
{
	const struct open_file *file = handle_of(info);
	return &file->node;
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	const struct node *node = node_of(info);
	uint64_t begin = min_u64((uint64_t)off, node->size);
	size_t len = (size_t)min_u64(min_size(size, READ_MAX), node->size - begin);
	fuse_reads_submit(&files_of(req)->reads, req, node->payload_off + begin, len);
}

/* Where the next hole (or data) begins; -ENXIO behind the end.  lseek(2), SEEK_HOLE. */
static off_t seek(const struct fuse_tree *files, const struct node *node, uint64_t off, int whence)
{
	bool wants_hole = whence == SEEK_HOLE;
	while (off < node->size) {
		uint64_t end;
		if (tree_next_extent(files->tree, node, off, &end) == wants_hole)
			return (off_t)off;
		off = end;
	}
	return wants_hole ? (off_t)node->size : -ENXIO;
}

static void on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *info)
{
	const struct node *node = node_of(info);
	off_t at = -EINVAL;
	if (whence == SEEK_HOLE || whence == SEEK_DATA)
		at = off < 0 || (uint64_t)off >= node->size ? -ENXIO : seek(files_of(req), node, (uint64_t)off, whence);
	if (at < 0)
		(void) fuse_reply_err(req, (int)-at);
	else
		(void) fuse_reply_lseek(req, at);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	fuse_tree_release(req, info);
}

static void on_init(void *user, struct fuse_conn_info *conn)
{
	conn->max_readahead = FUSE_MAX_READ;
	conn->max_background = 64;
	conn->congestion_threshold = 64;
	/* The kernel itself keeps to the lists: by the mode alone a group would get what the mask allows. */
	conn->want |= conn->capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_CACHE_SYMLINKS);
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
}

/* Nothing is remembered, so forget() has nothing to do; what would write is refused by the mount. */
static const struct fuse_lowlevel_ops tree_ops = {
	.init = on_init,
	.lookup = on_lookup,
	.getattr = on_getattr,
	.readlink = on_readlink,
	.open = on_open,
	.read = on_read,
	.release = on_release,
	.lseek = on_lseek,
	.opendir = fuse_tree_opendir,
	.readdir = fuse_tree_readdir,
	.readdirplus = fuse_tree_readdirplus,
	.releasedir = fuse_tree_releasedir,
	.getxattr = on_getxattr,
	.listxattr = on_listxattr,
	.statfs = on_statfs,
};

/* -- the whole ------------------------------------------------------------------------------- */

static void submit(void *data, struct read *read)
{
	input_submit(data, read);
}

static void cancel(void *data, struct read *read)
{
	input_cancel(data, read);
}

int fuse_tree_open(const struct fuse_tree_options *options, struct fuse_tree **ret, struct err *err)
{
	CLEANUP(closep) int fuse_fd = options->take_fuse_fd;
	struct fuse_tree *files = calloc(1, sizeof *files);
	if (!files)
		return err_set(err, -ENOMEM, "no memory");
	files->tree = options->tree;
	files->data = *tree_payload(options->tree);
	files->timeout_ms = options->timeout_ms;
	files->damaged = options->damaged;
	files->user = options->user;
	files->reads = (struct fuse_reads){
		.submit = submit, .cancel = cancel, .object = &files->data, .timeout_ms = options->timeout_ms,
	};
	fuse_reads_init(&files->reads);
	(void) pthread_mutex_init(&files->lock, NULL);
	list_init(&files->looks);
	list_init(&files->handles);
	files->conn.event_fd = -EBADF;
	*ret = files;
	const struct pool_options lookers = { .name = "look", .n_threads = LOOKERS };
	int r = pool_new(&lookers, &files->lookers, err);
	return r < 0 ? r : fuse_conn_open(&files->conn, &tree_ops, steal_fd(&fuse_fd), err);
}

int fuse_tree_event_fd(const struct fuse_tree *files)
{
	return files->conn.event_fd;
}

bool fuse_tree_has_ended(struct fuse_tree *files)
{
	return fuse_conn_has_ended(&files->conn);
}

unsigned fuse_tree_n_users(struct fuse_tree *files)
{
	return fuse_conn_n_users(&files->conn);
}

void fuse_tree_close(struct fuse_tree *files)
{
	if (!files)
		return;
	fuse_conn_join(&files->conn);
	pool_free(files->lookers);
	fuse_reads_deinit(&files->reads);
	struct list *node;
	while ((node = files->handles.next) != &files->handles)
		forget_handle(files, CONTAINER_OF(node, struct handle, node));
	fuse_conn_close(&files->conn);
	(void) pthread_mutex_destroy(&files->lock);
	free(files);
}
