/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pxar_attrs.h"

#include <inttypes.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/pxar.h"
#include "util/array.h"
#include "util/bytes.h"

/*
 * An archive keeps an access control list in pieces: named users and groups, the owning group when there
 * is a list at all, and everything else in the mode, whose group bits are then the mask.  A default list
 * has a piece of its own for the four unnamed ones, any of which may be unset.
 */
#define UNSET UINT64_MAX
#define NAME_MAX_LEN 255 /* XATTR_NAME_MAX */

bool pxar_is_attr(uint64_t type)
{
	switch (type) {
	case PXAR_XATTR:
	case PXAR_ACL_USER:
	case PXAR_ACL_GROUP:
	case PXAR_ACL_GROUP_OBJ:
	case PXAR_ACL_DEFAULT:
	case PXAR_ACL_DEFAULT_USER:
	case PXAR_ACL_DEFAULT_GROUP:
	case PXAR_FCAPS:
	case PXAR_QUOTA_PROJID:
		return true;
	default:
		return false;
	}
}

/* Names that the archive keeps in items of their own. */
static bool is_kept_elsewhere(const char *name)
{
	return strcmp(name, XATTR_CAPABILITIES) == 0 || strcmp(name, XATTR_ACL_ACCESS) == 0 ||
	       strcmp(name, XATTR_ACL_DEFAULT) == 0;
}

static int check_xattr(const uint8_t *in, size_t len, struct err *err)
{
	size_t name_len = strnlen((const char *)in, len);
	if (name_len == 0 || name_len == len || name_len > NAME_MAX_LEN || len - name_len - 1 > 65536 ||
	    is_kept_elsewhere((const char *)in))
		return err_set(err, -EBADMSG, "an extended attribute that cannot be");
	return 0;
}

static bool is_permission(uint64_t v)
{
	return v <= 7;
}

static int check_named(const uint8_t *in, struct err *err)
{
	uint64_t id = load_le64(in), permission = load_le64(in + 8);
	if (id >= UINT32_MAX || !is_permission(permission))
		return err_set(err, -EBADMSG, "an access control list gives %" PRIu64 " to %" PRIu64, permission,
			       id);
	return 0;
}

static int check_default(const uint8_t *in, struct err *err)
{
	for (int i = 0; i < 4; i++) {
		uint64_t v = load_le64(in + 8 * i);
		if (v != UNSET && !is_permission(v))
			return err_set(err, -EBADMSG, "a default access control list gives %" PRIu64, v);
	}
	return 0;
}

/* The bit in @seen; 0 = there may be many. */
static unsigned bit_of(uint64_t type)
{
	switch (type) {
	case PXAR_ACL_GROUP_OBJ:
		return 1;
	case PXAR_ACL_DEFAULT:
		return 2;
	case PXAR_FCAPS:
		return 4;
	case PXAR_QUOTA_PROJID:
		return 8;
	default:
		return 0;
	}
}

int pxar_attr_check(uint64_t type, const uint8_t *in, size_t len, unsigned *seen, struct err *err)
{
	unsigned bit = bit_of(type);
	if (*seen & bit)
		return err_set(err, -EBADMSG, "an entry has one of its attributes twice");
	*seen |= bit;
	switch (type) {
	case PXAR_XATTR:
		return check_xattr(in, len, err);
	case PXAR_ACL_USER:
	case PXAR_ACL_GROUP:
	case PXAR_ACL_DEFAULT_USER:
	case PXAR_ACL_DEFAULT_GROUP:
		return check_named(in, err);
	case PXAR_ACL_GROUP_OBJ:
		return is_permission(load_le64(in)) ? 0 : err_set(err, -EBADMSG,
								  "an access control list cannot be");
	case PXAR_ACL_DEFAULT:
		return check_default(in, err);
	default:
		return 0;
	}
}

/* -- access control lists -------------------------------------------------------------------- */

struct ace {
	uint16_t tag, permission;
	uint32_t id;
};

/* A list on its way: entries in any order. */
struct acl {
	struct ace *items;
	size_t n, cap;
	bool has_names;
	uint64_t base[4]; /* user, group, other, mask; UNSET */
};

#define ACL_NEW ((struct acl){ .base = { UNSET, UNSET, UNSET, UNSET } })
enum { BASE_USER, BASE_GROUP, BASE_OTHER, BASE_MASK };

static void acl_deinit(struct acl *acl)
{
	free(acl->items);
}

