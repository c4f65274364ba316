/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/tree.h"

/*
 * Takes files out of an archive: walks over what was asked for and hands one after the other to whoever
 * writes them down.  What fails with one of them is told, and the others come all the same.
 */
struct unpacked {
	const char *path; /* from the root of the archive; "" = the root */
	const char *name; /* the last part of it */
	const struct node *node;
	const struct pxar_xattrs *xattrs;
	const char *target; /* symbolic links */
	bool is_on_way;	    /* a directory that something asked for is in */
};

struct unpacker;

/*
 * 0, or an error: of this one when unpack_is_of_one() says so, else of all.  A directory that could not be
 * entered is left out with what is in it.
 */
struct unpacker_ops {
	int (*enter)(struct unpacker *u, const struct unpacked *dir, struct err *err);
	int (*leave)(struct unpacker *u, const struct unpacked *dir, struct err *err);
	int (*file)(struct unpacker *u, const struct unpacked *file, struct err *err);
	/* @target was handed to file() before.  1 = cannot be, take it as a file of its own */
	int (*link)(struct unpacker *u, const struct unpacked *file, const char *target, struct err *err);
};

/* How far it is. */
struct unpack_progress {
	uint64_t n_files; /* that came, of any kind but directories */
	uint64_t n_bytes; /* of their data, holes among them */
	/*
	 * Bytes of the archive that were gone through, and that are to be.  0 = not known: some of the data of a
	 * split archive, which is where no directory tells of
	 */
	uint64_t done, total;
};

struct unpacker {
	const struct unpacker_ops *ops;
	struct tree *tree;
	int64_t timeout_ms; /* of a read; 0 = for ever */
	void (*tell)(void *user, const char *path, const struct err *why); /* what failed with one */
	void (*warn)(void *user, const char *text); /* what cannot be restored; once of each kind */
	void (*moved)(void *user, const struct unpack_progress *progress); /* often; NULL = nobody wants it */
	void *user;
	unsigned warned; /* which of them were */
	struct unpack_progress progress;
	int failed; /* code of the first failure that was told; 0 = none was */
	uint64_t begin, before; /* of the path at hand: where it is in the archive; what came before it */
};

/* Kinds of warnings: bits of @warned. */
enum unpack_warning { UNPACK_NO_OWNERS, UNPACK_NO_XATTRS, UNPACK_NO_DEVICES, UNPACK_NO_SOCKETS };
void unpack_warn(struct unpacker *u, enum unpack_warning which, const char *text);

struct deadline unpack_deadline(const struct unpacker *u);

/* Data goes through the hands of whoever writes it down in pieces; zeros at such a multiple need not be written. */
#define UNPACK_PIECE ((size_t)1 << 20) /* bytes, a multiple of UNPACK_HOLE */
#define UNPACK_HOLE 4096

/* Where what begins at @at ends, a hole or none.  @at: a multiple of UNPACK_HOLE, before @len */
size_t unpack_part_end(const uint8_t *piece, size_t len, size_t at, bool *ret_is_hole);

/* Data of a file was written down, or passed over as zeros: from @off on, so much. */
void unpack_moved(struct unpacker *u, const struct node *file, uint64_t off, uint64_t len);

/* Does this failure leave the others as they are? */
bool unpack_is_of_one(int r);

/**
 * unpack - all of these paths, with what is below them
 *
 * @paths:  from the root; none = everything.  What is below another one comes once
 *
 * Returns: 0 = all of it came; 1 = the rest came, what failed was told, the first with the code @failed
 * Errors:  -ENOENT, -ENOTDIR, -ELOOP  a path leads nowhere: nothing was unpacked.  Of others it broke off
 */
int unpack(struct unpacker *u, const char *const *paths, size_t n_paths, struct err *err) MUST_CHECK;

/* Into a directory, which is empty; lent.  Leaves everything else as it is, whatever names there are. */
struct unpack_dir;
int unpack_dir_open(int dir_fd, struct unpack_dir **ret, struct err *err) MUST_CHECK;
void unpack_dir_close(struct unpack_dir *dir);
struct unpacker *unpack_dir_unpacker(struct unpack_dir *dir);

/* As a tar archive, to a descriptor; lent. */
struct unpack_tar;
int unpack_tar_open(int fd, struct unpack_tar **ret, struct err *err) MUST_CHECK;
/* Writes its end; not where unpack() broke off: so one that is not whole is known by that. */
int unpack_tar_finish(struct unpack_tar *tar, struct err *err) MUST_CHECK;
void unpack_tar_close(struct unpack_tar *tar);
struct unpacker *unpack_tar_unpacker(struct unpack_tar *tar);
