/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>

#include "mounted.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/file.h"

enum { CHUNK = 4096 };

static char *below(const char *top, const char *name)
{
	char *path = NULL;
	assert_true(asprintf(&path, "%s/%s", top, name) > 0);
	return path; /* of a process that ends soon */
}

/* -- what is there --------------------------------------------------------------------------- */

static const struct known {
	const char *path;
	uint32_t mode;
	int64_t size; /* -1 = any */
	unsigned nlink;
} known[] = {
	{ "a.txt", S_IFREG | 0644, 5, 2 },    { "hard", S_IFREG | 0644, 5, 2 },
	{ "fifo", S_IFIFO | 0600, 0, 1 },     { "null", S_IFCHR | 0666, 0, 1 },
	{ "sock", S_IFSOCK | 0755, 0, 1 },    { "dir", S_IFDIR | 0750, -1, 1 },
	{ "dir/deep", S_IFDIR | 0700, -1, 1 }, { "dir/deep/leaf", S_IFREG | 0600, 4, 1 },
	{ "empty", S_IFDIR | 0755, -1, 1 },   { "void", S_IFREG | 0644, 0, 1 },
	{ "link", S_IFLNK | 0777, 8, 1 },     { "attrs", S_IFREG | 0670, 1, 1 },
	{ "big", S_IFREG | 0644, 100000, 1 },
};

static bool is_as_recorded(const char *top, const struct known *want)
{
	struct stat st;
	return must(lstat(below(top, want->path), &st) == 0, want->path) &&
	       must(st.st_mode == want->mode, "mode") && must(st.st_nlink == want->nlink, "nlink") &&
	       must(want->size < 0 || st.st_size == want->size, "size") &&
	       must(st.st_uid == 1000 && st.st_gid == 100, "owner") &&
	       must(st.st_mtim.tv_sec == 1700000000 && st.st_mtim.tv_nsec == 123456789, "time") &&
	       must(st.st_rdev == (S_ISCHR(want->mode) ? makedev(1, 3) : 0), "device") &&
	       must(st.st_blocks == (st.st_size + 511) / 512, "blocks");
}

static bool are_all_as_recorded(const char *top, const void *arg)
{
	/* A look at the second name tells of both. */
	struct stat a, hard, root;
	bool is_good = must(lstat(below(top, "a.txt"), &a) == 0 && lstat(below(top, "hard"), &hard) == 0, "links") &&
		       must(a.st_ino == hard.st_ino, "one inode") &&
		       must(lstat(top, &root) == 0 && root.st_ino == 1 && S_ISDIR(root.st_mode), "root");
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		is_good = is_as_recorded(top, &known[i]) && is_good;
	return is_good && must(lstat(below(top, "gone"), &a) < 0 && errno == ENOENT, "no such name") &&
	       must(lstat(below(top, "a.txt/x"), &a) < 0 && errno == ENOTDIR, "not a directory");
}

static bool is_big_right(const char *top, const void *arg)
{
	char data[100001];
	CLEANUP(closep) int big = open(below(top, "big"), O_RDONLY | O_CLOEXEC);
	bool is_good = must(pread_full(big, data, sizeof data, 0) == 100000, "big");
	for (uint64_t i = 0; is_good && i < 100000; i++)
		is_good = must((uint8_t)data[i] == sample_byte(i), "byte of big");
	return is_good;
}

static bool are_contents_right(const char *top, const void *arg)
{
	char data[16], target[64];
	CLEANUP(closep) int leaf = open(below(top, "dir/deep/leaf"), O_RDONLY | O_CLOEXEC);
	CLEANUP(closep) int through = open(below(top, "link/leaf"), O_RDONLY | O_CLOEXEC);
	CLEANUP(closep) int nothing = open(below(top, "void"), O_RDONLY | O_CLOEXEC);
	return is_big_right(top, arg) && must(pread_full(leaf, data, 10, 0) == 4 && memcmp(data, "leaf", 4) == 0, "leaf") &&
	       must(pread_full(through, data, 10, 0) == 4, "by a link") &&
	       must(pread_full(nothing, data, 10, 0) == 0, "void") &&
	       must(readlink(below(top, "out"), target, sizeof target) == 11, "link") &&
	       must(memcmp(target, "../../a.txt", 11) == 0, "target") &&
	       must(readlink(below(top, "a.txt"), target, sizeof target) < 0 && errno == EINVAL, "no link");
}

/* Sorted, each with a '\n'. */
static bool lists(const char *path, const char *want)
{
	struct dirent **names;
	char found[1024] = "";
	int n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		(void) strncat(found, names[i]->d_name, sizeof found - strlen(found) - 1);
		(void) strncat(found, "\n", sizeof found - strlen(found) - 1);
	}
	if (n >= 0 && strcmp(found, want) == 0)
		return true;
	print_message("%s:\n%s", path, found);
	return false;
}

