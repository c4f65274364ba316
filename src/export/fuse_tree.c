/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_tree.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "archive/listing.h"
#include "export/fuse_conn.h"
#include "export/fuse_file.h"
#include "export/fuse_mount.h"
#include "export/fuse_reads.h"
#include "util/bytes.h"
#include "util/lock.h"
#include "util/pool.h"

/*
 * A file is its inode number, so there is nothing to remember between two requests, and nothing to forget.
 * Whatever takes a look into the archive is a job for the pool; a read of data is submitted on the spot, by
 * what open() found.  The archive never changes: the kernel may keep all it learns.
 *
 * A look that is interrupted is answered at once; its thread goes on until it has what it waits for, and
 * finds that nobody wants it.  So whoever waits for a lost server can be killed.
 */
#define LOOKERS 8	     /* threads; each waits for one chunk at a time */
#define FOR_EVER (365 * 86400.0) /* seconds the kernel keeps what it was told */
#define NAME_LEN_MAX 1024    /* FUSE_NAME_MAX: the kernel takes a longer name for a broken directory */

struct fuse_tree {
	struct tree *tree;
	int64_t timeout_ms;
	void (*damaged)(void *user, const struct err *why);
	void *user;
	struct pool *lookers;
	struct fuse_conn conn;
	struct fuse_reads reads;

	pthread_mutex_t lock; /* guards all below */
	struct list looks;    /* not answered yet */
};

/* A regular file that is open. */
struct open_file {
	uint64_t off, size; /* of its data in the stream */
};

/* A directory that is open; the kernel's handle refers to it, and every look into it. */
struct open_dir {
	atomic_uint n_refs;
	pthread_mutex_t lock; /* guards all below; the kernel asks one at a time, but for two processes */
	struct node node;
	struct listing *listing;
	uint64_t at;	       /* the offset behind which the listing goes on */
	struct member member;  /* read, and not yet given: there was no more room */
	bool has_member;
	int failed;	       /* a positive errno: what is said at the end, for members that could not be read */
};

enum { OFF_DOT = 1, OFF_DOTDOT = 2 }; /* cursors of members begin at 3 */

/* A request that takes a look. */
struct look {
	struct job job;
	struct fuse_tree *files;
	fuse_req_t req;

	/* guarded by files->lock */
	struct list node; /* on no list = it was answered */
	bool is_armed, is_interrupted;

	void (*run)(struct look *look);
	fuse_ino_t ino;
	size_t size;
	off_t off;
	struct fuse_file_info info;
	struct open_dir *dir; /* of readdir */
	bool is_plus;
	char name[]; /* of lookup and getxattr */
};

static void open_dir_unref(void *handle)
{
	struct open_dir *dir = handle;
	if (!dir || atomic_fetch_sub(&dir->n_refs, 1) > 1)
		return;
	listing_close(dir->listing);
	(void) pthread_mutex_destroy(&dir->lock);
	free(dir);
}

/* -- jobs ------------------------------------------------------------------------------------ */

static void look_free(struct look *look)
{
	open_dir_unref(look->dir);
	free(look);
}

/* Whoever gets true has to answer it: nobody else will. */
static bool claim(struct look *look)
{
	HOLD(&look->files->lock);
	bool is_mine = !list_is_empty(&look->node);
	list_remove(&look->node);
	return is_mine;
}

static void run_look(struct job *job, void *worker)
{
	struct look *look = CONTAINER_OF(job, struct look, job);
	look->run(look);
	look_free(look);
}

/* The kernel's caller was killed.  What libfuse knew when it called this may be gone by now. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct fuse_tree *files = data;
	struct look *look = NULL;
	{
		HOLD(&files->lock);
		for (struct list *node = files->looks.next; node != &files->looks; node = node->next)
			if (CONTAINER_OF(node, struct look, node)->req == req)
				look = CONTAINER_OF(node, struct look, node);
		if (!look)
			return;
		look->is_interrupted = true;
		if (!look->is_armed)
			return; /* libfuse still needs the request; who arms it sees the mark */
		list_remove(&look->node);
	}
	(void) fuse_reply_err(req, EINTR);
}

/* From here on an interrupt answers it.  False = one did. */
static bool arm(struct look *look)
{
	fuse_req_interrupt_func(look->req, on_interrupt, look->files);
	HOLD(&look->files->lock);
	look->is_armed = true;
	return !look->is_interrupted;
}

