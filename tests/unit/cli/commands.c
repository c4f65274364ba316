/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static void codes_become_exit_statuses(void **state)
{
	static const struct {
		int code, status;
	} rows[] = {
		{ 0, 0 },
		{ -EIO, 1 }, { -ENOMEM, 1 }, { -EPIPE, 1 }, { -ENOSPC, 1 }, { -ENODEV, 1 },
		{ -EOPNOTSUPP, 1 }, { -ETIMEDOUT, 1 }, { -ECONNRESET, 1 }, { -EPROTO, 1 }, { -EEXIST, 1 },
		{ -EINVAL, 2 }, { -ENOTUNIQ, 2 }, { -EISDIR, 2 },
		{ -ENOENT, 3 }, { -ENOTDIR, 3 },
		{ -EACCES, 4 }, { -EPERM, 4 }, { -ENOKEY, 4 }, { -EKEYREJECTED, 4 }, { -EAGAIN, 4 },
		{ -EBUSY, 5 },
		{ -EBADMSG, 6 }, { -EUCLEAN, 6 },
		{ -EINTR, 130 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(exit_status_of(rows[i].code), rows[i].status);
}

static void every_row_is_complete(void **state)
{
	size_t n = 0;
	for (const struct command *c = commands; c->name; c++, n++) {
		assert_non_null(c->args);
		assert_non_null(c->summary);
		assert_non_null(c->help);
		assert_non_null(c->run);
		assert_true(c->min_args <= c->max_args);
		assert_true(c->max_args <= COMMAND_ARGS_MAX || c->max_args == COMMAND_MANY_ARGS);
		for (size_t i = 0; i < c->max_args && i < COMMAND_ARGS_MAX; i++)
			assert_int_not_equal(c->kinds[i], WORD_UNKNOWN);
		bool gives_bytes = c->run == cmd_cat || c->run == cmd_extract;
		assert_int_equal(!(c->options & 1u << OPT_JSON), gives_bytes);
		for (const struct command *other = commands; other < c; other++)
			assert_string_not_equal(other->name, c->name);
	}
	assert_int_equal(n, 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(codes_become_exit_statuses),
		TEST(every_row_is_complete),
	};
	return RUN_TESTS(tests);
}
