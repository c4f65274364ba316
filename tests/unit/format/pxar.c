/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pxar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data.h"
#include "format/pxar_attrs.h"
#include "pxar_writer.h"
#include "unit.h"
#include "util/bytes.h"

/* -- names ----------------------------------------------------------------------------------- */

static void hashes_names_as_the_format_has_it(void **state)
{
	static const struct {
		const char *name;
		uint64_t want;
	} rows[] = {
		{ "", UINT64_C(0x76614015f8d1bb6c) },
		{ "a.txt", UINT64_C(0xdc392d66b611aa72) },
		{ "fifo", UINT64_C(0xb808adae8721840a) },
		{ "hard", UINT64_C(0x15c056300a23e75a) },
		{ "sub", UINT64_C(0x1d68161405af1bd0) },
		{ "sym", UINT64_C(0x8f9a80e6adec0694) },
		{ "z", UINT64_C(0x5a4b70af3558a9d8) },
		{ "file.txt", UINT64_C(0x967764f630c3da14) },
		{ "lost+found", UINT64_C(0xedc93cb8247896c7) },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(pxar_name_hash(rows[i].name, strlen(rows[i].name)), rows[i].want);
}

/* A FILENAME and the ENTRY of a FIFO behind it; @len bytes of name, the last one meant to be NUL. */
static int parse_name(const char *name, size_t len, struct pxar_member *ret, struct err *err)
{
	struct pxar_writer w;
	size_t want;
	pxar_writer_begin(&w, false);
	(void) pxar_writer_item(&w, PXAR_FILENAME, name, len);
	pxar_writer_entry(&w, S_IFIFO | 0600);
	CLEANUP(freep) uint8_t *in = exact_copy(w.meta.data, w.meta.len);
	int r = pxar_member_parse(in, w.meta.len, w.meta.len, ret, &want, err);
	pxar_writer_deinit(&w);
	return r;
}

static void refuses_names_that_no_file_can_have(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		int r;
	} rows[] = {
		{ "a", 2, 1 },
		{ "...", 4, 1 },
		{ "\xff\x01", 3, 1 },
		{ "", 1, -EBADMSG },
		{ ".", 2, -EBADMSG },
		{ "..", 3, -EBADMSG },
		{ "a/b", 4, -EBADMSG },
		{ "/", 2, -EBADMSG },
		{ "a\0b", 4, -EBADMSG },
		{ "a\0", 3, -EBADMSG },
		{ "\0", 2, -EBADMSG },
		{ "abc", 3, -EBADMSG }, /* no NUL */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pxar_member member;
		struct err err = ERR_NONE;
		expect(rows[i].name, parse_name(rows[i].name, rows[i].len, &member, &err), &err, rows[i].r, NULL);
	}
	char longest[PXAR_NAME_MAX + 2];
	memset(longest, 'x', sizeof longest);
	struct pxar_member member;
	longest[PXAR_NAME_MAX] = '\0';
	assert_int_equal(parse_name(longest, PXAR_NAME_MAX + 1, &member, NULL), 1);
	longest[PXAR_NAME_MAX] = 'x';
	longest[PXAR_NAME_MAX + 1] = '\0';
	assert_int_equal(parse_name(longest, PXAR_NAME_MAX + 2, &member, NULL), -EBADMSG);
}

/* -- the description's examples -------------------------------------------------------------- */

/* mtime 1700000000 everywhere; the archive of 772 bytes */
static void write_example_v1(struct pxar_writer *w)
{
	pxar_writer_begin(w, false);
	pxar_writer_entry(w, S_IFDIR | 0755);
	uint64_t a = pxar_writer_file(w, "a.txt", 0644, "hello", 5);
	(void) pxar_writer_name(w, "fifo");
	pxar_writer_entry(w, S_IFIFO | 0644);
	pxar_writer_hardlink(w, "hard", a, "a.txt");
	(void) pxar_writer_name(w, "sub");
	pxar_writer_entry(w, S_IFDIR | 0755);
	(void) pxar_writer_file(w, "z", 0644, "z", 1);
	pxar_writer_end_directory(w);
	(void) pxar_writer_name(w, "sym");
	pxar_writer_entry(w, S_IFLNK | 0777);
	pxar_writer_symlink(w, "a.txt");
	pxar_writer_end_directory(w);
}

