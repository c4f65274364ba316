/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "unit.h"
#include "util/text.h"

/* -- tables ---------------------------------------------------------------------------------- */

static const char *const titles[] = { "NAME", "SIZE", "USED BY" };

static struct table three_columns(void)
{
	return (struct table){ .titles = titles, .n_columns = ARRAY_LEN(titles), .right = 1u << 1 };
}

static void columns_are_as_wide_as_they_must_be(void **state)
{
	static const char *const rows[][3] = {
		{ "a", "64.001 MiB", "-" },
		{ "größer", "1 B", "mount point /mnt" },
	};
	struct table table = three_columns();
	struct buf text = BUF_EMPTY;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(table_add(&table, rows[i], NULL), 0);
	assert_int_equal(table_format(&table, &text, NULL), 0);
	assert_string_equal(text.data, "NAME          SIZE  USED BY\n"
				       "a       64.001 MiB  -\n"
				       "größer         1 B  mount point /mnt\n");
	buf_deinit(&text);
	table_deinit(&table);
}

static void the_last_column_may_be_flushed_right(void **state)
{
	static const char *const cells[] = { "x", "1" };
	struct table table = { .titles = titles, .n_columns = 2, .right = 1u << 1 };
	struct buf text = BUF_EMPTY;
	assert_int_equal(table_add(&table, cells, NULL), 0);
	assert_int_equal(table_format(&table, &text, NULL), 0);
	assert_string_equal(text.data, "NAME  SIZE\nx        1\n");
	buf_deinit(&text);
	table_deinit(&table);
}

static void a_table_without_rows_is_nothing(void **state)
{
	struct table table = three_columns();
	struct buf text = BUF_EMPTY;
	assert_int_equal(table_format(&table, &text, NULL), 0);
	assert_string_equal(text.data, "");
	buf_deinit(&text);
	table_deinit(&table);
}

static void a_cell_cannot_move_the_cursor(void **state)
{
	static const char *const cells[] = { "a\nb", "\033[31m", "\xff" };
	struct table table = three_columns();
	struct buf text = BUF_EMPTY;
	assert_int_equal(table_add(&table, cells, NULL), 0);
	assert_int_equal(table_format(&table, &text, NULL), 0);
	assert_non_null(strstr(text.data, "a\\x0ab"));
	assert_non_null(strstr(text.data, "\\x1b[31m"));
	assert_non_null(strstr(text.data, "\\xff"));
	buf_deinit(&text);
	table_deinit(&table);
}

static void a_long_cell_is_not_cut(void **state)
{
	static char name[20000];
	memset(name, '\n', sizeof name - 1);
	const char *const cells[] = { name, "1", "-" };
	struct table table = three_columns();
	assert_int_equal(table_add(&table, cells, NULL), 0);
	assert_int_equal(strlen(table.cells.items[0]), 4 * (sizeof name - 1));
	table_deinit(&table);
}

/* -- JSON ------------------------------------------------------------------------------------ */

static void a_name_that_is_no_utf8_comes_in_base64_too(void **state)
{
	json_t *json = json_object();
	assert_int_equal(json_set_name(json, "name", "plän"), 0);
	assert_int_equal(json_set_name(json, "device", "/tmp/\xff"), 0);
	assert_string_equal(json_string_value(json_object_get(json, "name")), "plän");
	assert_null(json_object_get(json, "name_b64"));
	assert_string_equal(json_string_value(json_object_get(json, "device")), "/tmp/\\xff");
	assert_string_equal(json_string_value(json_object_get(json, "device_b64")), "L3RtcC//");
	assert_int_equal(json_set_name(NULL, "name", "x"), -1);
	json_decref(json);
}

static void names_become_strings_whatever_their_bytes(void **state)
{
	struct strv names = STRV_EMPTY;
	assert_int_equal(strv_add(&names, "a\nb", NULL), 0);
	assert_int_equal(strv_add(&names, "\xff", NULL), 0);
	json_t *array = json_names(&names);
	assert_int_equal(json_array_size(array), 2);
	assert_string_equal(json_string_value(json_array_get(array, 0)), "a\nb");
	assert_string_equal(json_string_value(json_array_get(array, 1)), "\\xff");
	json_decref(array);
	strv_deinit(&names);
}

static void a_row_that_could_not_be_made_spoils_the_array(void **state)
{
	json_t *rows = json_with(json_array(), json_integer(1));
	assert_int_equal(json_array_size(rows), 1);
	assert_null(json_with(rows, NULL));
	assert_null(json_with(NULL, json_integer(1)));
}

/* -- stdout ---------------------------------------------------------------------------------- */

