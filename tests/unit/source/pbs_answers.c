/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_answers.h"

#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "format/data.h"
#include "source/dir.h"
#include "unit.h"
#include "util/buf.h"

/* What a text of exactly that length, with nothing behind it, gives. */
static int snapshots_of(const char *text, struct snapshot_list *ret, struct err *err)
{
	CLEANUP(freep) uint8_t *copy = exact_copy(text, strlen(text));
	return pbs_answer_snapshots((char *)copy, strlen(text), ret, err);
}

static int groups_of(const char *text, struct group_list *ret, struct err *err)
{
	CLEANUP(freep) uint8_t *copy = exact_copy(text, strlen(text));
	return pbs_answer_groups((char *)copy, strlen(text), ret, err);
}

static int namespaces_of(const char *text, struct strv *ret, struct err *err)
{
	CLEANUP(freep) uint8_t *copy = exact_copy(text, strlen(text));
	return pbs_answer_namespaces((char *)copy, strlen(text), ret, err);
}

/* -- the same datastore, seen from both sides -- */

static struct source *open_golden(void)
{
	struct source *source = NULL;
	assert_int_equal(source_dir_open(TESTS_DIR "/golden/datastore", &source, NULL), 0);
	return source;
}

static const struct snapshot_info *find(const struct snapshot_list *list, const struct snapshot *snapshot)
{
	for (size_t i = 0; i < list->n; i++)
		if (snapshot_compare(&list->items[i].snapshot, snapshot) == 0)
			return &list->items[i];
	fail_msg("it lists no snapshot of %s", snapshot->group.id);
	return NULL;
}

/* The size of an index is that of what it is about, for the server. */
static void expect_same_files(const struct snapshot_info *a, const struct snapshot_info *b)
{
	assert_int_equal(a->n_files, b->n_files);
	for (size_t i = 0; i < a->n_files; i++) {
		assert_string_equal(a->files[i].name, b->files[i].name);
		if (archive_kind_of(a->files[i].name) == ARCHIVE_BLOB)
			assert_int_equal(a->files[i].size, b->files[i].size);
		else
			assert_true(b->files[i].size > a->files[i].size);
	}
}

static void lists_snapshots_as_a_directory_does(void **state)
{
	size_t len;
	CLEANUP(freep) char *text = test_file("vectors/api/snapshots.json", &len);
	CLEANUP(source_closep) struct source *source = open_golden();
	CLEANUP(snapshot_list_deinit) struct snapshot_list there = SNAPSHOT_LIST_EMPTY, here = SNAPSHOT_LIST_EMPTY;
	struct err err = ERR_NONE;
	expect("snapshots", pbs_answer_snapshots(text, len, &there, &err), &err, 0, NULL);
	expect("snapshots", source_list_snapshots(source, "", NULL, &here, &err), &err, 0, NULL);
	assert_int_equal(there.n, 12);
	assert_int_equal(here.n, 7);
	for (size_t i = 0; i < here.n; i++) {
		const struct snapshot_info *info = find(&there, &here.items[i].snapshot);
		assert_true(info->is_finished && here.items[i].is_finished);
		assert_int_equal(info->is_protected, here.items[i].is_protected);
		expect_same_files(&here.items[i], info);
	}
}

static const struct group_info *find_group(const struct group_list *list, const struct group *group)
{
	for (size_t i = 0; i < list->n; i++)
		if (group_compare(&list->items[i].group, group) == 0)
			return &list->items[i];
	fail_msg("it lists no group %s", group->id);
	return NULL;
}

