/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/err.h"

/* Is the item one of those between ENTRY and content? */
bool pxar_is_attr(uint64_t type);

/**
 * pxar_attr_check - one attribute by itself
 *
 * @in, @len:  the content, of a length that pxar_item_parse() let pass
 * @seen:      one bit for each of those that an entry has only once; 0 before the first
 */
int pxar_attr_check(uint64_t type, const uint8_t *in, size_t len, unsigned *seen, struct err *err) MUST_CHECK;

/* An extended attribute as Linux has it. */
struct pxar_xattr {
	const char *name;
	const uint8_t *value;
	size_t len;
};

/* All those of an entry, each name once, in bytewise order. */
struct pxar_xattrs {
	struct pxar_xattr *items;
	size_t n, cap;
	struct buf access, fallback; /* where the values of the two lists are, which had to be made */
};

#define PXAR_XATTRS_NONE ((struct pxar_xattrs){ 0 })
void pxar_xattrs_deinit(struct pxar_xattrs *xattrs);

#define XATTR_ACL_ACCESS   "system.posix_acl_access"
#define XATTR_ACL_DEFAULT  "system.posix_acl_default"
#define XATTR_CAPABILITIES "security.capability"

/**
 * pxar_xattrs_make - the attributes of an entry, access control lists and capabilities among them
 *
 * @in, @len:  the items, as pxar_entry_parse() found them; lent to @ret
 * @mode:      of the entry: it is part of the access control list
 *
 * Shape:   lists of Linux: le32 2, then le16 tag, le16 permissions, le32 id, in the order the kernel wants
 * Errors:  -EBADMSG, -ENOMEM
 * Source:  linux/posix_acl_xattr.h; acl(5)
 */
int pxar_xattrs_make(const uint8_t *in, size_t len, uint32_t mode, struct pxar_xattrs *ret,
		     struct err *err) MUST_CHECK;

/* NULL = it has none of that name. */
const struct pxar_xattr *pxar_xattrs_find(const struct pxar_xattrs *xattrs, const char *name);
