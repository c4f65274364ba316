/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/input.h"
#include "format/pxar.h"
#include "format/pxar_attrs.h"
#include "util/deadline.h"
#include "util/err.h"

/*
 * The files of an archive (.pxar).  Nothing is read in advance and nothing is remembered but a number of
 * links: every answer is looked up in the archive, through the cache of its stream.
 *
 * A file is known by its inode number, which is made from where it is in the archive and leads back there:
 *
 *   root       1
 *   directory  2 * end + 1   where it ends: there its table of members is
 *   others     2 * pos       where the ENTRY is; a hard link has that of what it links to
 *
 * All functions may be called from any thread at the same time; they wait for chunks, until their
 * deadline.  -EBADMSG is said of whatever does not fit, in an archive that is damaged or made up: of the
 * one entry, the others can still be read.
 */
struct tree;

enum { TREE_ROOT = 1 };

struct node {
	uint64_t ino;
	uint64_t pos;	/* of its ENTRY */
	uint32_t mode, uid, gid;
	uint32_t nlink; /* tree_count_links() */
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t size;	/* of the data; of a link's target; of a directory: of its table */
	uint32_t major, minor;
	uint32_t attrs_off, attrs_len; /* behind pos */
	uint32_t target_off;	       /* behind pos; symbolic links */
	uint64_t payload_off; /* of the data: in the payload where there is one, else in the archive */

	/* directories */
	uint64_t members_off, table_off, end; /* in the archive */
	uint32_t n_members;
};

/* What a hard link says of its target beside its place: a path, which may be anything. */
struct link_text {
	uint64_t pos; /* in the archive; 0 = it is no hard link */
	uint32_t len;
};

struct tree_options {
	struct input meta;
	struct input payload; /* of a split archive */
	bool is_split;
};

/* Reads the root.  -EBADMSG it is no archive. */
int tree_open(const struct tree_options *options, struct deadline until, struct tree **ret,
	      struct err *err) MUST_CHECK;
void tree_close(struct tree *tree);
static inline void tree_closep(struct tree **tree)
{
	tree_close(*tree);
}

const struct node *tree_root(const struct tree *tree);

/* The file with this number, which some other function here gave. */
int tree_node(struct tree *tree, uint64_t ino, struct deadline until, struct node *ret,
	      struct err *err) MUST_CHECK;

/* A member of a directory by its name; takes a few steps down the search tree of its table.  -ENOENT */
int tree_lookup(struct tree *tree, const struct node *dir, const char *name, struct deadline until,
		struct node *ret, struct err *err) MUST_CHECK;

enum tree_follow {
	TREE_NO_LINKS,	  /* a symbolic link on the way is an error */
	TREE_LINKS_ON_WAY, /* and the last one is what is wanted */
	TREE_ALL_LINKS,
};

/**
 * tree_resolve - what a path leads to
 *
 * @path:  from the root, with or without a '/' before it; symbolic links stay inside the archive
 *
 * Errors:  -ENOENT, -ENOTDIR, -ELOOP  the message says which part of the path; -EBADMSG
 */
int tree_resolve(struct tree *tree, const char *path, enum tree_follow follow, struct deadline until,
		 struct node *ret, struct err *err) MUST_CHECK;

/* The path in a hard link; given, free(). */
int tree_link_text(struct tree *tree, const struct link_text *link, struct deadline until, char **ret,
		   struct err *err) MUST_CHECK;

/* Where a symbolic link leads: @ret has room for it and a NUL. */
int tree_readlink(struct tree *tree, const struct node *node, struct deadline until,
		  char ret[static PXAR_NAME_MAX + 1], struct err *err) MUST_CHECK;

/* Extended attributes, access control lists and capabilities among them. */
struct tree_xattrs {
	struct pxar_xattrs list;
	uint8_t *raw; /* what the list points into */
};

#define TREE_XATTRS_NONE ((struct tree_xattrs){ .raw = NULL })
int tree_xattrs(struct tree *tree, const struct node *node, struct deadline until, struct tree_xattrs *ret,
		struct err *err) MUST_CHECK;
void tree_xattrs_deinit(struct tree_xattrs *xattrs);

/*
 * Is the data of a regular file where its entry says?  Once, before the first of it is read: in a split
 * archive that costs a chunk, which its reader will want.
 */
int tree_check_payload(struct tree *tree, const struct node *node, struct deadline until,
		       struct err *err) MUST_CHECK;

/* Where it is then: node->size bytes at node->payload_off. */
const struct input *tree_payload(const struct tree *tree);

/* How far it goes on like this from @off: true = zeros that need not be read. */
bool tree_next_extent(const struct tree *tree, const struct node *node, uint64_t off, uint64_t *ret_end);

/* Some of it, exactly @len bytes: they are inside the file. */
int tree_pread(struct tree *tree, const struct node *node, void *buf, size_t len, uint64_t off,
	       struct deadline until, struct err *err) MUST_CHECK;

/**
 * tree_count_links - make nlink of regular files exact
 *
 * An archive says of no file how many names it has.  Until this was called, nlink counts those that were
 * met.  Goes once through all entries: reads every chunk that has one, which in an archive that is not split
 * are nearly all.
 *
 * @timeout_ms:  of one read; 0 = for ever
 */
int tree_count_links(struct tree *tree, int64_t timeout_ms, struct err *err) MUST_CHECK;