static void lists_groups_as_a_directory_does(void **state)
{
	size_t len;
	CLEANUP(freep) char *text = test_file("vectors/api/groups.json", &len);
	CLEANUP(source_closep) struct source *source = open_golden();
	CLEANUP(group_list_deinit) struct group_list there = GROUP_LIST_EMPTY, here = GROUP_LIST_EMPTY;
	struct err err = ERR_NONE;
	expect("groups", pbs_answer_groups(text, len, &there, &err), &err, 0, NULL);
	expect("groups", source_list_groups(source, "", &here, &err), &err, 0, NULL);
	assert_int_equal(there.n, 10);
	assert_int_equal(here.n, 7);
	for (size_t i = 0; i < here.n; i++) {
		const struct group_info *a = &here.items[i], *b = find_group(&there, &a->group);
		assert_string_equal(b->owner, a->owner);
		assert_true(b->has_finished && a->has_finished && !pbs_group_is_open(b));
		assert_int_equal(b->last_time, a->last_time);
		/* of two groups the newer one of two snapshots was taken */
		assert_int_equal(b->n_snapshots, a->n_snapshots + (strcmp(a->group.id, "100") == 0 ||
								    strcmp(a->group.id, "200") == 0));
	}
}

static void lists_namespaces_as_a_directory_does(void **state)
{
	size_t len;
	CLEANUP(freep) char *text = test_file("vectors/api/namespaces.json", &len);
	CLEANUP(source_closep) struct source *source = open_golden();
	CLEANUP(strv_deinit) struct strv there = STRV_EMPTY, here = STRV_EMPTY;
	assert_int_equal(pbs_answer_namespaces(text, len, &there, NULL), 0);
	assert_int_equal(source_list_namespaces(source, &here, NULL), 0);
	assert_int_equal(here.n, 2);
	assert_int_equal(there.n, here.n);
	for (size_t i = 0; i < here.n; i++)
		assert_string_equal(there.items[i], here.items[i]);
}

/* -- namespaces -- */

static void sorts_parents_before_children(void **state)
{
	static const char *const sorted[] = { "a", "a/b", "a/b/c", "a/b-c", "a-b", "a-b/c", "b" };
	CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
	struct err err = ERR_NONE;
	int r = namespaces_of("{\"data\":[{\"ns\":\"b\"},{\"ns\":\"a-b/c\"},{\"ns\":\"a/b-c\"},{\"ns\":\"\"},{\"ns\":\"a\"},"
			      "{\"ns\":\"a/b/c\",\"comment\":\"x\"},{\"ns\":\"a-b\"},{\"ns\":\"a/b\"},{\"ns\":\"a\"}]}",
			      &list, &err);
	expect("namespaces", r, &err, 0, NULL);
	assert_int_equal(list.n, ARRAY_LEN(sorted));
	for (size_t i = 0; i < list.n; i++)
		assert_string_equal(list.items[i], sorted[i]);
}

/* -- groups -- */

#define GROUP(more) "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":\"100\"," more "}]}"

static void says_what_is_known_of_a_group(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		int64_t last;
		bool has_finished, is_open;
		const char *owner;
	} rows[] = {
		{ GROUP("\"backup-count\":3,\"last-backup\":7,\"files\":[\"a.blob\",\"index.json.blob\"],\"owner\":\"u@pam!t\""),
		  3, 7, true, false, "u@pam!t" },
		{ GROUP("\"backup-count\":3,\"last-backup\":7,\"files\":[\"a.blob\"],\"owner\":null"), 3, 7, false, true, NULL },
		{ GROUP("\"backup-count\":1,\"last-backup\":7,\"files\":[],\"comment\":\"\",\"owner\":\"\""), 1, 7, false, false, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
		struct err err = ERR_NONE;
		expect(rows[i].text, groups_of(rows[i].text, &list, &err), &err, 0, NULL);
		assert_int_equal(list.n, 1);
		const struct group_info *info = list.items;
		assert_int_equal(info->group.type, BACKUP_VM);
		assert_string_equal(info->group.id, "100");
		assert_int_equal(info->n_snapshots, rows[i].n);
		assert_int_equal(info->last_time, rows[i].last);
		assert_int_equal(info->has_finished, rows[i].has_finished);
		assert_int_equal(pbs_group_is_open(info), rows[i].is_open);
		assert_true(rows[i].owner ? strcmp(info->owner, rows[i].owner) == 0 : !info->owner);
	}
}

