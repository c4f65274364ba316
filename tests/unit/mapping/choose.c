/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/choose.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/data.h"
#include "scratch.h"
#include "source/dir.h"
#include "store.h"
#include "unit.h"

#define NEWEST "vm/100/2024-06-03T00:00:00Z"
#define OLDER "vm/100/2024-06-01T00:00:00Z"
#define UNFINISHED "vm/100/2024-06-04T00:00:00Z"
#define GROUPS "host/plain|vm/100|vm/200|vm/201|vm/202|vm/203|vm/204|vm/300"

static struct source *source;

static int open_to_all(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return type == FTW_D ? chmod(path, 0755) : 0;
}

static int begin(void **state)
{
	if (scratch_begin(state))
		return -1;
	store_copy();
	scratch_puts("store/" OLDER "/index.json.blob", "here is what makes it finished");
	scratch_puts("store/" UNFINISHED "/drive-scsi0.img.fidx", "");
	scratch_puts("store/vm/300/2024-06-01T00:00:00Z/drive-scsi0.img.fidx", "");
	return nftw("store", open_to_all, 16, FTW_PHYS) || source_dir_open("./store", &source, NULL);
}

static int end(void **state)
{
	source_close(source);
	return scratch_end(state);
}

static void takes_the_newest_finished_snapshot_of_a_group_and_says_so(void **state)
{
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	struct repository_options options = store_options(&said);
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	struct snapshot snapshot;
	char text[SNAPSHOT_TEXT_SIZE];
	assert_int_equal(choose_snapshot(&options, source, "", "vm/100", &snapshot, &why), 0);
	snapshot_format(&snapshot, text);
	assert_string_equal(text, NEWEST);
	assert_string_equal(joined(&said), "skipped " UNFINISHED ": it is not finished|snapshot " NEWEST);
	assert_int_equal(choose_open(source, "", &snapshot, &why), 0);
}

static void takes_a_snapshot_as_it_was_written(void **state)
{
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	struct repository_options options = store_options(&said);
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	struct snapshot snapshot;
	assert_int_equal(choose_snapshot(&options, source, "", OLDER, &snapshot, &why), 0);
	assert_string_equal(snapshot.group.id, "100");
	assert_int_equal(snapshot.time, 1717200000);
	assert_int_equal(choose_open(source, "", &snapshot, &why), 0);
	assert_int_equal(said.n, 0);
}