struct place {
	uint64_t pos, type, full;
};

static void expect_items(const struct buf *archive, const struct place *places, size_t n)
{
	uint64_t pos = 0;
	for (size_t i = 0; i < n; i++) {
		struct pxar_item item;
		size_t want;
		const uint8_t *in = (const uint8_t *)archive->data + pos;
		assert_int_equal(pos, places[i].pos);
		assert_int_equal(pxar_item_parse(in, archive->len - pos, archive->len - pos, &item, &want, NULL),
				 1);
		assert_int_equal(item.type, places[i].type);
		assert_int_equal(item.len + PXAR_HEADER_SIZE, places[i].full);
		pos += places[i].full;
	}
	assert_int_equal(pos, archive->len);
}

static void expect_slots(const struct buf *archive, uint64_t pos, const uint64_t (*want)[3], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pxar_slot slot = pxar_slot_parse((const uint8_t *)archive->data + pos +
							PXAR_HEADER_SIZE + i * PXAR_SLOT_SIZE);
		assert_int_equal(slot.hash, want[i][0]);
		assert_int_equal(slot.distance, want[i][1]);
		assert_int_equal(slot.size, want[i][2]);
	}
}

#define TAIL UINT64_C(0xef5eed5b753e1555)

static void reads_the_worked_example_of_a_single_stream(void **state)
{
	static const struct place places[] = {
		{ 0x000, PXAR_ENTRY, 0x38 }, { 0x038, PXAR_FILENAME, 0x16 }, { 0x04e, PXAR_ENTRY, 0x38 },
		{ 0x086, PXAR_PAYLOAD, 0x15 }, { 0x09b, PXAR_FILENAME, 0x15 }, { 0x0b0, PXAR_ENTRY, 0x38 },
		{ 0x0e8, PXAR_FILENAME, 0x15 }, { 0x0fd, PXAR_HARDLINK, 0x1e }, { 0x11b, PXAR_FILENAME, 0x14 },
		{ 0x12f, PXAR_ENTRY, 0x38 }, { 0x167, PXAR_FILENAME, 0x12 }, { 0x179, PXAR_ENTRY, 0x38 },
		{ 0x1b1, PXAR_PAYLOAD, 0x11 }, { 0x1c2, PXAR_GOODBYE, 0x40 }, { 0x202, PXAR_FILENAME, 0x14 },
		{ 0x216, PXAR_ENTRY, 0x38 }, { 0x24e, PXAR_SYMLINK, 0x16 }, { 0x264, PXAR_GOODBYE, 0xa0 },
	};
	static const uint64_t root[][3] = {
		{ UINT64_C(0xb808adae8721840a), 0x1c9, 0x4d }, { UINT64_C(0x1d68161405af1bd0), 0x149, 0xe7 },
		{ UINT64_C(0xdc392d66b611aa72), 0x22c, 0x63 }, { UINT64_C(0x15c056300a23e75a), 0x17c, 0x33 },
		{ UINT64_C(0x8f9a80e6adec0694), 0x62, 0x62 }, { TAIL, 0x264, 0xa0 },
	};
	struct pxar_writer w;
	struct pxar_table table;
	struct pxar_member member;
	struct pxar_entry entry;
	size_t want;
	write_example_v1(&w);
	assert_int_equal(w.meta.len, 772);
	expect_items(&w.meta, places, ARRAY_LEN(places));
	expect_slots(&w.meta, 0x264, root, ARRAY_LEN(root));
	const uint8_t *in = (const uint8_t *)w.meta.data;
	assert_int_equal(pxar_table_parse(in + 772 - 24, 772, &table, NULL), 0);
	assert_int_equal(table.off, 0x264);
	assert_int_equal(table.dir_off, 0);
	assert_int_equal(table.n, 5);
	assert_int_equal(pxar_table_check(in + 0x264, &table, NULL), 0);
	assert_int_equal(pxar_member_parse(in + 0xe8, 772 - 0xe8, 772 - 0xe8, &member, &want, NULL), 1);
	assert_string_equal(member.name, "hard");
	assert_int_equal(member.link_distance, 0xb0);
	assert_int_equal(pxar_entry_parse(in + 0x4e, 772 - 0x4e, 772 - 0x4e, &entry, &want, NULL), 1);
	assert_int_equal(entry.mode, S_IFREG | 0644);
	assert_int_equal(entry.content, PXAR_HAS_PAYLOAD);
	assert_int_equal(entry.payload_size, 5);
	assert_memory_equal(in + 0x4e + entry.payload_off, "hello", 5);
	pxar_writer_deinit(&w);
}