static void settles_a_group_by_its_snapshots(void **state)
{
	static const struct {
		const char *snapshots; /* time, and 'f' = finished */
		int64_t last;
		bool has_finished;
	} rows[] = {
		{ "", 0, false }, { "5", 5, false }, { "5f", 5, true }, { "3f 9 5f", 5, true }, { "9 5f 3f", 5, true },
		{ "5f 9 3f", 5, true }, { "3 9 5", 9, false }, { "9f 5 3f", 9, true }, { "-7 -9", -7, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct snapshot_info items[3] = { 0 };
		struct snapshot_list list = { .items = items };
		struct group_info info = { .n_snapshots = 7, .last_time = 100 };
		for (const char *s = rows[i].snapshots; *s; s += *s == ' ') {
			struct snapshot_info *it = &items[list.n++];
			char *end;
			it->snapshot.time = strtol(s, &end, 10);
			it->is_finished = *end == 'f';
			s = end + it->is_finished;
		}
		pbs_group_settle(&info, &list);
		assert_int_equal(info.n_snapshots, list.n);
		assert_int_equal(info.last_time, rows[i].last);
		assert_int_equal(info.has_finished, rows[i].has_finished);
	}
}

/* -- snapshots -- */

#define SNAPSHOT(more) "{\"data\":[{\"backup-type\":\"ct\",\"backup-id\":\"1\",\"backup-time\":1," more "}]}"

static void takes_a_snapshot_with_all_its_members(void **state)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct err err = ERR_NONE;
	int r = snapshots_of(" {\"status\":200,\"success\":true, \"data\" : [ {\"verification\":{\"upid\":\"UPID:x\\\\x2da,]}\","
			     "\"state\":\"ok\"},\"comment\":\"\\\"]},{[\",\"backup-type\":\"host\",\"backup-id\":\"h\","
			     "\"backup-time\":253402300799,\"protected\":true,\"size\":9,\"files\":["
			     "{\"filename\":\"z.img.fidx\",\"crypt-mode\":\"none\",\"size\":9223372036854775807},"
			     "{\"filename\":\"index.json.blob\",\"size\":1},{\"filename\":\"client.log.blob\"}]} ] }\n",
			     &list, &err);
	expect("snapshot", r, &err, 0, NULL);
	assert_int_equal(list.n, 1);
	const struct snapshot_info *info = list.items;
	assert_int_equal(info->snapshot.group.type, BACKUP_HOST);
	assert_string_equal(info->snapshot.group.id, "h");
	assert_int_equal(info->snapshot.time, 253402300799);
	assert_true(info->is_protected && info->is_finished);
	assert_int_equal(info->n_files, 3);
	assert_string_equal(info->files[0].name, "client.log.blob");
	assert_int_equal(info->files[0].size, 0);
	assert_string_equal(info->files[2].name, "z.img.fidx");
	assert_int_equal(info->files[2].size, INT64_MAX);
}