static bool are_directories_right(const char *top, const void *arg)
{
	return setenv("LC_ALL", "C", 1) == 0 &&
	       lists(top, ".\n..\na.txt\nabsolute\nattrs\nbig\ndir\nempty\nfifo\nhard\nlink\nloop\nnull\nout\nsock\nvoid\n") &&
	       lists(below(top, "dir"), ".\n..\ndeep\n") && lists(below(top, "dir/deep"), ".\n..\nleaf\n") &&
	       lists(below(top, "empty"), ".\n..\n");
}

/* user::rw- user:1000:rwx group::r-- mask::rwx other::--- */
static const uint8_t wanted_list[] = {
	2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 7, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
	16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
};

static bool are_attributes_right(const char *top, const void *arg)
{
	static const char names[] = "security.capability\0system.posix_acl_access\0user.k";
	char value[256];
	const char *path = below(top, "attrs"), *plain = below(top, "a.txt");
	return must(getxattr(path, "user.k", value, sizeof value) == 5 && memcmp(value, "value", 5) == 0, "user.k") &&
	       must(getxattr(path, "user.k", NULL, 0) == 5, "its length") &&
	       must(getxattr(path, "user.k", value, 4) < 0 && errno == ERANGE, "no room") &&
	       must(getxattr(path, "user.x", value, sizeof value) < 0 && errno == ENODATA, "no such attribute") &&
	       must(getxattr(path, "system.posix_acl_access", value, sizeof value) == sizeof wanted_list, "list") &&
	       must(memcmp(value, wanted_list, sizeof wanted_list) == 0, "bytes of the list") &&
	       must(getxattr(path, "security.capability", value, sizeof value) == 20, "capability") &&
	       must(listxattr(path, value, sizeof value) == sizeof names, "names") &&
	       must(memcmp(value, names, sizeof names) == 0, "which names") &&
	       must(listxattr(path, value, sizeof names - 1) < 0 && errno == ERANGE, "no room for names") &&
	       must(listxattr(plain, value, sizeof value) == 0, "none") &&
	       must(getxattr(plain, "user.k", value, sizeof value) < 0 && errno == ENODATA, "not of this one");
}

/* By the bits of its mode, which are the mask, the group had all. */
static bool is_list_obeyed(const char *top, const void *arg)
{
	const char *path = below(top, "attrs");
	if (syscall(SYS_setgroups, 0, NULL) < 0 || setregid(100, 100) < 0 || setreuid(4321, 4321) < 0)
		return false;
	return must(access(path, R_OK) == 0, "the group reads") &&
	       must(access(path, X_OK) < 0 && errno == EACCES, "and does not run") &&
	       must(access(below(top, "dir/deep/leaf"), F_OK) < 0 && errno == EACCES, "nor looks into dir/deep");
}

