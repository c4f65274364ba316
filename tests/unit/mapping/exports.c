/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/exports.h"

#include <stdio.h>
#include <string.h>

#include "partition_tables.h"
#include "unit.h"

/* A disk in memory, whose reads are answered at once; from @bad on they fail. */
struct memory_disk {
	struct image image;
	uint64_t bad;
	uint8_t bytes[N_SECTORS * SECTOR];
};

static void submit(struct image *image, struct read *read)
{
	struct memory_disk *disk = CONTAINER_OF(image, struct memory_disk, image);
	assert_true(read->off <= image->size && read->len <= image->size - read->off);
	if (read->off + read->len > disk->bad) {
		read->result = err_set(&read->err, -EIO, "made to fail");
	} else {
		read->segments = read->inline_segments;
		read->segments[0] = (struct segment){ disk->bytes + read->off, read->len, NULL };
		read->n_segments = 1;
	}
	read->done(read);
}

static const struct image_ops memory_ops = { .submit = submit };

static struct memory_disk first, second;

static void nothing(uint8_t *disk)
{
}

static void make(struct memory_disk *disk, void (*fill)(uint8_t *disk))
{
	disk->image = (struct image){ &memory_ops, sizeof disk->bytes };
	disk->bad = UINT64_MAX;
	table_make(fill, disk->bytes);
}

static int add_disk(struct exports *exports, const char *name, struct memory_disk *disk, struct err *err)
{
	return exports_add_disk(exports, name, "vm/1", &disk->image, DEADLINE_NEVER, err);
}

/* A partition has its name, its size, a description, and its sectors: which ones, @row says. */
static const char *must_show_one(const struct exports *exports, size_t n, const char *row)
{
	const struct nbd_export *export = &exports->items[n];
	unsigned number, at, sectors;
	int used;
	char name[32], begin[64];
	uint8_t got[SECTOR];
	assert_int_equal(sscanf(row, "%u:%u+%u%n", &number, &at, &sectors, &used), 3);
	(void) snprintf(name, sizeof name, "disk.img/p%u", number);
	(void) snprintf(begin, sizeof begin, "vm/1, partition %u, ", number);
	assert_string_equal(export->name, name);
	assert_int_equal(strncmp(export->description, begin, strlen(begin)), 0);
	assert_int_equal(export->size, (uint64_t)sectors * SECTOR);
	assert_int_equal(export->image->size, export->size);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t off = i ? export->size - SECTOR : 0;
		assert_int_equal(image_pread(export->image, got, SECTOR, off, DEADLINE_NEVER, NULL), 0);
		assert_memory_equal(got, first.bytes + (uint64_t)at * SECTOR + off, SECTOR);
	}
	return row + used + (row[used] == ' ');
}

static void shows_a_disk_and_what_the_kernel_finds_in_it(void **state)
{
	for (size_t i = 0; i < n_table_rows; i++) {
		const struct table_row *row = &table_rows[i];
		const char *want = row->without_extended ? row->without_extended : row->partitions;
		CLEANUP(exports_deinit) struct exports exports = EXPORTS_EMPTY;
		size_t n = 1;
		make(&first, row->fill);
		assert_int_equal(add_disk(&exports, "disk.img", &first, NULL), 0);
		assert_string_equal(exports.items[0].name, "disk.img");
		assert_string_equal(exports.items[0].description, "vm/1, 8 MiB");
		assert_int_equal(exports.items[0].size, sizeof first.bytes);
		assert_ptr_equal(exports.items[0].image, &first.image);
		for (; *want && n < exports.n; n++)
			want = must_show_one(&exports, n, want);
		if (*want || n != exports.n)
			fail_msg("%s: %zu exports, and without '%s'", row->name, exports.n, want);
	}
}

static const struct table_row *row_with_partitions(void)
{
	size_t i = 0;
	while (i < n_table_rows && !strchr(table_rows[i].partitions, ' '))
		i++;
	assert_true(i < n_table_rows);
	return &table_rows[i];
}

/* Names and images stay where they are when more are added. */
static void several_disks_follow_each_other(void **state)
{
	CLEANUP(exports_deinit) struct exports exports = EXPORTS_EMPTY;
	char name[32];
	make(&first, row_with_partitions()->fill);
	make(&second, nothing);
	assert_int_equal(add_disk(&exports, "disk.img", &first, NULL), 0);
	size_t n = exports.n;
	assert_true(n > 2);
	for (unsigned i = 0; i < 50; i++) {
		(void) snprintf(name, sizeof name, "%u.img", i);
		assert_int_equal(add_disk(&exports, name, &second, NULL), 0);
	}
	(void) memset(name, 'x', sizeof name - 1); /* the caller's */
	assert_int_equal(exports.n, n + 50);
	assert_string_equal(exports.items[0].name, "disk.img");
	assert_string_equal(exports.items[n].name, "0.img");
	assert_string_equal(exports.items[n + 49].name, "49.img");
	assert_ptr_equal(exports.items[n + 49].image, &second.image);
	const char *want = row_with_partitions()->partitions;
	for (size_t i = 1; i < n; i++)
		want = must_show_one(&exports, i, want);
}

static void a_disk_whose_table_cannot_be_read_is_shown_without(void **state)
{
	CLEANUP(exports_deinit) struct exports exports = EXPORTS_EMPTY;
	struct err err = ERR_NONE;
	make(&first, row_with_partitions()->fill);
	first.bad = 0;
	assert_int_equal(add_disk(&exports, "disk.img", &first, &err), 1);
	assert_non_null(strstr(err.msg, "made to fail"));
	assert_int_equal(exports.n, 1);
	assert_string_equal(exports.items[0].name, "disk.img");
	/* The next one is not worse for it. */
	make(&first, row_with_partitions()->fill);
	assert_int_equal(add_disk(&exports, "other.img", &first, NULL), 0);
	assert_true(exports.n > 3);
}

static void nothing_is_looked_for_in_a_whole(void **state)
{
	CLEANUP(exports_deinit) struct exports exports = EXPORTS_EMPTY;
	make(&first, row_with_partitions()->fill);
	first.bad = 0;
	assert_int_equal(exports_add_whole(&exports, "disk.img", "about", &first.image, NULL), 0);
	assert_int_equal(exports.n, 1);
	assert_string_equal(exports.items[0].description, "about, 8 MiB");
}

/* Nothing is behind the end of a disk, and a disk may be nothing at all. */
static void a_disk_of_any_size(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 511, 512, 513, 1024, 34 * SECTOR, 70 * SECTOR };
	for (size_t i = 0; i < n_table_rows; i++) {
		for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
			CLEANUP(exports_deinit) struct exports exports = EXPORTS_EMPTY;
			make(&first, table_rows[i].fill);
			first.image.size = sizes[j];
			assert_int_equal(add_disk(&exports, "disk.img", &first, NULL), 0);
			for (size_t n = 0; n < exports.n; n++)
				assert_true(exports.items[n].size <= sizes[j]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_a_disk_and_what_the_kernel_finds_in_it),
		TEST(several_disks_follow_each_other),
		TEST(a_disk_whose_table_cannot_be_read_is_shown_without),
		TEST(nothing_is_looked_for_in_a_whole),
		TEST(a_disk_of_any_size),
	};
	return RUN_TESTS(tests);
}