static void reads_the_worked_example_of_a_split_archive(void **state)
{
	static const uint64_t sub[][3] = {
		{ UINT64_C(0xe799742100a504a6), 0x118, 0x6d }, { UINT64_C(0x8f45f08cfa9da239), 0x1f2, 0xd0 },
		{ UINT64_C(0xfa362d64b5af4615), 0x4b, 0x4b }, { UINT64_C(0x53720446c9172559), 0xab, 0x60 },
		{ UINT64_C(0x9c7bd2e4b3b60004), 0x186, 0x6e }, { TAIL, 0x22a, 0xa0 },
	};
	static const uint64_t root[][3] = {
		{ UINT64_C(0x47407d8f1b4bf1eb), 0x3ed, 0xe4 }, { UINT64_C(0x23ffa8f0cace039e), 0x458, 0x70 },
		{ UINT64_C(0x83ad5ab6bea7bac8), 0x30c, 0x2e }, { UINT64_C(0x1d68161405af1bd0), 0x2de, 0x2de },
		{ TAIL, 0x4d5, 0x88 },
	};
	static const char prelude[] = "{\"exclude-patterns\":\"/tmp\\n\"}";
	char a[100];
	uint8_t caps[20] = { 1, 0, 0, 2 }, project[8] = { 7 };
	struct pxar_writer w;
	struct pxar_entry entry;
	size_t want;
	memset(a, 'A', sizeof a);
	pxar_writer_begin(&w, true);
	w.mtime_ns = 123456789;
	(void) pxar_writer_item(&w, PXAR_PRELUDE, prelude, strlen(prelude));
	pxar_writer_entry(&w, S_IFDIR | 0755);
	(void) pxar_writer_file(&w, "f1", 0644, "hello", 5);
	uint64_t f2 = pxar_writer_name(&w, "f2");
	pxar_writer_entry(&w, S_IFREG | 0644);
	pxar_writer_xattr(&w, "user.k", "val", 3);
	pxar_writer_attr_id(&w, PXAR_ACL_USER, 1001, 6);
	(void) pxar_writer_item(&w, PXAR_FCAPS, caps, sizeof caps);
	(void) pxar_writer_item(&w, PXAR_QUOTA_PROJID, project, sizeof project);
	pxar_writer_payload(&w, "xyz", 3);
	pxar_writer_hardlink(&w, "h1", 125, "f1");
	(void) pxar_writer_name(&w, "sub");
	pxar_writer_entry(&w, S_IFDIR | 0755);
	(void) pxar_writer_file(&w, "big", 0644, a, sizeof a);
	(void) pxar_writer_file(&w, "empty", 0644, "", 0);
	(void) pxar_writer_name(&w, "null");
	pxar_writer_entry(&w, S_IFCHR | 0644);
	pxar_writer_device(&w, 1, 3);
	(void) pxar_writer_name(&w, "l");
	pxar_writer_entry(&w, S_IFLNK | 0777);
	pxar_writer_symlink(&w, "../f1");
	(void) pxar_writer_name(&w, "so");
	pxar_writer_entry(&w, S_IFSOCK | 0755);
	pxar_writer_end_directory(&w);
	pxar_writer_end_directory(&w);

	assert_int_equal(w.meta.len, 1373);
	assert_int_equal(w.payload.len, 204);
	expect_slots(&w.meta, 1077, sub, ARRAY_LEN(sub));
	expect_slots(&w.meta, 1237, root, ARRAY_LEN(root));
	const uint8_t *in = (const uint8_t *)w.meta.data, *at = in + f2 + PXAR_HEADER_SIZE + 3;
	assert_int_equal(pxar_entry_parse(at, 300, 1000, &entry, &want, NULL), 1);
	assert_int_equal(entry.content, PXAR_HAS_REF);
	assert_int_equal(entry.payload_off, 37);
	assert_int_equal(entry.payload_size, 3);
	assert_int_equal(entry.mtime, 1700000000);
	assert_int_equal(entry.mtime_ns, 123456789);
	assert_int_equal(pxar_payload_check((const uint8_t *)w.payload.data + 37, 3, NULL), 0);
	assert_int_equal(pxar_payload_check((const uint8_t *)w.payload.data + 37, 4, NULL), -EBADMSG);
	assert_int_equal(pxar_payload_check((const uint8_t *)w.payload.data, 0, NULL), -EBADMSG); /* its first item */
	struct pxar_xattrs xattrs;
	assert_int_equal(pxar_xattrs_make(at + entry.attrs_off, entry.attrs_len, entry.mode, &xattrs, NULL), 0);
	assert_int_equal(xattrs.n, 3); /* the capability, the list and user.k */
	assert_memory_equal(pxar_xattrs_find(&xattrs, "user.k")->value, "val", 3);
	assert_memory_equal(pxar_xattrs_find(&xattrs, XATTR_CAPABILITIES)->value, caps, sizeof caps);
	pxar_xattrs_deinit(&xattrs);
	pxar_writer_deinit(&w);
}