static void calls_only_those_with_a_manifest_finished(void **state)
{
	static const struct {
		const char *text;
		bool is_finished;
		size_t n_files;
	} rows[] = {
		{ SNAPSHOT("\"files\":[]"), false, 0 },
		{ SNAPSHOT("\"files\":[{\"filename\":\"a.img.fidx\"}],\"protected\":null"), false, 1 },
		{ SNAPSHOT("\"files\":[{\"filename\":\"index.json.blob\"}]"), false, 1 },
		{ SNAPSHOT("\"files\":[{\"filename\":\"index.json.blob\",\"size\":null}]"), false, 1 },
		{ SNAPSHOT("\"files\":[{\"filename\":\"index.json.blob\",\"size\":0}]"), true, 1 },
		{ SNAPSHOT("\"files\":[{\"filename\":\"index.json.blob.blob\",\"size\":1}]"), false, 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
		struct err err = ERR_NONE;
		expect(rows[i].text, snapshots_of(rows[i].text, &list, &err), &err, 0, NULL);
		assert_int_equal(list.n, 1);
		assert_false(list.items[0].is_protected);
		assert_int_equal(list.items[0].is_finished, rows[i].is_finished);
		assert_int_equal(list.items[0].n_files, rows[i].n_files);
	}
}

static void keeps_one_of_a_name_listed_twice(void **state)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct err err = ERR_NONE;
	int r = snapshots_of(SNAPSHOT("\"files\":[{\"filename\":\"b.blob\",\"size\":1},{\"filename\":\"a.blob\"},"
				      "{\"filename\":\"b.blob\",\"size\":3},{\"filename\":\"b.blob\"}]"), &list, &err);
	expect("files", r, &err, 0, NULL);
	assert_int_equal(list.items[0].n_files, 2);
	assert_string_equal(list.items[0].files[0].name, "a.blob");
	assert_string_equal(list.items[0].files[1].name, "b.blob");
	assert_int_equal(list.items[0].files[1].size, 3);
}

/* -- bad answers -- */

#define LONG_ID "0123456789012345678901234567890123456789012345678901234567890123"

static void leaves_out_names_out_of_grammar(void **state)
{
	static const char *const namespaces[] = { ".", "../x", "a//b", "/a", "a/", "a b", "a\\u001bb", "1/2/3/4/5/6/7/8", "-a" };
	static const char *const groups[] = {
		"\"VM\",\"backup-id\":\"1\"", "\"lxc\",\"backup-id\":\"1\"", "\"\",\"backup-id\":\"1\"", "\"vm\",\"backup-id\":\"\"",
		"\"vm\",\"backup-id\":\"../1\"", "\"vm\",\"backup-id\":\"a/b\"", "\"vm\",\"backup-id\":\".x\"",
		"\"vm\",\"backup-id\":\"" LONG_ID LONG_ID LONG_ID LONG_ID "\"", "\"vm\",\"backup-id\":\"a\\u000a\"",
	};
	static const char *const files[] = { "a", "a.txt", ".fidx", "../a.blob", "a/b.blob", "-.blob", "", "a\\u0007.blob", LONG_ID LONG_ID LONG_ID LONG_ID ".blob" };
	static const char *const times[] = { "253402300800", "-62167219201", "9223372036854775807", "-9223372036854775808" };
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	struct err err = ERR_NONE;
	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
		CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
		text.len = 0;
		assert_int_equal(buf_printf(&text, NULL, "{\"data\":[{\"ns\":\"%s\"},{\"ns\":\"ok\"}]}", namespaces[i]), 0);
		expect(text.data, namespaces_of(text.data, &list, &err), &err, 0, NULL);
		assert_int_equal(list.n, 1);
		assert_string_equal(list.items[0], "ok");
	}
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
		CLEANUP(snapshot_list_deinit) struct snapshot_list snapshots = SNAPSHOT_LIST_EMPTY;
		text.len = 0;
		assert_int_equal(buf_printf(&text, NULL, "{\"data\":[{\"backup-type\":%s,\"backup-count\":1,\"last-backup\":1,"
					    "\"backup-time\":1,\"files\":[]}]}", groups[i]), 0);
		expect(text.data, groups_of(text.data, &list, &err), &err, 0, NULL);
		expect(text.data, snapshots_of(text.data, &snapshots, &err), &err, 0, NULL);
		assert_int_equal(list.n + snapshots.n, 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
		text.len = 0;
		assert_int_equal(buf_printf(&text, NULL, SNAPSHOT("\"files\":[{\"filename\":\"%s\",\"size\":1}]"), files[i]), 0);
		expect(text.data, snapshots_of(text.data, &list, &err), &err, 0, NULL);
		assert_int_equal(list.items[0].n_files, 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
		text.len = 0;
		assert_int_equal(buf_printf(&text, NULL, "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"backup-time\":%s,"
					    "\"files\":[]}]}", times[i]), 0);
		expect(text.data, snapshots_of(text.data, &list, &err), &err, 0, NULL);
		assert_int_equal(list.n, 0);
	}
}