static struct look *look_new(fuse_req_t req, fuse_ino_t ino, const char *name, void (*run)(struct look *look))
{
	size_t len = strlen(name) + 1;
	struct look *look = calloc(1, sizeof *look + len);
	if (!look) {
		(void) fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	look->job.run = run_look;
	look->job.priority = PRIORITY_DEMAND;
	list_init(&look->job.node);
	look->files = fuse_req_userdata(req);
	look->req = req;
	look->run = run;
	look->ino = ino;
	memcpy(look->name, name, len);
	HOLD(&look->files->lock);
	list_append(&look->files->looks, &look->node);
	return look;
}

static void look_submit(struct look *look)
{
	if (!look)
		return;
	bool is_wanted = arm(look);
	if (is_wanted && pool_submit(look->files->lookers, &look->job, NULL) == 0)
		return;
	if (claim(look))
		(void) fuse_reply_err(look->req, is_wanted ? ENOMEM : EINTR);
	look_free(look);
}

static struct deadline deadline_of(const struct fuse_tree *files)
{
	return files->timeout_ms ? deadline_in_ms(files->timeout_ms) : DEADLINE_NEVER;
}

/* Names have outcomes of their own. */
static int errno_of_name(int code)
{
	return code == -ENOENT || code == -ENOTDIR ? -code : fuse_errno_of(code);
}

static void tell_damage(const struct fuse_tree *files, int r, const struct err *why)
{
	if (r == -EBADMSG)
		files->damaged(files->user, why);
}

static void reply_failure(struct look *look, int r, const struct err *why)
{
	tell_damage(look->files, r, why);
	if (claim(look))
		(void) fuse_reply_err(look->req, errno_of_name(r));
}

static int node_of(const struct look *look, struct node *ret, struct err *err)
{
	return tree_node(look->files->tree, look->ino, deadline_of(look->files), ret, err);
}

static void fill_attr(const struct node *node, struct stat *ret)
{
	const struct timespec time = { .tv_sec = node->mtime, .tv_nsec = node->mtime_ns };
	*ret = (struct stat){
		.st_ino = node->ino,
		.st_mode = node->mode,
		.st_nlink = node->nlink,
		.st_uid = node->uid,
		.st_gid = node->gid,
		.st_size = (off_t)node->size,
		.st_blksize = 4096,
		.st_blocks = (blkcnt_t)((node->size + 511) / 512),
		.st_rdev = makedev(node->major, node->minor),
		.st_atim = time,
		.st_mtim = time,
		.st_ctim = time,
	};
}

static void fill_entry(const struct node *node, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){ .ino = node->ino, .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER };
	fill_attr(node, &ret->attr);
}

/* -- names and attributes -------------------------------------------------------------------- */

static void look_up(struct look *look)
{
	struct node dir, node;
	struct err why = ERR_NONE;
	struct fuse_entry_param entry = { .entry_timeout = FOR_EVER };
	int r = node_of(look, &dir, &why);
	if (r == 0)
		r = tree_lookup(look->files->tree, &dir, look->name, deadline_of(look->files), &node, &why);
	if (r < 0 && r != -ENOENT) {
		reply_failure(look, r, &why);
		return;
	}
	if (r == 0)
		fill_entry(&node, &entry);
	/* Number 0: there is none, and that may be kept as well. */
	if (claim(look))
		(void) fuse_reply_entry(look->req, &entry);
}

static void get_attr(struct look *look)
{
	struct node node;
	struct stat attr;
	struct err why = ERR_NONE;
	int r = node_of(look, &node, &why);
	if (r < 0) {
		reply_failure(look, r, &why);
		return;
	}
	fill_attr(&node, &attr);
	if (claim(look))
		(void) fuse_reply_attr(look->req, &attr, FOR_EVER);
}

static void read_link(struct look *look)
{
	struct node node;
	char target[PXAR_NAME_MAX + 1];
	struct err why = ERR_NONE;
	int r = node_of(look, &node, &why);
	if (r == 0)
		r = tree_readlink(look->files->tree, &node, deadline_of(look->files), target, &why);
	if (r < 0)
		reply_failure(look, r, &why);
	else if (claim(look))
		(void) fuse_reply_readlink(look->req, target);
}

static int xattrs_of(const struct look *look, struct tree_xattrs *ret, struct err *err)
{
	struct node node;
	int r = node_of(look, &node, err);
	return r < 0 ? r : tree_xattrs(look->files->tree, &node, deadline_of(look->files), ret, err);
}