/* -- in pieces ------------------------------------------------------------------------------- */

/* With one byte less than it asks for it asks for them; with those it gets on. */
static void asks_for_the_bytes_it_takes_and_no_more(void **state)
{
	static const uint8_t value[3000] = { 0 };
	struct pxar_writer w;
	struct pxar_entry entry;
	pxar_writer_begin(&w, false);
	pxar_writer_entry(&w, S_IFLNK | 0777);
	pxar_writer_xattr(&w, "user.a", value, sizeof value);
	pxar_writer_xattr(&w, "user.b", value, 1);
	pxar_writer_symlink(&w, "target");
	size_t have = 0, want = 0, steps = 0;
	for (;;) {
		CLEANUP(freep) uint8_t *in = exact_copy(w.meta.data, have);
		int r = pxar_entry_parse(in, have, w.meta.len, &entry, &want, NULL);
		if (r == 1)
			break;
		assert_int_equal(r, 0);
		assert_true(want > have && want <= w.meta.len);
		for (size_t less = have; less < want; less += 1 + (want - less) / 3) {
			CLEANUP(freep) uint8_t *cut = exact_copy(w.meta.data, less);
			size_t again;
			assert_int_equal(pxar_entry_parse(cut, less, w.meta.len, &entry, &again, NULL), 0);
			assert_int_equal(again, want);
		}
		have = want;
		steps++;
	}
	assert_int_equal(have, w.meta.len);
	assert_true(steps <= 8);
	assert_int_equal(entry.len, w.meta.len);
	assert_int_equal(entry.target_len, 6);
	assert_memory_equal(w.meta.data + entry.target_off, "target", 6);
	pxar_writer_deinit(&w);
}

static void refuses_an_entry_cut_anywhere(void **state)
{
	struct pxar_writer w;
	struct pxar_entry entry;
	size_t want;
	pxar_writer_begin(&w, false);
	pxar_writer_entry(&w, S_IFREG | 0644);
	pxar_writer_xattr(&w, "user.a", "v", 1);
	pxar_writer_payload(&w, "data", 4);
	for (size_t len = 0; len < w.meta.len; len++) {
		CLEANUP(freep) uint8_t *in = exact_copy(w.meta.data, len);
		assert_int_equal(pxar_entry_parse(in, len, len, &entry, &want, NULL), -EBADMSG);
	}
	assert_int_equal(pxar_entry_parse((const uint8_t *)w.meta.data, w.meta.len, w.meta.len, &entry, &want, NULL),
			 1);
	pxar_writer_deinit(&w);
}

/* -- what cannot be -------------------------------------------------------------------------- */

enum { NO_CONTENT, TARGET, DEVICE, PAYLOAD, REFERENCE, LINK };