static void refuses_rows_that_make_no_sense(void **state)
{
	static const struct {
		const char *text, *key;
	} snapshots[] = {
		{ "{\"data\":[{}]}", "backup-type" },
		{ "{\"data\":[{\"backup-type\":1,\"backup-id\":\"1\"}]}", "backup-type" },
		{ "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":100}]}", "backup-id" },
		{ "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":\"1\\u0000\"}]}", "backup-id" },
		{ "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":\"1\"}]}", "backup-time" },
		{ "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"backup-time\":\"1\"}]}", "backup-time" },
		{ "{\"data\":[{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"backup-time\":1.0}]}", "backup-time" },
		{ SNAPSHOT("\"x\":0"), "files" },
		{ SNAPSHOT("\"files\":null"), "files" },
		{ SNAPSHOT("\"files\":{}"), "files" },
		{ SNAPSHOT("\"files\":[1]"), "filename" },
		{ SNAPSHOT("\"files\":[\"a.blob\"]"), "filename" },
		{ SNAPSHOT("\"files\":[{\"filename\":null}]"), "filename" },
		{ SNAPSHOT("\"files\":[{\"filename\":\"a.blob\",\"size\":-1}]"), "size" },
		{ SNAPSHOT("\"files\":[{\"filename\":\"a.blob\",\"size\":\"1\"}]"), "size" },
		{ SNAPSHOT("\"files\":[{\"filename\":\"a.blob\",\"size\":1e3}]"), "size" },
		{ SNAPSHOT("\"files\":[],\"protected\":1"), "protected" },
	}, groups[] = {
		{ GROUP("\"last-backup\":1,\"files\":[]"), "backup-count" },
		{ GROUP("\"backup-count\":-1,\"last-backup\":1,\"files\":[]"), "backup-count" },
		{ GROUP("\"backup-count\":1,\"files\":[]"), "last-backup" },
		{ GROUP("\"backup-count\":1,\"last-backup\":253402300800,\"files\":[]"), "last-backup" },
		{ GROUP("\"backup-count\":1,\"last-backup\":1"), "files" },
		{ GROUP("\"backup-count\":1,\"last-backup\":1,\"files\":[{}]"), "files" },
		{ GROUP("\"backup-count\":1,\"last-backup\":1,\"files\":[],\"owner\":1"), "owner" },
	};
	struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct group_list group_list = GROUP_LIST_EMPTY;
	struct strv names = STRV_EMPTY;
	struct err err = ERR_NONE;
	char words[64];
	for (size_t i = 0; i < ARRAY_LEN(snapshots); i++) {
		(void) snprintf(words, sizeof words, "a row whose '%s'", snapshots[i].key);
		expect(snapshots[i].text, snapshots_of(snapshots[i].text, &list, &err), &err, -EPROTO, words);
	}
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		(void) snprintf(words, sizeof words, "a row whose '%s'", groups[i].key);
		expect(groups[i].text, groups_of(groups[i].text, &group_list, &err), &err, -EPROTO, words);
	}
	expect("ns", namespaces_of("{\"data\":[{\"ns\":null}]}", &names, &err), &err, -EPROTO, "a row whose 'ns'");
	assert_true(!list.items && !group_list.items && !names.items);
}

/* Good rows before the bad place do not make a shorter list of it. */
#define ROWS "{\"ns\":\"a\"},{\"ns\":\"b\"}"