static bool is_read_only(const char *top, const void *arg)
{
	struct statvfs st;
	return must(open(below(top, "a.txt"), O_RDWR | O_CLOEXEC) < 0 && errno == EROFS, "open for writing") &&
	       must(open(below(top, "new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == EROFS, "create") &&
	       must(mkdir(below(top, "new"), 0700) < 0 && errno == EROFS, "mkdir") &&
	       must(unlink(below(top, "a.txt")) < 0 && errno == EROFS, "unlink") &&
	       must(statvfs(top, &st) == 0 && (st.f_flag & ST_RDONLY) && st.f_bfree == 0 && st.f_blocks > 0, "statfs");
}

static void shows_everything_as_it_was_recorded(void **state)
{
	for (int is_split = 0; is_split < 2; is_split++) {
		struct sample s;
		struct mounted m;
		sample_begin(&s, is_split);
		mounted_begin(&m, s.tree, 0);
		assert_true(visit(are_all_as_recorded, m.top, NULL));
		assert_true(visit(are_contents_right, m.top, NULL));
		assert_true(visit(are_directories_right, m.top, NULL));
		assert_true(visit(are_attributes_right, m.top, NULL));
		assert_true(visit(is_list_obeyed, m.top, NULL));
		assert_true(visit(is_read_only, m.top, NULL));
		assert_int_equal(m.n_damaged, 0);
		mounted_end(&m);
		sample_end(&s);
	}
}

/* -- large directories ----------------------------------------------------------------------- */

enum { N_MANY = 40000 }; /* more than two batches */

static void put_many(struct sample *s, unsigned n)
{
	char name[32];
	for (unsigned i = 0; i < n; i++) {
		(void) snprintf(name, sizeof name, "file-%u", i);
		(void) pxar_writer_file(&s->w, name, 0644, name, i % 5);
	}
}

static bool is_next(struct dirent *entry, unsigned i)
{
	char name[32];
	(void) snprintf(name, sizeof name, "file-%u", i);
	return must(entry && strcmp(entry->d_name, name) == 0 && entry->d_type == DT_REG, name);
}

/* Before the kernel has all of it, it asks for what was given before. */
static bool are_some_listed_again(const char *top, const void *arg)
{
	CLEANUP(closedirp) DIR *dir = opendir(top);
	long middle = -1;
	bool is_good = must(dir && readdir(dir) && readdir(dir), "the dots");
	for (unsigned i = 0; is_good && i < 3000; i++) {
		if (i == 1000)
			middle = telldir(dir);
		is_good = is_next(readdir(dir), i);
	}
	seekdir(dir, middle);
	is_good = is_good && is_next(readdir(dir), 1000);
	rewinddir(dir);
	return is_good && must(readdir(dir) && readdir(dir), "the dots again") && is_next(readdir(dir), 0);
}

static bool are_many_listed(const char *top, const void *arg)
{
	CLEANUP(closedirp) DIR *dir = opendir(top);
	long middle = -1;
	struct stat st;
	bool is_good = must(dir && readdir(dir) && readdir(dir), "the dots");
	for (unsigned i = 0; is_good && i < N_MANY; i++) {
		if (i == N_MANY / 2)
			middle = telldir(dir);
		is_good = is_next(readdir(dir), i);
	}
	errno = 0;
	is_good = is_good && must(!readdir(dir) && errno == 0, "the end");
	if (is_good)
		seekdir(dir, middle);
	return is_good && is_next(readdir(dir), N_MANY / 2) &&
	       must(lstat(below(top, "file-39999"), &st) == 0 && st.st_size == 4, "the last");
}

static bool are_many_listed_twice(const char *top, const void *arg)
{
	return are_many_listed(top, arg) && are_many_listed(top, arg); /* the second time by the kernel alone */
}

static void lists_a_large_directory_from_anywhere(void **state)
{
	struct sample s;
	struct mounted m;
	sample_begin_empty(&s, true);
	put_many(&s, N_MANY);
	sample_finish(&s);
	mounted_begin(&m, s.tree, 0);
	assert_true(visit(are_some_listed_again, m.top, NULL));
	assert_true(visit(are_many_listed_twice, m.top, NULL));
	mounted_end(&m);
	sample_end(&s);
}

static bool are_many_listed_by_many(const char *top, const void *arg)
{
	/* More than may wait with their place: the others begin anew, and nobody is told anything else. */
	enum { N = 60 };
	DIR *dirs[N];
	bool is_good = true;
	for (int i = 0; i < N; i++)
		dirs[i] = opendir(top);
	for (unsigned k = 0; is_good && k < 1000; k++)
		for (int i = 0; is_good && i < N; i++)
			is_good = (k > 0 || (readdir(dirs[i]) && readdir(dirs[i]))) && is_next(readdir(dirs[i]), k);
	for (int i = 0; i < N; i++)
		(void) closedir(dirs[i]);
	return is_good;
}

static void lists_a_large_directory_to_many_at_once(void **state)
{
	struct sample s;
	struct mounted m;
	sample_begin_empty(&s, true);
	put_many(&s, N_MANY);
	sample_finish(&s);
	mounted_begin(&m, s.tree, 0);
	assert_true(visit(are_many_listed_by_many, m.top, NULL));
	mounted_end(&m);
	sample_end(&s);
}

/* -- holes ----------------------------------------------------------------------------------- */

static bool are_holes_told(const char *top, const void *arg)
{
	struct stat st;
	CLEANUP(closep) int fd = open(below(top, "sparse"), O_RDONLY | O_CLOEXEC);
	CLEANUP(closep) int full = open(below(top, "full"), O_RDONLY | O_CLOEXEC);
	off_t hole = lseek(fd, 0, SEEK_HOLE), data = lseek(fd, hole, SEEK_DATA);
	char bytes[100];
	memset(bytes, 1, sizeof bytes);
	return must(hole > 0 && hole < 2 * CHUNK, "the hole") &&
	       must(data > 10 * CHUNK && data <= 12 * CHUNK, "and its end") &&
	       must(lseek(fd, data, SEEK_HOLE) == 14 * CHUNK, "the end is a hole") &&
	       must(lseek(fd, 14 * CHUNK, SEEK_DATA) < 0 && errno == ENXIO, "nothing behind it") &&
	       must(fstat(fd, &st) == 0 && st.st_size == 14 * CHUNK && st.st_blocks <= 5 * CHUNK / 512, "blocks") &&
	       must(pread(fd, bytes, sizeof bytes, 5 * CHUNK) == sizeof bytes && bytes[0] == 0 && bytes[99] == 0, "zeros") &&
	       must(lseek(full, 0, SEEK_HOLE) == 2 * CHUNK && lseek(full, 5, SEEK_DATA) == 5, "no hole");
}

static void tells_of_holes_where_chunks_are_zeros(void **state)
{
	static uint8_t data[14 * CHUNK];
	struct scene scene = { .shared = NULL };
	memset(data, 0xaa, sizeof data);
	memset(data + CHUNK, 0, 11 * CHUNK);
	sample_begin_empty(&scene.s, true);
	(void) pxar_writer_file(&scene.s.w, "sparse", 0644, data, sizeof data);
	(void) pxar_writer_file(&scene.s.w, "full", 0644, data + 12 * CHUNK, 2 * CHUNK);
	pxar_writer_end_directory(&scene.s.w);
	scene_begin(&scene, 0);
	assert_true(visit(are_holes_told, scene.m.top, NULL));
	mounted_end(&scene.m);
	scene_end(&scene);
}

/* -- damage ---------------------------------------------------------------------------------- */

static bool is_eio(const char *top, const char *name)
{
	struct stat st;
	return must(lstat(below(top, name), &st) < 0 && errno == EIO, name);
}

static bool is_there(const char *top, const char *name)
{
	struct stat st;
	return must(lstat(below(top, name), &st) == 0, name);
}

/* A name made up for what has none: the one that begins like this. */
static bool has_one_nameless(const char *top)
{
	CLEANUP(closedirp) DIR *dir = opendir(top);
	unsigned n = 0;
	bool is_good = true;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strncmp(entry->d_name, "pbsmap-damaged-", 15) == 0) {
			n++;
			is_good = is_eio(top, entry->d_name);
		}
	return is_good && must(n == 1, "one without a name");
}

static bool are_the_others_there(const char *top, const void *arg)
{
	const uint64_t *pos = arg;
	char last[2], *names = NULL;
	CLEANUP(closep) int fd = open(below(top, "big"), O_RDONLY | O_CLOEXEC);
	if (asprintf(&names, ".\n..\na.txt\nabsolute\nattrs\nbig\ndir\nempty\nfifo\nlink\nloop\nnull\nout\n"
			     "pbsmap-damaged-%" PRIu64 "\nsock\nvoid\n", *pos) < 0)
		return false;
	return is_eio(top, "void") && is_there(top, "a.txt") && is_there(top, "fifo") && has_one_nameless(top) &&
	       must(pread(fd, last, 1, 99999) == 1, "big") &&
	       lists(below(top, "dir"), ".\n..\ndeep\n") &&
	       lists(top, names);
}

static void damage_is_an_error_of_one_entry(void **state)
{
	struct sample s;
	struct mounted m;
	sample_begin(&s, true);
	memset(s.w.meta.data + s.hard_pos, 0xee, 8); /* nobody can say what it is called */
	memset(s.w.meta.data + sample_node(&s, "void").pos + PXAR_HEADER_SIZE, 0xee, 8); /* its mode */
	mounted_begin(&m, s.tree, 0);
	assert_true(visit(are_the_others_there, m.top, &s.hard_pos));
	assert_true(m.n_damaged > 0);
	assert_non_null(strstr(m.last_damage, "void"));
	mounted_end(&m);
	sample_end(&s);
}

static bool are_they_refused(const char *top, const void *arg)
{
	char target[8];
	return is_eio(top, "device") && is_there(top, "good") && has_one_nameless(top) &&
	       must(readlink(below(top, "far"), target, sizeof target) < 0 && errno == EIO, "a target that is too long") &&
	       must(access(below(top, "pbsmap-damaged-x"), F_OK) < 0 && errno == ENOENT, "no such name");
}

static void what_linux_cannot_have_is_an_error_of_one_entry(void **state)
{
	struct sample s;
	struct mounted m;
	char name[1100], target[4097];
	memset(name, 'x', sizeof name - 1);
	memset(target, 'y', sizeof target - 1);
	name[1099] = target[4096] = '\0';
	sample_begin_empty(&s, false);
	(void) pxar_writer_name(&s.w, "device");
	pxar_writer_entry(&s.w, S_IFBLK | 0600);
	pxar_writer_device(&s.w, 4096, 1);
	(void) pxar_writer_file(&s.w, name, 0644, "", 0);
	(void) pxar_writer_name(&s.w, "far");
	pxar_writer_entry(&s.w, S_IFLNK | 0777);
	pxar_writer_symlink(&s.w, target);
	(void) pxar_writer_file(&s.w, "good", 0644, "", 0);
	sample_finish(&s);
	mounted_begin(&m, s.tree, 0);
	assert_true(visit(are_they_refused, m.top, NULL));
	mounted_end(&m);
	sample_end(&s);
}

static bool is_only_the_directory_lost(const char *top, const void *arg)
{
	char byte;
	CLEANUP(closep) int fd = open(below(top, "a.txt"), O_RDONLY | O_CLOEXEC);
	return is_eio(top, "dir") && is_there(top, "empty") && must(read(fd, &byte, 1) == 1 && byte == 'h', "a.txt");
}

static void a_directory_without_its_table_is_an_error_of_one_entry(void **state)
{
	struct sample s;
	struct mounted m;
	sample_begin(&s, false);
	struct node dir = sample_node(&s, "dir");
	memset(s.w.meta.data + dir.table_off, 0xee, dir.end - dir.table_off);
	mounted_begin(&m, s.tree, 0);
	assert_true(visit(is_only_the_directory_lost, m.top, NULL));
	mounted_end(&m);
	sample_end(&s);
}

/* Its data is elsewhere than its entry says. */
static bool is_not_opened(const char *top, const void *arg)
{
	return must(open(below(top, "big"), O_RDONLY | O_CLOEXEC) < 0 && errno == EIO, "big") && is_there(top, "big");
}

static void a_file_whose_data_is_not_where_it_should_be_is_not_opened(void **state)
{
	struct sample s;
	struct mounted m;
	sample_begin(&s, true);
	memset(s.w.payload.data + sample_node(&s, "big").payload_off - PXAR_HEADER_SIZE, 0xee, 8);
	mounted_begin(&m, s.tree, 0);
	assert_true(visit(is_not_opened, m.top, NULL));
	mounted_end(&m);
	sample_end(&s);
}

/* -- a source that does not answer ----------------------------------------------------------- */

/* near/ has few files with user.k, far/ many; an entry of far is in a chunk that nothing else is in. */
enum { N_FAR = 60 };

static char far_paths[N_FAR][16]; /* "far/f0" and so on */

static void write_near_and_far(struct scene *scene)
{
	static char noise[3 * CHUNK];
	char name[32];
	struct pxar_writer *w = &scene->s.w;
	sample_begin_empty(&scene->s, false);
	(void) pxar_writer_name(w, "near");
	pxar_writer_entry(w, S_IFDIR | 0755);
	for (unsigned i = 0; i < 5; i++) {
		(void) snprintf(name, sizeof name, "n%u", i);
		(void) pxar_writer_name(w, name);
		pxar_writer_entry(w, S_IFREG | 0644);
		pxar_writer_xattr(w, "user.k", "value", 5);
		pxar_writer_payload(w, "near", 4);
	}
	pxar_writer_end_directory(w);
	(void) pxar_writer_name(w, "far");
	pxar_writer_entry(w, S_IFDIR | 0755);
	for (unsigned i = 0; i < N_FAR; i++) {
		(void) snprintf(far_paths[i], sizeof far_paths[i], "far/f%u", i);
		for (size_t k = 0; k < sizeof noise; k++)
			noise[k] = (char)(k * i >> 4);
		(void) pxar_writer_file(w, strchr(far_paths[i], '/') + 1, 0644, noise, sizeof noise);
	}
	pxar_writer_end_directory(w);
	pxar_writer_end_directory(w);
}

static bool knows_near(const char *top, const void *arg)
{
	char byte;
	struct stat st;
	CLEANUP(closep) int fd = open(below(top, "near/n0"), O_RDONLY | O_CLOEXEC);
	return lists(below(top, "near"), ".\n..\nn0\nn1\nn2\nn3\nn4\n") && must(read(fd, &byte, 1) == 1, "near/n0") &&
	       must(lstat(below(top, "far/gone"), &st) < 0 && errno == ENOENT, "far");
}

/* Asks what the kernel does not keep: these questions reach us. */
static bool asks_near_again(const char *top, const void *arg)
{
	char value[8], data[8];
	struct stat st;
	int64_t begin = now_ns();
	CLEANUP(closep) int fd = open(below(top, "near/n3"), O_RDONLY | O_CLOEXEC);
	return must(getxattr(below(top, "near/n2"), "user.k", value, sizeof value) == 5, "attribute") &&
	       must(read(fd, data, sizeof data) == 4 && memcmp(data, "near", 4) == 0, "data") &&
	       must(lstat(below(top, "near/gone"), &st) < 0 && errno == ENOENT, "name") &&
	       must(now_ns() - begin < 1000000000, "at once");
}

static bool waits_and_is_told(const char *top, const void *arg)
{
	int64_t begin = now_ns();
	bool is_good = is_eio(top, arg);
	int64_t took_ms = (now_ns() - begin) / 1000000;
	return is_good && must(took_ms >= 2900, "waited") && must(took_ms < 7000, "not longer than the deadline");
}

static bool is_there_now(const char *top, const void *arg)
{
	return is_there(top, arg);
}

/* One for each of them but the first, which is in a chunk with its directory. */
static void start_all(const struct scene *scene, bool (*look)(const char *top, const void *arg), pid_t visitors[N_FAR])
{
	for (unsigned i = 1; i < N_FAR; i++)
		visitors[i] = visitor_start(look, scene->m.top, far_paths[i]);
}

/* Until so many chunks are wanted. */
static void await_held(struct scene *scene, unsigned n)
{
	struct deadline until = deadline_in_ms(20000);
	while (memory_source_n_held(&scene->meta) < n && !deadline_is_over(until))
		(void) usleep(2000);
	assert_true(memory_source_n_held(&scene->meta) >= n);
}

static void what_is_in_memory_does_not_wait_for_what_is_not(void **state)
{
	struct scene scene = { .shared = NULL };
	pid_t visitors[N_FAR];
	write_near_and_far(&scene);
	scene_begin(&scene, 3000);
	assert_true(visit(knows_near, scene.m.top, NULL));
	memory_source_hold(&scene.meta);
	start_all(&scene, waits_and_is_told, visitors);
	await_held(&scene, 8);
	for (int i = 0; i < 3; i++)
		assert_true(visit(asks_near_again, scene.m.top, NULL));
	bool are_told = true;
	for (unsigned i = 1; i < N_FAR; i++)
		are_told = visitor_wait(visitors[i]) && are_told;
	assert_true(are_told);
	assert_int_equal(scene.m.n_damaged, 0); /* nothing is */
	memory_source_release(&scene.meta);
	assert_true(visit(is_there_now, scene.m.top, "far/f7"));
	mounted_end(&scene.m);
	scene_end(&scene);
}

static bool waits(const char *top, const void *arg)
{
	struct stat st;
	return lstat(below(top, arg), &st) == 0;
}

static bool waits_for_names(const char *top, const void *arg)
{
	CLEANUP(closedirp) DIR *dir = opendir(below(top, "far"));
	unsigned n = 0;
	while (readdir(dir))
		n++;
	return n > 2;
}

/* Of the same name only one asks us at a time, the others wait for it. */
static bool waits_with_others(const char *top, const void *arg)
{
	return waits(top, "far/f59");
}

static void are_killed_soon(bool (*look)(const char *top, const void *arg), unsigned n_held)
{
	struct scene scene = { .shared = NULL };
	pid_t visitors[N_FAR];
	write_near_and_far(&scene);
	scene_begin(&scene, 0);
	assert_true(visit(knows_near, scene.m.top, NULL));
	memory_source_hold(&scene.meta);
	start_all(&scene, look, visitors);
	await_held(&scene, n_held);
	int64_t begin = now_ns();
	for (unsigned i = 1; i < N_FAR; i++)
		assert_int_equal(kill(visitors[i], SIGKILL), 0);
	for (unsigned i = 1; i < N_FAR; i++)
		assert_false(visitor_wait(visitors[i]));
	assert_true(now_ns() - begin < INT64_C(15000000000)); /* their own alarm is later */
	/* What they had open is closed, while looks into it still wait. */
	struct deadline until = deadline_in_ms(20000);
	while (fuse_tree_n_users(scene.m.files) > 0 && !deadline_is_over(until))
		(void) usleep(2000);
	memory_source_release(&scene.meta);
	assert_true(visit(is_there_now, scene.m.top, "far/f7"));
	mounted_end(&scene.m);
	scene_end(&scene);
}

static void who_waits_without_end_can_be_killed(void **state)
{
	are_killed_soon(waits, 8);
	are_killed_soon(waits_with_others, 1);
	are_killed_soon(waits_for_names, 1);
}

/* Many times one after the other: at once, not when its patience is at an end. */
static void who_is_killed_is_answered_at_once(void **state)
{
	struct scene scene = { .shared = NULL };
	enum { N = 10 };
	write_near_and_far(&scene);
	scene_begin(&scene, 0);
	assert_true(visit(knows_near, scene.m.top, NULL));
	memory_source_hold(&scene.meta);
	int64_t begin = now_ns();
	for (unsigned i = 0; i < N; i++) {
		pid_t visitor = visitor_start(waits, scene.m.top, far_paths[5 * (i + 1)]);
		await_held(&scene, i + 1);
		assert_int_equal(kill(visitor, SIGKILL), 0);
		assert_false(visitor_wait(visitor));
	}
	assert_true(now_ns() - begin < N * INT64_C(1500000000)); /* of 2 s each */
	memory_source_release(&scene.meta);
	mounted_end(&scene.m);
	scene_end(&scene);
}

static void on_alarm(int signal)
{
}

static int look_with_an_alarm(const char *path)
{
	const struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART */
	const struct itimerval soon = { .it_value.tv_usec = 100000 };
	struct stat st;
	if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &soon, NULL) < 0)
		return -EINVAL;
	return lstat(path, &st) < 0 ? -errno : 0;
}

