/* SPDX-License-Identifier: Apache-2.0 */
#include "format/snapshot.h"

#include <stdio.h>
#include <string.h>

#include "data.h"
#include "unit.h"
#include "util/bytes.h"

/* @before, @n times 'a', @behind; the next call overwrites it. */
static const char *with_as(const char *before, size_t n, const char *behind)
{
	static char text[600];
	size_t at = strlen(before), len = strlen(behind);
	assert_true(at + n + len < sizeof text);
	memcpy(text, before, at);
	memset(text + at, 'a', n);
	memcpy(text + at + n, behind, len + 1);
	return text;
}

static void knows_safe_ids(void **state)
{
	static const char *const good[] = {
		"a", "0", "_", "100", "A-Z.a_z", "a.", "a-", "a..b", "x.img.fidx", "_.-",
	};
	static const char *const bad[] = {
		"", ".", "..", ".a", "-", "-a", "a b", "a/b", "/", "a\n", "\n", "a:b", "a@b", "a\\b", "a+b", "ä",
		"a\xff", "a\x01", "a*", "~",
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(is_safe_id(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(is_safe_id(bad[i]));
	assert_true(is_safe_id(with_as("", SAFE_ID_MAX, "")));
	assert_false(is_safe_id(with_as("", SAFE_ID_MAX + 1, "")));
}

static void knows_the_three_types(void **state)
{
	static const char *const bad[] = { "", "v", "vmm", "VM", "vm ", "ctx", "hosts", "lxc" };
	enum backup_type type;
	for (int i = 0; i < N_BACKUP_TYPES; i++) {
		assert_true(backup_type_parse(backup_type_name((enum backup_type)i), &type));
		assert_int_equal(type, i);
	}
	assert_string_equal(backup_type_name(BACKUP_VM), "vm");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(backup_type_parse(bad[i], &type));
}

static void checks_namespaces(void **state)
{
	static const struct {
		const char *ns, *words;
	} rows[] = {
		{ "", NULL }, { "a", NULL }, { "a/b", NULL }, { "1/2/3/4/5/6/7", NULL }, { "ns/ns", NULL },
		{ "a_b-c.d/E", NULL },
		{ "1/2/3/4/5/6/7/8", "deeper than 7" }, { "1/2/3/4/5/6/7/", "no namespace" },
		{ "/", "no namespace" }, { "/a", "no namespace" }, { "a/", "no namespace" },
		{ "a//b", "no namespace" }, { ".", "no namespace" }, { "a/..", "no namespace" },
		{ "a/../b", "no namespace" }, { "a/.b", "no namespace" }, { "a/-b", "no namespace" },
		{ "a b", "no namespace" }, { "a\n", "'a\\x0a' is no namespace" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i].ns, namespace_check(rows[i].ns, &err), &err, rows[i].words ? -EINVAL : 0,
		       rows[i].words);
	}
}

static void bounds_the_length_of_a_namespace(void **state)
{
	static const struct {
		const char *name, *before;
		size_t n;
		const char *words;
	} rows[] = {
		{ "component of 255", "", 255, NULL },
		{ "component of 256", "", 256, "no namespace" },
		{ "256 bytes", "b/b/", 252, NULL },
		{ "257 bytes", "b/b/", 253, "longer than 256" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i].name, namespace_check(with_as(rows[i].before, rows[i].n, ""), &err), &err,
		       rows[i].words ? -EINVAL : 0, rows[i].words);
	}
}

static void parses_groups_and_writes_them_back(void **state)
{
	static const struct {
		const char *text;
		enum backup_type type;
		const char *id;
	} good[] = {
		{ "vm/100", BACKUP_VM, "100" }, { "ct/0", BACKUP_CT, "0" }, { "host/a.b-c_d", BACKUP_HOST, "a.b-c_d" },
		{ "host/vm", BACKUP_HOST, "vm" },
	};
	static const char *const bad[] = {
		"", "/", "vm", "vm/", "/100", "vm//100", "vm/100/", "vm/1/2", "VM/100", "vm /100", " vm/100", "vm/.",
		"vm/..", "vm/.a", "vm/-a", "vm/a b", "vmm/100", "x/100", "vm/100\n", "vm\\100",
	};
	struct group group;
	char text[GROUP_TEXT_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(group_parse(good[i].text, &group, NULL), 0);
		assert_int_equal(group.type, good[i].type);
		assert_string_equal(group.id, good[i].id);
		group_format(&group, text);
		assert_string_equal(text, good[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_NONE;
		expect(bad[i], group_parse(bad[i], &group, &err), &err, -EINVAL, "is no backup group");
	}
}

static void bounds_the_length_of_an_id(void **state)
{
	static const char time[] = "/2026-01-02T03:04:05Z";
	char again[SNAPSHOT_TEXT_SIZE];
	struct snapshot snap;
	assert_int_equal(group_parse(with_as("host/", SAFE_ID_MAX, ""), &snap.group, NULL), 0);
	assert_int_equal(snapshot_parse(with_as("host/", SAFE_ID_MAX, time), &snap, NULL), 0);
	snapshot_format(&snap, again);
	assert_string_equal(again, with_as("host/", SAFE_ID_MAX, time));
	assert_int_equal(group_parse(with_as("host/", SAFE_ID_MAX + 1, ""), &snap.group, NULL), -EINVAL);
	assert_int_equal(snapshot_parse(with_as("host/", SAFE_ID_MAX + 1, time), &snap, NULL), -EINVAL);
}

static void shows_a_strange_name_without_its_control_characters(void **state)
{
	struct group group;
	struct err err = ERR_NONE;
	expect("escape", group_parse("vm/\033[31m", &group, &err), &err, -EINVAL, "'vm/\\x1b[31m'");
	assert_null(strchr(err.msg, '\033'));
}

static void reads_and_writes_times_like_a_second_implementation(void **state)
{
	size_t len;
	CLEANUP(freep) char *table = test_file("vectors/times.tsv", &len);
	char *at = table, *row[2], text[SNAPSHOT_TIME_SIZE];
	int n = 0;
	for (; next_row(&at, row, ARRAY_LEN(row)); n++) {
		int64_t time = 0;
		assert_true(snapshot_time_parse(row[0], &time));
		assert_int_equal(time, strtoll(row[1], NULL, 10));
		snapshot_time_format(time, text);
		assert_string_equal(text, row[0]);
	}
	assert_int_equal(n, 73);
}

static void refuses_times_that_nobody_writes_like_that(void **state)
{
	static const char *const rows[] = {
		"", "2026", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05z", "2026-01-02t03:04:05Z",
		"2026-01-02 03:04:05Z", "2026-01-02T03:04:05ZZ", "2026-01-02T03:04:05.0Z", "2026-01-02T03:04:05+00:00",
		"2026-1-02T03:04:05Z", "02026-01-02T03:04:05Z", "226-001-02T03:04:05Z",
		"2026-02-31T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
		"2026-00-02T03:04:05Z", "2026-13-02T03:04:05Z", "2026-01-00T03:04:05Z", "2026-01-32T03:04:05Z",
		"2026-01-02T24:00:00Z", "2026-01-02T03:60:05Z", "2026-01-02T03:04:60Z", "2016-12-31T23:59:60Z",
		"-026-01-02T03:04:05Z", "+026-01-02T03:04:05Z", " 026-01-02T03:04:05Z", "2026-+1-02T03:04:05Z",
		"2026- 1-02T03:04:05Z", "2026-01-02T 3:04:05Z", "2026-01-02T-3:04:05Z", "2026-01-02T03:04: 5Z",
		"2026/01/02T03:04:05Z", "20260102T030405Z", "2026-01-02T03:04:05Z\n", "yyyy-mm-ddThh:mm:ssZ",
		"2026-01-02T0x:04:05Z", "٢٠٢٦-01-02T03:04",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t time = 77;
		if (snapshot_time_parse(rows[i], &time))
			fail_msg("%s is a time", rows[i]);
		assert_int_equal(time, 77);
	}
}

static void writes_times_out_of_range_as_the_nearest(void **state)
{
	static const struct {
		int64_t time;
		const char *text;
	} rows[] = {
		{ INT64_MIN, "0000-01-01T00:00:00Z" }, { -62167219201, "0000-01-01T00:00:00Z" },
		{ 253402300800, "9999-12-31T23:59:59Z" }, { INT64_MAX, "9999-12-31T23:59:59Z" },
	};
	char text[SNAPSHOT_TIME_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snapshot_time_format(rows[i].time, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void parses_snapshots_and_writes_them_back(void **state)
{
	static const char *const good[] = {
		"vm/100/2026-01-02T03:04:05Z", "ct/x/1970-01-01T00:00:00Z", "host/elsa/2020-06-26T13:56:05Z",
	};
	static const char *const bad[] = {
		"", "vm/100", "vm/100/", "vm/100/yesterday", "vm/100/2026-01-02T03:04:05Z/", "vm/2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05Z", "/2026-01-02T03:04:05Z", "../vm/100/2026-01-02T03:04:05Z",
		"a/vm/100/2026-01-02T03:04:05Z", "vm/1/0/2026-01-02T03:04:05Z", "vm//2026-01-02T03:04:05Z",
		"vm/../2026-01-02T03:04:05Z", "vm/100//2026-01-02T03:04:05Z", "vm/100/2024-06-31T00:00:00Z",
		"vm/100/ 2026-01-02T03:04:05Z",
	};
	struct snapshot snap;
	char text[SNAPSHOT_TEXT_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(snapshot_parse(good[i], &snap, NULL), 0);
		snapshot_format(&snap, text);
		assert_string_equal(text, good[i]);
	}
	assert_int_equal(snap.time, 1593179765);
	assert_int_equal(snap.group.type, BACKUP_HOST);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_NONE;
		expect(bad[i], snapshot_parse(bad[i], &snap, &err), &err, -EINVAL, "is no snapshot");
	}
}

/* Every pair, both ways round: so the order is total, too. */
static void sorts_snapshots_by_type_then_id_then_time(void **state)
{
	static const char *const sorted[] = {
		"ct/9", "ct/a", "host/0", "host/00", "host/1", "host/9", "host/010", "host/10", "host/99",
		"host/18446744073709551615", "host/18446744073709551616", "host/99999999999999999999",
		"host/10a", "host/1a", "host/A", "host/a", "host/a-b", "host/a.b", "host/aa", "host/b",
		"vm/2", "vm/100", "vm/1000",
	};
	static const char *const times[] = { "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2026-01-02T03:04:05Z" };
	enum { N = ARRAY_LEN(sorted) * ARRAY_LEN(times) };
	struct snapshot snaps[N];
	for (size_t i = 0; i < N; i++) {
		char text[SNAPSHOT_TEXT_SIZE];
		(void) snprintf(text, sizeof text, "%s/%s", sorted[i / 3], times[i % 3]);
		assert_int_equal(snapshot_parse(text, &snaps[i], NULL), 0);
	}
	for (size_t i = 0; i < N; i++) {
		for (size_t j = 0; j < N; j++) {
			int c = snapshot_compare(&snaps[i], &snaps[j]);
			int g = group_compare(&snaps[i].group, &snaps[j].group);
			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
			assert_int_equal((g > 0) - (g < 0), (i / 3 > j / 3) - (i / 3 < j / 3));
		}
	}
}

static void finds_the_file_that_a_user_means(void **state)
{
	static const struct {
		const char *name, *server_name, *user_name;
		enum archive_kind kind;
	} rows[] = {
		{ "drive-scsi0.img", "drive-scsi0.img.fidx", "drive-scsi0.img", ARCHIVE_IMAGE },
		{ "drive-scsi0.img.fidx", "drive-scsi0.img.fidx", "drive-scsi0.img", ARCHIVE_IMAGE },
		{ "disk.raw.fidx", "disk.raw.fidx", "disk.raw", ARCHIVE_FIXED },
		{ "root.pxar", "root.pxar.didx", "root.pxar", ARCHIVE_PXAR },
		{ "root.pxar.didx", "root.pxar.didx", "root.pxar", ARCHIVE_PXAR },
		{ "root.mpxar", "root.mpxar.didx", "root.mpxar", ARCHIVE_PXAR },
		{ "root.ppxar", "root.ppxar.didx", "root.ppxar", ARCHIVE_PXAR },
		{ "catalog.pcat1", "catalog.pcat1.didx", "catalog.pcat1", ARCHIVE_DYNAMIC },
		{ "notpxar.didx", "notpxar.didx", "notpxar", ARCHIVE_DYNAMIC },
		{ "any.didx", "any.didx", "any", ARCHIVE_DYNAMIC },
		{ "qemu-server.conf", "qemu-server.conf.blob", "qemu-server.conf", ARCHIVE_BLOB },
		{ "index.json", "index.json.blob", "index.json", ARCHIVE_BLOB },
		{ "rsa-encrypted.key", "rsa-encrypted.key.blob", "rsa-encrypted.key", ARCHIVE_BLOB },
		{ "client.log", "client.log.blob", "client.log", ARCHIVE_BLOB },
		{ "client.log.blob", "client.log.blob", "client.log", ARCHIVE_BLOB },
		{ "x.img.blob", "x.img.blob", "x.img", ARCHIVE_BLOB },
		{ "x.pxar.fidx", "x.pxar.fidx", "x.pxar", ARCHIVE_FIXED },
		{ "x.img.didx", "x.img.didx", "x.img", ARCHIVE_DYNAMIC },
		{ "a.img.img", "a.img.img.fidx", "a.img.img", ARCHIVE_IMAGE },
	};
	char name[ARCHIVE_NAME_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i].name, archive_server_name(rows[i].name, name, &err), &err, 0, NULL);
		assert_string_equal(name, rows[i].server_name);
		assert_int_equal(archive_kind_of(name), rows[i].kind);
		archive_user_name(rows[i].server_name, name);
		assert_string_equal(name, rows[i].user_name);
	}
}

static void refuses_names_that_are_no_archive(void **state)
{
	static const char *const rows[] = {
		"", "drive", "img", ".img", ".img.fidx", "drive.IMG", "drive.img ", "drive.img/", "a/drive.img",
		"../drive.img", "-drive.img", "drive.img.fidx.tmp", "drive.img.tmp_fidx", "drive.txt", "owner",
		"drive.img\n", "drive.", "a.fidxx",
	};
	char name[ARCHIVE_NAME_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i], archive_server_name(rows[i], name, &err), &err, -EINVAL, "is no archive name");
	}
}

static void knows_what_is_not_an_archive(void **state)
{
	static const char *const rows[] = {
		"", ".protected", "notes", "x.tmp_fidx", "x.tmp_didx", "x.img", ".fidx", ".didx", ".blob", "fidx",
		"x.fidx.bad", "index.json.blob.tmp_Ab12Cd",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(archive_kind_of(rows[i]), ARCHIVE_OTHER);
}

static void bounds_the_length_of_an_archive_name(void **state)
{
	static const char *const endings[] = { ".img", ".img.fidx" };
	size_t most = SAFE_ID_MAX - strlen(".img.fidx");
	char name[ARCHIVE_NAME_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		assert_int_equal(archive_server_name(with_as("", most, endings[i]), name, NULL), 0);
		assert_int_equal(strlen(name), SAFE_ID_MAX);
		assert_int_equal(archive_server_name(with_as("", most + 1, endings[i]), name, NULL), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(knows_safe_ids),
		TEST(knows_the_three_types),
		TEST(checks_namespaces),
		TEST(bounds_the_length_of_a_namespace),
		TEST(parses_groups_and_writes_them_back),
		TEST(bounds_the_length_of_an_id),
		TEST(shows_a_strange_name_without_its_control_characters),
		TEST(reads_and_writes_times_like_a_second_implementation),
		TEST(refuses_times_that_nobody_writes_like_that),
		TEST(writes_times_out_of_range_as_the_nearest),
		TEST(parses_snapshots_and_writes_them_back),
		TEST(sorts_snapshots_by_type_then_id_then_time),
		TEST(finds_the_file_that_a_user_means),
		TEST(refuses_names_that_are_no_archive),
		TEST(knows_what_is_not_an_archive),
		TEST(bounds_the_length_of_an_archive_name),
	};
	return RUN_TESTS(tests);
}