/* What @json prints; stdout is a pipe meanwhile. */
static void output_to_pipe(const struct options *options, json_t *json, char *ret, size_t len)
{
	int fds[2], saved = dup(STDOUT_FILENO);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[1], STDOUT_FILENO), STDOUT_FILENO);
	int r = output_json(options, json, NULL);
	(void) dup2(saved, STDOUT_FILENO);
	(void) close(fds[1]);
	ssize_t n = read(fds[0], ret, len - 1);
	(void) close(fds[0]);
	(void) close(saved);
	assert_int_equal(r, 0);
	assert_true(n >= 0);
	ret[n] = '\0';
}

static void json_is_one_line_or_pretty(void **state)
{
	struct options options = { .is_json = true };
	char text[128];
	output_to_pipe(&options, json_pack("[{s:i}]", "a", 1), text, sizeof text);
	assert_string_equal(text, "[{\"a\":1}]\n");
	options.is_json_pretty = true;
	output_to_pipe(&options, json_pack("[{s:i}]", "a", 1), text, sizeof text);
	assert_string_equal(text, "[\n  {\n    \"a\": 1\n  }\n]\n");
}

/* What came of writing to @fd as stdout. */
static int output_to(int fd, bool *ret_has_reader)
{
	int saved = dup(STDOUT_FILENO);
	assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
	int r = output_text("text\n", 5, NULL);
	*ret_has_reader = output_has_reader();
	(void) dup2(saved, STDOUT_FILENO);
	(void) close(saved);
	return r;
}

static void no_room_for_the_result_is_said(void **state)
{
	bool has_reader = false;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		skip();
	assert_int_equal(output_to(fd, &has_reader), -ENOSPC);
	assert_true(has_reader);
	(void) close(fd);
}

static void a_closed_pipe_is_known_as_such(void **state)
{
	bool has_reader = true;
	int fds[2];
	(void) signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fds), 0);
	(void) close(fds[0]);
	assert_int_equal(output_to(fds[1], &has_reader), -EPIPE);
	assert_false(has_reader);
	(void) close(fds[1]);
}

/* -- messages -------------------------------------------------------------------------------- */

static void a_message_is_one_line_and_its_backslashes_stay(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "two\nlines", "two\\x0alines" },
		{ "\033[31mred \xff", "\\x1b[31mred \\xff" },
		{ "already \\x1b, and \n", "already \\x1b, and \\x0a" },
		{ "\\", "\\" },
		{ "\\\\a\\", "\\\\a\\" },
		{ "ümläut\\", "ümläut\\" },
	};
	char text[64];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(message_escape(rows[i].in, text, sizeof text), rows[i].out);
}

static void a_message_that_is_too_long_is_cut(void **state)
{
	char text[8];
	assert_string_equal(message_escape("abcdefghijk", text, sizeof text), "abcdefg");
	assert_string_equal(message_escape("abcdef\\\\\\", text, sizeof text), "abcdef\\");
	assert_string_equal(message_escape("abcdef\n\\", text, sizeof text), "abcdef\\");
	assert_string_equal(message_escape("\\\\\\\\\\\\\\\\\\", text, sizeof text), "\\\\\\\\\\\\\\");
	assert_string_equal(message_escape("a\n", text, 1), "");
}

/* It begins with a whole character, wherever it is cut. */
static void of_a_long_path_the_end_is_shown(void **state)
{
	static const char *const ends[] = { "/end", "/ends" };
	char path[2 * 2000 + 8], shown[MESSAGE_PATH_SIZE];
	assert_string_equal(message_path("a\nb\\", shown), "a\\x0ab\\\\");
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		for (size_t at = 0; at < 4000; at += 2)
			memcpy(path + at, "ä", 2);
		memcpy(path + 4000, ends[i], strlen(ends[i]) + 1);
		size_t len = strlen(message_path(path, shown));
		assert_true(len >= MESSAGE_PATH_SIZE - 2 && text_is_utf8(shown, len));
		assert_memory_equal(shown, "...", 3);
		assert_string_equal(shown + len - strlen(ends[i]), ends[i]);
	}
	memset(path, 'x', MESSAGE_PATH_SIZE - 1);
	path[MESSAGE_PATH_SIZE - 1] = '\0';
	assert_string_equal(message_path(path, shown), path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(columns_are_as_wide_as_they_must_be),
		TEST(the_last_column_may_be_flushed_right),
		TEST(a_table_without_rows_is_nothing),
		TEST(a_cell_cannot_move_the_cursor),
		TEST(a_long_cell_is_not_cut),
		TEST(a_name_that_is_no_utf8_comes_in_base64_too),
		TEST(names_become_strings_whatever_their_bytes),
		TEST(a_row_that_could_not_be_made_spoils_the_array),
		TEST(json_is_one_line_or_pretty),
		TEST(no_room_for_the_result_is_said),
		TEST(a_closed_pipe_is_known_as_such),
		TEST(a_message_is_one_line_and_its_backslashes_stay),
		TEST(a_message_that_is_too_long_is_cut),
		TEST(of_a_long_path_the_end_is_shown),
	};
	return RUN_TESTS(tests);
}
