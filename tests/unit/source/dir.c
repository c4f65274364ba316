/* SPDX-License-Identifier: Apache-2.0 */
#include "source/dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/blob.h"
#include "format/index.h"
#include "store.h"
#include "unit.h"
#include "util/buf.h"
#include "util/bytes.h"
#include "util/file.h"

#define GOLDEN TESTS_DIR "/golden/datastore"
#define DAY(n) "2024-01-0" #n "T00:00:00Z"

static struct source *open_dir(const char *path)
{
	struct source *source = NULL;
	struct err err = ERR_NONE;
	expect(source_dir_open(path, &source, &err), &err, 0, NULL);
	return source;
}

static struct snapshot snapshot_of(const char *text)
{
	struct snapshot snapshot;
	assert_int_equal(snapshot_parse(text, &snapshot, NULL), 0);
	return snapshot;
}

/* -- life -- */

static void opens_only_a_datastore(void **state)
{
	struct store *s = *state;
	const struct {
		const char *path;
		int code;
		const char *words;
	} rows[] = {
		{ "nothing", -ENOENT, "cannot open datastore" },
		{ "file", -ENOTDIR, "cannot open datastore" },
		{ "bare", -ENOENT, "is no datastore: it has no .chunks" },
		{ "odd", -ENOTDIR, ".chunks" },
	};
	put_text(s->top_fd, "file", "");
	put_dir(s->top_fd, "bare");
	put_text(s->top_fd, "odd/.chunks", "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char path[128];
		struct source *source = NULL;
		struct err err = ERR_NONE;
		(void) snprintf(path, sizeof path, "%s/%s", s->top, rows[i].path);
		expect(source_dir_open(path, &source, &err), &err, rows[i].code, rows[i].words);
		assert_null(source);
	}
}

static void knows_its_place_and_its_owner(void **state)
{
	struct store *s = *state;
	struct stat st;
	CLEANUP(closep) int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fchdir(s->fd), 0);
	if (geteuid() == 0)
		assert_int_equal(fchownat(s->fd, ".chunks", 34, 35, 0), 0);
	assert_int_equal(fstatat(s->fd, ".chunks", &st, 0), 0);
	CLEANUP(source_closep) struct source *source = open_dir(".");
	assert_int_equal(fchdir(before), 0);
	assert_string_equal(source->name, s->path);
	assert_int_equal(source->uid, st.st_uid);
	assert_int_equal(source->gid, st.st_gid);
}

/* -- lists: as text, one line each -- */

static char *namespaces_of(struct source *source)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	struct buf text = BUF_EMPTY;
	assert_int_equal(buf_puts(&text, "", NULL), 0);
	assert_int_equal(source_list_namespaces(source, &names, NULL), 0);
	for (size_t i = 0; i < names.n; i++)
		assert_int_equal(buf_printf(&text, NULL, "%s\n", names.items[i]), 0);
	return text.data;
}

static char *groups_of(struct source *source, const char *ns)
{
	struct group_list list = GROUP_LIST_EMPTY;
	struct buf text = BUF_EMPTY;
	assert_int_equal(buf_puts(&text, "", NULL), 0);
	assert_int_equal(source_list_groups(source, ns, &list, NULL), 0);
	for (size_t i = 0; i < list.n; i++) {
		const struct group_info *info = &list.items[i];
		char name[GROUP_TEXT_SIZE], time[SNAPSHOT_TIME_SIZE] = "-";
		group_format(&info->group, name);
		if (info->n_snapshots)
			snapshot_time_format(info->last_time, time);
		assert_int_equal(buf_printf(&text, NULL, "%s %s %zu %s%.10s\n", name,
					    info->owner ? info->owner : "?", info->n_snapshots,
					    info->has_finished ? "" : "unfinished ", time), 0);
	}
	group_list_deinit(&list);
	return text.data;
}

static char *snapshots_of(struct source *source, const char *ns, const char *group_text)
{
	struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct buf text = BUF_EMPTY;
	struct group group;
	if (group_text)
		assert_int_equal(group_parse(group_text, &group, NULL), 0);
	assert_int_equal(buf_puts(&text, "", NULL), 0);
	assert_int_equal(source_list_snapshots(source, ns, group_text ? &group : NULL, &list, NULL), 0);
	for (size_t i = 0; i < list.n; i++) {
		const struct snapshot_info *info = &list.items[i];
		char name[SNAPSHOT_TEXT_SIZE];
		snapshot_format(&info->snapshot, name);
		assert_int_equal(buf_printf(&text, NULL, "%s%s%s", name,
					    info->is_finished ? "" : " unfinished",
					    info->is_protected ? " protected" : ""), 0);
		for (size_t f = 0; f < info->n_files; f++)
			assert_int_equal(buf_printf(&text, NULL, " %s:%llu", info->files[f].name,
						    (unsigned long long)info->files[f].size), 0);
		assert_int_equal(buf_puts(&text, "\n", NULL), 0);
	}
	snapshot_list_deinit(&list);
	return text.data;
}

static void expect_listed(char *take_got, const char *want)
{
	CLEANUP(freep) char *got = take_got;
	assert_string_equal(got, want);
}

static void lists_namespaces_parents_first(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	expect_listed(namespaces_of(source), "");
	put_dir(s->fd, "ns/b");
	put_dir(s->fd, "ns/a/ns/z/vm/100");
	put_dir(s->fd, "ns/a/ns/y");
	put_dir(s->fd, "ns/a-first");
	put_dir(s->fd, "ns/.hidden/ns/x");
	put_dir(s->fd, "ns/-option");
	put_dir(s->fd, "ns/two words");
	put_dir(s->fd, "ns/lost+found");
	put_dir(s->fd, "vm/100/ns/no-namespace");
	put_text(s->fd, "ns/file", "");
	put_link(s->fd, "ns/link", "a");
	put_dir(s->fd, "ns/c");
	put_link(s->fd, "ns/c/ns", "../a/ns");
	put_text(s->fd, "ns/b/ns", "");
	expect_listed(namespaces_of(source), "a\na/y\na/z\na-first\nb\nc\n");
}

