/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/listing.h"
#include "export/fuse_file.h"
#include "export/fuse_mount.h"
#include "export/fuse_tree_internal.h"
#include "util/bytes.h"
#include "util/lock.h"

/*
 * Directories.  A request takes what the last one left, works on it alone, and leaves it for the next; whoever
 * finds nothing, or nothing for its offset, begins anew.  So no lock is held while chunks are waited for, and what
 * is kept between two requests is bounded, however many directories are open.
 *
 * An offset is the cursor of the member before.  A member that is damaged is shown, because programs copy nothing
 * at all of a directory that ends with an error: by its name, or by one that is made up, and whoever looks it up is
 * told EIO.  Any other error is one of the request, which may be made again.
 */
#define LISTING_ROOM_MAX ((size_t)32 << 20) /* bytes of listings that wait for their next request */
#define UNKNOWN_INO	 0xffffffff	    /* what libfuse says; 0 would hide the name */

enum { OFF_DOT = 1, OFF_DOTDOT = 2 }; /* cursors of members begin at 3 */

struct reader {
	struct listing *listing; /* NULL = not begun */
	uint64_t at;		 /* the offset behind which it goes on */
	struct member member;	 /* read, but not given yet */
	struct stat attr;	 /* of it */
	bool has_member;
};

struct open_dir {
	struct handle handle;
	struct node node; /* from when has_node is set; never changes then */

	/* guarded by files->lock */
	bool has_node;
	struct reader *reader; /* NULL = a request has it, or nobody */
	unsigned n_pins; /* the kernel's, and of requests: one that was interrupted goes on when the kernel is done */
};

/* -- what is not shown by its own name ------------------------------------------------------- */

#define NAMELESS "pbsmap-damaged-" /* and a number */

bool fuse_tree_is_nameless(const char *name)
{
	size_t len = strlen(NAMELESS);
	return strncmp(name, NAMELESS, len) == 0 && name[len] && !name[len + strspn(name + len, "0123456789")];
}

/* -- readers --------------------------------------------------------------------------------- */

static void reader_free(struct reader *reader)
{
	if (!reader)
		return;
	listing_close(reader->listing);
	free(reader);
}

static void reader_freep(struct reader **reader)
{
	reader_free(*reader);
}

static size_t room_of(const struct reader *reader)
{
	return sizeof *reader + (reader->listing ? listing_room(reader->listing) : 0);
}

static struct reader *take_left_locked(struct fuse_tree *files, struct open_dir *dir)
{
	if (dir->reader)
		files->listing_room -= room_of(dir->reader);
	return STEAL(dir->reader);
}

/* False = the request was answered, and the directory may be gone. */
static bool dir_pin(struct look *look, struct open_dir *dir)
{
	HOLD(&look->files->lock);
	if (look->stage == LOOK_ANSWERED)
		return false;
	dir->n_pins++;
	return true;
}

static void dir_unpin(struct fuse_tree *files, struct handle *handle)
{
	struct open_dir *dir = CONTAINER_OF(handle, struct open_dir, handle);
	CLEANUP(reader_freep) struct reader *left = NULL;
	{
		HOLD(&files->lock);
		if (--dir->n_pins > 0)
			return;
		left = take_left_locked(files, dir);
	}
	free(dir);
}

static void leave(struct fuse_tree *files, struct open_dir *dir, struct reader *take_reader)
{
	CLEANUP(reader_freep) struct reader *reader = take_reader;
	size_t room = room_of(reader);
	HOLD(&files->lock);
	if (dir->reader || room > LISTING_ROOM_MAX - files->listing_room)
		return;
	files->listing_room += room;
	dir->reader = STEAL(reader);
}

