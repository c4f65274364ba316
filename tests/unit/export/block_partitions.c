/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "device.h"
#include "export/block_partitions.h"
#include "export/loop.h"
#include "partition_tables.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/file.h"

/* What the kernel finds by itself, or libblkid where the kernel knows no partitions, is the same. */
static uint8_t disk[N_SECTORS * SECTOR];

/* -- what is shown --------------------------------------------------------------------------- */

static uint64_t number_of(const struct loop *loop, const char *partition, const char *what)
{
	char path[128];
	unsigned long long number = 0;
	(void) snprintf(path, sizeof path, "/sys/block/loop%u/%s/%s", loop->number, strrchr(partition, '/') + 1, what);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	assert_true(file && fscanf(file, "%llu", &number) == 1);
	return number;
}

static bool same_bytes(const char *path, uint64_t start)
{
	uint8_t sector[SECTOR];
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && pread_full(fd, sector, SECTOR, 0) == SECTOR &&
	       memcmp(sector, disk + start * SECTOR, SECTOR) == 0;
}

/* "1:64+64 …": number, first sector, sectors of each; all of them readable and inside the disk. */
static void show(void (*fill)(uint8_t *disk), char *ret, size_t len)
{
	CLEANUP(strv_deinit) struct strv partitions = STRV_EMPTY;
	CLEANUP(closep) int file = device_file(sizeof disk);
	table_make(fill, disk);
	assert_int_equal(write_full(file, disk, sizeof disk), 0);
	CLEANUP(loop_detach) struct loop loop = device_attach(file, device_mark());
	assert_int_equal(block_add_partitions(loop.fd, loop.path, &partitions, NULL), 0);
	*ret = '\0';
	uint64_t last_start = 0;
	for (size_t i = 0; i < partitions.n; i++) {
		const char *path = partitions.items[i];
		uint64_t start = number_of(&loop, path, "start"), sectors = number_of(&loop, path, "size");
		size_t have = strlen(ret);
		if (start == last_start)
			continue; /* the kernel goes round a circle until it has no more numbers */
		last_start = start;
		assert_memory_equal(path, loop.path, strlen(loop.path));
		if (start >= N_SECTORS || sectors > N_SECTORS - start || sectors == 0)
			fail_msg("%s: %u+%u is outside of the disk", path, (unsigned)start, (unsigned)sectors);
		assert_true(same_bytes(path, start));
		assert_int_equal(number_of(&loop, path, "ro"), 1);
		(void) snprintf(ret + have, len - have, "%s%s:%u+%u", have ? " " : "",
				path + strlen(loop.path) + 1, (unsigned)start, (unsigned)sectors);
	}
}

static void shows_the_partitions_of_tables_good_and_bad(void **state)
{
	for (size_t i = 0; i < n_table_rows; i++) {
		const struct table_row *row = &table_rows[i];
		char shown[4096];
		show(row->fill, shown, sizeof shown);
		if (strcmp(shown, row->partitions) != 0 && (!row->by_kernel || strcmp(shown, row->by_kernel) != 0))
			fail_msg("%s: '%s', not '%s'", row->name, shown, row->partitions);
	}
}

static void shows_the_others_when_two_overlap(void **state)
{
	char shown[4096];
	show(overlap_of_two, shown, sizeof shown);
	assert_non_null(strstr(shown, "1:64+1000"));
	assert_non_null(strstr(shown, "3:8192+64"));
	show(a_logical_one_right_behind_its_record, shown, sizeof shown);
	assert_non_null(strstr(shown, "5:4097+1000"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_the_partitions_of_tables_good_and_bad),
		TEST(shows_the_others_when_two_overlap),
	};
	return RUN_TESTS(tests);
}