static void put_content(struct pxar_writer *w, int content)
{
	if (content == TARGET)
		pxar_writer_symlink(w, "x");
	else if (content == DEVICE)
		pxar_writer_device(w, 1, 3);
	else if (content == PAYLOAD)
		pxar_writer_payload(w, "x", 1);
	else if (content == REFERENCE)
		pxar_writer_attr_id(w, PXAR_PAYLOAD_REF, 16, 1);
	else if (content == LINK)
		(void) pxar_writer_item(w, PXAR_HARDLINK, "\1\0\0\0\0\0\0\0a", 10);
}

static int parse_mode(uint32_t mode, int content)
{
	struct pxar_writer w;
	struct pxar_entry entry;
	size_t want;
	pxar_writer_begin(&w, false);
	pxar_writer_entry(&w, mode);
	put_content(&w, content);
	(void) pxar_writer_item(&w, PXAR_FILENAME, "next", 5);
	int r = pxar_entry_parse((const uint8_t *)w.meta.data, w.meta.len, w.meta.len, &entry, &want, NULL);
	pxar_writer_deinit(&w);
	return r;
}

static void wants_the_content_that_fits_the_mode(void **state)
{
	static const struct {
		uint32_t type;
		int content, other;
	} rows[] = {
		{ S_IFREG, PAYLOAD, REFERENCE }, { S_IFDIR, NO_CONTENT, NO_CONTENT }, { S_IFLNK, TARGET, TARGET },
		{ S_IFBLK, DEVICE, DEVICE }, { S_IFCHR, DEVICE, DEVICE }, { S_IFIFO, NO_CONTENT, NO_CONTENT },
		{ S_IFSOCK, NO_CONTENT, NO_CONTENT }, { 0, -1, -1 }, { 0050000, -1, -1 }, { 0170000, -1, -1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int content = NO_CONTENT; content <= LINK; content++) {
			bool fits = content == rows[i].content || content == rows[i].other;
			int r = parse_mode(rows[i].type | 0644, content);
			if (r != (fits ? 1 : -EBADMSG))
				fail_msg("type %o with content %d: %d", rows[i].type, content, r);
		}
}

/* An ENTRY of a FIFO with one item behind it, all by hand. */
static int parse_with(uint64_t type, const void *content, size_t len, struct err *err)
{
	struct pxar_writer w;
	struct pxar_entry entry;
	size_t want;
	pxar_writer_begin(&w, false);
	pxar_writer_entry(&w, S_IFIFO | 0644);
	(void) pxar_writer_item(&w, type, content, len);
	CLEANUP(freep) uint8_t *in = exact_copy(w.meta.data, w.meta.len);
	int r = pxar_entry_parse(in, w.meta.len, w.meta.len, &entry, &want, err);
	pxar_writer_deinit(&w);
	return r;
}

static void refuses_attributes_that_cannot_be(void **state)
{
	static const char zeros[40] = { 0 };
	const struct {
		const char *what;
		uint64_t type;
		const char *content;
		size_t len;
		int r;
	} rows[] = {
		{ "xattr", PXAR_XATTR, "user.a\0v", 8, 1 },
		{ "xattr, empty value", PXAR_XATTR, "user.a", 7, 1 },
		{ "xattr without NUL", PXAR_XATTR, "user.a", 6, -EBADMSG },
		{ "xattr without name", PXAR_XATTR, "\0v", 2, -EBADMSG },
		{ "xattr of one byte", PXAR_XATTR, "", 1, -EBADMSG },
		{ "capability as xattr", PXAR_XATTR, XATTR_CAPABILITIES "\0v", sizeof XATTR_CAPABILITIES + 1, -EBADMSG },
		{ "list as xattr", PXAR_XATTR, XATTR_ACL_ACCESS "\0v", sizeof XATTR_ACL_ACCESS + 1, -EBADMSG },
		{ "user", PXAR_ACL_USER, "\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0", 16, 1 },
		{ "user with odd permissions", PXAR_ACL_USER, "\1\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0", 16, -EBADMSG },
		{ "user too large", PXAR_ACL_USER, "\0\0\0\0\1\0\0\0\7\0\0\0\0\0\0\0", 16, -EBADMSG },
		{ "user -1", PXAR_ACL_USER, "\377\377\377\377\0\0\0\0\7\0\0\0\0\0\0\0", 16, -EBADMSG },
		{ "user too short", PXAR_ACL_USER, zeros, 15, -EBADMSG },
		{ "user too long", PXAR_ACL_USER, zeros, 17, -EBADMSG },
		{ "group object", PXAR_ACL_GROUP_OBJ, zeros, 8, 1 },
		{ "group object 8", PXAR_ACL_GROUP_OBJ, "\10\0\0\0\0\0\0\0", 8, -EBADMSG },
		{ "default", PXAR_ACL_DEFAULT, zeros, 32, 1 },
		{ "default 0x100", PXAR_ACL_DEFAULT, "\0\1\0\0\0\0\0\0", 8, -EBADMSG },
		{ "no capability", PXAR_FCAPS, "", 0, -EBADMSG },
		{ "project", PXAR_QUOTA_PROJID, zeros, 8, 1 },
		{ "entry in entry", PXAR_ENTRY, zeros, 40, -EBADMSG },
		{ "prelude in entry", PXAR_PRELUDE, zeros, 4, -EBADMSG },
		{ "start mark in entry", PXAR_PAYLOAD_START, zeros, 0, -EBADMSG },
		{ "no item", 42, zeros, 8, -EBADMSG },
		{ "no item 0", 0, zeros, 0, -EBADMSG },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		int r = parse_with(rows[i].type, rows[i].content, rows[i].len, &err);
		expect(rows[i].what, r, &err, rows[i].r, NULL);
	}
}

static void has_each_of_the_single_attributes_once(void **state)
{
	static const struct {
		uint64_t type;
		size_t len;
		int r;
	} rows[] = {
		{ PXAR_ACL_GROUP_OBJ, 8, -EBADMSG }, { PXAR_ACL_DEFAULT, 32, -EBADMSG }, { PXAR_FCAPS, 20, -EBADMSG },
		{ PXAR_QUOTA_PROJID, 8, -EBADMSG }, { PXAR_ACL_USER, 16, 1 }, { PXAR_ACL_DEFAULT_GROUP, 16, 1 },
	};
	static const uint8_t zeros[40] = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pxar_writer w;
		struct pxar_entry entry;
		size_t want;
		pxar_writer_begin(&w, false);
		pxar_writer_entry(&w, S_IFIFO | 0644);
		(void) pxar_writer_item(&w, rows[i].type, zeros, rows[i].len);
		(void) pxar_writer_item(&w, rows[i].type, zeros, rows[i].len);
		assert_int_equal(pxar_entry_parse((const uint8_t *)w.meta.data, w.meta.len, w.meta.len, &entry, &want,
						  NULL), rows[i].r);
		pxar_writer_deinit(&w);
	}
}