static bool is_not_disturbed(const char *top, const void *arg)
{
	return must(look_with_an_alarm(below(top, arg)) == 0, "found");
}

static bool is_interrupted(const char *top, const void *arg)
{
	return must(look_with_an_alarm(below(top, arg)) == -EINTR, "interrupted");
}

/* It comes, and the process cannot take it: it waits for an answer. */
static void await_pending_signal(pid_t visitor)
{
	struct deadline until = deadline_in_ms(20000);
	char path[40];
	(void) snprintf(path, sizeof path, "/proc/%d/status", (int)visitor);
	while (!deadline_is_over(until)) {
		char text[4096] = "";
		CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(pread_full(fd, text, sizeof text - 1, 0) > 0);
		const char *pending = strstr(text, "\nShdPnd:");
		if (pending && strtoull(pending + 8, NULL, 16))
			return;
		(void) usleep(2000);
	}
	fail_msg("no signal came");
}

static void a_signal_soon_after_the_question_is_no_error(void **state)
{
	struct scene scene = { .shared = NULL };
	write_near_and_far(&scene);
	scene_begin(&scene, 0);
	assert_true(visit(knows_near, scene.m.top, NULL));
	memory_source_hold(&scene.meta);
	pid_t visitor = visitor_start(is_not_disturbed, scene.m.top, "far/f9");
	await_pending_signal(visitor);
	(void) usleep(100000); /* the kernel has told of it by then */
	memory_source_release(&scene.meta);
	assert_true(visitor_wait(visitor));
	mounted_end(&scene.m);
	scene_end(&scene);
}