static void says_what_there_is_instead_of_a_snapshot(void **state)
{
	static const struct {
		const char *ns, *text;
		int r;
		const char *words, *candidates;
	} rows[] = {
		{ "", "vm/999", -ENOENT, "there is no group vm/999; there is: host/plain, vm/100", GROUPS },
		{ "", "ct/100", -ENOENT, "there is no group ct/100", GROUPS },
		{ "a", "vm/100", -ENOENT, "there is no group vm/100, and no other group", "" },
		{ "a/b", "vm/200", -ENOENT, "there is no group vm/200; there is: vm/100", "vm/100" },
		{ "a/c", "vm/100", -ENOENT, "there is no namespace a/c; there is: a, a/b", "a|a/b" },
		{ "", "vm/300", -ENOENT, "group vm/300 has no finished snapshot", "" },
		{ "", "vm/100/2024-06-05T00:00:00Z", -ENOENT,
		  "there is no snapshot vm/100/2024-06-05T00:00:00Z; there is: " NEWEST ", " OLDER,
		  NEWEST "|" OLDER },
		{ "", "vm/999/2024-06-05T00:00:00Z", -ENOENT, "there is no group vm/999", GROUPS },
		{ "x", NEWEST, -ENOENT, "there is no namespace x", "a|a/b" },
		{ "a/b", NEWEST, -ENOENT, "there is: vm/100/2024-06-02T00:00:07Z",
		  "vm/100/2024-06-02T00:00:07Z" },
		{ "", UNFINISHED, -EAGAIN, "is not finished", "" },
		{ "", "vm", -EINVAL, NULL, "" },
		{ "", "vm/", -EINVAL, NULL, "" },
		{ "", "", -EINVAL, NULL, "" },
		{ "", "vm/..", -EINVAL, NULL, "" },
		{ "", "vx/100", -EINVAL, NULL, "" },
		{ "", "vm/100/", -EINVAL, NULL, "" },
		{ "", "vm/100/today", -EINVAL, NULL, "" },
		{ "", NEWEST "/drive-scsi0.img", -EINVAL, NULL, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		struct repository_options options = store_options(&said);
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		struct snapshot snapshot;
		int r = choose_snapshot(&options, source, rows[i].ns, rows[i].text, &snapshot, &why);
		if (r == 0)
			r = choose_open(source, rows[i].ns, &snapshot, &why);
		expect(rows[i].text, r, &why.err, rows[i].r, rows[i].words);
		assert_int_equal(why.err.code, r);
		assert_string_equal(joined(&why.candidates), rows[i].candidates);
	}
}

/* What cannot be read may be the newest: an older one never stands for it.  As somebody without rights. */
static void says_when_the_newest_snapshot_cannot_be_read(void **state)
{
	static const struct {
		const char *closed;
		mode_t mode;
		int r;
		const char *words, *said;
	} rows[] = {
		{ NEWEST, 0, -EACCES, "/" NEWEST ": Permission denied, while looking for the newest snapshot of vm/100",
		  "skipped " UNFINISHED ": it is not finished" },
		{ UNFINISHED, 0, -EACCES, "/" UNFINISHED ": Permission denied, while looking for the newest", "" },
		{ UNFINISHED, 0444, -EACCES, "cannot look at index.json.blob: Permission denied", "" },
		{ "vm/100", 0444, -EACCES,
		  "cannot list a directory: Permission denied, while reading vm/100, while looking", "" },
		{ "vm/100", 0, -EACCES, "cannot open vm/100: Permission denied", "" },
		{ OLDER, 0, 0, NULL, "skipped " UNFINISHED ": it is not finished|snapshot " NEWEST },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		struct repository_options options = store_options(&said);
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		struct snapshot snapshot;
		char path[100];
		(void) snprintf(path, sizeof path, "store/%s", rows[i].closed);
		assert_int_equal(chmod(path, rows[i].mode), 0);
		(void) setfsuid(geteuid() ? geteuid() : 65534);
		int r = choose_snapshot(&options, source, "", "vm/100", &snapshot, &why);
		(void) setfsuid(geteuid());
		assert_int_equal(chmod(path, 0755), 0);
		expect(rows[i].closed, r, &why.err, rows[i].r, rows[i].words);
		assert_string_equal(joined(&said), rows[i].said);
	}
}

/* -- archives -------------------------------------------------------------------------------- */

#define FILE_OF(name)                                                                       \
	"{\"csum\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","     \
	"\"filename\":\"" name "\",\"size\":1}"
#define MANIFEST(files) \
	"{\"backup-id\":\"100\",\"backup-time\":1704164645,\"backup-type\":\"vm\",\"files\":[" files "]}"

static const char of_all_kinds[] =
	MANIFEST(FILE_OF("b.img.fidx") "," FILE_OF("root.pxar.didx") "," FILE_OF("a.img.fidx") "," FILE_OF(
		"raw.fidx") "," FILE_OF("catalog.pcat1.didx") "," FILE_OF("qemu-server.conf.blob"));

static int choose(const char *json, const char *archive, char ret[static ARCHIVE_NAME_SIZE],
		  struct failure *why)
{
	CLEANUP(manifest_freep) struct manifest *manifest = NULL;
	const struct manifest_file *file = NULL;
	assert_int_equal(manifest_parse(json, strlen(json), &manifest, NULL), 0);
	int r = choose_image(manifest, archive, &file, why);
	if (r == 0)
		(void) snprintf(ret, ARCHIVE_NAME_SIZE, "%s", file->name);
	return r;
}

static void takes_an_image_with_or_without_the_server_s_ending(void **state)
{
	static const struct {
		const char *archive, *file;
	} rows[] = {
		{ "a.img", "a.img.fidx" },
		{ "a.img.fidx", "a.img.fidx" },
		{ "b.img", "b.img.fidx" },
		{ "raw.fidx", "raw.fidx" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		char file[ARCHIVE_NAME_SIZE];
		expect(rows[i].archive, choose(of_all_kinds, rows[i].archive, file, &why), &why.err, 0, NULL);
		assert_string_equal(file, rows[i].file);
	}
}

#define IMAGES "a.img|b.img|raw.fidx"

static void says_what_images_there_are_instead(void **state)
{
	static const struct {
		const char *archive;
		int r;
		const char *words;
	} rows[] = {
		{ "c.img", -ENOENT, "there is no archive c.img; there is: a.img" },
		{ "a.img.didx", -EINVAL, "a.img.didx is no disk image; images of this snapshot: a.img" },
		{ "root.pxar", -EISDIR, "root.pxar is a file archive: mount shows it" },
		{ "root.pxar.didx", -EISDIR, "ls, cat and extract" },
		{ "gone.pxar", -EISDIR, "ls, cat and extract" },
		{ "catalog.pcat1", -EINVAL, "is no disk image" },
		{ "qemu-server.conf", -EINVAL, "qemu-server.conf is no disk image; images of this snapshot: a.img" },
		{ "qemu-server.conf.blob", -EINVAL, "is no disk image" },
		{ "index.json", -EINVAL, "images of this snapshot: a.img" },
		{ "a", -EINVAL, "'a' is no archive name" },
		{ "raw", -EINVAL, "images of this snapshot: a.img" },
		{ "", -EINVAL, "images of this snapshot: a.img" },
		{ "../a.img", -EINVAL, "images of this snapshot: a.img" },
		{ "\x1b[m.img", -EINVAL, "\\x1b[m.img" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		char file[ARCHIVE_NAME_SIZE];
		expect(rows[i].archive, choose(of_all_kinds, rows[i].archive, file, &why), &why.err, rows[i].r,
		       rows[i].words);
		assert_string_equal(joined(&why.candidates), IMAGES);
	}
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	char file[ARCHIVE_NAME_SIZE];
	expect("none", choose(MANIFEST(FILE_OF("a.pxar.didx")), "a.img", file, &why), &why.err, -ENOENT,
	       "there is no archive a.img, and no other disk image");
}

/* -- file archives --------------------------------------------------------------------------- */

static const char of_trees[] =
	MANIFEST(FILE_OF("root.ppxar.didx") "," FILE_OF("root.mpxar.didx") "," FILE_OF("etc.pxar.didx") "," FILE_OF(
		"both.pxar.didx") "," FILE_OF("both.mpxar.didx") "," FILE_OF("both.ppxar.didx") "," FILE_OF(
		"half.mpxar.didx") "," FILE_OF("lost.ppxar.didx") "," FILE_OF("a.img.fidx") "," FILE_OF(
		"catalog.pcat1.didx"));

static void takes_a_file_archive_or_the_pair_it_is_kept_in(void **state)
{
	static const struct {
		const char *archive;
		int r;
		const char *meta, *payload;
	} rows[] = {
		{ "etc.pxar", 0, "etc.pxar.didx", NULL },
		{ "etc.pxar.didx", 0, "etc.pxar.didx", NULL },
		{ "root.pxar", 0, "root.mpxar.didx", "root.ppxar.didx" },
		{ "root.pxar.didx", 0, "root.mpxar.didx", "root.ppxar.didx" },
		{ "root.mpxar", 0, "root.mpxar.didx", "root.ppxar.didx" },
		{ "root.ppxar.didx", 0, "root.mpxar.didx", "root.ppxar.didx" },
		{ "both.pxar", 0, "both.pxar.didx", NULL },
		{ "both.mpxar", 0, "both.mpxar.didx", "both.ppxar.didx" },
		{ "half.pxar", -EBADMSG, NULL, NULL },
		{ "half.mpxar", -EBADMSG, NULL, NULL },
		{ "lost.ppxar", -EBADMSG, NULL, NULL },
		{ "etc.mpxar", -ENOENT, NULL, NULL },
		{ "gone.pxar", -ENOENT, NULL, NULL },
		{ "a.img", -EINVAL, NULL, NULL },
		{ "catalog.pcat1", -EINVAL, NULL, NULL },
		{ "root", -EINVAL, NULL, NULL },
		{ "", -EINVAL, NULL, NULL },
		{ "../root.pxar", -EINVAL, NULL, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		CLEANUP(manifest_freep) struct manifest *manifest = NULL;
		struct chosen_tree files;
		assert_int_equal(manifest_parse(of_trees, strlen(of_trees), &manifest, NULL), 0);
		expect(rows[i].archive, choose_tree(manifest, rows[i].archive, &files, &why), &why.err, rows[i].r, NULL);
		if (rows[i].r == -ENOENT || rows[i].r == -EINVAL)
			assert_string_equal(joined(&why.candidates),
					    "both.mpxar|both.pxar|etc.pxar|half.pxar|root.pxar");
		if (rows[i].r < 0)
			continue;
		assert_string_equal(files.meta->name, rows[i].meta);
		assert_int_equal(!files.payload, !rows[i].payload);
		if (files.payload)
			assert_string_equal(files.payload->name, rows[i].payload);
	}
}

static void says_that_there_is_no_file_archive_at_all(void **state)
{
	static const char none[] = MANIFEST(FILE_OF("a.img.fidx"));
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	CLEANUP(manifest_freep) struct manifest *manifest = NULL;
	struct chosen_tree files;
	assert_int_equal(manifest_parse(none, strlen(none), &manifest, NULL), 0);
	expect("none", choose_tree(manifest, "root.pxar", &files, &why), &why.err, -ENOENT,
	       "there is no archive root.pxar, and no other file archive");
}

static void offers_a_file_archive_once(void **state)
{
	static const struct {
		const char *file, *name; /* NULL = none of its own */
	} rows[] = {
		{ "etc.pxar.didx", "etc.pxar" }, { "root.mpxar.didx", "root.pxar" }, { "root.ppxar.didx", NULL },
		{ "a.img.fidx", NULL }, { "catalog.pcat1.didx", NULL }, { "index.json.blob", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[ARCHIVE_NAME_SIZE];
		assert_int_equal(choose_tree_name(rows[i].file, name), rows[i].name != NULL);
		if (rows[i].name)
			assert_string_equal(name, rows[i].name);
	}
}

static void every_candidate_can_be_taken(void **state)
{
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	char file[ARCHIVE_NAME_SIZE];
	assert_int_equal(choose(of_all_kinds, "c.img", file, &why), -ENOENT);
	assert_int_equal(why.candidates.n, 3);
	for (size_t i = 0; i < why.candidates.n; i++) {
		CLEANUP(failure_deinit) struct failure none = FAILURE_NONE;
		expect(why.candidates.items[i], choose(of_all_kinds, why.candidates.items[i], file, &none),
		       &none.err, 0, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_the_newest_finished_snapshot_of_a_group_and_says_so),
		TEST(takes_a_snapshot_as_it_was_written),
		TEST(says_what_there_is_instead_of_a_snapshot),
		TEST(says_when_the_newest_snapshot_cannot_be_read),
		TEST(takes_an_image_with_or_without_the_server_s_ending),
		TEST(says_what_images_there_are_instead),
		TEST(takes_a_file_archive_or_the_pair_it_is_kept_in),
		TEST(says_that_there_is_no_file_archive_at_all),
		TEST(offers_a_file_archive_once),
		TEST(every_candidate_can_be_taken),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
