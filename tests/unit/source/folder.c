/* SPDX-License-Identifier: Apache-2.0 */
#include "source/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store.h"
#include "unit.h"

/* What dir.c of these tests sees of it, through a source, is tested there. */

static void opens_directories_without_following_links(void **state)
{
	struct store *s = *state;
	char name_255[260], name_256[260];
	(void) snprintf(name_255, sizeof name_255, "%0255d", 0);
	(void) snprintf(name_256, sizeof name_256, "%0256d", 0);
	put_dir(s->fd, "a/b/c");
	put_dir(s->fd, name_255);
	put_link(s->fd, "link", "a");
	put_link(s->fd, "a/up", "..");
	put_text(s->fd, "file", "");
	const struct {
		const char *path;
		int code;
	} rows[] = {
		{ "", 0 },
		{ "a", 0 },
		{ "a/b/c", 0 },
		{ "a/b/", 0 },
		{ name_255, 0 },
		{ name_256, -ENAMETOOLONG },
		{ "b", -ENOENT },
		{ "a/c/b", -ENOENT },
		{ "link", -ENOTDIR },
		{ "link/b", -ENOTDIR },
		{ "a/up/a", -ENOTDIR },
		{ "file", -ENOTDIR },
		{ "file/a", -ENOTDIR },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(closep) int fd = folder_open(s->fd, rows[i].path);
		if (rows[i].code ? fd != rows[i].code : fd < 0)
			fail_msg("'%s': %d", rows[i].path, fd);
	}
	assert_int_equal(folder_open(-EBADF, "a"), -EBADF);
}

static bool is_short(const char *name)
{
	return strlen(name) == 1;
}

static void lists_one_kind_sorted_and_twice_the_same(void **state)
{
	struct store *s = *state;
	const char *const dirs[] = { "list/b", "list/a", "list/long", "list/.hidden", "list/B" };
	const char *const files[] = { "list/2", "list/1", "list/10", "list/.git" };
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		put_dir(s->fd, dirs[i]);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put_text(s->fd, files[i], "");
	put_fifo(s->fd, "list/f");
	put_link(s->fd, "list/l", "a");
	put_link(s->fd, "list/m", "1");
	CLEANUP(closep) int fd = folder_open(s->fd, "list");
	const struct {
		enum folder_want want;
		bool (*is_wanted)(const char *name);
		const char *text;
	} rows[] = {
		{ FOLDER_DIRS, NULL, "B, a, b, long" },
		{ FOLDER_DIRS, is_short, "B, a, b" },
		{ FOLDER_FILES, NULL, "1, 10, 2" },
		{ FOLDER_FILES, is_short, "1, 2" },
	};
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		size_t row = i % ARRAY_LEN(rows);
		CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
		char text[100];
		assert_int_equal(folder_list(fd, rows[row].want, rows[row].is_wanted, &names, NULL), 0);
		strv_describe(&names, 10, text, sizeof text);
		assert_string_equal(text, rows[row].text);
	}
	struct strv none = STRV_EMPTY;
	struct err err = ERR_NONE;
	expect(folder_list(-EBADF, FOLDER_DIRS, NULL, &none, &err), &err, -EBADF, "cannot list");
}

/*
 * The linker puts these in the place of readdir() and fstatat(): a file system that does not tell kinds, and a
 * disk that is dying.
 */
static bool tells_no_kinds;
static int n_until_broken = -1; /* entries that can be read; -1 = all */
static const char *broken_name;

struct dirent *__real_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir)
{
	if (n_until_broken == 0) {
		errno = EIO;
		return NULL;
	}
	struct dirent *entry = __real_readdir64(dir);
	n_until_broken -= n_until_broken > 0;
	if (entry && tells_no_kinds)
		entry->d_type = DT_UNKNOWN;
	return entry;
}

int __real_fstatat64(int dir_fd, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int dir_fd, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int dir_fd, const char *name, struct stat *st, int flags)
{
	if (broken_name && strcmp(name, broken_name) == 0) {
		errno = EIO;
		return -1;
	}
	return __real_fstatat64(dir_fd, name, st, flags);
}

/* What cannot be looked at may be what is wanted: whoever opens it learns why. */
static void leaves_nothing_out_whose_kind_it_cannot_learn(void **state)
{
	struct store *s = *state;
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	char text[100];
	put_dir(s->fd, "list/a");
	put_dir(s->fd, "list/b");
	put_text(s->fd, "list/c", "");
	CLEANUP(closep) int fd = folder_open(s->fd, "list");
	tells_no_kinds = true;
	broken_name = "b";
	int r = folder_list(fd, FOLDER_DIRS, NULL, &names, NULL);
	tells_no_kinds = false;
	broken_name = NULL;
	assert_int_equal(r, 0);
	strv_describe(&names, 10, text, sizeof text);
	assert_string_equal(text, "a, b");
}

static void gives_what_it_has_read_when_the_rest_cannot_be(void **state)
{
	struct store *s = *state;
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	struct err err = ERR_NONE;
	for (char name[] = "list/a"; name[5] <= 'j'; name[5]++)
		put_dir(s->fd, name);
	CLEANUP(closep) int fd = folder_open(s->fd, "list");
	n_until_broken = 2 + 5; /* "." and ".." may be among them */
	int r = folder_list(fd, FOLDER_DIRS, NULL, &names, &err);
	n_until_broken = -1;
	expect(r, &err, -EIO, "cannot list a directory: Input/output error");
	assert_true(names.n >= 5 && names.n <= 7);
	for (size_t i = 1; i < names.n; i++)
		assert_true(strcmp(names.items[i - 1], names.items[i]) < 0);
}

static void opens_regular_files_and_says_how_long(void **state)
{
	struct store *s = *state;
	uint64_t size = 0;
	put_sparse(s->fd, "long", (1ull << 32) + 5);
	CLEANUP(closep) int fd = folder_open_file(s->fd, "long", &size);
	assert_true(fd >= 0);
	assert_int_equal(size, (1ull << 32) + 5);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(opens_directories_without_following_links),
		STORE_TEST(lists_one_kind_sorted_and_twice_the_same),
		STORE_TEST(leaves_nothing_out_whose_kind_it_cannot_learn),
		STORE_TEST(gives_what_it_has_read_when_the_rest_cannot_be),
		STORE_TEST(opens_regular_files_and_says_how_long),
	};
	return RUN_TESTS(tests);
}