/* As getxattr(2) has it: 0 asks how long it is. */
static void reply_value(struct look *look, const void *value, size_t len)
{
	if (!claim(look))
		return;
	if (look->size == 0)
		(void) fuse_reply_xattr(look->req, len);
	else if (len > look->size)
		(void) fuse_reply_err(look->req, ERANGE);
	else
		(void) fuse_reply_buf(look->req, value, len);
}

static void get_xattr(struct look *look)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	struct err why = ERR_NONE;
	int r = xattrs_of(look, &xattrs, &why);
	if (r < 0) {
		reply_failure(look, r, &why);
		return;
	}
	const struct pxar_xattr *found = pxar_xattrs_find(&xattrs.list, look->name);
	if (found)
		reply_value(look, found->value, found->len);
	else if (claim(look))
		(void) fuse_reply_err(look->req, ENODATA);
}

static void list_xattrs(struct look *look)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	CLEANUP(buf_deinit) struct buf names = BUF_EMPTY;
	struct err why = ERR_NONE;
	int r = xattrs_of(look, &xattrs, &why);
	for (size_t i = 0; r == 0 && i < xattrs.list.n; i++)
		r = buf_add(&names, xattrs.list.items[i].name, strlen(xattrs.list.items[i].name) + 1, &why);
	if (r < 0)
		reply_failure(look, r, &why);
	else
		reply_value(look, names.data, names.len);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	look_submit(look_new(req, parent, name, look_up));
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	look_submit(look_new(req, ino, "", get_attr));
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	look_submit(look_new(req, ino, "", read_link));
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct look *look = look_new(req, ino, name, get_xattr);
	if (look)
		look->size = size;
	look_submit(look);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct look *look = look_new(req, ino, "", list_xattrs);
	if (look)
		look->size = size;
	look_submit(look);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fuse_tree *files = fuse_req_userdata(req);
	const struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = (fsblkcnt_t)(tree_payload(files->tree)->size / 4096 + 1),
		.f_namemax = NAME_LEN_MAX,
	};
	(void) fuse_reply_statfs(req, &st);
}

/* -- files ----------------------------------------------------------------------------------- */

static void keep(struct fuse_file_info *info)
{
	info->keep_cache = 1;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 11)
	info->noflush = 1; /* nobody is asked when one of many descriptors is closed */
#endif
}

/* The handle is the kernel's from here on, or nobody's. */
static void reply_open(struct look *look, void *take_handle, void (*drop)(void *handle))
{
	look->info.fh = (uint64_t)(uintptr_t)take_handle;
	fuse_conn_count_user(&look->files->conn, 1);
	if (claim(look) && fuse_reply_open(look->req, &look->info) == 0)
		return;
	fuse_conn_count_user(&look->files->conn, -1);
	drop(take_handle);
}

static void open_file(struct look *look)
{
	struct node node;
	struct err why = ERR_NONE;
	struct open_file *file = malloc(sizeof *file);
	int r = file ? node_of(look, &node, &why) : -ENOMEM;
	if (r == 0)
		r = tree_check_payload(look->files->tree, &node, deadline_of(look->files), &why);
	if (r < 0) {
		free(file);
		reply_failure(look, r, &why);
		return;
	}
	*file = (struct open_file){ .off = node.payload_off, .size = node.size };
	keep(&look->info);
	reply_open(look, file, free);
}

static struct look *look_with_info(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *info,
				   void (*run)(struct look *look))
{
	struct look *look = look_new(req, ino, "", run);
	if (look)
		look->info = *info;
	return look;
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	if ((info->flags & O_ACCMODE) != O_RDONLY)
		(void) fuse_reply_err(req, EROFS);
	else
		look_submit(look_with_info(req, ino, info, open_file));
}

static void *handle_of(const struct fuse_file_info *info)
{
	return (void *)(uintptr_t)info->fh;
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	struct fuse_tree *files = fuse_req_userdata(req);
	const struct open_file *file = handle_of(info);
	uint64_t begin = min_u64((uint64_t)off, file->size);
	size_t len = (size_t)min_u64(min_size(size, READ_MAX), file->size - begin);
	fuse_reads_submit(&files->reads, req, file->off + begin, len);
}

