/* SPDX-License-Identifier: Apache-2.0 */
#include "format/tar.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data.h"
#include "unit.h"
#include "util/bytes.h"

static struct buf format(const struct tar_entry *entry, uint64_t *ret_stored)
{
	struct buf out = BUF_EMPTY;
	assert_int_equal(tar_entry_format(entry, &out, ret_stored, NULL), 0);
	assert_int_equal(out.len % TAR_BLOCK, 0);
	return out;
}

/* The records of the extended header, NULL = there is none; then a NUL. */
static const char *records_of(const struct buf *out)
{
	return out->data[156] == 'x' ? out->data + TAR_BLOCK : NULL;
}

static bool has_record(const struct buf *out, const char *record)
{
	size_t len = out->len - TAR_BLOCK;
	return records_of(out) && memmem(records_of(out), len, record, strlen(record));
}

static void writes_a_plain_file_with_the_old_header_alone(void **state)
{
	const struct tar_entry entry = { .path = "dir/file", .mode = S_IFREG | 0644, .uid = 1000, .gid = 100,
					 .mtime = 1700000000, .size = 12345 };
	uint64_t stored;
	CLEANUP(buf_deinit) struct buf out = format(&entry, &stored);
	assert_int_equal(out.len, TAR_BLOCK);
	assert_int_equal(stored, 12345);
	assert_string_equal(out.data, "dir/file");
	assert_string_equal(out.data + 100, "0000644");
	assert_string_equal(out.data + 108, "0001750");
	assert_string_equal(out.data + 124, "00000030071");
	assert_string_equal(out.data + 136, "14524770400");
	assert_int_equal(out.data[156], '0');
	assert_memory_equal(out.data + 257, "ustar\00000", 8);
	unsigned sum = 8 * ' ', said = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? 0 : (uint8_t)out.data[i];
	assert_int_equal(sscanf(out.data + 148, "%o", &said), 1);
	assert_int_equal(said, sum);
	assert_int_equal(out.data[155], ' ');
}