static void a_signal_ends_what_waits_for_long(void **state)
{
	struct scene scene = { .shared = NULL };
	write_near_and_far(&scene);
	scene_begin(&scene, 0);
	assert_true(visit(knows_near, scene.m.top, NULL));
	memory_source_hold(&scene.meta);
	assert_true(visit(is_interrupted, scene.m.top, "far/f9"));
	memory_source_release(&scene.meta);
	mounted_end(&scene.m);
	scene_end(&scene);
}

static void who_waits_is_told_when_all_is_shut_down(void **state)
{
	struct scene scene = { .shared = NULL };
	write_near_and_far(&scene);
	scene_begin(&scene, 0);
	assert_true(visit(knows_near, scene.m.top, NULL));
	memory_source_hold(&scene.meta);
	pid_t visitor = visitor_start(waits, scene.m.top, "far/f3");
	await_held(&scene, 1);
	scene_shut_down(&scene);
	mounted_end_lazily(&scene.m);
	assert_false(visitor_wait(visitor));
	memory_source_release(&scene.meta);
	scene_end(&scene);
}

/* -- a listing that breaks off --------------------------------------------------------------- */

enum { N_LISTED = 3000 };

struct pipes {
	int begun[2], failed[2], go_on[2];
};

static void say_and_await(int say_fd, int await_fd)
{
	char byte = 0;
	(void) !write(say_fd, &byte, 1);
	(void) !read(await_fd, &byte, 1);
}

