/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pxar.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "format/pxar_attrs.h"
#include "format/siphash.h"
#include "util/bytes.h"

/*
 * Every length is compared with its type's bounds before anything is done with it, so that what is asked
 * for (*ret_want) is bounded by PXAR_ATTRS_MAX and a few names.  Offsets inside an entry fit 32 bits.
 */
#define HASH_K0 UINT64_C(0x83ac3f1cfbb450db)
#define HASH_K1 UINT64_C(0xaa4f1b6879369fbd)
#define TAIL_MARK UINT64_C(0xef5eed5b753e1555)
#define MTIME_NS_END 1000000000u

static const struct rule {
	uint64_t type;
	const char *name;
	uint64_t min, max; /* bytes of content */
} rules[] = {
	{ PXAR_FORMAT_VERSION, "FORMAT_VERSION", 8, 8 },
	{ PXAR_PRELUDE, "PRELUDE", 0, PXAR_PRELUDE_MAX },
	{ PXAR_ENTRY, "ENTRY", 40, 40 },
	{ PXAR_ENTRY_V1, "ENTRY_V1", 32, 32 },
	{ PXAR_FILENAME, "FILENAME", 2, PXAR_NAME_MAX + 1 },
	{ PXAR_SYMLINK, "SYMLINK", 2, PXAR_NAME_MAX + 1 },
	{ PXAR_DEVICE, "DEVICE", 16, 16 },
	{ PXAR_XATTR, "XATTR", 2, 255 + 65536 },
	{ PXAR_ACL_USER, "ACL_USER", 16, 16 },
	{ PXAR_ACL_GROUP, "ACL_GROUP", 16, 16 },
	{ PXAR_ACL_GROUP_OBJ, "ACL_GROUP_OBJ", 8, 8 },
	{ PXAR_ACL_DEFAULT, "ACL_DEFAULT", 32, 32 },
	{ PXAR_ACL_DEFAULT_USER, "ACL_DEFAULT_USER", 16, 16 },
	{ PXAR_ACL_DEFAULT_GROUP, "ACL_DEFAULT_GROUP", 16, 16 },
	{ PXAR_FCAPS, "FCAPS", 1, 65536 },
	{ PXAR_QUOTA_PROJID, "QUOTA_PROJID", 8, 8 },
	{ PXAR_HARDLINK, "HARDLINK", 10, 65536 },
	{ PXAR_PAYLOAD, "PAYLOAD", 0, INT64_MAX - PXAR_HEADER_SIZE },
	{ PXAR_PAYLOAD_REF, "PAYLOAD_REF", 16, 16 },
	{ PXAR_GOODBYE, "GOODBYE", PXAR_SLOT_SIZE, (PXAR_MEMBERS_MAX + 1ull) * PXAR_SLOT_SIZE },
	{ PXAR_PAYLOAD_START, "PAYLOAD_START_MARKER", 0, 0 },
};

static const struct rule *rule_of(uint64_t type)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

static int check_item(const struct rule *rule, uint64_t full_size, uint64_t limit, struct err *err)
{
	if (full_size < PXAR_HEADER_SIZE || full_size - PXAR_HEADER_SIZE < rule->min ||
	    full_size - PXAR_HEADER_SIZE > rule->max)
		return err_set(err, -EBADMSG, "an item %s cannot be %" PRIu64 " bytes long", rule->name,
			       full_size);
	if (full_size > limit)
		return err_set(err, -EBADMSG, "an item %s of %" PRIu64 " bytes reaches beyond its place",
			       rule->name, full_size);
	return 1;
}

int pxar_item_parse(const uint8_t *in, size_t len, uint64_t limit, struct pxar_item *ret, size_t *ret_want,
		    struct err *err)
{
	if (limit < PXAR_HEADER_SIZE)
		return err_set(err, -EBADMSG, "the archive is cut off in the middle of an item");
	if (len < PXAR_HEADER_SIZE) {
		*ret_want = PXAR_HEADER_SIZE;
		return 0;
	}
	uint64_t type = load_le64(in), full_size = load_le64(in + 8);
	const struct rule *rule = rule_of(type);
	if (!rule)
		return err_set(err, -EBADMSG, "unknown item %016" PRIx64, type);
	int r = check_item(rule, full_size, limit, err);
	if (r == 1)
		*ret = (struct pxar_item){ .type = type, .len = full_size - PXAR_HEADER_SIZE };
	return r;
}

