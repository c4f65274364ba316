/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archives.h"

#include <string.h>

#include "unit.h"

static struct snapshot_file stored[] = {
	{ "index.json.blob", 496 },
	{ "client.log.blob", 5024 },
	{ "drive-scsi0.img.fidx", 4608 },
};

static struct manifest_file known[] = {
	{ .name = "qemu-server.conf.blob", .size = 163, .mode = CRYPT_ENCRYPT },
	{ .name = "drive-scsi0.img.fidx", .size = 67108864, .mode = CRYPT_ENCRYPT },
};

static const struct snapshot_info info = {
	.is_finished = true, .files = stored, .n_files = ARRAY_LEN(stored),
};

static struct archive_list make(const struct manifest *manifest)
{
	struct archive_list list = ARCHIVE_LIST_EMPTY;
	assert_int_equal(archive_list_make(&info, manifest, &list, NULL), 0);
	return list;
}

static void assert_archive(const struct archive *archive, const char *name, uint64_t size,
			   const char *mode)
{
	assert_string_equal(archive->name, name);
	assert_int_equal(archive->size, size);
	if (mode)
		assert_string_equal(archive->crypt_mode, mode);
	else
		assert_null(archive->crypt_mode);
}

static void joins_the_directory_and_the_manifest(void **state)
{
	const struct manifest manifest = {
		.files = known, .n_files = ARRAY_LEN(known), .has_signature = true,
	};
	struct archive_list list = make(&manifest);
	assert_int_equal(list.n, 4);
	assert_archive(&list.items[0], "client.log.blob", 5024, NULL);
	assert_archive(&list.items[1], "drive-scsi0.img.fidx", 67108864, "encrypt");
	assert_archive(&list.items[2], "index.json.blob", 496, "sign-only");
	assert_archive(&list.items[3], "qemu-server.conf.blob", 163, "encrypt");
	assert_int_equal(archive_list_size(&list), 5024 + 67108864 + 496 + 163);
	archive_list_deinit(&list);
}

static void a_manifest_without_signature_is_not_signed(void **state)
{
	const struct manifest manifest = { .files = known, .n_files = ARRAY_LEN(known) };
	struct archive_list list = make(&manifest);
	assert_archive(&list.items[2], "index.json.blob", 496, "none");
	archive_list_deinit(&list);
}

static void without_a_manifest_only_stored_sizes_are_known(void **state)
{
	struct archive_list list = make(NULL);
	struct buf names = BUF_EMPTY;
	assert_int_equal(list.n, 3);
	assert_archive(&list.items[1], "drive-scsi0.img.fidx", 4608, NULL);
	assert_archive(&list.items[2], "index.json.blob", 496, NULL);
	assert_int_equal(archive_list_names(&list, &names, NULL), 0);
	assert_string_equal(names.data, "client.log drive-scsi0.img index.json");
	buf_deinit(&names);
	archive_list_deinit(&list);
}

static void json_has_the_keys_of_the_server(void **state)
{
	struct archive_list list = make(NULL);
	json_t *rows = archive_list_to_json(&list), *row = json_array_get(rows, 0);
	assert_int_equal(json_array_size(rows), 3);
	assert_int_equal(json_object_size(row), 3);
	assert_string_equal(json_string_value(json_object_get(row, "filename")), "client.log.blob");
	assert_int_equal(json_integer_value(json_object_get(row, "size")), 5024);
	assert_true(json_is_null(json_object_get(row, "crypt-mode")));
	json_decref(rows);
	archive_list_deinit(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(joins_the_directory_and_the_manifest),
		TEST(a_manifest_without_signature_is_not_signed),
		TEST(without_a_manifest_only_stored_sizes_are_known),
		TEST(json_has_the_keys_of_the_server),
	};
	return RUN_TESTS(tests);
}
