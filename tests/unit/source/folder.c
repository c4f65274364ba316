/* SPDX-License-Identifier: Apache-2.0 */
#include "source/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

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
		STORE_TEST(opens_regular_files_and_says_how_long),
	};
	return RUN_TESTS(tests);
}
