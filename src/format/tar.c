/* SPDX-License-Identifier: Apache-2.0 */
#include "format/tar.h"

#include <inttypes.h>
#include <linux/posix_acl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/bytes.h"

/*
 * offset  0 name 100 · 100 mode 8 · 108 uid 8 · 116 gid 8 · 124 size 12 · 136 mtime 12 · 148 checksum 8 ·
 * 156 type 1 · 157 link 100 · 257 "ustar" NUL "00" · 265 user 32 · 297 group 32 · 329 major 8 · 337 minor 8 ·
 * 345 prefix 155.  Numbers are octal text; all of it bytes, so that no alignment is in the way.
 */
enum { NAME = 0, MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, CHECKSUM = 148, TYPE = 156,
       LINK = 157, MAGIC = 257, MAJOR = 329, MINOR = 337 };
enum { NAME_LEN = 100, NUMBER_LEN = 8, LARGE_LEN = 12 };

#define NUMBER_MAX 07777777u		/* what 7 octal digits hold */
#define LARGE_MAX UINT64_C(077777777777) /* 11 */

/* -- extended headers ------------------------------------------------------------------------ */

static size_t digits_of(size_t n)
{
	size_t digits = 1;
	while (n >= 10) {
		n /= 10;
		digits++;
	}
	return digits;
}

/* "LENGTH KEY=VALUE\n", where the length counts itself. */
static int add_record(struct buf *records, const char *key, const void *value, size_t len, struct err *err)
{
	size_t rest = 1 + strlen(key) + 1 + len + 1, total = rest + digits_of(rest);
	if (digits_of(total) != digits_of(rest))
		total = rest + digits_of(total);
	int r = buf_printf(records, err, "%zu %s=", total, key);
	if (r == 0)
		r = buf_add(records, value, len, err);
	return r < 0 ? r : buf_puts(records, "\n", err);
}

static int add_text(struct buf *records, const char *key, const char *value, struct err *err)
{
	return add_record(records, key, value, strlen(value), err);
}

static int add_number(struct buf *records, const char *key, uint64_t value, struct err *err)
{
	char text[24];
	(void) snprintf(text, sizeof text, "%" PRIu64, value);
	return add_text(records, key, text, err);
}

/* Seconds with a fraction; before the epoch both count backwards. */
static int add_time(struct buf *records, const struct tar_entry *entry, struct err *err)
{
	char text[40];
	bool is_before = entry->mtime < 0 && entry->mtime_ns;
	int64_t seconds = is_before ? entry->mtime + 1 : entry->mtime;
	uint32_t ns = is_before ? 1000000000 - entry->mtime_ns : entry->mtime_ns;
	if (ns)
		(void) snprintf(text, sizeof text, "%s%" PRId64 ".%09" PRIu32, is_before && seconds == 0 ? "-" : "",
				seconds, ns);
	else
		(void) snprintf(text, sizeof text, "%" PRId64, seconds);
	return add_text(records, "mtime", text, err);
}

static bool is_plain(const char *text)
{
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] >= 0x80)
			return false;
	return len <= NAME_LEN;
}

static int add_names(struct buf *records, const struct tar_entry *entry, const char *path, struct err *err)
{
	int r = 0;
	if (entry->is_sparse)
		r = add_text(records, "GNU.sparse.name", path, err);
	else if (!is_plain(path))
		r = add_text(records, "path", path, err);
	if (r == 0 && entry->link && !is_plain(entry->link))
		r = add_text(records, "linkpath", entry->link, err);
	return r;
}

static int add_numbers(struct buf *records, const struct tar_entry *entry, uint64_t stored, struct err *err)
{
	int r = 0;
	if (entry->uid > NUMBER_MAX)
		r = add_number(records, "uid", entry->uid, err);
	if (r == 0 && entry->gid > NUMBER_MAX)
		r = add_number(records, "gid", entry->gid, err);
	if (r == 0 && stored > LARGE_MAX)
		r = add_number(records, "size", stored, err);
	if (r == 0 && (entry->mtime < 0 || (uint64_t)entry->mtime > LARGE_MAX || entry->mtime_ns))
		r = add_time(records, entry, err);
	if (r == 0 && entry->major > NUMBER_MAX)
		r = add_number(records, "SCHILY.devmajor", entry->major, err);
	if (r == 0 && entry->minor > NUMBER_MAX)
		r = add_number(records, "SCHILY.devminor", entry->minor, err);
	return r;
}

static int add_sparse(struct buf *records, const struct tar_entry *entry, struct err *err)
{
	int r = add_text(records, "GNU.sparse.major", "1", err);
	if (r == 0)
		r = add_text(records, "GNU.sparse.minor", "0", err);
	return r < 0 ? r : add_number(records, "GNU.sparse.realsize", entry->size, err);
}

