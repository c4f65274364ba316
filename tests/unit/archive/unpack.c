/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/unpack.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sample.h"
#include "scratch.h"
#include "unit.h"
#include "util/buf.h"
#include "util/strv.h"
#include "util/text.h"

/* Below the scratch directory: "out", which is unpacked into, and "elsewhere", where nothing may come. */
struct scene {
	struct sample sample;
	struct strv told; /* paths that failed */
	struct unpack_progress progress;
	int result, failed;
	unsigned n_warned;
	uint8_t *broken; /* a byte of the archive that turns bad when the first file came */
	void (*meddle)(void); /* what somebody else does then */
};

/* ENOSPC at the end of the n-th file that was written, as NFS has it; 0 = of none. */
static int n_until_full;
int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
	struct stat st;
	bool is_written = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
	int r = __real_close(fd);
	if (!is_written || n_until_full == 0 || --n_until_full)
		return r;
	errno = ENOSPC;
	return -1;
}

/* What a file system without owners says, or a container that does not know this one; 0 = as it is. */
static int owner_error;
int __real_fchown(int fd, uid_t uid, gid_t gid);
int __wrap_fchown(int fd, uid_t uid, gid_t gid);

int __wrap_fchown(int fd, uid_t uid, gid_t gid)
{
	if (owner_error == 0)
		return __real_fchown(fd, uid, gid);
	errno = owner_error;
	return -1;
}

/* A file system that takes only names in UTF-8. */
static bool takes_only_utf8;
int __real_symlinkat(const char *target, int dir_fd, const char *name);
int __wrap_symlinkat(const char *target, int dir_fd, const char *name);

int __wrap_symlinkat(const char *target, int dir_fd, const char *name)
{
	if (!takes_only_utf8 || text_is_utf8(name, strlen(name)))
		return __real_symlinkat(target, dir_fd, name);
	errno = EILSEQ;
	return -1;
}

static void tell(void *user, const char *path, const struct err *why)
{
	struct scene *s = user;
	assert_true(why->code < 0 && *why->msg);
	assert_int_equal(strv_add(&s->told, path, NULL), 0);
}

static void warn(void *user, const char *text)
{
	struct scene *s = user;
	assert_true(*text);
	s->n_warned++;
}

/* Nothing of it ever goes back. */
static void moved(void *user, const struct unpack_progress *at)
{
	struct scene *s = user;
	assert_true(at->n_files >= s->progress.n_files && at->n_bytes >= s->progress.n_bytes);
	assert_true(at->done >= s->progress.done && at->done <= at->total);
	s->progress = *at;
	if (s->broken && at->n_files)
		*s->broken = 0xff;
	if (s->meddle && at->n_files)
		STEAL(s->meddle)();
}

static void aim(struct scene *s, struct unpacker *u)
{
	u->tree = s->sample.tree;
	u->tell = tell;
	u->warn = warn;
	u->moved = moved;
	u->user = s;
	s->progress = (struct unpack_progress){ 0 };
}