/* The same, and all of its content: *ret_in is where that begins. */
static int take_item(const uint8_t *in, size_t len, uint64_t limit, size_t pos, struct pxar_item *ret,
		     const uint8_t **ret_in, size_t *ret_want, struct err *err)
{
	size_t want = 0;
	int r = pxar_item_parse(in + pos, len - pos, limit - pos, ret, &want, err);
	if (r == 1 && ret->len > len - pos - PXAR_HEADER_SIZE) {
		want = PXAR_HEADER_SIZE + (size_t)ret->len;
		r = 0;
	}
	if (r == 0)
		*ret_want = pos + want;
	else if (r == 1)
		*ret_in = in + pos + PXAR_HEADER_SIZE;
	return r;
}

int pxar_version_check(const uint8_t in[static 8], struct err *err)
{
	uint64_t version = load_le64(in);
	return version == 1 || version == 2 ? 0
					    : err_set(err, -EBADMSG, "archive format %" PRIu64
						      " is not known, only 1 and 2 are", version);
}

/* -- entries --------------------------------------------------------------------------------- */

static bool is_file_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFBLK:
	case S_IFCHR:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

/*
 * offset  0 mode u64 · 8 flags u64 · 16 uid u32 · 20 gid u32, then
 *   ENTRY     24 seconds i64 · 32 nanoseconds u32 · 36 zeros
 *   ENTRY_V1  24 nanoseconds u64
 */
static int parse_stat(uint64_t type, const uint8_t *in, struct pxar_entry *ret, struct err *err)
{
	uint64_t mode = load_le64(in), time = load_le64(in + 24);
	bool is_v1 = type == PXAR_ENTRY_V1;
	uint32_t ns = is_v1 ? (uint32_t)(time % MTIME_NS_END) : load_le32(in + 32);
	if (mode > 0177777 || !is_file_type((uint32_t)mode))
		return err_set(err, -EBADMSG, "mode %" PRIo64 " is no file's", mode);
	if (ns >= MTIME_NS_END)
		return err_set(err, -EBADMSG, "a time has %" PRIu32 " nanoseconds", ns);
	*ret = (struct pxar_entry){
		.mode = (uint32_t)mode,
		.uid = load_le32(in + 16),
		.gid = load_le32(in + 20),
		.mtime = is_v1 ? (int64_t)(time / MTIME_NS_END) : (int64_t)time,
		.mtime_ns = ns,
	};
	return 1;
}

/* Text with one NUL, at its end. */
static bool is_text(const uint8_t *in, size_t len)
{
	return len > 1 && memchr(in, '\0', len) == in + len - 1;
}

static int take_target(struct pxar_entry *entry, const uint8_t *in, size_t len, struct err *err)
{
	if (!is_text(in, len))
		return err_set(err, -EBADMSG, "the target of a symbolic link is no text");
	entry->content = PXAR_HAS_TARGET;
	entry->target_off = entry->len + PXAR_HEADER_SIZE;
	entry->target_len = (uint32_t)len - 1;
	return 1;
}

static int take_device(struct pxar_entry *entry, const uint8_t *in, struct err *err)
{
	uint64_t major = load_le64(in), minor = load_le64(in + 8);
	if (major > UINT32_MAX || minor > UINT32_MAX)
		return err_set(err, -EBADMSG, "device %" PRIu64 ":%" PRIu64 " cannot be", major, minor);
	entry->content = PXAR_HAS_DEVICE;
	entry->major = (uint32_t)major;
	entry->minor = (uint32_t)minor;
	return 1;
}

static int take_reference(struct pxar_entry *entry, const uint8_t *in, struct err *err)
{
	uint64_t off = load_le64(in), size = load_le64(in + 8);
	if (off < PXAR_HEADER_SIZE || off > INT64_MAX || size > (uint64_t)INT64_MAX - PXAR_HEADER_SIZE)
		return err_set(err, -EBADMSG, "a file's data cannot be %" PRIu64 " bytes at %" PRIu64, size, off);
	entry->content = PXAR_HAS_REF;
	entry->payload_off = off;
	entry->payload_size = size;
	return 1;
}

static bool is_content(uint64_t type)
{
	return type == PXAR_SYMLINK || type == PXAR_DEVICE || type == PXAR_PAYLOAD_REF;
}