/* '=' ends a key: it is written as GNU tar writes it. */
static int add_xattr(struct buf *records, const struct pxar_xattr *xattr, struct err *err)
{
	CLEANUP(buf_deinit) struct buf key = BUF_EMPTY;
	int r = buf_puts(&key, "SCHILY.xattr.", err);
	for (const char *c = xattr->name; r == 0 && *c; c++)
		r = *c == '%' || *c == '=' ? buf_printf(&key, err, "%%%02X", (unsigned char)*c) : buf_add(&key, c, 1, err);
	return r < 0 ? r : add_record(records, key.data, xattr->value, xattr->len, err);
}

static int add_acl(struct buf *records, const char *key, const struct pxar_xattr *xattr, struct err *err)
{
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	int r = tar_acl_format(xattr->value, xattr->len, &text, err);
	return r < 0 ? r : add_record(records, key, text.data, text.len, err);
}

static int add_xattrs(struct buf *records, const struct pxar_xattrs *xattrs, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && xattrs && i < xattrs->n; i++) {
		const struct pxar_xattr *xattr = &xattrs->items[i];
		if (strcmp(xattr->name, XATTR_ACL_ACCESS) == 0)
			r = add_acl(records, "SCHILY.acl.access", xattr, err);
		else if (strcmp(xattr->name, XATTR_ACL_DEFAULT) == 0)
			r = add_acl(records, "SCHILY.acl.default", xattr, err);
		else
			r = add_xattr(records, xattr, err);
	}
	return r;
}

static const char *tag_name(uint32_t tag)
{
	switch (tag) {
	case ACL_USER_OBJ:
	case ACL_USER:
		return "user";
	case ACL_GROUP_OBJ:
	case ACL_GROUP:
		return "group";
	case ACL_MASK:
		return "mask";
	case ACL_OTHER:
		return "other";
	default:
		return NULL;
	}
}

int tar_acl_format(const uint8_t *value, size_t len, struct buf *ret, struct err *err)
{
	int r = buf_puts(ret, "", err);
	if (len < 4 || len % 8 != 4)
		return err_set(err, -EBADMSG, "an access control list of %zu bytes", len);
	for (size_t at = 4; r == 0 && at < len; at += 8) {
		uint32_t word = load_le32(value + at), tag = word & 0xffff, may = word >> 16;
		char id[16] = "";
		if (!tag_name(tag))
			return err_set(err, -EBADMSG, "an access control list for nobody");
		if (tag == ACL_USER || tag == ACL_GROUP)
			(void) snprintf(id, sizeof id, "%" PRIu32, load_le32(value + at + 4));
		r = buf_printf(ret, err, "%s%s:%s:%c%c%c", at > 4 ? "," : "", tag_name(tag), id, may & 4 ? 'r' : '-',
			       may & 2 ? 'w' : '-', may & 1 ? 'x' : '-');
	}
	return r;
}

/* -- the old header -------------------------------------------------------------------------- */

static void put_text(uint8_t *header, size_t at, size_t len, const char *text)
{
	memcpy(header + at, text, min_size(strlen(text), len));
}

/* What does not fit is in the extended header. */
static void put_number(uint8_t *header, size_t at, size_t len, uint64_t value)
{
	char text[LARGE_LEN + 1];
	uint64_t most = len == NUMBER_LEN ? NUMBER_MAX : LARGE_MAX;
	(void) snprintf(text, sizeof text, "%0*" PRIo64, (int)len - 1, value > most ? 0 : value);
	memcpy(header + at, text, len - 1);
}

static void put_checksum(uint8_t *header)
{
	unsigned sum = 0;
	memset(header + CHECKSUM, ' ', NUMBER_LEN);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += header[i];
	char text[NUMBER_LEN];
	(void) snprintf(text, sizeof text, "%06o", sum);
	memcpy(header + CHECKSUM, text, 7); /* digits, NUL, and the blank that is there */
}

static char type_of(const struct tar_entry *entry)
{
	switch (entry->mode & S_IFMT) {
	case S_IFLNK:
		return '2';
	case S_IFCHR:
		return '3';
	case S_IFBLK:
		return '4';
	case S_IFDIR:
		return '5';
	case S_IFIFO:
		return '6';
	default:
		return entry->link ? '1' : '0';
	}
}