static void bounds_the_attributes_of_one_entry(void **state)
{
	static const uint8_t value[60000] = { 0 };
	for (unsigned n = 17; n <= 18; n++) { /* 17 of them are below 1 MiB, 18 above */
		struct pxar_writer w;
		struct pxar_entry entry;
		size_t want;
		pxar_writer_begin(&w, false);
		pxar_writer_entry(&w, S_IFIFO | 0644);
		for (unsigned i = 0; i < n; i++)
			pxar_writer_xattr(&w, "user.large", value, sizeof value);
		int r = pxar_entry_parse((const uint8_t *)w.meta.data, w.meta.len, w.meta.len, &entry, &want, NULL);
		assert_int_equal(r, n == 17 ? 1 : -EBADMSG);
		pxar_writer_deinit(&w);
	}
}

static void refuses_lengths_that_overflow(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 15, UINT64_MAX, UINT64_MAX - 15, (uint64_t)INT64_MAX + 1, 1000 };
	struct pxar_item item;
	size_t want;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t in[16];
		store_le64(in, PXAR_PAYLOAD);
		store_le64(in + 8, sizes[i]);
		assert_int_equal(pxar_item_parse(in, 16, 999, &item, &want, NULL), -EBADMSG);
	}
}

static void reads_the_older_kind_of_time(void **state)
{
	uint8_t in[48] = { 0 };
	struct pxar_entry entry;
	size_t want;
	store_le64(in, PXAR_ENTRY_V1);
	store_le64(in + 8, sizeof in);
	store_le64(in + 16, S_IFIFO | 0600);
	store_le32(in + 32, 12);
	store_le32(in + 36, 34);
	store_le64(in + 40, UINT64_C(1600000000123456789));
	assert_int_equal(pxar_entry_parse(in, sizeof in, sizeof in, &entry, &want, NULL), 1);
	assert_int_equal(entry.mtime, 1600000000);
	assert_int_equal(entry.mtime_ns, 123456789);
	assert_int_equal(entry.uid, 12);
	assert_int_equal(entry.gid, 34);
}