static void refuses_what_is_no_list(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "", "not valid JSON" }, { "null", "not valid JSON" }, { "[" ROWS "]", "no JSON object" },
		{ "no such datastore", "not valid JSON" }, { "<html>", "not valid JSON" },
		{ "{}", "no list of namespaces" }, { "{\"data\":null}", "no list of" }, { "{\"data\":{}}", "no list of" },
		{ "{\"data\":\"[]\"}", "no list of" }, { "{\"Data\":[]}", "no list of" }, { "{\"x\":{\"data\":[" ROWS "]}}", "no list of" },
		{ "{\"data\":[" ROWS "]", "not valid JSON" }, { "{\"data\":[" ROWS "]}x", "not valid JSON" },
		{ "{\"data\":[" ROWS "]]}", "not valid JSON" }, { "{\"data\":[" ROWS "}}", "not valid JSON" },
		{ "{\"data\":[" ROWS, "not valid JSON" }, { "{\"data\":[" ROWS ",", "not valid JSON" }, { "{\"data\":[" ROWS ",{\"ns", "not valid JSON" },
		{ "{\"data\":[" ROWS "," ROWS "", "not valid JSON" },
		{ "{\"data\":[" ROWS ",]}", "not valid JSON" }, { "{\"data\":[," ROWS "]}", "not valid JSON" },
		{ "{\"data\":[" ROWS " " ROWS "]}", "not valid JSON" }, { "{\"data\":[" ROWS ",1]}", "not valid JSON" },
		{ "{\"data\":[" ROWS ",[]]}", "no JSON object" }, { "{\"data\":[" ROWS ",{\"ns\":\"a\",\"ns\":\"b\"}]}", "the same key twice" },
		{ "{\"data\":[" ROWS ",{\"ns\":\"\xff\"}]}", "not valid JSON" }, { "{\"data\":[" ROWS ",{\"n\":9223372036854775808}]}", "not valid JSON" },
		{ "{\"data\":[" ROWS "],\"data\":[]}", "the same key twice" }, { "{\"data\":null,\"data\":[" ROWS "]}", "the same key twice" },
		{ "{\"data\":[" ROWS "],x}", "not valid JSON" }, { "{\"x\":[1}],\"data\":[" ROWS "]}", "not valid JSON" },
		{ "{\"d\\u0061ta\":[" ROWS "]}", "not valid JSON" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct strv list = STRV_EMPTY;
		struct err err = ERR_NONE;
		expect(rows[i].text, namespaces_of(rows[i].text, &list, &err), &err, -EPROTO, rows[i].words);
		assert_true(!list.items && !strchr(err.msg, '\n'));
	}
}

/* -- bounds -- */

static void takes_an_empty_list(void **state)
{
	CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
	assert_int_equal(namespaces_of("{\"data\":[]}", &list, NULL), 0);
	assert_int_equal(namespaces_of("{\"data\":[ ],\"x\":1}", &list, NULL), 0);
	assert_int_equal(list.n, 0);
}

/* {"data":[ROW,ROW…]} */
static void fill(struct buf *text, const char *row, size_t n)
{
	assert_int_equal(buf_puts(text, "{\"data\":[", NULL), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_printf(text, NULL, "%s%s", i ? "," : "", row), 0);
	assert_int_equal(buf_puts(text, "]}", NULL), 0);
}

/* More values than would be parsed at once. */
static void takes_a_store_of_twenty_thousand_snapshots(void **state)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	struct err err = ERR_NONE;
	fill(&text, "{\"backup-type\":\"vm\",\"backup-id\":\"100\",\"backup-time\":1717286400,\"files\":["
	     "{\"filename\":\"drive-scsi0.img.fidx\",\"crypt-mode\":\"none\",\"size\":67108864},"
	     "{\"filename\":\"drive-scsi1.img.fidx\",\"crypt-mode\":\"none\",\"size\":67108864},"
	     "{\"filename\":\"qemu-server.conf.blob\",\"crypt-mode\":\"none\",\"size\":163},"
	     "{\"filename\":\"client.log.blob\"},{\"filename\":\"index.json.blob\",\"crypt-mode\":\"none\",\"size\":496}],"
	     "\"size\":134218387,\"owner\":\"root@pam\",\"protected\":false}", 20000);
	expect("20000", pbs_answer_snapshots(text.data, text.len, &list, &err), &err, 0, NULL);
	assert_int_equal(list.n, 20000);
	assert_int_equal(list.items[19999].n_files, 5);
}