/* What an entry contains: the last of its items. */
static int take_content(struct pxar_entry *entry, const struct pxar_item *item, const uint8_t *in,
			struct err *err)
{
	if (item->type == PXAR_SYMLINK)
		return take_target(entry, in, (size_t)item->len, err);
	if (item->type == PXAR_DEVICE)
		return take_device(entry, in, err);
	return take_reference(entry, in, err);
}

static int check_content(const struct pxar_entry *entry, struct err *err)
{
	enum pxar_content has = entry->content;
	bool fits;
	switch (entry->mode & S_IFMT) {
	case S_IFREG:
		fits = has == PXAR_HAS_PAYLOAD || has == PXAR_HAS_REF;
		break;
	case S_IFLNK:
		fits = has == PXAR_HAS_TARGET;
		break;
	case S_IFBLK:
	case S_IFCHR:
		fits = has == PXAR_HAS_DEVICE;
		break;
	default:
		fits = has == PXAR_HAS_NONE;
	}
	return fits ? 1 : err_set(err, -EBADMSG, "mode %o and content of an entry do not fit", entry->mode);
}

/* One attribute behind those there are.  1, 0 or an error, as all of them. */
static int take_attr(struct pxar_entry *entry, const struct pxar_item *item, const uint8_t *in,
		     unsigned *seen, struct err *err)
{
	int r = pxar_attr_check(item->type, in, (size_t)item->len, seen, err);
	if (r < 0)
		return r;
	uint32_t full = PXAR_HEADER_SIZE + (uint32_t)item->len;
	if (full > PXAR_ATTRS_MAX - entry->attrs_len)
		return err_set(err, -EBADMSG, "an entry has more than %u bytes of attributes", PXAR_ATTRS_MAX);
	entry->attrs_len += full;
	entry->len += full;
	return 1;
}

static bool ends_entry(uint64_t type)
{
	return type == PXAR_FILENAME || type == PXAR_GOODBYE;
}

/* 2 = that was the last item. */
static int take_next(const uint8_t *in, size_t len, uint64_t limit, struct pxar_entry *entry,
		     unsigned *seen, size_t *ret_want, struct err *err)
{
	struct pxar_item item;
	const uint8_t *content;
	size_t pos = entry->len;
	if (pos == limit && !S_ISDIR(entry->mode))
		return 2;
	int r = pxar_item_parse(in + pos, len - pos, limit - pos, &item, ret_want, err);
	if (r == 0)
		*ret_want += pos;
	if (r != 1)
		return r;
	if (ends_entry(item.type))
		return 2;
	if (item.type == PXAR_PAYLOAD) {
		entry->len += PXAR_HEADER_SIZE;
		entry->content = PXAR_HAS_PAYLOAD;
		entry->payload_off = entry->len;
		entry->payload_size = item.len;
		return 2;
	}
	if (!pxar_is_attr(item.type) && !is_content(item.type))
		return err_set(err, -EBADMSG, "an item %s inside an entry", rule_of(item.type)->name);
	r = take_item(in, len, limit, pos, &item, &content, ret_want, err);
	if (r != 1)
		return r;
	if (pxar_is_attr(item.type))
		return take_attr(entry, &item, content, seen, err);
	r = take_content(entry, &item, content, err);
	entry->len += PXAR_HEADER_SIZE + (uint32_t)item.len;
	return r == 1 ? 2 : r;
}

int pxar_entry_parse(const uint8_t *in, size_t len, uint64_t limit, struct pxar_entry *ret, size_t *ret_want,
		     struct err *err)
{
	struct pxar_item item;
	struct pxar_entry entry;
	const uint8_t *content;
	unsigned seen = 0;
	int r = pxar_item_parse(in, len, limit, &item, ret_want, err);
	if (r == 1 && item.type != PXAR_ENTRY && item.type != PXAR_ENTRY_V1)
		r = err_set(err, -EBADMSG, "an item %s where an entry should begin", rule_of(item.type)->name);
	if (r == 1)
		r = take_item(in, len, limit, 0, &item, &content, ret_want, err);
	if (r == 1)
		r = parse_stat(item.type, content, &entry, err);
	if (r != 1)
		return r;
	entry.attrs_off = entry.len = PXAR_HEADER_SIZE + (uint32_t)item.len;
	do
		r = take_next(in, len, limit, &entry, &seen, ret_want, err);
	while (r == 1);
	if (r == 2)
		r = check_content(&entry, err);
	if (r == 1)
		*ret = entry;
	return r;
}

/* -- names ----------------------------------------------------------------------------------- */