static void knows_times_before_the_epoch_and_no_half_ones(void **state)
{
	struct pxar_writer w;
	struct pxar_entry entry;
	size_t want;
	pxar_writer_begin(&w, false);
	w.mtime = -5;
	w.mtime_ns = 999999999;
	pxar_writer_entry(&w, S_IFIFO);
	uint8_t *in = (uint8_t *)w.meta.data;
	assert_int_equal(pxar_entry_parse(in, w.meta.len, w.meta.len, &entry, &want, NULL), 1);
	assert_int_equal(entry.mtime, -5);
	store_le32(in + PXAR_HEADER_SIZE + 32, 1000000000);
	assert_int_equal(pxar_entry_parse(in, w.meta.len, w.meta.len, &entry, &want, NULL), -EBADMSG);
	store_le32(in + PXAR_HEADER_SIZE + 32, 0);
	store_le64(in + PXAR_HEADER_SIZE, 0200000 | S_IFIFO);
	assert_int_equal(pxar_entry_parse(in, w.meta.len, w.meta.len, &entry, &want, NULL), -EBADMSG);
	pxar_writer_deinit(&w);
}

static void knows_two_versions(void **state)
{
	for (uint64_t version = 0; version < 5; version++) {
		uint8_t in[8];
		store_le64(in, version);
		assert_int_equal(pxar_version_check(in, NULL), version == 1 || version == 2 ? 0 : -EBADMSG);
	}
}

/* -- tables ---------------------------------------------------------------------------------- */

static void refuses_tables_that_cannot_be(void **state)
{
	static const struct {
		const char *what;
		uint64_t mark, distance, size, end;
		int r;
	} rows[] = {
		{ "empty directory", TAIL, 56, 40, 96, 0 },
		{ "two members", TAIL, 56, 88, 1000, 0 },
		{ "no mark", TAIL + 1, 56, 40, 96, -EBADMSG },
		{ "too short", TAIL, 56, 16, 96, -EBADMSG },
		{ "nothing", TAIL, 56, 0, 96, -EBADMSG },
		{ "odd", TAIL, 56, 41, 96, -EBADMSG },
		{ "before the archive", TAIL, 56, 112, 96, -EBADMSG },
		{ "endless", TAIL, 56, UINT64_MAX - 7, 96, -EBADMSG },
		{ "too many members", TAIL, 56, 40 + 24ull * (PXAR_MEMBERS_MAX + 1), UINT64_C(1) << 40, -EBADMSG },
		{ "directory at itself", TAIL, 0, 40, 96, -EBADMSG },
		{ "directory before the archive", TAIL, 57, 40, 96, -EBADMSG },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t in[24];
		struct pxar_table table;
		struct err err = ERR_NONE;
		store_le64(in, rows[i].mark);
		store_le64(in + 8, rows[i].distance);
		store_le64(in + 16, rows[i].size);
		expect(rows[i].what, pxar_table_parse(in, rows[i].end, &table, &err), &err, rows[i].r, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hashes_names_as_the_format_has_it),
		TEST(refuses_names_that_no_file_can_have),
		TEST(reads_the_worked_example_of_a_single_stream),
		TEST(reads_the_worked_example_of_a_split_archive),
		TEST(asks_for_the_bytes_it_takes_and_no_more),
		TEST(refuses_an_entry_cut_anywhere),
		TEST(wants_the_content_that_fits_the_mode),
		TEST(refuses_attributes_that_cannot_be),
		TEST(has_each_of_the_single_attributes_once),
		TEST(bounds_the_attributes_of_one_entry),
		TEST(refuses_lengths_that_overflow),
		TEST(reads_the_older_kind_of_time),
		TEST(knows_times_before_the_epoch_and_no_half_ones),
		TEST(knows_two_versions),
		TEST(refuses_tables_that_cannot_be),
	};
	return RUN_TESTS(tests);
}