/* How many names a piece of it has. */
static unsigned count_names(const char *buf, long len)
{
	unsigned n = 0;
	for (long at = 0; at < len; n++) {
		uint16_t reclen;
		memcpy(&reclen, buf + at + 16, sizeof reclen);
		at += reclen;
	}
	return n;
}

/* It goes wrong in the middle, and from there on right. */
static bool is_never_cut_short(const char *top, const void *arg)
{
	const struct pipes *pipes = arg;
	static char buf[4096];
	unsigned n = 0, n_failed = 0;
	CLEANUP(closep) int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (;;) {
		long len = syscall(SYS_getdents64, dir, buf, sizeof buf);
		if (len == 0)
			break;
		if (len < 0 && !must(errno == EIO && n_failed++ == 0, "one error"))
			return false;
		if (len < 0)
			say_and_await(pipes->failed[1], pipes->go_on[0]);
		else if (n == 0)
			say_and_await(pipes->begun[1], pipes->go_on[0]);
		n += len > 0 ? count_names(buf, len) : 0;
	}
	return must(n_failed == 1, "an error in the middle") && must(n == N_LISTED + 2, "all names");
}

static void a_listing_that_breaks_off_is_no_short_directory(void **state)
{
	struct scene scene = { .shared = NULL };
	struct pipes pipes;
	char byte = 0;
	assert_true(pipe2(pipes.begun, O_CLOEXEC) == 0 && pipe2(pipes.failed, O_CLOEXEC) == 0 &&
		    pipe2(pipes.go_on, O_CLOEXEC) == 0);
	sample_begin_empty(&scene.s, true);
	put_many(&scene.s, N_LISTED);
	pxar_writer_end_directory(&scene.s.w);
	scene_begin(&scene, 300);
	pid_t visitor = visitor_start(is_never_cut_short, scene.m.top, &pipes);
	assert_int_equal(read(pipes.begun[0], &byte, 1), 1);
	memory_source_hold(&scene.meta);
	assert_int_equal(write(pipes.go_on[1], &byte, 1), 1);
	assert_int_equal(read(pipes.failed[0], &byte, 1), 1);
	memory_source_release(&scene.meta);
	assert_int_equal(write(pipes.go_on[1], &byte, 1), 1);
	assert_true(visitor_wait(visitor));
	mounted_end(&scene.m);
	scene_end(&scene);
	for (int i = 0; i < 2; i++)
		(void) (close(pipes.begun[i]), close(pipes.failed[i]), close(pipes.go_on[i]));
}

