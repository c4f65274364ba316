/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "archive/unpack.h"
#include "util/array.h"
#include "util/bytes.h"
#include "util/file.h"

/*
 * Into a directory.  Every step is one name below a directory that is held open, and no name is followed: so
 * nothing is written elsewhere, whatever the archive says and whoever else is at work in there.  Directories
 * are ours alone until all that is in them is there; then they get their owner, mode, attributes and time.
 *
 * The umask is left to the caller: what is made gets its mode in the end, but for devices, FIFOs and sockets,
 * which are made with it.
 */
struct unpack_dir {
	struct unpacker unpacker;
	int top_fd;
	int *fds; /* the directories entered, the deepest last */
	size_t n, cap;
	uint8_t *piece;
	bool is_root;
	bool inherits; /* the directory gives what is made in it an access control list */
};

static struct unpack_dir *dir_of(struct unpacker *u)
{
	return CONTAINER_OF(u, struct unpack_dir, unpacker);
}

static int here(const struct unpack_dir *dir)
{
	return dir->n ? dir->fds[dir->n - 1] : dir->top_fd;
}

/* A name right in the directory, which is no link. */
static int open_in(int dir_fd, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

/* What a path leads to, one such name after the other; ".." is none of them. */
static int open_below(int dir_fd, const char *path)
{
	CLEANUP(closep) int fd = -EBADF;
	char name[NAME_MAX + 1];
	for (size_t len;; path += len + 1) {
		len = strcspn(path, "/");
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		(void) snprintf(name, sizeof name, "%.*s", (int)len, path);
		int next = open_in(fd >= 0 ? fd : dir_fd, name, O_PATH, 0);
		closep(&fd);
		fd = next;
		if (fd < 0 || !path[len])
			return steal_fd(&fd);
	}
}

/* -- what belongs to a file beside its data --------------------------------------------------- */

/* Something that exists: by descriptor, or (what cannot be opened) by name below a directory. */
struct made {
	int fd; /* -1: */
	int dir_fd;
	const char *name;
};

/* Not followed where it is the last part of the path. */
static void path_of(const struct made *made, char *ret, size_t len)
{
	if (made->fd >= 0)
		(void) snprintf(ret, len, "/proc/self/fd/%d", made->fd);
	else
		(void) snprintf(ret, len, "/proc/self/fd/%d/%s", made->dir_fd, made->name);
}

/* (uid_t)-1 is nobody's: to chown() it says "as it is", which would be an owner the archive does not name. */
static bool is_no_owner(const struct node *node)
{
	return node->uid == (uid_t)-1 || node->gid == (gid_t)-1;
}

static int change_owner(const struct made *made, const struct node *node)
{
	if (is_no_owner(node))
		return -EINVAL;
	int r = made->fd >= 0 ? fchown(made->fd, node->uid, node->gid)
			      : fchownat(made->dir_fd, made->name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? -errno : 0;
}

/* Root may, but a file system may know no owners (FAT), keep them to itself (NFS), or a container have others. */
static bool is_of_place(int r)
{
	return r == -EPERM || r == -EINVAL || r == -EACCES || r == -EOPNOTSUPP || r == -ENOSYS;
}

static void warn_of_owner(struct unpack_dir *dir, const struct node *node, int r)
{
	char text[128] = "owners are not restored: that takes root";
	if (dir->is_root)
		(void) snprintf(text, sizeof text, "some owners are not restored, as %u:%u: %s", node->uid, node->gid,
				strerror(-r));
	unpack_warn(&dir->unpacker, UNPACK_NO_OWNERS, text);
}

/* *ret_is_ours: the owner stays whoever runs this: no bits that lend somebody's rights then. */
static int set_owner(struct unpack_dir *dir, const struct made *made, const struct node *node,
		     bool *ret_is_ours, struct err *err)
{
	int r = change_owner(made, node);
	*ret_is_ours = r < 0;
	if (r == 0)
		return 0;
	if (!is_of_place(r) || (dir->is_root && is_no_owner(node)))
		return err_errno(err, r, "cannot set the owner %u:%u", node->uid, node->gid);
	warn_of_owner(dir, node, r);
	return 0;
}

static int set_xattr(struct unpack_dir *dir, const struct made *made, const struct pxar_xattr *xattr,
		     struct err *err)
{
	char path[64 + PXAR_NAME_MAX];
	path_of(made, path, sizeof path);
	int r = made->fd >= 0 ? fsetxattr(made->fd, xattr->name, xattr->value, xattr->len, 0)
			      : lsetxattr(path, xattr->name, xattr->value, xattr->len, 0);
	if (r == 0)
		return 0;
	r = -errno;
	bool has_no_place = r == -EPERM || r == -EOPNOTSUPP || r == -EACCES || r == -ENOSPC || r == -E2BIG || r == -ERANGE;
	if (!has_no_place)
		return err_errno(err, r, "cannot set the attribute %s", xattr->name);
	char text[512];
	(void) snprintf(text, sizeof text, "some attributes are not restored, as %s: %s", xattr->name, strerror(-r));
	unpack_warn(&dir->unpacker, UNPACK_NO_XATTRS, text);
	return 0;
}

/* From the end of the alphabet: "user." comes before "system.", whose lists may take the right to write. */
static int set_xattrs(struct unpack_dir *dir, const struct made *made, const struct unpacked *what,
		      struct err *err)
{
	int r = 0;
	for (size_t i = what->xattrs->n; r == 0 && i > 0; i--)
		r = set_xattr(dir, made, &what->xattrs->items[i - 1], err);
	return r;
}

/* Of what has only a name: it was made with its mode, but a list that it inherited may have taken some away. */
static int change_mode(const struct unpack_dir *dir, const struct made *made, mode_t mode)
{
	char path[64];
	if (!dir->inherits)
		return 0;
	CLEANUP(closep) int fd = open_in(made->dir_fd, made->name, O_PATH, 0);
	if (fd < 0)
		return fd;
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return chmod(path, mode) < 0 ? -errno : 0;
}

static int set_mode(const struct unpack_dir *dir, const struct made *made, const struct node *node, bool is_ours,
		    struct err *err)
{
	mode_t mode = node->mode & (is_ours && !S_ISDIR(node->mode) ? 01777 : 07777);
	if (S_ISLNK(node->mode))
		return 0;
	int r = made->fd < 0 ? change_mode(dir, made, mode) : fchmod(made->fd, mode) < 0 ? -errno : 0;
	return r < 0 ? err_errno(err, r, "cannot set the mode") : 0;
}

static int set_time(const struct made *made, const struct node *node, struct err *err)
{
	const struct timespec time = { .tv_sec = node->mtime, .tv_nsec = node->mtime_ns };
	const struct timespec times[2] = { time, time };
	int r = made->fd >= 0 ? futimens(made->fd, times)
			      : utimensat(made->dir_fd, made->name, times, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? err_errno(err, -errno, "cannot set the time") : 0;
}

static void drop_list(const struct made *made, const char *name)
{
	char path[64 + PXAR_NAME_MAX];
	path_of(made, path, sizeof path);
	(void) (made->fd >= 0 ? fremovexattr(made->fd, name) : lremovexattr(path, name));
}

static void drop_inherited(const struct unpack_dir *dir, const struct made *made)
{
	if (!dir->inherits)
		return;
	drop_list(made, XATTR_ACL_ACCESS);
	drop_list(made, XATTR_ACL_DEFAULT);
}

/*
 * In this order: a new owner takes capabilities and some bits away, a mode without the right to write keeps its own
 * owner from setting attributes, and all of it changes the time.  A list has the bits of the mode in it already.
 */
static int finish(struct unpack_dir *dir, const struct made *made, const struct unpacked *what,
		  struct err *err)
{
	bool is_ours = false;
	int r = set_owner(dir, made, what->node, &is_ours, err);
	if (r == 0)
		r = set_xattrs(dir, made, what, err);
	if (r == 0)
		r = set_mode(dir, made, what->node, is_ours, err);
	return r < 0 ? r : set_time(made, what->node, err);
}

/* -- data ------------------------------------------------------------------------------------ */

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t off, struct err *err)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, -errno, "cannot write");
		data += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* @off is a multiple of UNPACK_HOLE. */
static int write_sparse(int fd, const uint8_t *data, size_t len, uint64_t off, struct err *err)
{
	int r = 0;
	for (size_t at = 0, end; r == 0 && at < len; at = end) {
		bool is_hole;
		end = unpack_part_end(data, len, at, &is_hole);
		if (!is_hole)
			r = write_at(fd, data + at, end - at, off + at, err);
	}
	return r;
}

static int copy_data(struct unpack_dir *dir, const struct node *node, int fd, struct err *err)
{
	struct unpacker *u = &dir->unpacker;
	uint64_t off = 0, known = 0; /* no extent of zeros begins before it */
	while (off < node->size) {
		if (off >= known && tree_next_extent(u->tree, node, off, &known) && known - off >= UNPACK_HOLE) {
			uint64_t end = known == node->size ? known : known / UNPACK_HOLE * UNPACK_HOLE;
			unpack_moved(u, node, off, end - off);
			off = end;
			continue;
		}
		size_t len = (size_t)min_u64(UNPACK_PIECE, node->size - off);
		int r = tree_pread(u->tree, node, dir->piece, len, off, unpack_deadline(u), err);
		if (r == 0)
			r = write_sparse(fd, dir->piece, len, off, err);
		if (r < 0)
			return r;
		unpack_moved(u, node, off, len);
		off += len;
	}
	if (ftruncate(fd, (off_t)node->size) < 0)
		return err_errno(err, -errno, "cannot make it %llu bytes long", (unsigned long long)node->size);
	return 0;
}

/*
 * A file that takes a while has no name before all of it is there, where the file system can do that: whoever is
 * interrupted leaves none with less in it.
 */
static int open_new(struct unpack_dir *dir, const struct unpacked *file, bool *ret_is_nameless)
{
	int fd = -EOPNOTSUPP;
	if (file->node->size > UNPACK_PIECE)
		fd = open_in(here(dir), ".", O_WRONLY | O_TMPFILE, 0600);
	*ret_is_nameless = fd >= 0;
	return fd >= 0 ? fd : open_in(here(dir), file->name, O_WRONLY | O_CREAT | O_EXCL, 0600);
}

static int give_name(const struct unpack_dir *dir, int fd, const char *name, struct err *err)
{
	char path[64];
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, here(dir), name, AT_SYMLINK_FOLLOW) < 0)
		return err_errno(err, -errno, "cannot make the file");
	return 0;
}