static void puts_into_records_what_the_old_header_cannot_hold(void **state)
{
	static const char long_path[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
					"0123456789012345678901234567890";
	const struct {
		struct tar_entry entry;
		const char *record;
	} rows[] = {
		{ { .path = long_path, .mode = S_IFREG }, "111 path=0123" },
		{ { .path = "\xc3\x9f", .mode = S_IFREG }, "11 path=\xc3\x9f\n" },
		{ { .path = "\xff", .mode = S_IFDIR }, "11 path=\xff/\n" },
		{ { .path = "a", .mode = S_IFLNK, .link = "\xff" }, "14 linkpath=\xff\n" },
		{ { .path = "a", .mode = S_IFREG, .uid = 2097152 }, "15 uid=2097152\n" },
		{ { .path = "a", .mode = S_IFREG, .gid = 4294967295 }, "18 gid=4294967295\n" },
		{ { .path = "a", .mode = S_IFREG, .size = UINT64_C(8589934592) }, "19 size=8589934592\n" },
		{ { .path = "a", .mode = S_IFREG, .mtime = 1, .mtime_ns = 5 }, "21 mtime=1.000000005\n" },
		{ { .path = "a", .mode = S_IFREG, .mtime = -1, .mtime_ns = 0 }, "12 mtime=-1\n" },
		{ { .path = "a", .mode = S_IFREG, .mtime = -1, .mtime_ns = 999999999 }, "22 mtime=-0.000000001\n" },
		{ { .path = "a", .mode = S_IFREG, .mtime = -5, .mtime_ns = 250000000 }, "22 mtime=-4.750000000\n" },
		{ { .path = "a", .mode = S_IFREG, .mtime = UINT64_C(8589934592) }, "20 mtime=8589934592\n" },
		{ { .path = "a", .mode = S_IFCHR, .minor = 2097152 }, "27 SCHILY.devminor=2097152\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t stored;
		CLEANUP(buf_deinit) struct buf out = format(&rows[i].entry, &stored);
		if (!has_record(&out, rows[i].record))
			fail_msg("no %s in %s", rows[i].record, records_of(&out) ? records_of(&out) : "nothing");
	}
}

/* The length counts its own digits: 98 bytes with one of them less, or 100 with one more. */
static void counts_the_digits_of_a_length(void **state)
{
	for (size_t len = 0; len < 1200; len++) {
		char value[1201], head[32];
		memset(value, 'v', len);
		struct pxar_xattr xattr = { "user.a", (const uint8_t *)value, len };
		const struct pxar_xattrs xattrs = { .items = &xattr, .n = 1 };
		const struct tar_entry entry = { .path = "a", .mode = S_IFREG, .xattrs = &xattrs };
		uint64_t stored;
		CLEANUP(buf_deinit) struct buf out = format(&entry, &stored);
		unsigned said = 0;
		int digits = 0;
		assert_int_equal(sscanf(records_of(&out), "%u%n", &said, &digits), 1);
		assert_int_equal(said, (size_t)digits + strlen(" SCHILY.xattr.user.a=\n") + len);
		assert_int_equal(records_of(&out)[said - 1], '\n');
		(void) snprintf(head, sizeof head, "%011o", said);
		assert_string_equal(out.data + 124, head);
	}
}

static void writes_names_of_attributes_as_gnu_tar_does(void **state)
{
	struct pxar_xattr xattr = { "user.a=b%c", (const uint8_t *)"v", 1 };
	const struct pxar_xattrs xattrs = { .items = &xattr, .n = 1 };
	const struct tar_entry entry = { .path = "a", .mode = S_IFREG, .xattrs = &xattrs };
	uint64_t stored;
	CLEANUP(buf_deinit) struct buf out = format(&entry, &stored);
	assert_true(has_record(&out, " SCHILY.xattr.user.a%3Db%25c=v\n"));
}

static void writes_access_control_lists_as_text(void **state)
{
	size_t len;
	CLEANUP(freep) uint8_t *value = from_hex("02000000" "01000700ffffffff" "02000600e8030000" "04000500ffffffff"
						 "0800010064000000" "10000700ffffffff" "20000000ffffffff", &len);
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY, none = BUF_EMPTY;
	assert_int_equal(tar_acl_format(value, len, &text, NULL), 0);
	assert_string_equal(text.data, "user::rwx,user:1000:rw-,group::r-x,group:100:--x,mask::rwx,other::---");
	assert_int_equal(tar_acl_format(value, len - 1, &none, NULL), -EBADMSG);
	value[4] = 3;
	assert_int_equal(tar_acl_format(value, len, &none, NULL), -EBADMSG);
}

static void writes_the_map_of_a_sparse_file_before_its_data(void **state)
{
	static const struct tar_extent extents[] = { { 4096, 8192 }, { 1 << 20, 0 } };
	const struct tar_entry entry = { .path = "dir/sparse", .mode = S_IFREG | 0600, .size = 1 << 20,
					 .is_sparse = true, .extents = extents, .n_extents = 2 };
	uint64_t stored;
	CLEANUP(buf_deinit) struct buf out = format(&entry, &stored);
	assert_int_equal(stored, 8192);
	assert_true(has_record(&out, "GNU.sparse.name=dir/sparse\n"));
	assert_true(has_record(&out, "GNU.sparse.realsize=1048576\n"));
	const char *header = out.data + 2 * TAR_BLOCK, *map = header + TAR_BLOCK;
	assert_int_equal(out.len, 4 * TAR_BLOCK);
	assert_string_equal(header, "dir/GNUSparseFile.0/sparse");
	assert_string_equal(header + 124, "00000021000"); /* with the map */
	assert_string_equal(map, "2\n4096\n8192\n1048576\n0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(writes_a_plain_file_with_the_old_header_alone),
		TEST(puts_into_records_what_the_old_header_cannot_hold),
		TEST(counts_the_digits_of_a_length),
		TEST(writes_names_of_attributes_as_gnu_tar_does),
		TEST(writes_access_control_lists_as_text),
		TEST(writes_the_map_of_a_sparse_file_before_its_data),
	};
	return RUN_TESTS(tests);
}