static bool is_name(const uint8_t *in, size_t len)
{
	const char *name = (const char *)in;
	return is_text(in, len) && !memchr(in, '/', len) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int take_link(const uint8_t *in, size_t len, uint64_t limit, struct pxar_member *member,
		     size_t *ret_want, struct err *err)
{
	struct pxar_item item;
	const uint8_t *content;
	int r = take_item(in, len, limit, member->len, &item, &content, ret_want, err);
	if (r != 1)
		return r;
	if (load_le64(content) == 0 || !is_text(content + 8, (size_t)item.len - 8))
		return err_set(err, -EBADMSG, "a hard link leads nowhere");
	member->link_distance = load_le64(content);
	member->len += PXAR_HEADER_SIZE + (uint32_t)item.len;
	return 1;
}

int pxar_member_parse(const uint8_t *in, size_t len, uint64_t limit, struct pxar_member *ret,
		      size_t *ret_want, struct err *err)
{
	struct pxar_item item, next;
	const uint8_t *content = NULL;
	int r = pxar_item_parse(in, len, limit, &item, ret_want, err);
	if (r == 1 && item.type != PXAR_FILENAME)
		r = err_set(err, -EBADMSG, "an item %s where a name should be", rule_of(item.type)->name);
	if (r == 1)
		r = take_item(in, len, limit, 0, &item, &content, ret_want, err);
	if (r == 1 && !is_name(content, (size_t)item.len))
		r = err_set(err, -EBADMSG, "a name that no file can have");
	if (r != 1)
		return r;
	struct pxar_member member = {
		.name = (const char *)content,
		.name_len = (uint32_t)item.len - 1,
		.len = PXAR_HEADER_SIZE + (uint32_t)item.len,
	};
	member.entry_off = member.len;
	r = pxar_item_parse(in + member.len, len - member.len, limit - member.len, &next, ret_want, err);
	if (r == 0)
		*ret_want += member.len;
	else if (r == 1 && next.type == PXAR_HARDLINK)
		r = take_link(in, len, limit, &member, ret_want, err);
	if (r == 1)
		*ret = member;
	return r;
}

uint64_t pxar_name_hash(const char *name, size_t len)
{
	return siphash24(HASH_K0, HASH_K1, name, len);
}

/* -- tables ---------------------------------------------------------------------------------- */

struct pxar_slot pxar_slot_parse(const uint8_t in[static PXAR_SLOT_SIZE])
{
	return (struct pxar_slot){ load_le64(in), load_le64(in + 8), load_le64(in + 16) };
}

int pxar_table_parse(const uint8_t in[static PXAR_SLOT_SIZE], uint64_t end, struct pxar_table *ret,
		     struct err *err)
{
	struct pxar_slot tail = pxar_slot_parse(in);
	if (tail.hash != TAIL_MARK)
		return err_set(err, -EBADMSG, "no table of members at the end of a directory");
	uint64_t slots = tail.size - PXAR_HEADER_SIZE; /* of a smaller one: too large */
	if (tail.size > end || slots % PXAR_SLOT_SIZE || slots < PXAR_SLOT_SIZE ||
	    slots / PXAR_SLOT_SIZE - 1 > PXAR_MEMBERS_MAX)
		return err_set(err, -EBADMSG, "a table of members cannot be %" PRIu64 " bytes long", tail.size);
	uint64_t off = end - tail.size;
	if (tail.distance == 0 || tail.distance > off)
		return err_set(err, -EBADMSG, "a table of members is of no directory");
	*ret = (struct pxar_table){
		.off = off,
		.dir_off = off - tail.distance,
		.n = (uint32_t)(slots / PXAR_SLOT_SIZE - 1),
	};
	return 0;
}

int pxar_table_check(const uint8_t in[static PXAR_HEADER_SIZE], const struct pxar_table *table,
		     struct err *err)
{
	uint64_t size = PXAR_HEADER_SIZE + (table->n + 1ull) * PXAR_SLOT_SIZE;
	if (load_le64(in) != PXAR_GOODBYE || load_le64(in + 8) != size)
		return err_set(err, -EBADMSG, "a table of members does not begin where its end says");
	return 0;
}

int pxar_payload_check(const uint8_t in[static PXAR_HEADER_SIZE], uint64_t size, struct err *err)
{
	if (load_le64(in) != PXAR_PAYLOAD || load_le64(in + 8) != size + PXAR_HEADER_SIZE)
		return err_set(err, -EBADMSG, "the payload does not hold what should be there");
	return 0;
}