/* Its data and all that belongs to it.  *is_nameless: as it is then. */
static int fill_file(struct unpack_dir *dir, const struct unpacked *file, int *fd, bool *is_nameless, struct err *err)
{
	const struct made made = { .fd = *fd };
	drop_inherited(dir, &made);
	int r = copy_data(dir, file->node, *fd, err);
	if (r == 0)
		r = finish(dir, &made, file, err);
	if (r == 0 && *is_nameless)
		r = give_name(dir, *fd, file->name, err);
	if (r < 0)
		return r;
	*is_nameless = false;
	r = close_written(fd);
	return r < 0 ? err_errno(err, r, "cannot write") : 0;
}

static int make_file(struct unpack_dir *dir, const struct unpacked *file, struct err *err)
{
	struct unpacker *u = &dir->unpacker;
	bool is_nameless = false;
	int r = tree_check_payload(u->tree, file->node, unpack_deadline(u), err);
	if (r < 0)
		return r;
	CLEANUP(closep) int fd = open_new(dir, file, &is_nameless);
	if (fd < 0)
		return err_errno(err, fd, "cannot make the file");
	r = fill_file(dir, file, &fd, &is_nameless, err);
	if (r < 0 && !is_nameless)
		(void) unlinkat(here(dir), file->name, 0); /* better none than one with less in it */
	return r;
}

