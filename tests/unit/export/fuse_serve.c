/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_file.h"

#include <errno.h>

#include "unit.h"
#include "util/cleanup.h"

static void a_code_becomes_what_a_reader_understands(void **state)
{
	static const struct {
		int code, want;
	} rows[] = {
		{ -ECANCELED, EINTR },	{ -ENOMEM, ENOMEM },	 { -EIO, EIO },	       { -EBADMSG, EIO },
		{ -ENOENT, EIO },	{ -ENOKEY, EIO },	 { -EKEYREJECTED, EIO }, { -EACCES, EIO },
		{ -ETIMEDOUT, EIO },	{ -ECONNRESET, EIO },	 { -EPROTO, EIO },     { -ESHUTDOWN, EIO },
		{ -EINVAL, EIO },	{ -EAGAIN, EIO },	 { -ESTALE, EIO },     { -EINTR, EIO },
		{ -4096, EIO },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(fuse_errno_of(rows[i].code), rows[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_code_becomes_what_a_reader_understands),
	};
	return RUN_TESTS(tests);
}