/* -- many at once, and the end --------------------------------------------------------------- */

static bool look_at_all(const char *top, const void *arg)
{
	bool is_good = true;
	for (int i = 0; is_good && i < 20; i++)
		is_good = are_all_as_recorded(top, arg) && are_contents_right(top, arg) &&
			  are_attributes_right(top, arg) && are_directories_right(top, arg);
	return is_good;
}

static void many_look_at_the_same_time(void **state)
{
	struct scene scene = { .shared = NULL };
	pid_t visitors[8];
	sample_write(&scene.s, true);
	scene_begin(&scene, 0);
	for (size_t i = 0; i < ARRAY_LEN(visitors); i++)
		visitors[i] = visitor_start(look_at_all, scene.m.top, NULL);
	bool is_good = true;
	for (size_t i = 0; i < ARRAY_LEN(visitors); i++)
		is_good = visitor_wait(visitors[i]) && is_good;
	assert_true(is_good);
	assert_int_equal(scene.m.n_damaged, 0);
	mounted_end(&scene.m);
	scene_end(&scene);
}

static void it_can_be_unmounted_while_somebody_reads(void **state)
{
	struct scene scene = { .shared = NULL };
	sample_write(&scene.s, true);
	scene_begin(&scene, 0);
	assert_true(visit(are_directories_right, scene.m.top, NULL));
	memory_source_hold(&scene.payload);
	pid_t visitor = visitor_start(is_big_right, scene.m.top, NULL);
	struct deadline until = deadline_in_ms(20000);
	while (memory_source_n_held(&scene.payload) == 0 && !deadline_is_over(until))
		(void) usleep(2000);
	assert_int_equal(fuse_path_unmount(scene.m.top, false, NULL), -EBUSY);
	assert_int_equal(fuse_path_unmount(scene.m.top, true, NULL), 0);
	assert_false(fuse_tree_has_ended(scene.m.files));
	memory_source_release(&scene.payload);
	assert_true(visitor_wait(visitor));
	mounted_await_end(&scene.m);
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MOUNTED_TEST(shows_everything_as_it_was_recorded),
		MOUNTED_TEST(lists_a_large_directory_from_anywhere),
		MOUNTED_TEST(lists_a_large_directory_to_many_at_once),
		MOUNTED_TEST(tells_of_holes_where_chunks_are_zeros),
		MOUNTED_TEST(damage_is_an_error_of_one_entry),
		MOUNTED_TEST(what_linux_cannot_have_is_an_error_of_one_entry),
		MOUNTED_TEST(a_directory_without_its_table_is_an_error_of_one_entry),
		MOUNTED_TEST(a_file_whose_data_is_not_where_it_should_be_is_not_opened),
		MOUNTED_TEST(what_is_in_memory_does_not_wait_for_what_is_not),
		MOUNTED_TEST(who_waits_without_end_can_be_killed),
		MOUNTED_TEST(who_is_killed_is_answered_at_once),
		MOUNTED_TEST(a_signal_soon_after_the_question_is_no_error),
		MOUNTED_TEST(a_signal_ends_what_waits_for_long),
		MOUNTED_TEST(who_waits_is_told_when_all_is_shut_down),
		MOUNTED_TEST(a_listing_that_breaks_off_is_no_short_directory),
		MOUNTED_TEST(many_look_at_the_same_time),
		MOUNTED_TEST(it_can_be_unmounted_while_somebody_reads),
	};
	return RUN_TESTS(tests);
}