/* -- the others ------------------------------------------------------------------------------ */

static int make_special(struct unpack_dir *dir, const struct unpacked *file, struct err *err)
{
	const struct node *node = file->node;
	dev_t dev = S_ISCHR(node->mode) || S_ISBLK(node->mode) ? makedev(node->major, node->minor) : 0;
	if (mknodat(here(dir), file->name, node->mode & ~(mode_t)06000, dev) == 0)
		return 0;
	if (errno != EPERM)
		return err_errno(err, -errno, "cannot make it");
	unpack_warn(&dir->unpacker, UNPACK_NO_DEVICES, "devices are left out: they take root");
	return 1;
}

static int make_link(struct unpack_dir *dir, const struct unpacked *file, struct err *err)
{
	if (symlinkat(file->target, here(dir), file->name) < 0)
		return err_errno(err, -errno, "cannot make the symbolic link");
	return 0;
}

static int on_file(struct unpacker *u, const struct unpacked *file, struct err *err)
{
	struct unpack_dir *dir = dir_of(u);
	const struct made made = { .fd = -1, .dir_fd = here(dir), .name = file->name };
	if (S_ISREG(file->node->mode))
		return make_file(dir, file, err);
	int r = S_ISLNK(file->node->mode) ? make_link(dir, file, err) : make_special(dir, file, err);
	if (r != 0)
		return r < 0 ? r : 0;
	drop_inherited(dir, &made);
	r = finish(dir, &made, file, err);
	if (r < 0)
		(void) unlinkat(here(dir), file->name, 0);
	return r;
}