static void lists_namespaces_as_deep_as_they_may_be(void **state)
{
	struct store *s = *state;
	put_dir(s->fd, "ns/1/ns/2/ns/3/ns/4/ns/5/ns/6/ns/7/ns/8");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	expect_listed(namespaces_of(source), "1\n1/2\n1/2/3\n1/2/3/4\n1/2/3/4/5\n1/2/3/4/5/6\n"
					     "1/2/3/4/5/6/7\n");
}

static void lists_namespaces_as_long_as_they_may_be(void **state)
{
	struct store *s = *state;
	char path[600], want[600];
	/* 128 + 1 + 127 bytes are the most; one more is left out */
	(void) snprintf(path, sizeof path, "ns/%0128d/ns/%0127d", 0, 0);
	put_dir(s->fd, path);
	(void) snprintf(path, sizeof path, "ns/%0128d/ns/%0128d", 0, 0);
	put_dir(s->fd, path);
	(void) snprintf(want, sizeof want, "%0128d\n%0128d/%0127d\n", 0, 0, 0);
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	expect_listed(namespaces_of(source), want);
}

static void lists_groups_and_nothing_else(void **state)
{
	struct store *s = *state;
	put_text(s->fd, "vm/100/owner", "root@pam\nmore\n");
	put_dir(s->fd, "vm/100/" DAY(1));
	put_text(s->fd, "vm/100/" DAY(2) "/index.json.blob", "");
	put_dir(s->fd, "vm/100/" DAY(3)); /* the newest, and not finished */
	put_text(s->fd, "vm/9/owner", "backup@pbs!token");
	put_dir(s->fd, "vm/9/" DAY(4));
	put_dir(s->fd, "vm/9/" DAY(5));
	put_dir(s->fd, "vm/db");
	put_fifo(s->fd, "vm/db/owner");
	put_dir(s->fd, "ct/200");
	put_text(s->fd, "secret", "not for lists\n");
	put_link(s->fd, "ct/200/owner", "../../secret");
	put_sparse(s->fd, "ct/201/owner", 1025);
	put_text(s->fd, "host/pve/" DAY(6) "/index.json.blob", "");
	put_dir(s->fd, "vm/.hidden");
	put_dir(s->fd, "vm/-x");
	put_text(s->fd, "vm/file", "");
	put_link(s->fd, "vm/link", "100");
	put_dir(s->fd, "lxc/1");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	expect_listed(groups_of(source, ""), "ct/200 ? 0 unfinished -\n"
					     "ct/201 ? 0 unfinished -\n"
					     "host/pve ? 1 2024-01-06\n"
					     "vm/9 backup@pbs!token 2 unfinished 2024-01-05\n"
					     "vm/100 root@pam 3 2024-01-02\n"
					     "vm/db ? 0 unfinished -\n");
}

