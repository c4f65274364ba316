/* SPDX-License-Identifier: Apache-2.0 */
#include "util/mount_table.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "unit.h"
#include "util/buf.h"
#include "util/file.h"

/* As of proc(5): fields that may be there or not, escapes, and rows that are none. */
static const char table[] =
	"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
	"37 35 0:41 / /a\\040b\\134c\\012d rw - fuse.pbsmap vm/100\\040x ro,user_id=0\n"
	"38 35 0:42 / /many\\7 rw shared:2 master:1 propagate_from:3 unbindable - tmpfs none rw\n"
	"\n"
	"39 35 0:43 / /no-end rw shared:2\n"
	"40 35 0:x / /no-number rw - tmpfs none rw\n"
	"41 35 0:44 / /no-source rw - tmpfs\n"
	"42 35 259:70000 / /last rw - xfs /dev/nvme0n1p1 rw";

static int add_row(void *text, const struct mount_row *row, struct err *err)
{
	return buf_printf(text, err, "%u:%u %s %s %s|", major(row->dev), minor(row->dev), row->target, row->type,
			  row->source);
}

static void reads_rows_and_leaves_out_what_is_none(void **state)
{
	char path[64];
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	CLEANUP(closep) int fd = memfd_create("table", MFD_CLOEXEC);
	assert_int_equal(write_full(fd, table, sizeof table - 1), 0);
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	assert_int_equal(mount_table_each(path, add_row, &text, NULL), 0);
	assert_string_equal(text.data, "98:0 /mnt2 ext3 /dev/root|0:41 /a b\\c\nd fuse.pbsmap vm/100 x|"
				       "0:42 /many\\7 tmpfs none|259:70000 /last xfs /dev/nvme0n1p1|");
}

static int end_at_second(void *n, const struct mount_row *row, struct err *err)
{
	return ++*(int *)n == 2 ? err_set(err, -EBUSY, "%s", row->target) : 0;
}

static void ends_when_it_is_told_to(void **state)
{
	char path[64];
	struct err err = ERR_NONE;
	int n = 0;
	CLEANUP(closep) int fd = memfd_create("table", MFD_CLOEXEC);
	assert_int_equal(write_full(fd, table, sizeof table - 1), 0);
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	assert_int_equal(mount_table_each(path, end_at_second, &n, &err), -EBUSY);
	assert_string_equal(err.msg, "/a b\\c\nd");
	assert_int_equal(n, 2);
}

static void finds_nothing_where_there_is_no_table(void **state)
{
	int n = 0;
	assert_int_equal(mount_table_each("/proc/self/no-such-table", end_at_second, &n, NULL), 0);
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_rows_and_leaves_out_what_is_none),
		TEST(ends_when_it_is_told_to),
		TEST(finds_nothing_where_there_is_no_table),
	};
	return RUN_TESTS(tests);
}