/* From the top down to the target, and from its descriptor to the new name. */
static int on_link(struct unpacker *u, const struct unpacked *file, const char *target, struct err *err)
{
	struct unpack_dir *dir = dir_of(u);
	struct stat st;
	char path[64];
	CLEANUP(closep) int fd = open_below(dir->fds[0], target);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 1;
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, here(dir), file->name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	return errno == EEXIST ? err_errno(err, -errno, "cannot make the hard link") : 1;
}

/* -- directories ----------------------------------------------------------------------------- */

static int push(struct unpack_dir *dir, int *fd, struct err *err)
{
	int r = array_grow(&dir->fds, dir->n, &dir->cap, sizeof *dir->fds, err);
	if (r == 0)
		dir->fds[dir->n++] = steal_fd(fd);
	return r;
}

/* The root is the directory that was given; one that is there already was made for another path. */
static int on_enter(struct unpacker *u, const struct unpacked *what, struct err *err)
{
	struct unpack_dir *dir = dir_of(u);
	CLEANUP(closep) int fd = -EBADF;
	if (!*what->path) {
		fd = fcntl(dir->top_fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? err_errno(err, -errno, "cannot enter the directory") : push(dir, &fd, err);
	}
	if (mkdirat(here(dir), what->name, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "cannot make the directory");
	fd = open_in(here(dir), what->name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return err_errno(err, fd, "cannot enter the directory");
	drop_inherited(dir, &(struct made){ .fd = fd });
	return push(dir, &fd, err);
}

static int on_leave(struct unpacker *u, const struct unpacked *what, struct err *err)
{
	struct unpack_dir *dir = dir_of(u);
	CLEANUP(closep) int fd = dir->fds[--dir->n];
	const struct made made = { .fd = fd };
	/* The directory that was given is the root only when all of the root is wanted. */
	return what->is_on_way && !*what->path ? 0 : finish(dir, &made, what, err);
}

static const struct unpacker_ops dir_ops = {
	.enter = on_enter,
	.leave = on_leave,
	.file = on_file,
	.link = on_link,
};

/* One descriptor for each directory on the way down. */
static void allow_many_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
}

int unpack_dir_open(int dir_fd, struct unpack_dir **ret, struct err *err)
{
	struct unpack_dir *dir = calloc(1, sizeof *dir);
	if (!dir)
		return err_set(err, -ENOMEM, "no memory");
	dir->unpacker.ops = &dir_ops;
	dir->top_fd = dir_fd;
	dir->is_root = geteuid() == 0;
	dir->inherits = fgetxattr(dir_fd, XATTR_ACL_DEFAULT, NULL, 0) > 0;
	dir->piece = malloc(UNPACK_PIECE);
	if (!dir->piece) {
		unpack_dir_close(dir);
		return err_set(err, -ENOMEM, "no memory for data");
	}
	allow_many_files();
	*ret = dir;
	return 0;
}

void unpack_dir_close(struct unpack_dir *dir)
{
	if (!dir)
		return;
	while (dir->n)
		closep(&dir->fds[--dir->n]);
	free(dir->fds);
	free(dir->piece);
	free(dir);
}

struct unpacker *unpack_dir_unpacker(struct unpack_dir *dir)
{
	return &dir->unpacker;
}