static void bounds_what_it_makes_of_an_answer(void **state)
{
	CLEANUP(buf_deinit) struct buf files = BUF_EMPTY, row = BUF_EMPTY, text = BUF_EMPTY, beside = BUF_EMPTY;
	struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct err err = ERR_NONE;
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buf_printf(&files, NULL, "%s{\"filename\":\"x\"}", i ? "," : ""), 0);
	assert_int_equal(buf_printf(&row, NULL, "{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"backup-time\":1,\"files\":[%s]}",
				    files.data), 0);
	fill(&text, row.data, 10);
	expect("files", pbs_answer_snapshots(text.data, text.len, &list, &err), &err, -EMSGSIZE,
	       "the server's list of snapshots is too long: more than 1000000 entries");

	text.len = row.len = 0;
	assert_int_equal(buf_printf(&row, NULL, "{\"x\":\"%04194304d\"}", 0), 0);
	fill(&text, row.data, 1);
	expect("row", pbs_answer_snapshots(text.data, text.len, &list, &err), &err, -EPROTO, "longer than 4194304 bytes");

	assert_int_equal(buf_printf(&beside, NULL, "{\"data\":[],\"x\":\"%065536d\"}", 0), 0);
	expect("beside", pbs_answer_snapshots(beside.data, beside.len, &list, &err), &err, -EPROTO,
	       "more than 65536 bytes beside");
	assert_null(list.items);
}

/* -- log-in -- */

#define TICKET "PBS:root@pam:65937B5E::AbC+/d=="

static void gives_the_ticket_of_a_log_in(void **state)
{
	static const char *const rows[] = {
		"{\"data\":{\"CSRFPreventionToken\":\"65937B5E:xyz\",\"ticket\":\"" TICKET "\",\"username\":\"root@pam\"}}",
		"{\"data\":{\"username\":\"root@pam\",\"ticket\":\"" TICKET "\",\"CSRFPreventionToken\":\"65937B5E:xyz\"},"
		"\"status\":200,\"success\":true}",
		" { \"ticket\" : \"outside\", \"data\" : { \"x\":{\"ticket\":\"deeper\"}, \"ticket\" : \"" TICKET "\" ,"
		"\"CSRFPreventionToken\"\n:\"65937B5E:xyz\"} } ",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(pbs_ticket_deinit) struct pbs_ticket ticket = PBS_TICKET_NONE;
		struct err err = ERR_NONE;
		CLEANUP(freep) uint8_t *text = exact_copy(rows[i], strlen(rows[i]));
		expect(rows[i], pbs_answer_ticket((char *)text, strlen(rows[i]), 42, &ticket, &err), &err, 0, NULL);
		assert_string_equal((char *)ticket.ticket.data, TICKET);
		assert_int_equal(ticket.ticket.len, strlen(TICKET));
		assert_string_equal((char *)ticket.csrf.data, "65937B5E:xyz");
		assert_int_equal(ticket.since, 42);
	}
}