static void unpack_here(struct scene *s, const char *const *paths, size_t n)
{
	struct unpack_dir *dir = NULL;
	struct err err = ERR_NONE;
	(void) mkdir("out", 0700);
	CLEANUP(closep) int fd = open("out", O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	assert_int_equal(unpack_dir_open(fd, &dir, NULL), 0);
	aim(s, unpack_dir_unpacker(dir));
	s->result = unpack(unpack_dir_unpacker(dir), paths, n, &err);
	s->progress = unpack_dir_unpacker(dir)->progress;
	s->failed = unpack_dir_unpacker(dir)->failed;
	unpack_dir_close(dir);
}

static void end(struct scene *s)
{
	sample_end(&s->sample);
	strv_deinit(&s->told);
}

static void expect_text(const char *path, const char *want)
{
	char got[64] = "";
	CLEANUP(closep) int fd = open(path, O_RDONLY);
	if (fd < 0)
		fail_msg("there is no %s", path);
	assert_true(read(fd, got, sizeof got - 1) >= 0);
	assert_string_equal(got, want);
}

static uint64_t ino_of(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		fail_msg("there is no %s", path);
	return st.st_ino;
}

static void expect_told(struct scene *s, const char *want)
{
	CLEANUP(buf_deinit) struct buf all = BUF_EMPTY;
	assert_int_equal(buf_puts(&all, "", NULL), 0);
	for (size_t i = 0; i < s->told.n; i++)
		assert_int_equal(buf_printf(&all, NULL, "%s%s", i ? "|" : "", s->told.items[i]), 0);
	assert_string_equal(all.data, want);
}

static void unpacks_everything(void **state)
{
	struct scene s = { .result = -1 };
	struct stat st;
	sample_begin(&s.sample, true);
	unpack_here(&s, NULL, 0);
	expect_text("out/a.txt", "hello");
	expect_text("out/dir/deep/leaf", "leaf");
	expect_text("out/void", "");
	assert_int_equal(ino_of("out/hard"), ino_of("out/a.txt"));
	assert_int_equal(lstat("out/dir", &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0750);
	assert_int_equal(st.st_mtim.tv_sec, 1700000000);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(lstat("out/loop", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	end(&s);
}

/* The first link that was asked for becomes the file, the others links to it. */
static void links_what_was_asked_for_without_its_first_name(void **state)
{
	static const char *const paths[] = { "b", "a/second" };
	struct scene s = { .result = -1 };
	sample_begin_empty(&s.sample, false);
	struct pxar_writer *w = &s.sample.w;
	(void) pxar_writer_name(w, "a");
	pxar_writer_entry(w, S_IFDIR | 0755);
	uint64_t first = pxar_writer_file(w, "first", 0644, "x", 1), other = pxar_writer_file(w, "other", 0644, "y", 1);
	pxar_writer_hardlink(w, "second", first, "a/first");
	pxar_writer_end_directory(w);
	(void) pxar_writer_name(w, "b");
	pxar_writer_entry(w, S_IFDIR | 0755);
	pxar_writer_hardlink(w, "third", first, "a/first");
	pxar_writer_hardlink(w, "fourth", first, "../../elsewhere/x");
	pxar_writer_hardlink(w, "lying", other, "a/second"); /* which is another file */
	pxar_writer_end_directory(w);
	sample_finish(&s.sample);
	unpack_here(&s, paths, 2);
	assert_int_equal(s.result, 0);
	expect_text("out/a/second", "x");
	assert_int_equal(ino_of("out/b/third"), ino_of("out/a/second"));
	assert_int_equal(ino_of("out/b/fourth"), ino_of("out/a/second"));
	expect_text("out/b/lying", "y");
	assert_int_equal(access("out/a/first", F_OK), -1);
	end(&s);
}

/* A consumer that only notes which names became links, and of what; and which directories are entered and left. */
struct noting {
	struct unpacker unpacker;
	const char *refused; /* a directory that cannot be entered */
	struct buf links, dirs;
};

static struct noting *noting_of(struct unpacker *u)
{
	return CONTAINER_OF(u, struct noting, unpacker);
}

static int note_enter(struct unpacker *u, const struct unpacked *dir, struct err *err)
{
	const char *refused = noting_of(u)->refused;
	if (refused && strcmp(dir->path, refused) == 0)
		return err_set(err, -EACCES, "cannot make the directory");
	return buf_printf(&noting_of(u)->dirs, err, "+%s%s", dir->path, dir->is_on_way ? "?" : "");
}

static int note_leave(struct unpacker *u, const struct unpacked *dir, struct err *err)
{
	return buf_printf(&noting_of(u)->dirs, err, "-%s%s", dir->path, dir->is_on_way ? "?" : "");
}

static int note_file(struct unpacker *u, const struct unpacked *file, struct err *err)
{
	return buf_printf(&noting_of(u)->dirs, err, " %s ", file->path);
}

static int note_link(struct unpacker *u, const struct unpacked *file, const char *target, struct err *err)
{
	return buf_printf(&noting_of(u)->links, err, "%s>%s|", file->path, target);
}

static const struct unpacker_ops noting_ops = {
	.enter = note_enter, .leave = note_leave, .file = note_file, .link = note_link,
};

#define NOTING ((struct noting){ .unpacker.ops = &noting_ops, .links = BUF_EMPTY, .dirs = BUF_EMPTY })

static void note_all(struct scene *s, const char *const *paths, size_t n, struct noting *ret)
{
	aim(s, &ret->unpacker);
	assert_int_equal(buf_puts(&ret->links, "", NULL), 0);
	s->result = unpack(&ret->unpacker, paths, n, NULL);
}

static void noting_deinit(struct noting *noting)
{
	buf_deinit(&noting->links);
	buf_deinit(&noting->dirs);
}

static void expect_links(struct scene *s, const char *const *paths, size_t n, const char *want)
{
	CLEANUP(noting_deinit) struct noting noting = NOTING;
	note_all(s, paths, n, &noting);
	assert_string_equal(noting.links.data, want);
}

/* The first of its links becomes the file instead. */
static void links_nothing_to_what_is_in_a_directory_that_is_left_out(void **state)
{
	static const struct {
		const char *paths[2], *want;
	} rows[] = {
		{ { "", "" }, "++d d/y -d-" },
		{ { "a", "d" }, "+?+d d/y -d-?" },
		{ { "a/b/f", "d" }, "+?+d d/y -d-?" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(noting_deinit) struct noting noting = NOTING;
		struct scene s = { .result = -1 };
		sample_begin_empty(&s.sample, false);
		struct pxar_writer *w = &s.sample.w;
		(void) pxar_writer_name(w, "a");
		pxar_writer_entry(w, S_IFDIR | 0755);
		(void) pxar_writer_name(w, "b");
		pxar_writer_entry(w, S_IFDIR | 0755);
		uint64_t pos = pxar_writer_file(w, "f", 0644, "x", 1);
		pxar_writer_end_directory(w);
		pxar_writer_end_directory(w);
		(void) pxar_writer_name(w, "d");
		pxar_writer_entry(w, S_IFDIR | 0755);
		pxar_writer_hardlink(w, "y", pos, "a/b/f");
		pxar_writer_hardlink(w, "z", pos, "a/b/f");
		pxar_writer_end_directory(w);
		sample_finish(&s.sample);
		noting.refused = "a";
		note_all(&s, rows[i].paths, 2, &noting);
		assert_int_equal(s.result, 1);
		expect_told(&s, "a");
		assert_string_equal(noting.dirs.data, rows[i].want);
		assert_string_equal(noting.links.data, "d/z>d/y|");
		end(&s);
	}
}

static void leaves_no_directory_before_all_that_was_asked_for_in_it_came(void **state)
{
	static const struct {
		const char *paths[3], *want;
	} rows[] = {
		{ { "a/b/c", "a/d", "ab/f" }, "+?+a?+a/b? a/b/c -a/b? a/d -a?+ab? ab/f -ab?-?" },
		{ { "ab/f", "a/b", "x" }, "+?+a?+a/b a/b/c  a/b/e -a/b-a?+ab? ab/f -ab? x -?" },
		{ { "a/b/c", "x", "a/b/e" }, "+?+a?+a/b? a/b/c  a/b/e -a/b?-a? x -?" },
		{ { "a", "a/d", "" }, "++a+a/b a/b/c  a/b/e -a/b a/d -a+ab ab/f -ab x -" },
	};
	struct scene s = { .result = -1 };
	sample_begin_empty(&s.sample, false);
	struct pxar_writer *w = &s.sample.w;
	(void) pxar_writer_name(w, "a");
	pxar_writer_entry(w, S_IFDIR | 0555);
	(void) pxar_writer_name(w, "b");
	pxar_writer_entry(w, S_IFDIR | 0555);
	(void) pxar_writer_file(w, "c", 0644, "c", 1);
	(void) pxar_writer_file(w, "e", 0644, "e", 1);
	pxar_writer_end_directory(w);
	(void) pxar_writer_file(w, "d", 0644, "d", 1);
	pxar_writer_end_directory(w);
	(void) pxar_writer_name(w, "ab");
	pxar_writer_entry(w, S_IFDIR | 0755);
	(void) pxar_writer_file(w, "f", 0644, "f", 1);
	pxar_writer_end_directory(w);
	(void) pxar_writer_file(w, "x", 0644, "x", 1);
	sample_finish(&s.sample);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(noting_deinit) struct noting noting = NOTING;
		note_all(&s, rows[i].paths, 3, &noting);
		assert_string_equal(noting.dirs.data, rows[i].want);
	}
	end(&s);
}

/* @text: what a hard link to etc/shadow says; @link: by which name it is linked, NULL = as a file of its own. */
static void hands_over_no_target_that_leads_elsewhere(void **state)
{
	static const struct {
		const char *text, *link;
	} rows[] = {
		{ "etc/shadow", "etc/shadow" },
		{ "/etc//./shadow", "etc/shadow" },
		{ "../../../etc/shadow", NULL },
		{ "etc/../etc/shadow", NULL },
		{ "etc/shadow/..", NULL },
		{ "d/z/../../etc/shadow", NULL },
		{ "d/z", NULL }, /* itself */
		{ "etc/gone", NULL },
	};
	static const char *const paths[] = { "etc", "d" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s = { .result = -1 };
		char want[64] = "";
		sample_begin_empty(&s.sample, false);
		struct pxar_writer *w = &s.sample.w;
		(void) pxar_writer_name(w, "etc");
		pxar_writer_entry(w, S_IFDIR | 0755);
		uint64_t pos = pxar_writer_file(w, "shadow", 0644, "x", 1);
		pxar_writer_end_directory(w);
		(void) pxar_writer_name(w, "d");
		pxar_writer_entry(w, S_IFDIR | 0755);
		pxar_writer_hardlink(w, "z", pos, rows[i].text);
		pxar_writer_end_directory(w);
		sample_finish(&s.sample);
		if (rows[i].link)
			(void) snprintf(want, sizeof want, "d/z>%s|", rows[i].link);
		expect_links(&s, NULL, 0, want);
		expect_links(&s, paths, 2, want);
		end(&s);
	}
}

static void leaves_out_what_is_damaged(void **state)
{
	struct scene s = { .result = -1 };
	sample_begin(&s.sample, true);
	/* the header of a.txt's data, and the entry of dir/deep */
	s.sample.w.payload.data[16] ^= 1;
	s.sample.w.meta.data[sample_node(&s.sample, "dir/deep").pos] ^= 1;
	unpack_here(&s, NULL, 0);
	assert_int_equal(s.result, 1);
	assert_int_equal(s.failed, -EBADMSG);
	expect_told(&s, "a.txt|hard|dir");
	assert_int_equal(access("out/a.txt", F_OK), -1);
	assert_int_equal(access("out/hard", F_OK), -1);
	assert_int_equal(access("out/dir/deep", F_OK), -1);
	expect_text("out/void", "");
	end(&s);
}

static void leaves_out_what_cannot_have_its_name_there(void **state)
{
	struct scene s = { .result = -1 };
	struct stat st;
	sample_begin_empty(&s.sample, false);
	(void) pxar_writer_name(&s.sample.w, "\xff");
	pxar_writer_entry(&s.sample.w, S_IFLNK | 0777);
	pxar_writer_symlink(&s.sample.w, "x");
	(void) pxar_writer_name(&s.sample.w, "ß");
	pxar_writer_entry(&s.sample.w, S_IFLNK | 0777);
	pxar_writer_symlink(&s.sample.w, "x");
	sample_finish(&s.sample);
	takes_only_utf8 = true;
	unpack_here(&s, NULL, 0);
	takes_only_utf8 = false;
	assert_int_equal(s.result, 1);
	expect_told(&s, "\xff");
	assert_int_equal(lstat("out/ß", &st), 0);
	end(&s);
}

/* What comes behind it is not in it. */
static void leaves_a_directory_whose_attributes_are_damaged_by_then(void **state)
{
	static const char *const paths[][2] = { { "", "" }, { "d/in", "out" } };
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct scene s = { .result = -1 };
		sample_begin_empty(&s.sample, false);
		struct pxar_writer *w = &s.sample.w;
		(void) pxar_writer_name(w, "d");
		pxar_writer_entry(w, S_IFDIR | 0755);
		size_t attr = w->meta.len;
		pxar_writer_xattr(w, "user.k", "value", 5);
		(void) pxar_writer_file(w, "in", 0644, "in", 2);
		pxar_writer_end_directory(w);
		(void) pxar_writer_file(w, "out", 0644, "out", 3);
		sample_finish(&s.sample);
		s.broken = (uint8_t *)w->meta.data + attr + 8; /* its length */
		assert_int_equal(scratch_begin(state), 0);
		unpack_here(&s, paths[i], 2);
		assert_int_equal(s.result, 1);
		assert_int_equal(s.failed, -EBADMSG);
		expect_told(&s, "d");
		expect_text("out/d/in", "in");
		expect_text("out/out", "out");
		assert_int_equal(scratch_end(state), 0);
		end(&s);
	}
}

/* What chown() takes for "as it is" does not lend the rights of whoever extracts. */
static void gives_no_owner_that_cannot_be(void **state)
{
	static const struct {
		uint32_t uid, gid;
	} rows[] = { { UINT32_MAX, 0 }, { 0, UINT32_MAX }, { UINT32_MAX, UINT32_MAX } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s = { .result = -1 };
		struct stat st;
		sample_begin_empty(&s.sample, false);
		s.sample.w.uid = rows[i].uid;
		s.sample.w.gid = rows[i].gid;
		(void) pxar_writer_file(&s.sample.w, "lends", 06755, "x", 1);
		sample_finish(&s.sample);
		assert_int_equal(scratch_begin(state), 0);
		unpack_here(&s, (const char *const[]){ "lends" }, 1);
		bool is_there = lstat("out/lends", &st) == 0;
		assert_int_equal(scratch_end(state), 0);
		if (geteuid() == 0)
			expect_told(&s, "lends");
		else
			assert_int_equal(st.st_mode, S_IFREG | 0755);
		assert_int_equal(is_there, geteuid() != 0);
		end(&s);
	}
}

/*
 * Version 2, then tag, permissions and id of each: user::rwx, user:1234:rwx, group::r-x, mask::r-x, other::---, as
 * the kernel has them in an attribute.
 */
static const uint8_t list_of_target[] = {
	2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 210, 4, 0, 0,
	4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
};

/* Not even root can give them there: better the data than nothing, said once, and without the rights it lends. */
static void unpacks_where_there_are_no_owners(void **state)
{
	static const int errors[] = { EPERM, EINVAL, EOPNOTSUPP };
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct scene s = { .result = -1 };
		struct stat st;
		sample_begin_empty(&s.sample, false);
		s.sample.w.uid = s.sample.w.gid = 1000;
		(void) pxar_writer_file(&s.sample.w, "lends", 06755, "x", 1);
		(void) pxar_writer_file(&s.sample.w, "private", 0600, "y", 1);
		sample_finish(&s.sample);
		assert_int_equal(scratch_begin(state), 0);
		owner_error = errors[i];
		unpack_here(&s, NULL, 0);
		owner_error = 0;
		assert_int_equal(s.result, 0);
		assert_int_equal(s.n_warned, 1);
		assert_int_equal(lstat("out/lends", &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0755);
		expect_text("out/private", "y");
		assert_int_equal(scratch_end(state), 0);
		end(&s);
	}
}

/* By an ordinary user, who may not write into them once they have their mode. */
static void gives_attributes_to_what_nobody_may_write(void **state)
{
	struct scene s = { .result = -1 };
	char value[8] = "";
	struct stat st;
	scratch_puts("probe", "");
	if (setxattr("probe", "user.k", "value", 5, 0) < 0) {
		print_message("no attributes here: %s\n", strerror(errno));
		skip();
	}
	sample_begin_empty(&s.sample, false);
	struct pxar_writer *w = &s.sample.w;
	(void) pxar_writer_name(w, "dir");
	pxar_writer_entry(w, S_IFDIR | 0550);
	pxar_writer_xattr(w, "user.k", "value", 5);
	(void) pxar_writer_name(w, "file");
	pxar_writer_entry(w, S_IFREG | 0440);
	pxar_writer_xattr(w, "user.k", "value", 5);
	pxar_writer_attr_id(w, PXAR_ACL_USER, 1000, 6);
	uint64_t group = 0;
	(void) pxar_writer_item(w, PXAR_ACL_GROUP_OBJ, &group, sizeof group);
	pxar_writer_payload(w, "x", 1);
	pxar_writer_end_directory(w);
	sample_finish(&s.sample);
	bool is_root = geteuid() == 0;
	assert_int_equal(mkdir("out", 0700), 0);
	assert_int_equal(chmod(".", 0711), 0);
	assert_true(!is_root || (chown("out", 65534, 65534) == 0 && seteuid(65534) == 0));
	unpack_here(&s, NULL, 0);
	assert_true(!is_root || seteuid(0) == 0);
	assert_int_equal(s.result, 0);
	assert_int_equal(getxattr("out/dir", "user.k", value, sizeof value), 5);
	assert_int_equal(getxattr("out/dir/file", "user.k", value, sizeof value), 5);
	assert_int_equal(getxattr("out/dir/file", XATTR_ACL_ACCESS, NULL, 0), 4 + 5 * 8);
	assert_int_equal(lstat("out/dir/file", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0440);
	assert_int_equal(chmod("out/dir", 0700), 0);
	end(&s);
}

static void inherits_no_list_of_the_directory_it_comes_into(void **state)
{
	static const struct {
		const char *path;
		mode_t mode;
	} rows[] = {
		{ "out/a.txt", S_IFREG | 0644 }, { "out/fifo", S_IFIFO | 0600 }, { "out/sock", S_IFSOCK | 0755 },
		{ "out/null", S_IFCHR | 0666 }, { "out/dir", S_IFDIR | 0750 }, { "out/empty", S_IFDIR | 0755 },
	};
	struct scene s = { .result = -1 };
	assert_int_equal(mkdir("out", 0700), 0);
	if (setxattr("out", XATTR_ACL_DEFAULT, list_of_target, sizeof list_of_target, 0) < 0) {
		print_message("no access control lists here: %s\n", strerror(errno));
		skip();
	}
	sample_begin(&s.sample, false);
	unpack_here(&s, NULL, 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct stat st;
		if (lstat(rows[i].path, &st) < 0 && S_ISCHR(rows[i].mode))
			continue; /* that takes root */
		assert_int_equal(lstat(rows[i].path, &st), 0);
		assert_int_equal(st.st_mode, rows[i].mode);
		assert_int_equal(lgetxattr(rows[i].path, XATTR_ACL_ACCESS, NULL, 0), -1);
		assert_int_equal(lgetxattr(rows[i].path, XATTR_ACL_DEFAULT, NULL, 0), -1);
	}
	end(&s);
}

/* One that had its name from the first byte on, and one that got it in the end. */
static void keeps_no_file_that_could_not_be_closed(void **state)
{
	static const size_t sizes[] = { 5, (1 << 20) + 1 };
	uint8_t *data = calloc(1, sizes[1]);
	assert_non_null(data);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct scene s = { .result = -1 };
		sample_begin_empty(&s.sample, false);
		(void) pxar_writer_file(&s.sample.w, "first", 0644, "x", 1);
		(void) pxar_writer_file(&s.sample.w, "second", 0644, data, sizes[i]);
		sample_finish(&s.sample);
		assert_int_equal(scratch_begin(state), 0);
		n_until_full = 2;
		unpack_here(&s, NULL, 0);
		assert_int_equal(s.result, -ENOSPC);
		expect_text("out/first", "x");
		assert_int_equal(access("out/second", F_OK), -1);
		assert_int_equal(scratch_end(state), 0);
		end(&s);
	}
	free(data);
}

/* Somebody else put a link where a directory, a file or a hard link's target should be. */
static void follows_no_link_out_of_the_directory(void **state)
{
	struct scene s = { .result = -1 };
	sample_begin(&s.sample, false);
	assert_int_equal(mkdir("elsewhere", 0700), 0);
	assert_int_equal(mkdir("out", 0700), 0);
	assert_int_equal(symlink("../elsewhere", "out/dir"), 0);
	assert_int_equal(symlink("../elsewhere/new", "out/a.txt"), 0);
	assert_int_equal(symlink("../elsewhere/void", "out/void"), 0);
	unpack_here(&s, NULL, 0);
	assert_int_equal(rmdir("elsewhere"), 0); /* it is empty */
	expect_told(&s, "a.txt|dir|void");
	expect_text("out/hard", "hello"); /* of its own */
	end(&s);
}

static void put_link_for_dir(void)
{
	scratch_puts("elsewhere/f", "other");
	assert_int_equal(rename("out/dir", "away"), 0);
	assert_int_equal(symlink("../elsewhere", "out/dir"), 0);
}

/* To a hard link's target no more than to others. */
static void links_to_nothing_out_of_the_directory(void **state)
{
	static void (*const meddling[])(void) = { NULL, put_link_for_dir };
	for (size_t i = 0; i < ARRAY_LEN(meddling); i++) {
		struct scene s = { .result = -1, .meddle = meddling[i] };
		sample_begin_empty(&s.sample, false);
		struct pxar_writer *w = &s.sample.w;
		(void) pxar_writer_name(w, "dir");
		pxar_writer_entry(w, S_IFDIR | 0755);
		uint64_t pos = pxar_writer_file(w, "f", 0644, "f", 1);
		pxar_writer_end_directory(w);
		pxar_writer_hardlink(w, "hard", pos, "dir/f");
		sample_finish(&s.sample);
		assert_int_equal(scratch_begin(state), 0);
		unpack_here(&s, NULL, 0);
		assert_int_equal(s.result, 0);
		expect_text("out/hard", "f");
		assert_int_equal(ino_of("out/hard") == ino_of(meddling[i] ? "away/f" : "out/dir/f"), !meddling[i]);
		assert_int_equal(scratch_end(state), 0);
		end(&s);
	}
}

/* A link of the archive itself is where a directory of the same name would come. */
static void follows_no_link_that_it_made(void **state)
{
	struct scene s = { .result = -1 };
	sample_begin_empty(&s.sample, false);
	struct pxar_writer *w = &s.sample.w;
	(void) pxar_writer_name(w, "x");
	pxar_writer_entry(w, S_IFLNK | 0777);
	pxar_writer_symlink(w, "../elsewhere");
	(void) pxar_writer_name(w, "x");
	pxar_writer_entry(w, S_IFDIR | 0755);
	(void) pxar_writer_file(w, "evil", 0644, "x", 1);
	pxar_writer_end_directory(w);
	sample_finish(&s.sample);
	assert_int_equal(mkdir("elsewhere", 0700), 0);
	unpack_here(&s, NULL, 0);
	assert_int_equal(s.result, 1);
	assert_int_equal(rmdir("elsewhere"), 0);
	end(&s);
}

static void refuses_paths_that_lead_nowhere_before_it_begins(void **state)
{
	static const struct {
		const char *paths[2];
		int r;
	} rows[] = {
		{ { "a.txt", "gone" }, -ENOENT },
		{ { "a.txt", "void/x" }, -ENOTDIR },
		{ { "a.txt", "link/leaf" }, -ELOOP },
		{ { "a.txt", "dir/../void" }, -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s = { .result = -1 };
		sample_begin(&s.sample, false);
		unpack_here(&s, rows[i].paths, 2);
		assert_int_equal(s.result, rows[i].r);
		assert_int_equal(rmdir("out"), 0);
		end(&s);
	}
}

/* Zeros at the begin, in the middle and at the end; as many as there are take no room. */
static void leaves_holes_where_there_are_zeros(void **state)
{
	enum { SIZE = 3 << 20 };
	struct scene s = { .result = -1 };
	struct stat st;
	uint8_t *data = calloc(1, SIZE), *got = malloc(SIZE);
	assert_non_null(data);
	assert_non_null(got);
	memset(data + (1 << 20) - 5000, 'x', 10000);
	sample_begin_empty(&s.sample, true);
	(void) pxar_writer_file(&s.sample.w, "sparse", 0644, data, SIZE);
	sample_finish(&s.sample);
	unpack_here(&s, NULL, 0);
	assert_int_equal(s.result, 0);
	CLEANUP(closep) int fd = open("out/sparse", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true(st.st_blocks * 512 <= 64 << 10);
	assert_int_equal(read(fd, got, SIZE), SIZE);
	assert_memory_equal(got, data, SIZE);
	free(data);
	free(got);
	end(&s);
}

/* Of 13 files that are no directories; a hard link has no data of its own. */
static void tells_how_far_it_is(void **state)
{
	static const struct {
		const char *paths[3];
		uint64_t n_files, n_bytes, total; /* total 1 = something, and all of it was gone through */
		bool is_split;
	} rows[] = {
		{ { NULL }, 13, 100010, 1, false },
		{ { NULL }, 13, 100010, 1, true },
		{ { "big", "a.txt" }, 2, 100005, 100005, false },
		{ { "big", "a.txt", "link" }, 3, 100005, 100005, true },
		{ { "dir" }, 1, 4, 1, false },
		{ { "dir", "big" }, 2, 100004, 0, true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s = { .result = -1 };
		size_t n = 0;
		while (n < ARRAY_LEN(rows[i].paths) && rows[i].paths[n])
			n++;
		sample_begin(&s.sample, rows[i].is_split);
		assert_int_equal(scratch_begin(state), 0);
		unpack_here(&s, rows[i].paths, n);
		assert_int_equal(scratch_end(state), 0);
		assert_int_equal(s.result, 0);
		assert_int_equal(s.progress.n_files, rows[i].n_files);
		assert_int_equal(s.progress.n_bytes, rows[i].n_bytes);
		assert_int_equal(s.progress.done, s.progress.total);
		if (rows[i].total == 1)
			assert_true(s.progress.total > rows[i].n_bytes);
		else
			assert_int_equal(s.progress.total, rows[i].total);
		end(&s);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scratch_begin, scratch_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(unpacks_everything),
		CASE(links_what_was_asked_for_without_its_first_name),
		TEST(links_nothing_to_what_is_in_a_directory_that_is_left_out),
		TEST(leaves_no_directory_before_all_that_was_asked_for_in_it_came),
		TEST(hands_over_no_target_that_leads_elsewhere),
		CASE(leaves_out_what_is_damaged),
		CASE(leaves_out_what_cannot_have_its_name_there),
		TEST(leaves_a_directory_whose_attributes_are_damaged_by_then),
		TEST(gives_no_owner_that_cannot_be),
		TEST(unpacks_where_there_are_no_owners),
		CASE(gives_attributes_to_what_nobody_may_write),
		CASE(inherits_no_list_of_the_directory_it_comes_into),
		TEST(keeps_no_file_that_could_not_be_closed),
		CASE(follows_no_link_out_of_the_directory),
		TEST(links_to_nothing_out_of_the_directory),
		CASE(follows_no_link_that_it_made),
		CASE(refuses_paths_that_lead_nowhere_before_it_begins),
		CASE(leaves_holes_where_there_are_zeros),
		TEST(tells_how_far_it_is),
	};
	return RUN_TESTS(tests);
}