static void begin_header(uint8_t header[static TAR_BLOCK], const char *name, char type, uint64_t size)
{
	memset(header, 0, TAR_BLOCK);
	put_text(header, NAME, NAME_LEN, name);
	put_number(header, SIZE, LARGE_LEN, size);
	header[TYPE] = (uint8_t)type;
	memcpy(header + MAGIC, "ustar\00000", 8);
}

static int add_header(const struct tar_entry *entry, const char *name, uint64_t stored, struct buf *ret,
		      struct err *err)
{
	uint8_t header[TAR_BLOCK];
	begin_header(header, name, type_of(entry), stored);
	put_number(header, MODE, NUMBER_LEN, entry->mode & 07777);
	put_number(header, UID, NUMBER_LEN, entry->uid);
	put_number(header, GID, NUMBER_LEN, entry->gid);
	put_number(header, MTIME, LARGE_LEN, entry->mtime < 0 ? 0 : (uint64_t)entry->mtime);
	put_number(header, MAJOR, NUMBER_LEN, entry->major);
	put_number(header, MINOR, NUMBER_LEN, entry->minor);
	if (entry->link)
		put_text(header, LINK, NAME_LEN, entry->link);
	put_checksum(header);
	return buf_add(ret, header, sizeof header, err);
}

static int pad(struct buf *to, struct err *err)
{
	static const uint8_t zeros[TAR_BLOCK];
	return buf_add(to, zeros, (TAR_BLOCK - to->len % TAR_BLOCK) % TAR_BLOCK, err);
}

static int add_extended(struct buf *records, struct buf *ret, struct err *err)
{
	uint8_t header[TAR_BLOCK];
	begin_header(header, "././@PaxHeader", 'x', records->len);
	put_number(header, MODE, NUMBER_LEN, 0644);
	put_number(header, UID, NUMBER_LEN, 0);
	put_number(header, GID, NUMBER_LEN, 0);
	put_number(header, MTIME, LARGE_LEN, 0);
	put_checksum(header);
	int r = buf_add(ret, header, sizeof header, err);
	if (r == 0)
		r = pad(records, err);
	return r < 0 ? r : buf_add(ret, records->data, records->len, err);
}

/* The map of a sparse file comes before its data: how many extents, then where each begins and its length. */
static int format_map(const struct tar_entry *entry, struct buf *ret, struct err *err)
{
	int r = buf_printf(ret, err, "%zu\n", entry->n_extents);
	for (size_t i = 0; r == 0 && i < entry->n_extents; i++)
		r = buf_printf(ret, err, "%" PRIu64 "\n%" PRIu64 "\n", entry->extents[i].off, entry->extents[i].len);
	return r < 0 ? r : pad(ret, err);
}

static uint64_t data_of(const struct tar_entry *entry)
{
	if (!S_ISREG(entry->mode) || entry->link)
		return 0;
	if (!entry->is_sparse)
		return entry->size;
	uint64_t data = 0;
	for (size_t i = 0; i < entry->n_extents; i++)
		data += entry->extents[i].len;
	return data;
}

/* A reader that knows nothing of sparse files shall not take the map for the file. */
static int format_name(const struct tar_entry *entry, const char *path, struct buf *ret, struct err *err)
{
	const char *slash = strrchr(path, '/');
	if (!entry->is_sparse)
		return buf_puts(ret, path, err);
	return buf_printf(ret, err, "%.*sGNUSparseFile.0/%s", slash ? (int)(slash + 1 - path) : 0, path,
			  slash ? slash + 1 : path);
}

int tar_entry_format(const struct tar_entry *entry, struct buf *ret, uint64_t *ret_stored, struct err *err)
{
	CLEANUP(buf_deinit) struct buf records = BUF_EMPTY, path = BUF_EMPTY, name = BUF_EMPTY, map = BUF_EMPTY;
	int r = buf_printf(&path, err, "%s%s", *entry->path ? entry->path : ".", S_ISDIR(entry->mode) ? "/" : "");
	if (r == 0 && entry->is_sparse)
		r = format_map(entry, &map, err);
	if (r == 0)
		r = format_name(entry, path.data, &name, err);
	uint64_t data = data_of(entry), stored = map.len + data;
	if (r == 0)
		r = add_names(&records, entry, path.data, err);
	if (r == 0)
		r = add_numbers(&records, entry, stored, err);
	if (r == 0 && entry->is_sparse)
		r = add_sparse(&records, entry, err);
	if (r == 0)
		r = add_xattrs(&records, entry->xattrs, err);
	if (r == 0 && records.len)
		r = add_extended(&records, ret, err);
	if (r == 0)
		r = add_header(entry, name.data, stored, ret, err);
	if (r == 0)
		r = buf_add(ret, map.data, map.len, err);
	if (r == 0)
		*ret_stored = data;
	return r;
}