static void refuses_an_answer_without_a_ticket(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *words;
	} rows[] = {
		{ "{\"data\":{\"ticket\":\"PBS:!tfa!%7B%22totp%22%7D:65937B5E::c2VjcmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}",
		  -EACCES, "two-factor accounts need an API token" },
		{ "{\"data\":{\"ticket\":\"PBS:!tfa!c2VjcmV0\"}}", -EACCES, "two-factor accounts need an API token" },
		{ "", -EPROTO, "no 'ticket'" },
		{ "c2VjcmV0", -EPROTO, "no 'ticket'" },
		{ "{\"data\":null}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":[\"c2VjcmV0\"]}", -EPROTO, "no 'ticket'" },
		{ "{\"ticket\":\"c2VjcmV0\"}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket-info\":\"c2VjcmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":null,\"CSRFPreventionToken\":\"c2VjcmV0\"}}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":\"\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\\u000a\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":\"c2Vj\ncmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\xc3\xbc\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0", -EPROTO, "no 'ticket'" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\"}}", -EPROTO, "no 'CSRFPreventionToken'" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\",\"CSRFPreventionToken\":1}}", -EPROTO, "no 'CSRFPreventionToken'" },
		/* found where they would be, but this is no JSON */
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\"}", -EPROTO, "not valid JSON" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\"}}x", -EPROTO, "not valid JSON" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\",\"ticket\":\"c2VjcmV0\"}}", -EPROTO,
		  "the same key twice" },
		{ "{\"data\":{\"ticket\":\"c2VjcmV0\",\"CSRFPreventionToken\":\"c2VjcmV0\"},\"data\":null}", -EPROTO,
		  "the same key twice" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pbs_ticket ticket = PBS_TICKET_NONE;
		struct err err = ERR_NONE;
		int r = pbs_answer_ticket(rows[i].text, strlen(rows[i].text), 42, &ticket, &err);
		expect(rows[i].text, r, &err, rows[i].r, rows[i].words);
		assert_true(!ticket.ticket.data && !ticket.csrf.data);
		assert_null(strstr(err.msg, "c2V"));
	}
}

/* Given back by the JSON library, with the letters of a secret in it? */
static void free_clean(void *block)
{
	if (block) {
		assert_null(memmem(block, malloc_usable_size(block), "AbC+", 4));
		assert_null(memmem(block, malloc_usable_size(block), "xYz", 3));
	}
	free(block);
}

static void leaves_no_copy_of_a_ticket_behind(void **state)
{
	static const char text[] = "{\"data\":{\"ticket\":\"" TICKET "\",\"CSRFPreventionToken\":\"65937B5E:xYz\"}}";
	CLEANUP(pbs_ticket_deinit) struct pbs_ticket ticket = PBS_TICKET_NONE;
	json_set_alloc_funcs(malloc, free_clean);
	int r = pbs_answer_ticket(text, sizeof text - 1, 0, &ticket, NULL);
	json_set_alloc_funcs(malloc, free);
	assert_int_equal(r, 0);
	assert_string_equal((char *)ticket.ticket.data, TICKET);
}

static void bounds_the_ticket(void **state)
{
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	struct pbs_ticket ticket = PBS_TICKET_NONE;
	struct err err = ERR_NONE;
	assert_int_equal(buf_printf(&text, NULL, "{\"data\":{\"ticket\":\"%05000d\",\"CSRFPreventionToken\":\"x\"}}", 0), 0);
	expect("ticket", pbs_answer_ticket(text.data, text.len, 0, &ticket, &err), &err, -EPROTO, "no 'ticket'");
	assert_int_equal(buf_printf(&text, NULL, "%070000d", 0), 0);
	expect("answer", pbs_answer_ticket(text.data, text.len, 0, &ticket, &err), &err, -EPROTO, "longer than 65536");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists_snapshots_as_a_directory_does),
		TEST(lists_groups_as_a_directory_does),
		TEST(lists_namespaces_as_a_directory_does),
		TEST(sorts_parents_before_children),
		TEST(says_what_is_known_of_a_group),
		TEST(settles_a_group_by_its_snapshots),
		TEST(takes_a_snapshot_with_all_its_members),
		TEST(calls_only_those_with_a_manifest_finished),
		TEST(keeps_one_of_a_name_listed_twice),
		TEST(leaves_out_names_out_of_grammar),
		TEST(refuses_rows_that_make_no_sense),
		TEST(refuses_what_is_no_list),
		TEST(takes_an_empty_list),
		TEST(takes_a_store_of_twenty_thousand_snapshots),
		TEST(bounds_what_it_makes_of_an_answer),
		TEST(gives_the_ticket_of_a_log_in),
		TEST(refuses_an_answer_without_a_ticket),
		TEST(leaves_no_copy_of_a_ticket_behind),
		TEST(bounds_the_ticket),
	};
	return RUN_TESTS(tests);
}