/* Where the next hole (or data) begins; -ENXIO behind the end.  lseek(2), SEEK_HOLE. */
static off_t seek(const struct fuse_tree *files, const struct open_file *file, uint64_t off, int whence)
{
	const struct node node = { .payload_off = file->off, .size = file->size };
	bool wants_hole = whence == SEEK_HOLE;
	while (off < file->size) {
		uint64_t end;
		if (tree_next_extent(files->tree, &node, off, &end) == wants_hole)
			return (off_t)off;
		off = end;
	}
	return wants_hole ? (off_t)file->size : -ENXIO;
}

static void on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *info)
{
	const struct open_file *file = handle_of(info);
	off_t at = -EINVAL;
	if (whence == SEEK_HOLE || whence == SEEK_DATA)
		at = off < 0 || (uint64_t)off >= file->size ? -ENXIO
							    : seek(fuse_req_userdata(req), file, (uint64_t)off, whence);
	if (at < 0)
		(void) fuse_reply_err(req, (int)-at);
	else
		(void) fuse_reply_lseek(req, at);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fuse_tree *files = fuse_req_userdata(req);
	free(handle_of(info));
	fuse_conn_count_user(&files->conn, -1);
	(void) fuse_reply_err(req, 0);
}

/* -- directories ----------------------------------------------------------------------------- */

static void open_directory(struct look *look)
{
	struct err why = ERR_NONE;
	struct open_dir *dir = calloc(1, sizeof *dir);
	if (dir) {
		dir->n_refs = 1;
		(void) pthread_mutex_init(&dir->lock, NULL);
	}
	int r = dir ? node_of(look, &dir->node, &why) : -ENOMEM;
	if (r == 0 && !S_ISDIR(dir->node.mode))
		r = -ENOTDIR;
	if (r < 0) {
		open_dir_unref(dir);
		reply_failure(look, r, &why);
		return;
	}
	keep(&look->info);
	look->info.cache_readdir = 1;
	reply_open(look, dir, open_dir_unref);
}

static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	look_submit(look_with_info(req, ino, info, open_directory));
}

static void on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fuse_tree *files = fuse_req_userdata(req);
	open_dir_unref(handle_of(info));
	fuse_conn_count_user(&files->conn, -1);
	(void) fuse_reply_err(req, 0);
}

/* An answer to readdir on its way. */
struct filling {
	struct look *look;
	char *data;
	size_t len;
};

/* False = there is no room for it. */
static bool fill(struct filling *f, const char *name, const struct node *node, uint64_t off)
{
	struct fuse_entry_param entry;
	size_t left = f->look->size - f->len, need;
	fill_entry(node, &entry);
	/* "." and ".." are not looked up by that: with number 0 the kernel takes their kind alone. */
	if (off <= OFF_DOTDOT)
		entry.ino = 0;
	need = f->look->is_plus ? fuse_add_direntry_plus(f->look->req, f->data + f->len, left, name, &entry, (off_t)off)
				: fuse_add_direntry(f->look->req, f->data + f->len, left, name, &entry.attr, (off_t)off);
	if (need > left)
		return false;
	f->len += need;
	return true;
}

/* The next member is in dir->member.  1, 0 at the end, or an error that ends the directory. */
static int next_member_locked(struct open_dir *dir, struct fuse_tree *files, struct err *err)
{
	while (!dir->has_member) {
		int r = listing_next(dir->listing, deadline_of(files), &dir->member, err);
		tell_damage(files, r, err);
		if (r == -EBADMSG)
			dir->failed = EIO;
		else if (r <= 0)
			return r;
		else if (strlen(dir->member.name) <= NAME_LEN_MAX)
			dir->has_member = true;
		else
			dir->failed = ENAMETOOLONG;
	}
	return 1;
}

static int fill_members_locked(struct open_dir *dir, struct filling *f, struct err *err)
{
	int r;
	while ((r = next_member_locked(dir, f->look->files, err)) == 1) {
		if (!fill(f, dir->member.name, &dir->member.node, dir->member.cursor))
			return 0;
		dir->at = dir->member.cursor;
		dir->has_member = false;
	}
	return r;
}

/* From where the kernel wants it; nearly always from where the last answer ended. */
static int seek_locked(struct open_dir *dir, struct fuse_tree *files, uint64_t off, struct err *err)
{
	if (dir->listing && dir->at == off)
		return 0;
	listing_close(STEAL(dir->listing));
	dir->has_member = false;
	dir->failed = 0;
	dir->at = off;
	return listing_open(files->tree, &dir->node, off, &dir->listing, err);
}

