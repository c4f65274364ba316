/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * File archives (.pxar): a flat run of items, each a header of 16 bytes (type, length with the header) and
 * its content.  All functions are pure; integers are little-endian and unaligned.
 *
 *   archive    = [FORMAT_VERSION [PRELUDE]] dir-body             (the root has no FILENAME)
 *   dir-body   = ENTRY attrs* (FILENAME member)* GOODBYE
 *   member     = dir-body | HARDLINK | ENTRY attrs* [PAYLOAD | PAYLOAD_REF | SYMLINK | DEVICE]
 *
 * A parser here gets what bytes there are and answers
 *   1           done
 *   0           takes more bytes: *ret_want of them, counted from the same place
 *   -EBADMSG    no archive
 * @limit is where the bytes end that there can be: nothing reaches beyond it.
 */
#define PXAR_FORMAT_VERSION UINT64_C(0x730f6c75df16a40d)
#define PXAR_PRELUDE	    UINT64_C(0xe309d79d9f7b771b)
#define PXAR_ENTRY	    UINT64_C(0xd5956474e588acef)
#define PXAR_ENTRY_V1	    UINT64_C(0x11da850a1c1cceff)
#define PXAR_FILENAME	    UINT64_C(0x16701121063917b3)
#define PXAR_SYMLINK	    UINT64_C(0x27f971e7dbf5dc5f)
#define PXAR_DEVICE	    UINT64_C(0x9fc9e906586d5ce9)
#define PXAR_XATTR	    UINT64_C(0x0dab0229b57dcd03)
#define PXAR_ACL_USER	    UINT64_C(0x2ce8540a457d55b8)
#define PXAR_ACL_GROUP	    UINT64_C(0x136e3eceb04c03ab)
#define PXAR_ACL_GROUP_OBJ  UINT64_C(0x10868031e9582876)
#define PXAR_ACL_DEFAULT    UINT64_C(0xbbbb13415a6896f5)
#define PXAR_ACL_DEFAULT_USER  UINT64_C(0xc89357b40532cd1f)
#define PXAR_ACL_DEFAULT_GROUP UINT64_C(0xf90a8a5816038ffe)
#define PXAR_FCAPS	    UINT64_C(0x2da9dd9db5f7fb67)
#define PXAR_QUOTA_PROJID   UINT64_C(0xe07540e82f7d1cbb)
#define PXAR_HARDLINK	    UINT64_C(0x51269c8422bd7275)
#define PXAR_PAYLOAD	    UINT64_C(0x28147a1b0b7c1a25)
#define PXAR_PAYLOAD_REF    UINT64_C(0x419d3d6bc4ba977e)
#define PXAR_GOODBYE	    UINT64_C(0x2fec4fa642d5731d)
#define PXAR_PAYLOAD_START  UINT64_C(0x834c68c2194a4ed2)

#define PXAR_HEADER_SIZE 16
#define PXAR_NAME_MAX	 4096		/* bytes of a name, of a link's target */
#define PXAR_ATTRS_MAX	 (1u << 20)	/* our bound: bytes of all attributes of one entry */
#define PXAR_PRELUDE_MAX (64u << 20)	/* our bound */

struct pxar_item {
	uint64_t type;
	uint64_t len; /* bytes of the content */
};

/* A header, if it is of a known type and its length fits both the type and @limit. */
int pxar_item_parse(const uint8_t *in, size_t len, uint64_t limit, struct pxar_item *ret, size_t *ret_want,
		    struct err *err) MUST_CHECK;

/* The 8 bytes of a FORMAT_VERSION: 0 or -EBADMSG. */
int pxar_version_check(const uint8_t in[static 8], struct err *err) MUST_CHECK;

enum pxar_content {
	PXAR_HAS_NONE,	  /* directory, FIFO, socket */
	PXAR_HAS_PAYLOAD, /* the data follows */
	PXAR_HAS_REF,	  /* the data is in the payload stream */
	PXAR_HAS_TARGET,  /* symbolic link */
	PXAR_HAS_DEVICE,
};