/* The one that was left, or a new one, to go on behind @off. */
static struct reader *reader_take(struct fuse_tree *files, struct open_dir *dir, uint64_t off)
{
	CLEANUP(reader_freep) struct reader *left = NULL;
	{
		HOLD(&files->lock);
		left = take_left_locked(files, dir);
	}
	if (left && left->at == off)
		return STEAL(left);
	struct reader *reader = calloc(1, sizeof *reader);
	if (reader)
		reader->at = off;
	return reader;
}

/* The member that listing_next() failed with, by a name whose look-up fails as well. */
static int show_damaged(const struct look *look, const struct open_dir *dir, struct reader *reader,
			struct deadline until, const struct err *why)
{
	struct member *member = &reader->member;
	struct node node;
	int r = -ENOENT;
	if (member->name[0] && strlen(member->name) <= NAME_LEN_MAX)
		r = tree_lookup(look->files->tree, &dir->node, member->name, until, &node, NULL);
	if (r == 0)
		r = fuse_tree_attr(look->files, &node, &reader->attr, NULL);
	if (r != 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	if (r != -EBADMSG)
		(void) snprintf(member->name, sizeof member->name, NAMELESS "%" PRIu64, member->cursor);
	member->node.ino = 0;
	reader->attr = (struct stat){ .st_ino = UNKNOWN_INO };
	look_tell_damage(look->files, look->ino, member->name, why);
	reader->has_member = true;
	return 1;
}

static int take_member(const struct look *look, struct reader *reader, struct err *err)
{
	const struct member *member = &reader->member;
	if (strlen(member->name) > NAME_LEN_MAX)
		return err_set(err, -EBADMSG, "a name of %zu bytes is longer than the kernel takes",
			       strlen(member->name));
	int r = fuse_tree_attr(look->files, &member->node, &reader->attr, err);
	reader->has_member = r == 0;
	return r < 0 ? r : 1;
}

/* 1 = a member is at hand, 0 = there is none any more. */
static int reader_next(const struct look *look, const struct open_dir *dir, struct reader *reader,
		       struct deadline until, struct err *err)
{
	if (reader->has_member)
		return 1;
	int r = listing_next(reader->listing, until, &reader->member, err);
	if (r == 1)
		r = take_member(look, reader, err);
	if (r == -EBADMSG && reader->member.cursor)
		return show_damaged(look, dir, reader, until, err);
	return r;
}

/* -- answers --------------------------------------------------------------------------------- */

struct filling {
	const struct look *look;
	char *data;
	size_t len;
};

/*
 * False = there is no room for it.  With number 0 the kernel takes name and kind alone: "." and ".." are not
 * looked up by that, and what is damaged is not known.
 */
static bool fill(struct filling *f, const char *name, uint64_t ino, const struct stat *attr, uint64_t off)
{
	const struct look *look = f->look;
	size_t left = look->size - f->len;
	const struct fuse_entry_param entry = {
		.ino = ino, .attr = *attr, .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER,
	};
	size_t need = look->is_plus ? fuse_add_direntry_plus(look->req, f->data + f->len, left, name, &entry, (off_t)off)
				    : fuse_add_direntry(look->req, f->data + f->len, left, name, attr, (off_t)off);
	if (need > left)
		return false;
	f->len += need;
	return true;
}

/* An archive knows nothing of them, and a directory not what it is in. */
static bool fill_dots(struct filling *f, const struct open_dir *dir, struct reader *reader)
{
	const struct stat dot = { .st_ino = dir->node.ino, .st_mode = S_IFDIR };
	const struct stat up = { .st_ino = dot.st_ino == TREE_ROOT ? TREE_ROOT : UNKNOWN_INO, .st_mode = S_IFDIR };
	if (reader->at < OFF_DOT && !fill(f, ".", 0, &dot, OFF_DOT))
		return false;
	reader->at = max_u64(reader->at, OFF_DOT);
	if (reader->at < OFF_DOTDOT && !fill(f, "..", 0, &up, OFF_DOTDOT))
		return false;
	reader->at = max_u64(reader->at, OFF_DOTDOT);
	return true;
}

static int fill_members(struct filling *f, const struct open_dir *dir, struct reader *reader, struct deadline until,
			struct err *err)
{
	const struct member *member = &reader->member;
	int r = 0;
	if (!reader->listing)
		r = listing_open(f->look->files->tree, &dir->node, reader->at, &reader->listing, err);
	if (r < 0)
		return r;
	while ((r = reader_next(f->look, dir, reader, until, err)) == 1) {
		if (!fill(f, member->name, member->node.ino, &reader->attr, member->cursor))
			return 0;
		reader->at = member->cursor;
		reader->has_member = false;
	}
	return r;
}

/* What came before an error is given; the error comes again, if it stays, when the kernel goes on from there. */
static int read_pinned(struct look *look, struct open_dir *dir, struct deadline until, struct err *err)
{
	CLEANUP(reader_freep) struct reader *reader = reader_take(look->files, dir, (uint64_t)look->off);
	CLEANUP(freep) char *data = malloc(look->size);
	struct filling f = { .look = look, .data = data };
	if (!reader || !data)
		return err_set(err, -ENOMEM, "no memory for a directory");
	int r = fill_dots(&f, dir, reader) ? fill_members(&f, dir, reader, until, err) : 0;
	if (r < 0 && f.len == 0)
		return r;
	if (r == 0)
		leave(look->files, dir, STEAL(reader));
	if (look_may_answer(look))
		(void) fuse_reply_buf(look->req, data, f.len);
	return 0;
}

/* At the first request: what the kernel has kept of a directory is given without one, and without its chunks. */
static int find_node(const struct look *look, struct open_dir *dir, struct deadline until, struct err *err)
{
	struct fuse_tree *files = look->files;
	{
		HOLD(&files->lock);
		if (dir->has_node)
			return 0;
	}
	struct node node;
	int r = tree_node(files->tree, look->ino, until, &node, err);
	if (r == 0 && !S_ISDIR(node.mode))
		r = err_set(err, -ENOTDIR, "not a directory");
	if (r < 0)
		return r;
	HOLD(&files->lock);
	if (!dir->has_node)
		dir->node = node;
	dir->has_node = true;
	return 0;
}

static int read_dir(struct look *look, struct deadline until, struct err *err)
{
	struct open_dir *dir = handle_of(&look->info);
	if (!dir_pin(look, dir))
		return 0;
	int r = find_node(look, dir, until, err);
	/* To go through a large table takes a while, even in memory. */
	if (r == 0 && deadline_is_past(until) && dir->node.n_members > LISTING_BATCH)
		r = err_set(err, -ETIMEDOUT, "a large directory");
	else if (r == 0)
		r = read_pinned(look, dir, until, err);
	dir_unpin(look->files, &dir->handle);
	return r;
}

/* -- requests -------------------------------------------------------------------------------- */

static int open_directory(struct look *look, struct deadline until, struct err *err)
{
	CLEANUP(freep) struct open_dir *dir = calloc(1, sizeof *dir);
	if (!dir)
		return err_set(err, -ENOMEM, "no memory for an open directory");
	fuse_tree_keep(look);
	look->info.cache_readdir = 1;
	dir->n_pins = 1;
	dir->handle.drop = dir_unpin;
	fuse_tree_reply_open(look, &STEAL(dir)->handle);
	return 0;
}

void fuse_tree_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = open_directory, .ino = ino,
				 .info = *info });
}

static void ask_read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, const struct fuse_file_info *info,
			 bool is_plus)
{
	look_ask(&(struct look){ .files = files_of(req), .req = req, .answer = read_dir, .ino = ino,
				 .size = min_size(size, FUSE_MAX_READ), .off = off, .info = *info,
				 .is_plus = is_plus });
}

void fuse_tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	ask_read_dir(req, ino, size, off, info, false);
}

void fuse_tree_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	ask_read_dir(req, ino, size, off, info, true);
}

void fuse_tree_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	fuse_tree_release(req, info);
}