static int fill_locked(struct open_dir *dir, struct filling *f, struct err *err)
{
	uint64_t off = (uint64_t)f->look->off;
	if (off < OFF_DOT && !fill(f, ".", &dir->node, OFF_DOT))
		return 0;
	if (off < OFF_DOTDOT && !fill(f, "..", &dir->node, OFF_DOTDOT))
		return 0;
	int r = seek_locked(dir, f->look->files, max_u64(off, OFF_DOTDOT), err);
	return r < 0 ? r : fill_members_locked(dir, f, err);
}

/* What there is comes first; that some could not be read is said at the end. */
static void read_dir(struct look *look)
{
	struct open_dir *dir = look->dir;
	struct err why = ERR_NONE;
	struct filling f = { .look = look };
	CLEANUP(freep) char *data = malloc(look->size);
	f.data = data;
	int r = -ENOMEM, failed;
	{
		HOLD(&dir->lock);
		if (data)
			r = fill_locked(dir, &f, &why);
		failed = dir->failed;
	}
	if (f.len == 0 && r < 0)
		reply_failure(look, r, &why);
	else if (!claim(look))
		return;
	else if (f.len)
		(void) fuse_reply_buf(look->req, data, f.len);
	else if (failed)
		(void) fuse_reply_err(look->req, failed);
	else
		(void) fuse_reply_buf(look->req, NULL, 0);
}

static void submit_read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			    const struct fuse_file_info *info, bool is_plus)
{
	struct look *look = look_with_info(req, ino, info, read_dir);
	if (look) {
		look->size = min_size(size, FUSE_MAX_READ);
		look->off = off;
		look->is_plus = is_plus;
		look->dir = handle_of(info);
		atomic_fetch_add(&look->dir->n_refs, 1);
	}
	look_submit(look);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	submit_read_dir(req, ino, size, off, info, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *info)
{
	submit_read_dir(req, ino, size, off, info, true);
}

static void on_init(void *user, struct fuse_conn_info *conn)
{
	conn->max_readahead = FUSE_MAX_READ;
	conn->max_background = 64;
	conn->congestion_threshold = 64;
	/* The kernel itself keeps to the lists: by the mode alone a group would get what the mask allows. */
	conn->want |= conn->capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS);
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
}

static const struct fuse_lowlevel_ops tree_ops = {
	.init = on_init,
	.lookup = on_lookup,
	.forget = on_forget,
	.forget_multi = on_forget_multi,
	.getattr = on_getattr,
	.readlink = on_readlink,
	.open = on_open,
	.read = on_read,
	.release = on_release,
	.lseek = on_lseek,
	.opendir = on_opendir,
	.readdir = on_readdir,
	.readdirplus = on_readdirplus,
	.releasedir = on_releasedir,
	.getxattr = on_getxattr,
	.listxattr = on_listxattr,
	.statfs = on_statfs,
};

/* -- the whole ------------------------------------------------------------------------------- */

static void submit(void *stream, struct read *read)
{
	stream_submit(stream, read);
}

static void cancel(void *stream, struct read *read)
{
	stream_cancel(stream, read);
}

int fuse_tree_open(const struct fuse_tree_options *options, struct fuse_tree **ret, struct err *err)
{
	CLEANUP(closep) int fuse_fd = options->take_fuse_fd;
	struct fuse_tree *files = calloc(1, sizeof *files);
	if (!files)
		return err_set(err, -ENOMEM, "no memory");
	files->tree = options->tree;
	files->timeout_ms = options->timeout_ms;
	files->damaged = options->damaged;
	files->user = options->user;
	files->reads = (struct fuse_reads){
		.submit = submit, .cancel = cancel, .object = tree_payload(options->tree)->stream,
		.timeout_ms = options->timeout_ms,
	};
	fuse_reads_init(&files->reads);
	(void) pthread_mutex_init(&files->lock, NULL);
	list_init(&files->looks);
	files->conn.event_fd = -EBADF;
	*ret = files;
	const struct pool_options lookers = { .name = "look", .n_threads = LOOKERS };
	int r = pool_new(&lookers, &files->lookers, err);
	return r < 0 ? r : fuse_conn_open(&files->conn, &tree_ops, files, steal_fd(&fuse_fd), err);
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
	fuse_conn_close(&files->conn);
	(void) pthread_mutex_destroy(&files->lock);
	free(files);
}