static void lists_snapshots_and_nothing_else(void **state)
{
	struct store *s = *state;
	put_text(s->fd, "vm/100/" DAY(2) "/index.json.blob", "123");
	put_text(s->fd, "vm/100/" DAY(2) "/.protected", "");
	put_text(s->fd, "vm/100/" DAY(2) "/disk.img.fidx", "12345");
	put_text(s->fd, "vm/100/" DAY(2) "/root.pxar.didx", "");
	put_text(s->fd, "vm/100/" DAY(2) "/.hidden.blob", "");
	put_text(s->fd, "vm/100/" DAY(2) "/disk.img.tmp_fidx", "");
	put_text(s->fd, "vm/100/" DAY(2) "/README", "");
	put_dir(s->fd, "vm/100/" DAY(2) "/dir.img.fidx");
	put_fifo(s->fd, "vm/100/" DAY(2) "/fifo.img.fidx");
	put_link(s->fd, "vm/100/" DAY(2) "/link.img.fidx", "disk.img.fidx");
	put_dir(s->fd, "vm/100/" DAY(1) "/index.json.blob"); /* no file, so no manifest */
	put_dir(s->fd, "vm/100/" DAY(1) "/.protected");
	put_text(s->fd, "vm/100/manifest", "");
	put_dir(s->fd, "vm/100/" DAY(3));
	put_link(s->fd, "vm/100/" DAY(3) "/index.json.blob", "../manifest");
	put_link(s->fd, "vm/100/" DAY(4), DAY(2));
	put_text(s->fd, "vm/100/" DAY(5), "");
	put_dir(s->fd, "vm/100/2024-02-31T00:00:00Z");
	put_dir(s->fd, "vm/100/2024-01-06");
	put_dir(s->fd, "vm/100/." DAY(6));
	put_dir(s->fd, "vm/20/" DAY(9));
	put_dir(s->fd, "ns/a/ct/1/" DAY(7));
	put_dir(s->fd, "vm/empty");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
#define VM_100                                                                                    \
	"vm/100/" DAY(1) " unfinished\n"                                                          \
	"vm/100/" DAY(2) " protected disk.img.fidx:5 index.json.blob:3 root.pxar.didx:0\n"        \
	"vm/100/" DAY(3) " unfinished\n"
	const struct {
		const char *ns, *group, *want;
	} rows[] = {
		{ "", "vm/100", VM_100 },
		{ "", "vm/empty", "" },
		{ "", NULL, "vm/20/" DAY(9) " unfinished\n" VM_100 },
		{ "a", NULL, "ct/1/" DAY(7) " unfinished\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_listed(snapshots_of(source, rows[i].ns, rows[i].group), rows[i].want);
}

static void says_what_is_not_there_to_list(void **state)
{
	struct store *s = *state;
	put_dir(s->fd, "ns/a/vm/100");
	put_link(s->fd, "ns/link", "a");
	put_link(s->fd, "vm/100", "../ns/a/vm/100");
	put_link(s->fd, "ct", "vm");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	const struct {
		const char *ns, *group;
		int code;
		const char *words;
	} rows[] = {
		{ "b", NULL, -ENOENT, "there is no namespace b" },
		{ "a/b", NULL, -ENOENT, "there is no namespace a/b" },
		{ "link", NULL, -ENOENT, "there is no namespace link" },
		{ "..", NULL, -EINVAL, NULL },
		{ "a/../..", NULL, -EINVAL, NULL },
		{ "a//b", NULL, -EINVAL, NULL },
		{ "1/2/3/4/5/6/7/8", NULL, -EINVAL, NULL },
		{ "a", "vm/101", -ENOENT, "there is no group vm/101" },
		{ "", "vm/100", -ENOENT, "there is no group vm/100" },
		{ "", "ct/100", -ENOENT, "there is no group ct/100" },
		{ "", "host/100", -ENOENT, "there is no group host/100" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct group group;
		struct group_list groups = GROUP_LIST_EMPTY;
		struct snapshot_list snapshots = SNAPSHOT_LIST_EMPTY;
		struct err err = ERR_NONE;
		if (rows[i].group)
			assert_int_equal(group_parse(rows[i].group, &group, NULL), 0);
		else
			expect(source_list_groups(source, rows[i].ns, &groups, &err), &err,
			       rows[i].code, rows[i].words);
		expect(source_list_snapshots(source, rows[i].ns, rows[i].group ? &group : NULL,
					     &snapshots, &err), &err, rows[i].code, rows[i].words);
		assert_int_equal(groups.n + snapshots.n, 0);
	}
}

/* -- one snapshot -- */

/* The linker puts __wrap_openat64() in the place of openat(): on a dying disk this name cannot be opened. */
static const char *broken_name;

/* What a list of groups, of snapshots or of those of a Group has: "vm/100? vm/200", what it says it lacks. */
struct listed {
	char items[400];
	struct unread unread;
	bool is_cut;
};

static void note_item(struct listed *ret, const char *text, bool is_unread)
{
	size_t len = strlen(ret->items);
	(void) snprintf(ret->items + len, sizeof ret->items - len, "%s%s%s", len ? " " : "", text,
			is_unread ? "?" : "");
}

static int list_groups(struct source *source, struct listed *ret, struct err *err)
{
	CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
	int r = source_list_groups(source, "", &list, err);
	for (size_t i = 0; i < list.n; i++) {
		char text[GROUP_TEXT_SIZE];
		group_format(&list.items[i].group, text);
		note_item(ret, text, list.items[i].is_unread);
	}
	ret->unread = list.unread;
	list.unread = (struct unread){ 0 };
	return r;
}

static int list_snapshots(struct source *source, const char *of, struct listed *ret, struct err *err)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct group group;
	if (of)
		assert_int_equal(group_parse(of, &group, NULL), 0);
	int r = source_list_snapshots(source, "", of ? &group : NULL, &list, err);
	for (size_t i = 0; i < list.n; i++) {
		char text[SNAPSHOT_TEXT_SIZE];
		snapshot_format(&list.items[i].snapshot, text);
		note_item(ret, text, list.items[i].is_unread);
	}
	ret->unread = list.unread;
	ret->is_cut = of && list.is_cut;
	list.unread = (struct unread){ 0 };
	return r;
}

static int list_namespaces(struct source *source, struct listed *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = source_list_namespaces(source, &names, err);
	for (size_t i = 0; i < names.n; i++)
		note_item(ret, names.items[i], false);
	return r;
}

/* As somebody who has no rights beyond the modes: of this thread only, and given back. */
static int list_as_nobody(struct source *source, char what, struct listed *ret, struct err *err)
{
	*ret = (struct listed){ 0 };
	(void) setfsuid(geteuid() ? geteuid() : 65534);
	int r = what == 'n' ? list_namespaces(source, ret, err)
	      : what == 'g' ? list_groups(source, ret, err)
	      : list_snapshots(source, what == 'G' ? "vm/100" : NULL, ret, err);
	(void) setfsuid(geteuid());
	return r;
}

static void refuses_namespaces_that_it_may_not_look_at(void **state)
{
	struct store *s = *state;
	const struct {
		const char *path, *words;
	} rows[] = {
		{ "ns", "cannot open ns: Permission denied, while listing /" },
		{ "ns/a", "cannot open a: Permission denied" },
		{ "ns/a/ns", "cannot open ns: Permission denied, while looking below namespace a" },
	};
	put_dir(s->fd, "ns/a/ns/b");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct listed listed;
		struct err err = ERR_NONE;
		assert_int_equal(fchmodat(s->fd, rows[i].path, 0, 0), 0);
		int r = list_as_nobody(source, 'n', &listed, &err);
		assert_int_equal(fchmodat(s->fd, rows[i].path, 0755, 0), 0);
		expect(r, &err, -EACCES, rows[i].words);
	}
}

#define OTHERS " vm/200/" DAY(3)
#define BOTH "vm/100/" DAY(1) " vm/100/" DAY(2) "?"

/* Groups, snapshots, those of a group, where one thing cannot be read; "" = the list itself fails. */
static const struct {
	const char *closed;
	mode_t mode;
	const char *broken;
	const char *groups, *snapshots, *of_group;
	bool is_cut;
	const char *words;
} unreadable[] = {
	{ "vm", 0, NULL, "ct/1", "ct/1/" DAY(1), "", false, "cannot open vm: Permission denied, while reading vm" },
	{ "vm", 0444, NULL, "ct/1", "ct/1/" DAY(1), "", false,
	  "cannot list a directory: Permission denied, while reading vm" },
	{ "vm/100", 0, NULL, "ct/1 vm/100? vm/200", "ct/1/" DAY(1) OTHERS, "", false,
	  "cannot open 100: Permission denied, while reading vm/100" },
	{ "vm/100", 0444, NULL, "ct/1 vm/100? vm/200", "ct/1/" DAY(1) OTHERS, NULL, true,
	  "cannot list a directory: Permission denied, while reading vm/100" },
	{ "vm/100/" DAY(2), 0, NULL, "ct/1 vm/100? vm/200", "ct/1/" DAY(1) " " BOTH OTHERS, BOTH, false,
	  "cannot open " DAY(2) ": Permission denied, while reading " },
	{ "vm/100/" DAY(2), 0444, NULL, "ct/1 vm/100? vm/200", "ct/1/" DAY(1) " " BOTH OTHERS, BOTH, false,
	  "cannot look at index.json.blob: Permission denied, while reading " },
	{ "vm", 0755, "vm", "ct/1", "ct/1/" DAY(1), "", false, "cannot open vm: Input/output error, while reading vm" },
	{ "vm", 0755, "100", "ct/1 vm/100? vm/200", "ct/1/" DAY(1) OTHERS, "", false,
	  "cannot open 100: Input/output error, while reading vm/100" },
	{ "vm", 0755, DAY(2), "ct/1 vm/100? vm/200", "ct/1/" DAY(1) " " BOTH OTHERS, BOTH, false,
	  "cannot open " DAY(2) ": Input/output error, while reading " },
};

static void lists_the_rest_where_something_cannot_be_read(void **state)
{
	struct store *s = *state;
	put_text(s->fd, "ct/1/" DAY(1) "/index.json.blob", "");
	put_text(s->fd, "vm/100/" DAY(1) "/index.json.blob", "");
	put_text(s->fd, "vm/100/" DAY(2) "/index.json.blob", "");
	put_text(s->fd, "vm/200/" DAY(3) "/index.json.blob", "");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	for (size_t i = 0; i < ARRAY_LEN(unreadable); i++) {
		for (const char *what = "gsG"; *what; what++) {
			struct listed listed;
			struct err err = ERR_NONE;
			int code = unreadable[i].broken ? -EIO : -EACCES;
			const char *want = *what == 'g' ? unreadable[i].groups
					 : *what == 's' ? unreadable[i].snapshots : unreadable[i].of_group;
			assert_int_equal(fchmodat(s->fd, unreadable[i].closed, unreadable[i].mode, 0), 0);
			broken_name = unreadable[i].broken;
			int r = list_as_nobody(source, *what, &listed, &err);
			broken_name = NULL;
			assert_int_equal(fchmodat(s->fd, unreadable[i].closed, 0755, 0), 0);
			if (want && !*want) {
				expect(r, &err, code, "while listing /");
				continue;
			}
			expect(r, &err, 0, NULL);
			assert_string_equal(listed.items, want ? want : "");
			assert_int_equal(listed.is_cut, *what == 'G' && unreadable[i].is_cut);
			assert_int_equal(listed.unread.n, 1);
			assert_int_equal(listed.unread.code, code);
			assert_non_null(strstr(listed.unread.words.items[0], unreadable[i].words));
			strv_deinit(&listed.unread.words);
		}
	}
}

/* The next one would fail the same way, and the list would be short of all. */
static void ends_a_list_when_it_runs_short_itself(void **state)
{
	struct store *s = *state;
	struct listed listed = { 0 };
	struct err err = ERR_NONE;
	put_text(s->fd, "vm/100/" DAY(1) "/index.json.blob", "");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	struct rlimit had, none;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	CLEANUP(closep) int next = dup(s->fd); /* the first number that is free */
	none = (struct rlimit){ (rlim_t)next + 4, had.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int r = list_snapshots(source, NULL, &listed, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
	expect(r, &err, -EMFILE, "Too many open files, while");
	assert_string_equal(listed.items, "");
}

static void says_no_more_than_twenty_of_what_it_lacks(void **state)
{
	struct store *s = *state;
	struct listed listed;
	struct err err = ERR_NONE;
	for (int day = 1; day <= UNREAD_WORDS + 5; day++) {
		char path[64];
		(void) snprintf(path, sizeof path, "vm/100/2024-01-%02dT00:00:00Z", day);
		put_dir(s->fd, path);
		assert_int_equal(fchmodat(s->fd, path, 0, 0), 0);
	}
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	expect(list_as_nobody(source, 'G', &listed, &err), &err, 0, NULL);
	assert_int_equal(listed.unread.n, UNREAD_WORDS + 5);
	assert_int_equal(listed.unread.words.n, UNREAD_WORDS);
	strv_deinit(&listed.unread.words);
}

static void opens_only_a_snapshot_that_is_finished(void **state)
{
	struct store *s = *state;
	put_text(s->fd, "ns/a/vm/100/" DAY(1) "/index.json.blob", "");
	put_dir(s->fd, "vm/100/" DAY(1));
	put_dir(s->fd, "vm/100/" DAY(2) "/index.json.blob");
	put_link(s->fd, "vm/100/" DAY(3), "../../ns/a/vm/100/" DAY(1));
	put_link(s->fd, "vm/101", "../ns/a/vm/100");
	put_text(s->fd, "vm/102", "");
	put_link(s->fd, "ns/b", "a");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	const struct {
		const char *ns, *snapshot;
		int code;
		const char *words;
	} rows[] = {
		{ "a", "vm/100/" DAY(1), 0, NULL },
		{ "", "vm/100/" DAY(1), -EAGAIN, "is not finished" },
		{ "", "vm/100/" DAY(2), -EAGAIN, "is not finished" },
		{ "", "vm/100/" DAY(3), -ENOENT, "there is no snapshot vm/100/" DAY(3) },
		{ "", "vm/100/" DAY(4), -ENOENT, "there is no snapshot vm/100/" DAY(4) },
		{ "", "vm/101/" DAY(1), -ENOENT, "there is no snapshot" },
		{ "", "vm/102/" DAY(1), -ENOENT, "there is no snapshot" },
		{ "b", "vm/100/" DAY(1), -ENOENT, "there is no snapshot" },
		{ "c", "vm/100/" DAY(1), -ENOENT, "there is no snapshot" },
		{ "a/..", "vm/100/" DAY(1), -EINVAL, NULL },
		{ "a", "vm/100/" DAY(1), 0, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		struct snapshot snapshot = snapshot_of(rows[i].snapshot);
		expect(source_open_snapshot(source, rows[i].ns, &snapshot, &err), &err,
		       rows[i].code, rows[i].words);
	}
}

/* Somebody else: another open file, as another process would have it. */
static int open_again(struct store *s, const char *path)
{
	int fd = openat(s->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static bool can_lock(int fd, int how)
{
	bool can = flock(fd, how | LOCK_NB) == 0;
	if (can)
		assert_int_equal(flock(fd, LOCK_UN), 0);
	else
		assert_int_equal(errno, EWOULDBLOCK);
	return can;
}

static void keeps_the_open_snapshot_from_being_removed(void **state)
{
	struct store *s = *state;
	put_text(s->fd, "vm/100/" DAY(1) "/index.json.blob", "");
	put_text(s->fd, "vm/100/" DAY(2) "/index.json.blob", "");
	CLEANUP(closep) int first_fd = open_again(s, "vm/100/" DAY(1));
	CLEANUP(closep) int second_fd = open_again(s, "vm/100/" DAY(2));
	struct snapshot first = snapshot_of("vm/100/" DAY(1)), second = snapshot_of("vm/100/" DAY(2));
	struct source *source = open_dir(s->path);
	assert_int_equal(source_open_snapshot(source, "", &first, NULL), 0);
	assert_true(can_lock(first_fd, LOCK_SH));
	assert_false(can_lock(first_fd, LOCK_EX));
	assert_int_equal(source_open_snapshot(source, "", &second, NULL), 0);
	assert_true(can_lock(first_fd, LOCK_EX));
	assert_false(can_lock(second_fd, LOCK_EX));
	source_close(source);
	assert_true(can_lock(second_fd, LOCK_EX));
}

static void refuses_a_snapshot_that_somebody_removes(void **state)
{
	struct store *s = *state;
	struct err err = ERR_NONE;
	put_text(s->fd, "vm/100/" DAY(1) "/index.json.blob", "");
	struct snapshot snapshot = snapshot_of("vm/100/" DAY(1));
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	CLEANUP(closep) int fd = open_again(s, "vm/100/" DAY(1));
	assert_int_equal(flock(fd, LOCK_EX), 0);
	expect(source_open_snapshot(source, "", &snapshot, &err), &err, -EBUSY,
	       "snapshot vm/100/" DAY(1) " is locked");
	assert_int_equal(flock(fd, LOCK_UN), 0);
	expect(source_open_snapshot(source, "", &snapshot, &err), &err, 0, NULL);
}

static void locks_nothing_where_it_only_looks(void **state)
{
	struct store *s = *state;
	put_text(s->fd, "vm/100/" DAY(1) "/index.json.blob", "manifest");
	struct snapshot snapshot = snapshot_of("vm/100/" DAY(1));
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	CLEANUP(closep) int fd = open_again(s, "vm/100/" DAY(1));
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len = 0;
	source->only_looks = true;
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(source_open_snapshot(source, "", &snapshot, NULL), 0);
	assert_int_equal(source_read_blob(source, "index.json.blob", &data, &len, NULL), 0);
	assert_string_equal((char *)data, "manifest");
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_true(can_lock(fd, LOCK_EX));
}

static void reads_files_and_refuses_what_is_none(void **state)
{
	struct store *s = *state;
#define SNAP "vm/100/" DAY(1) "/"
	put_text(s->fd, SNAP "index.json.blob", "manifest");
	put_text(s->fd, SNAP "empty.blob", "");
	put_link(s->fd, SNAP "link.blob", "index.json.blob");
	put_link(s->fd, SNAP "dangling.blob", "nothing");
	put_fifo(s->fd, SNAP "fifo.blob");
	put_dir(s->fd, SNAP "dir.blob");
	put_sparse(s->fd, SNAP "long.blob", BLOB_MAX_FILE + 4096 + 1);
	put_sparse(s->fd, SNAP "long.fidx", INDEX_HEADER_SIZE + 40ull * INDEX_MAX_CHUNKS + 1);
	struct snapshot snapshot = snapshot_of("vm/100/" DAY(1));
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	assert_int_equal(source_open_snapshot(source, "", &snapshot, NULL), 0);
	const struct {
		const char *name, *text;
		int code, index_code;
		const char *words;
	} rows[] = {
		{ "index.json.blob", "manifest", 0, 0, NULL },
		{ "empty.blob", "", 0, 0, NULL },
		{ "nothing.blob", NULL, -ENOENT, -ENOENT, "there is no nothing.blob" },
		{ "link.blob", NULL, -EBADMSG, -EBADMSG, "link.blob is not a regular file" },
		{ "dangling.blob", NULL, -EBADMSG, -EBADMSG, "is not a regular file" },
		{ "fifo.blob", NULL, -EBADMSG, -EBADMSG, "is not a regular file" },
		{ "dir.blob", NULL, -EBADMSG, -EBADMSG, "is not a regular file" },
		{ "long.fidx", NULL, -EBADMSG, -EBADMSG, "is too long" },
		{ "long.blob", NULL, -EBADMSG, 0, "is too long" }, /* an index may be longer */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(freep) uint8_t *data = NULL;
		CLEANUP(closep) int to = memfd_create("copy", MFD_CLOEXEC);
		struct err err = ERR_NONE;
		size_t len = 0;
		uint64_t copied = 0;
		const char *text = rows[i].text;
		expect(source_read_blob(source, rows[i].name, &data, &len, &err), &err,
		       rows[i].code, rows[i].words);
		assert_int_equal(len, text ? strlen(text) : 0);
		if (text)
			assert_string_equal((char *)data, text);
		if (rows[i].index_code == 0 && !text)
			continue; /* 128 MiB would be copied */
		expect(source_copy_index(source, rows[i].name, to, &copied, &err), &err,
		       rows[i].index_code, rows[i].words);
		assert_int_equal(copied, len);
	}
}

static void copies_an_index_behind_what_is_there(void **state)
{
	struct store *s = *state;
	enum { LEN = (5 << 19) + 7 }; /* more than the two pieces it is copied in */
	static uint8_t want[LEN + 3], got[LEN + 3];
	memcpy(want, "was", 3);
	for (size_t i = 0; i < LEN; i++)
		want[3 + i] = (uint8_t)(i * 31 + (i >> 8) + (i >> 16));
	put_text(s->fd, SNAP "index.json.blob", "");
	put_file(s->fd, SNAP "disk.img.fidx", want + 3, LEN);
	struct snapshot snapshot = snapshot_of("vm/100/" DAY(1));
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	assert_int_equal(source_open_snapshot(source, "", &snapshot, NULL), 0);
	CLEANUP(closep) int to = memfd_create("copy", MFD_CLOEXEC);
	uint64_t len = 0;
	assert_int_equal(write_full(to, "was", 3), 0);
	assert_int_equal(source_copy_index(source, "disk.img.fidx", to, &len, NULL), 0);
	assert_int_equal(len, LEN);
	assert_int_equal(lseek(to, 0, SEEK_END), LEN + 3);
	assert_int_equal(pread_full(to, got, LEN + 3, 0), LEN + 3);
	assert_memory_equal(got, want, LEN + 3);

	struct err err = ERR_NONE;
	CLEANUP(closep) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	expect(source_copy_index(source, "disk.img.fidx", full, &len, &err), &err, -ENOSPC,
	       "cannot keep a copy of disk.img.fidx");
}

/* -- chunks -- */

static void gives_every_chunk_of_the_golden_datastore(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_dir(GOLDEN);
	DIR *prefixes = opendir(GOLDEN "/.chunks");
	assert_non_null(prefixes);
	unsigned n_chunks = 0;
	for (struct dirent *prefix; (prefix = readdir(prefixes));) {
		char path[512];
		if (prefix->d_name[0] == '.')
			continue;
		(void) snprintf(path, sizeof path, GOLDEN "/.chunks/%s", prefix->d_name);
		DIR *chunks = opendir(path);
		assert_non_null(chunks);
		for (struct dirent *entry; (entry = readdir(chunks));) {
			if (entry->d_name[0] == '.')
				continue;
			CLEANUP(freep) uint8_t *want = NULL;
			size_t len;
			struct asked a = { .fetch = { .max_len = 8u << 20, .until = DEADLINE_NEVER } };
			assert_int_equal(read_file_at(dirfd(chunks), entry->d_name, 0, 8u << 20,
						      &want, &len, NULL), 0);
			assert_true(hex_decode(entry->d_name, a.fetch.digest, DIGEST_SIZE));
			ask_like(s, source, &a);
			await(&a);
			assert_int_equal(a.fetch.result, 0);
			assert_int_equal(a.fetch.raw_len, len);
			assert_memory_equal(a.fetch.raw.data, want, len);
			bufpool_put(s->pool, a.fetch.raw);
			n_chunks++;
		}
		(void) closedir(chunks);
	}
	(void) closedir(prefixes);
	assert_int_equal(n_chunks, 34);
}

enum { GOOD = 1, LONGEST, TOO_LONG, EMPTY, MISSING, SET_ASIDE, SET_ASIDE_AGAIN, LINK, FIFO, FOLDER,
       LINKED_PREFIX };

static void put_odd_chunks(struct store *s)
{
	char path[128], good[128], to[160];
	put_chunk(s->fd, GOOD, "good");
	chunk_path(LONGEST, "", path);
	put_sparse(s->fd, path, MAX_LEN);
	chunk_path(TOO_LONG, "", path);
	put_sparse(s->fd, path, MAX_LEN + 1);
	put_chunk(s->fd, EMPTY, "");
	chunk_path(SET_ASIDE, ".0.bad", path);
	put_text(s->fd, path, "bad");
	chunk_path(SET_ASIDE_AGAIN, ".9.bad", path);
	put_text(s->fd, path, "bad");
	chunk_path(GOOD, "", good);
	(void) snprintf(to, sizeof to, "../../%s", good);
	chunk_path(LINK, "", path);
	put_link(s->fd, path, to);
	chunk_path(FIFO, "", path);
	put_fifo(s->fd, path);
	chunk_path(FOLDER, "", path);
	put_dir(s->fd, path);
	put_dir(s->fd, "elsewhere");
	put_link(s->fd, ".chunks/0b0b", "../elsewhere");
	chunk_path(LINKED_PREFIX, "", path);
	put_text(s->fd, path, "found by a link");
}

static void tells_one_kind_of_bad_chunk_from_another(void **state)
{
	struct store *s = *state;
	put_odd_chunks(s);
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	const struct {
		uint8_t chunk;
		int code;
		const char *words;
	} rows[] = {
		{ TOO_LONG, -EBADMSG, "has a file of 1001 bytes, too long" },
		{ EMPTY, -ENOENT, "is not present locally: the file is empty" },
		{ MISSING, -ENOENT, "0505050505050505 is missing" },
		{ SET_ASIDE, -ENOENT, "is missing: the server found it damaged and set it aside" },
		{ SET_ASIDE_AGAIN, -ENOENT, "the server found it damaged and set it aside" },
		{ LINK, -EBADMSG, "is not a regular file" },
		{ FIFO, -EBADMSG, "is not a regular file" },
		{ FOLDER, -EBADMSG, "is not a regular file" },
		{ LINKED_PREFIX, -EBADMSG, "is not a regular file" },
	};
	struct asked a[ARRAY_LEN(rows)], good;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(s, source, &a[i], rows[i].chunk);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_failure(&a[i], rows[i].code, rows[i].words);
	assert_null(strstr(a[2].fetch.err.msg, "aside"));

	/* None of them is in the way of a good one */
	ask(s, source, &good, GOOD);
	expect_text(s, &good, "good");
	ask(s, source, &good, LONGEST);
	await(&good);
	assert_int_equal(good.fetch.result, 0);
	assert_int_equal(good.fetch.raw_len, MAX_LEN);
	bufpool_put(s->pool, good.fetch.raw);
}

static void answers_many_at_once(void **state)
{
	struct store *s = *state;
	struct asked a[200];
	char text[ARRAY_LEN(a)][8];
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	for (size_t i = 0; i < ARRAY_LEN(a); i++) {
		(void) snprintf(text[i], sizeof text[i], "%zu", i);
		put_chunk(s->fd, (uint8_t)i, text[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(a); i++) {
		a[i] = (struct asked){ .fetch = { .max_len = MAX_LEN, .until = DEADLINE_NEVER,
						  .job.priority = PRIORITY_PREFETCH } };
		memset(a[i].fetch.digest, (int)i, DIGEST_SIZE);
		ask_like(s, source, &a[i]);
		if (i % 3 == 0)
			source_raise(source, &a[i].fetch, PRIORITY_DEMAND);
	}
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_text(s, &a[i], text[i]);
}

/* -- a datastore that goes away and comes back -- */

enum { OLD = 1, NEW };

static void rename_in_top(struct store *s, const char *from, const char *to)
{
	assert_int_equal(renameat(s->top_fd, from, s->top_fd, to), 0);
}

/*
 * The path leads nowhere, and what is still open has no chunks any more: as when a disk was pulled out.
 * Another one that has the chunk NEW lies ready, under the name "other".
 */
static struct source *open_and_pull_out(struct store *s)
{
	struct source *source = open_dir(s->path);
	CLEANUP(closep) int top = dup(s->top_fd);
	put_dir(top, "other/.chunks");
	CLEANUP(closep) int other = openat(top, "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put_chunk(other, NEW, "new");
	rename_in_top(s, "store", "away");
	return source;
}

/*
 * Nobody waits for this fetch, so it does not wait either; by then the few before it were most likely
 * tried.
 */
static void expect_away(struct store *s, struct source *source)
{
	struct asked a = { .fetch = { .max_len = MAX_LEN, .until = DEADLINE_NEVER,
				      .job.priority = PRIORITY_READ_AHEAD } };
	memset(a.fetch.digest, NEW, DIGEST_SIZE);
	ask_like(s, source, &a);
	await(&a);
	assert_true(a.fetch.result < 0);
	assert_non_null(strstr(a.fetch.err.msg, "went away"));
}

static void waits_for_a_datastore_that_comes_back(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	struct asked a[20];
	for (size_t i = 0; i < 3; i++)
		ask(s, source, &a[i], NEW);
	expect_away(s, source);
	for (size_t i = 3; i < ARRAY_LEN(a); i++) /* more than there are threads */
		ask(s, source, &a[i], NEW);
	rename_in_top(s, "other", "store");
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_text(s, &a[i], "new");
}

static void says_what_is_missing_when_the_same_one_comes_back(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	struct asked a;
	ask(s, source, &a, NEW);
	expect_away(s, source);
	rename_in_top(s, "away", "store");
	expect_failure(&a, -ENOENT, "is missing");
}

static void goes_on_while_only_the_path_is_gone(void **state)
{
	struct store *s = *state;
	struct asked a;
	put_chunk(s->fd, OLD, "old");
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	ask(s, source, &a, OLD);
	expect_text(s, &a, "old");
}

static void finds_another_datastore_at_the_path_at_once(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	struct asked a[20];
	rename_in_top(s, "other", "store");
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		ask(s, source, &a[i], i % 2 ? NEW : OLD);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		if (i % 2)
			expect_text(s, &a[i], "new");
		else
			expect_failure(&a[i], -ENOENT, "is missing");
}

static void waits_until_the_deadline_and_not_longer(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	struct deadline until = deadline_in_ms(100);
	struct asked a = { .fetch = { .max_len = MAX_LEN, .until = until } };
	memset(a.fetch.digest, NEW, DIGEST_SIZE);
	ask_like(s, source, &a);
	await(&a);
	assert_true(a.fetch.result < 0);
	assert_true(a.done_ns >= until.ns);
}

static void answers_who_waits_when_it_is_shut_down(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	struct asked a[20], later;
	for (size_t i = 0; i < 3; i++)
		ask(s, source, &a[i], NEW);
	expect_away(s, source);
	for (size_t i = 3; i < ARRAY_LEN(a); i++) /* more than there are threads */
		ask(s, source, &a[i], NEW);
	source_shutdown(source);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_failure(&a[i], -ESHUTDOWN, "went away");
	ask(s, source, &later, NEW);
	expect_failure(&later, -ESHUTDOWN, "went away");
}

static void reads_what_is_there_while_many_wait_for_what_is_not(void **state)
{
	struct store *s = *state;
	struct deadline until = deadline_in_ms(1500);
	struct asked a[20], good;
	put_chunk(s->fd, OLD, "old");
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	for (size_t i = 0; i < ARRAY_LEN(a); i++) { /* more than there are threads */
		a[i] = (struct asked){ .fetch = { .max_len = MAX_LEN, .until = until } };
		memset(a[i].fetch.digest, NEW, DIGEST_SIZE);
		ask_like(s, source, &a[i]);
	}
	ask(s, source, &good, OLD);
	expect_text(s, &good, "old");
	assert_true(good.done_ns < until.ns);
	for (size_t i = 0; i < ARRAY_LEN(a); i++) {
		expect_failure(&a[i], -ECANCELED, "went away");
		assert_true(a[i].done_ns >= until.ns);
		assert_true(a[i].done_ns < until.ns + 1000000000);
	}
}

/* Without a deadline of its own, for as long as somebody waits for it. */
static void waits_as_long_as_somebody_wants_it_and_not_longer(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_and_pull_out(s);
	struct asked left, wanted;
	ask(s, source, &left, NEW);
	ask(s, source, &wanted, NEW);
	expect_away(s, source);
	(void) usleep(700000); /* they were tried again */
	int n_done;
	assert_int_equal(sem_getvalue(&wanted.done, &n_done), 0);
	assert_int_equal(n_done, 0);
	left.fetch.job.priority = PRIORITY_PREFETCH;
	expect_failure(&left, -ECANCELED, "went away");
	rename_in_top(s, "other", "store");
	expect_text(s, &wanted, "new");
}

/* As nobody, who may not walk the path to the datastore, as below a /root of 0700. */
static void give_up_rights(struct store *s)
{
	assert_int_equal(fchmod(s->top_fd, 0), 0);
	if (getuid() == 0)
		assert_int_equal(seteuid(65534), 0);
}

static void take_rights_back(struct store *s)
{
	assert_int_equal(seteuid(getuid()), 0);
	assert_int_equal(fchmod(s->top_fd, 0700), 0);
}

static void knows_a_missing_chunk_where_it_may_not_walk_the_path(void **state)
{
	struct store *s = *state;
	put_chunk(s->fd, OLD, "old");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	struct deadline soon = deadline_in_ms(10000);
	struct asked a = { .fetch = { .max_len = MAX_LEN, .until = soon } }, good;
	memset(a.fetch.digest, NEW, DIGEST_SIZE);
	give_up_rights(s);
	ask_like(s, source, &a);
	ask(s, source, &good, OLD);
	await(&a);
	expect_text(s, &good, "old");
	take_rights_back(s);
	expect(a.fetch.result, &a.fetch.err, -ENOENT, "is missing");
	assert_true(a.done_ns < soon.ns);
}

static void knows_a_datastore_that_is_gone_where_it_may_not_walk_the_path(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	struct asked a = { .fetch = { .max_len = MAX_LEN, .until = deadline_in_ms(50) } };
	memset(a.fetch.digest, NEW, DIGEST_SIZE);
	assert_int_equal(unlinkat(s->fd, ".chunks", AT_REMOVEDIR), 0);
	give_up_rights(s);
	ask_like(s, source, &a);
	await(&a);
	take_rights_back(s);
	expect(a.fetch.result, &a.fetch.err, -ECANCELED, "went away");
}

/* The linker puts these in the place of openat(): a directory can be as stale as one of NFS. */
static atomic_int stale_fd = -EBADF;
static atomic_uint n_stale; /* times it was found to be */
enum { ALL_STALE = -1000 };

int __real_openat64(int dir_fd, const char *path, int flags, ...);
int __wrap_openat64(int dir_fd, const char *path, int flags, ...);
int __wrap_openat64(int dir_fd, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	bool is_prefix = strlen(path) == 4;
	if (broken_name && strcmp(path, broken_name) == 0) {
		errno = EIO;
		return -1;
	}
	if (is_prefix && (dir_fd == stale_fd || stale_fd == ALL_STALE)) {
		n_stale++;
		errno = ESTALE;
		return -1;
	}
	return __real_openat64(dir_fd, path, flags, mode);
}

static int fd_of_chunks(const struct store *s)
{
	for (int fd = 3; fd < 100; fd++) {
		char link[32], want[80], path[80] = "";
		(void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		(void) snprintf(want, sizeof want, "%s/.chunks", s->path);
		if (readlink(link, path, sizeof path - 1) > 0 && strcmp(path, want) == 0)
			return fd;
	}
	fail_msg("%s/.chunks is not open", s->path);
	return -1;
}

static void opens_a_stale_directory_again(void **state)
{
	struct store *s = *state;
	struct asked a;
	put_chunk(s->fd, OLD, "old");
	CLEANUP(source_closep) struct source *source = open_dir(s->path);
	stale_fd = fd_of_chunks(s);
	n_stale = 0;
	for (int i = 0; i < 3; i++) {
		ask(s, source, &a, OLD);
		expect_text(s, &a, "old");
	}
	assert_int_equal(n_stale, 1);
	stale_fd = ALL_STALE; /* not for ever */
	ask(s, source, &a, OLD);
	await(&a);
	stale_fd = -EBADF;
	expect(a.fetch.result, &a.fetch.err, -ESTALE, "cannot open chunk");
	assert_int_equal(n_stale, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(opens_only_a_datastore),
		STORE_TEST(knows_its_place_and_its_owner),
		STORE_TEST(lists_namespaces_parents_first),
		STORE_TEST(lists_namespaces_as_deep_as_they_may_be),
		STORE_TEST(lists_namespaces_as_long_as_they_may_be),
		STORE_TEST(lists_groups_and_nothing_else),
		STORE_TEST(lists_snapshots_and_nothing_else),
		STORE_TEST(says_what_is_not_there_to_list),
		STORE_TEST(refuses_namespaces_that_it_may_not_look_at),
		STORE_TEST(lists_the_rest_where_something_cannot_be_read),
		STORE_TEST(ends_a_list_when_it_runs_short_itself),
		STORE_TEST(says_no_more_than_twenty_of_what_it_lacks),
		STORE_TEST(opens_only_a_snapshot_that_is_finished),
		STORE_TEST(keeps_the_open_snapshot_from_being_removed),
		STORE_TEST(refuses_a_snapshot_that_somebody_removes),
		STORE_TEST(locks_nothing_where_it_only_looks),
		STORE_TEST(reads_files_and_refuses_what_is_none),
		STORE_TEST(copies_an_index_behind_what_is_there),
		STORE_TEST(gives_every_chunk_of_the_golden_datastore),
		STORE_TEST(tells_one_kind_of_bad_chunk_from_another),
		STORE_TEST(answers_many_at_once),
		STORE_TEST(waits_for_a_datastore_that_comes_back),
		STORE_TEST(says_what_is_missing_when_the_same_one_comes_back),
		STORE_TEST(goes_on_while_only_the_path_is_gone),
		STORE_TEST(finds_another_datastore_at_the_path_at_once),
		STORE_TEST(waits_until_the_deadline_and_not_longer),
		STORE_TEST(waits_as_long_as_somebody_wants_it_and_not_longer),
		STORE_TEST(answers_who_waits_when_it_is_shut_down),
		STORE_TEST(reads_what_is_there_while_many_wait_for_what_is_not),
		STORE_TEST(knows_a_missing_chunk_where_it_may_not_walk_the_path),
		STORE_TEST(knows_a_datastore_that_is_gone_where_it_may_not_walk_the_path),
		STORE_TEST(opens_a_stale_directory_again),
	};
	return RUN_TESTS(tests);
}