static int acl_add(struct acl *acl, uint16_t tag, uint64_t permission, uint64_t id, struct err *err)
{
	int r = array_grow(&acl->items, acl->n, &acl->cap, sizeof *acl->items, err);
	if (r == 0)
		acl->items[acl->n++] = (struct ace){ tag, (uint16_t)permission, (uint32_t)id };
	return r;
}

static int acl_add_named(struct acl *acl, uint16_t tag, const uint8_t *in, struct err *err)
{
	acl->has_names = true;
	return acl_add(acl, tag, load_le64(in + 8), load_le64(in), err);
}

/* Tags ascend in the order the kernel wants. */
static int by_tag_and_id(const void *a, const void *b)
{
	const struct ace *x = a, *y = b;
	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* What names need and nobody wrote: as much as all of them together have. */
static uint64_t mask_of_names(const struct acl *acl)
{
	uint64_t mask = acl->base[BASE_GROUP];
	for (size_t i = 0; i < acl->n; i++)
		mask |= acl->items[i].permission;
	return mask;
}

static int acl_add_base(struct acl *acl, struct err *err)
{
	if (acl->has_names && acl->base[BASE_MASK] == UNSET)
		acl->base[BASE_MASK] = mask_of_names(acl);
	int r = acl_add(acl, ACL_USER_OBJ, acl->base[BASE_USER], (uint32_t)ACL_UNDEFINED_ID, err);
	if (r == 0)
		r = acl_add(acl, ACL_GROUP_OBJ, acl->base[BASE_GROUP], (uint32_t)ACL_UNDEFINED_ID, err);
	if (r == 0 && acl->base[BASE_MASK] != UNSET)
		r = acl_add(acl, ACL_MASK, acl->base[BASE_MASK], (uint32_t)ACL_UNDEFINED_ID, err);
	if (r == 0)
		r = acl_add(acl, ACL_OTHER, acl->base[BASE_OTHER], (uint32_t)ACL_UNDEFINED_ID, err);
	return r;
}

static int acl_write(struct acl *acl, struct buf *ret, struct err *err)
{
	uint8_t head[4], entry[8];
	int r = acl_add_base(acl, err);
	if (r < 0)
		return r;
	qsort(acl->items, acl->n, sizeof *acl->items, by_tag_and_id);
	store_le32(head, POSIX_ACL_XATTR_VERSION);
	r = buf_add(ret, head, sizeof head, err);
	for (size_t i = 0; r == 0 && i < acl->n; i++) {
		store_le32(entry, acl->items[i].tag | (uint32_t)acl->items[i].permission << 16);
		store_le32(entry + 4, acl->items[i].id);
		r = buf_add(ret, entry, sizeof entry, err);
	}
	return r;
}

/* An unset part of an unnamed one is what the mode has: without it Linux takes no list. */
static void fill_from_mode(struct acl *acl, uint32_t mode)
{
	static const unsigned shifts[] = { 6, 3, 0 };
	for (int i = BASE_USER; i <= BASE_OTHER; i++)
		if (acl->base[i] == UNSET)
			acl->base[i] = mode >> shifts[i] & 7;
}

/* -- all of an entry ------------------------------------------------------------------------- */

struct lists {
	struct acl access, fallback;
	bool has_access, has_fallback;
};

static int add_xattr(struct pxar_xattrs *xattrs, const char *name, const void *value, size_t len,
		     struct err *err)
{
	int r = array_grow(&xattrs->items, xattrs->n, &xattrs->cap, sizeof *xattrs->items, err);
	if (r == 0)
		xattrs->items[xattrs->n++] = (struct pxar_xattr){ name, value, len };
	return r;
}

static int take_xattr(struct pxar_xattrs *xattrs, const uint8_t *in, size_t len, struct err *err)
{
	const char *name = (const char *)in;
	size_t skip = strlen(name) + 1;
	return add_xattr(xattrs, name, in + skip, len - skip, err);
}

static void take_default(struct lists *lists, const uint8_t *in)
{
	lists->has_fallback = true;
	for (int i = 0; i < 4; i++)
		lists->fallback.base[i] = load_le64(in + 8 * i);
}

static int take_attr(struct pxar_xattrs *xattrs, struct lists *lists, const struct pxar_item *item,
		     const uint8_t *in, struct err *err)
{
	switch (item->type) {
	case PXAR_XATTR:
		return take_xattr(xattrs, in, (size_t)item->len, err);
	case PXAR_FCAPS:
		return add_xattr(xattrs, XATTR_CAPABILITIES, in, (size_t)item->len, err);
	case PXAR_ACL_USER:
	case PXAR_ACL_GROUP:
		lists->has_access = true;
		return acl_add_named(&lists->access, item->type == PXAR_ACL_USER ? ACL_USER : ACL_GROUP, in, err);
	case PXAR_ACL_GROUP_OBJ:
		lists->has_access = true;
		lists->access.base[BASE_GROUP] = load_le64(in);
		return 0;
	case PXAR_ACL_DEFAULT:
		take_default(lists, in);
		return 0;
	case PXAR_ACL_DEFAULT_USER:
	case PXAR_ACL_DEFAULT_GROUP:
		lists->has_fallback = true;
		return acl_add_named(&lists->fallback,
				     item->type == PXAR_ACL_DEFAULT_USER ? ACL_USER : ACL_GROUP, in, err);
	default:
		return 0;
	}
}

static int take_all(const uint8_t *in, size_t len, struct pxar_xattrs *xattrs, struct lists *lists,
		    struct err *err)
{
	unsigned seen = 0;
	for (size_t pos = 0; pos < len;) {
		struct pxar_item item;
		size_t want;
		int r = pxar_item_parse(in + pos, len - pos, len - pos, &item, &want, err);
		if (r == 1 && !pxar_is_attr(item.type))
			r = err_set(err, -EBADMSG, "no attribute between the attributes of an entry");
		if (r < 0)
			return r;
		const uint8_t *content = in + pos + PXAR_HEADER_SIZE;
		r = pxar_attr_check(item.type, content, (size_t)item.len, &seen, err);
		if (r == 0)
			r = take_attr(xattrs, lists, &item, content, err);
		if (r < 0)
			return r;
		pos += PXAR_HEADER_SIZE + (size_t)item.len;
	}
	return 0;
}

static int make_lists(struct pxar_xattrs *xattrs, struct lists *lists, uint32_t mode, struct err *err)
{
	int r = 0;
	if (lists->has_access) {
		lists->access.base[BASE_MASK] = mode >> 3 & 7;
		fill_from_mode(&lists->access, mode);
		r = acl_write(&lists->access, &xattrs->access, err);
		if (r == 0)
			r = add_xattr(xattrs, XATTR_ACL_ACCESS, xattrs->access.data, xattrs->access.len, err);
	}
	if (r == 0 && lists->has_fallback && S_ISDIR(mode)) { /* of anything else it says nothing */
		fill_from_mode(&lists->fallback, mode);
		r = acl_write(&lists->fallback, &xattrs->fallback, err);
		if (r == 0)
			r = add_xattr(xattrs, XATTR_ACL_DEFAULT, xattrs->fallback.data, xattrs->fallback.len,
				      err);
	}
	return r;
}

/* By name; of the same ones the first in the archive first. */
static int by_name(const void *a, const void *b)
{
	const struct pxar_xattr *x = a, *y = b;
	int r = strcmp(x->name, y->name);
	return r ? r : x->value < y->value ? -1 : x->value > y->value;
}

static void sort_and_drop_doubles(struct pxar_xattrs *xattrs)
{
	size_t n = 0;
	if (xattrs->n)
		qsort(xattrs->items, xattrs->n, sizeof *xattrs->items, by_name);
	for (size_t i = 0; i < xattrs->n; i++)
		if (n == 0 || strcmp(xattrs->items[n - 1].name, xattrs->items[i].name) != 0)
			xattrs->items[n++] = xattrs->items[i];
	xattrs->n = n;
}

int pxar_xattrs_make(const uint8_t *in, size_t len, uint32_t mode, struct pxar_xattrs *ret, struct err *err)
{
	struct pxar_xattrs xattrs = PXAR_XATTRS_NONE;
	struct lists lists = { .access = ACL_NEW, .fallback = ACL_NEW };
	int r = take_all(in, len, &xattrs, &lists, err);
	if (r == 0)
		r = make_lists(&xattrs, &lists, mode, err);
	acl_deinit(&lists.access);
	acl_deinit(&lists.fallback);
	if (r < 0) {
		pxar_xattrs_deinit(&xattrs);
		return r;
	}
	sort_and_drop_doubles(&xattrs);
	*ret = xattrs;
	return 0;
}

const struct pxar_xattr *pxar_xattrs_find(const struct pxar_xattrs *xattrs, const char *name)
{
	for (size_t i = 0; i < xattrs->n; i++)
		if (strcmp(xattrs->items[i].name, name) == 0)
			return &xattrs->items[i];
	return NULL;
}

void pxar_xattrs_deinit(struct pxar_xattrs *xattrs)
{
	free(xattrs->items);
	buf_deinit(&xattrs->access);
	buf_deinit(&xattrs->fallback);
	*xattrs = PXAR_XATTRS_NONE;
}