/* An ENTRY with its attributes and the header of what it contains.  Offsets count from the ENTRY. */
struct pxar_entry {
	uint32_t mode; /* st_mode: one of the seven types, and 07777 */
	uint32_t uid, gid;
	int64_t mtime; /* epoch seconds */
	uint32_t mtime_ns;
	uint32_t attrs_off, attrs_len; /* the items between; pxar_attrs.h */
	enum pxar_content content;
	uint32_t target_off, target_len; /* PXAR_HAS_TARGET */
	uint32_t major, minor;		 /* PXAR_HAS_DEVICE */
	uint64_t payload_off;  /* PXAR_HAS_PAYLOAD: where the data begins;
				  PXAR_HAS_REF: the PAYLOAD's header in the payload stream */
	uint64_t payload_size; /* bytes of a file */
	uint32_t len;	       /* where members, or the data, begin, or the entry ends */
};

/**
 * pxar_entry_parse - what is known of a file, directory or anything else
 *
 * Refuses an entry whose mode and content do not fit, and attributes that are none.
 */
int pxar_entry_parse(const uint8_t *in, size_t len, uint64_t limit, struct pxar_entry *ret, size_t *ret_want,
		     struct err *err) MUST_CHECK;

/* A FILENAME, and whether the name is one more for a file that has been there.  Offsets as above. */
struct pxar_member {
	const char *name; /* inside the input, NUL behind it; neither empty, "." or "..", no '/' in it */
	uint32_t name_len;
	uint32_t entry_off;	/* where its ENTRY begins */
	uint64_t link_distance; /* HARDLINK: the target's FILENAME is so far before this one; 0 = none */
	uint32_t len;	     /* of both items; of a FILENAME alone */
};

int pxar_member_parse(const uint8_t *in, size_t len, uint64_t limit, struct pxar_member *ret,
		      size_t *ret_want, struct err *err) MUST_CHECK;

/*
 * A directory ends with its GOODBYE: a table of its members, laid out as a search tree by the hash of
 * their names: the children of slot i are 2i + 1 and 2i + 2.
 */
#define PXAR_SLOT_SIZE 24
#define PXAR_MEMBERS_MAX (16u << 20) /* our bound */

struct pxar_table {
	uint64_t off;	  /* of the GOODBYE's header in the archive */
	uint64_t dir_off; /* where the directory's ENTRY is, by the table; 0 for the root, whatever comes first */
	uint32_t n;	  /* slots of members */
};

/**
 * pxar_table_parse - the last slot, which tells where the table begins
 *
 * @in:    the last PXAR_SLOT_SIZE bytes of the directory
 * @end:   where they end in the archive
 *
 * What stands at ret->off is still to be checked: pxar_table_check().
 */
int pxar_table_parse(const uint8_t in[static PXAR_SLOT_SIZE], uint64_t end, struct pxar_table *ret,
		     struct err *err) MUST_CHECK;

/* Is this the header of that table? */
int pxar_table_check(const uint8_t in[static PXAR_HEADER_SIZE], const struct pxar_table *table,
		     struct err *err) MUST_CHECK;

struct pxar_slot {
	uint64_t hash;
	uint64_t distance; /* from the member's FILENAME to the table */
	uint64_t size;	   /* of the member; not to be trusted for a regular file */
};

struct pxar_slot pxar_slot_parse(const uint8_t in[static PXAR_SLOT_SIZE]);

/* By what the table is sorted. */
uint64_t pxar_name_hash(const char *name, size_t len);

/* Does a payload stream have a file's data, of @size bytes, where the reference says?  @in: the header there. */
int pxar_payload_check(const uint8_t in[static PXAR_HEADER_SIZE], uint64_t size, struct err *err) MUST_CHECK;
