/* SPDX-License-Identifier: Apache-2.0 */
#include "nbdkit/disks.h"

#include <string.h>

#include "unit.h"

static void finds_an_export_by_its_name(void **state)
{
	struct shown_disk items[] = { { .name = "drive-scsi0.img" }, { .name = "other" }, { .name = "drive-scsi1.img" } };
	const struct disks disks = { .items = items, .n = ARRAY_LEN(items) };
	static const struct {
		const char *name;
		int n; /* -1 = none */
	} rows[] = {
		{ "drive-scsi0.img", 0 }, { "drive-scsi1.img", 2 }, { "drive-scsi1.img.fidx", 2 }, { "other", 1 },
		{ "other.fidx", 1 }, { "", -1 }, { "drive-scsi2.img", -1 }, { "drive-scsi0", -1 },
		{ "drive-scsi0.img/", -1 }, { "../drive-scsi0.img", -1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_ptr_equal(disks_find(&disks, rows[i].name), rows[i].n < 0 ? NULL : &items[rows[i].n]);
}

static void the_only_export_needs_no_name(void **state)
{
	struct shown_disk item = { .name = "drive-scsi0.img" };
	const struct disks one = { .items = &item, .n = 1 }, none = DISKS_NONE;
	assert_ptr_equal(disks_find(&one, ""), &item);
	assert_ptr_equal(disks_find(&one, "drive-scsi0.img"), &item);
	assert_null(disks_find(&one, "x.img"));
	assert_null(disks_find(&none, ""));
}

/* What nbdkit does not know becomes EINVAL, as if the client had asked for nonsense. */
static void tells_clients_in_the_codes_of_nbd(void **state)
{
	static const int rows[][2] = {
		{ -EBADMSG, EIO }, { -ENOENT, EIO }, { -ETIMEDOUT, EIO }, { -EACCES, EIO }, { -EIO, EIO },
		{ -ENOMEM, ENOMEM }, { -ESHUTDOWN, ESHUTDOWN }, { -ECANCELED, ESHUTDOWN },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(disk_errno_of(rows[i][0]), rows[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_an_export_by_its_name),
		TEST(the_only_export_needs_no_name),
		TEST(tells_clients_in_the_codes_of_nbd),
	};
	return RUN_TESTS(tests);
}
