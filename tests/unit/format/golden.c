/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "data.h"
#include "format/blob.h"
#include "format/index.h"
#include "format/key_file.h"
#include "format/manifest.h"
#include "unit.h"
#include "util/bytes.h"

/*
 * What the real server and client wrote, decoded file by file.  archives.tsv says what the real
 * client restored from each.
 */
static struct blob_codec *codec;

enum field { NS, SNAPSHOT, FILE_NAME, MODE, KEY, SIZE, SHA256, INPUT, CSUM, STORED, STATUS, N_FIELDS };

static int set_up(void **state)
{
	return blob_codec_new(&codec, NULL);
}

static int tear_down(void **state)
{
	blob_codec_free(codec);
	return 0;
}

/* @ns: "-" is the root */
static uint8_t *stored_file(const char *ns, const char *snapshot, const char *name, size_t *ret_len)
{
	char path[1024] = "golden/datastore/";
	CLEANUP(freep) char *copy = strdup(ns);
	for (char *rest = copy, *part; strcmp(ns, "-") != 0 && (part = strsep(&rest, "/"));) {
		size_t have = strlen(path);
		(void) snprintf(path + have, sizeof path - have, "ns/%s/", part);
	}
	size_t have = strlen(path);
	(void) snprintf(path + have, sizeof path - have, "%s/%s", snapshot, name);
	return (uint8_t *)test_file(path, ret_len);
}

static uint8_t *stored_chunk(const uint8_t digest[static DIGEST_SIZE], size_t *ret_len)
{
	char path[128], hex[65];
	hex_encode(digest, DIGEST_SIZE, hex);
	(void) snprintf(path, sizeof path, "golden/datastore/.chunks/%.4s/%s", hex, hex);
	return (uint8_t *)test_file(path, ret_len);
}

static void password_of(const char *key_name, struct secret *ret)
{
	size_t len;
	CLEANUP(freep) char *text = test_file("golden/keys/passwords.txt", &len);
	for (char *at = text, *line; (line = strsep(&at, "\n"));) {
		char *name = strsep(&line, " ");
		if (strcmp(name, key_name) == 0)
			assert_int_equal(secret_init_copy(ret, line, strlen(line), NULL), 0);
	}
}

/* NULL for "-". */
static struct crypt_key *key_of(const char *name)
{
	CLEANUP(key_file_deinit) struct key_file file = { 0 };
	CLEANUP(secret_deinit) struct secret password = SECRET_EMPTY;
	struct crypt_key *key = NULL;
	struct err err = ERR_NONE;
	char path[256];
	size_t len;
	if (strcmp(name, "-") == 0)
		return NULL;
	(void) snprintf(path, sizeof path, "golden/keys/%s", name);
	CLEANUP(freep) char *text = test_file(path, &len);
	password_of(name, &password);
	expect(name, key_file_parse(text, len, &file, &err), &err, 0, NULL);
	expect(name, key_file_open(&file, password.data ? &password : NULL, &key, &err), &err, 0, NULL);
	return key;
}

static void assert_sha256(const void *data, size_t len, const char *hex)
{
	char text[65];
	sha256_hex(data, len, text);
	assert_string_equal(text, hex);
}

/* The whole archive, each chunk in its place. */
static void check_index(char **row, const uint8_t *raw, size_t raw_len, const struct manifest_file *file,
			const struct crypt_key *key)
{
	struct index index;
	struct err err = ERR_NONE;
	uint8_t csum[DIGEST_SIZE];
	expect(row[FILE_NAME], index_parse(raw, raw_len, &index, &err), &err, 0, NULL);
	assert_int_equal(index.size, file->size);
	assert_int_equal(index_csum(&index, csum, NULL), 0);
	assert_memory_equal(csum, file->csum, DIGEST_SIZE);
	assert_memory_equal(csum, index.header_csum, DIGEST_SIZE);

	CLEANUP(freep) uint8_t *image = malloc(index.size);
	for (uint32_t n = 0; n < index.n_chunks; n++) {
		struct index_chunk chunk = index_chunk(&index, n);
		struct chunk_want want = { .len = chunk.len, .key = file->mode == CRYPT_ENCRYPT ? key : NULL };
		const uint8_t *data = NULL;
		size_t len;
		CLEANUP(freep) uint8_t *blob = stored_chunk(chunk.digest, &len), *out = malloc(chunk.len);
		memcpy(want.digest, chunk.digest, DIGEST_SIZE);
		expect(row[FILE_NAME], blob_decode_chunk(codec, blob, len, &want, out, &data, &err), &err, 0, NULL);
		memcpy(image + chunk.off, data, chunk.len);
	}
	assert_sha256(image, index.size, row[SHA256]);
}

static void check_blob(char **row, const uint8_t *raw, size_t raw_len, const struct manifest_file *file,
		       const struct crypt_key *key)
{
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len = 0;
	struct err err = ERR_NONE;
	expect(row[FILE_NAME], blob_decode_file(codec, raw, raw_len, key, BLOB_MAX_FILE, &data, &len, &err), &err, 0,
	       NULL);
	assert_int_equal(len, strtoull(row[SIZE], NULL, 10));
	assert_sha256(data, len, row[SHA256]);
	if (file) {
		assert_int_equal(file->size, raw_len);
		assert_sha256(raw, raw_len, row[CSUM]);
	}
}

static void check_row(char **row)
{
	CLEANUP(crypt_key_freep) struct crypt_key *key = key_of(row[KEY]);
	CLEANUP(manifest_freep) struct manifest *m = NULL;
	struct err err = ERR_NONE;
	char name[SNAPSHOT_TEXT_SIZE], hex[65];
	size_t len;
	CLEANUP(freep) uint8_t *index_json = stored_file(row[NS], row[SNAPSHOT], "index.json.blob", &len);
	expect(row[SNAPSHOT], manifest_decode(codec, index_json, len, &m, &err), &err, 0, NULL);
	expect(row[SNAPSHOT], manifest_check(m, key, &err), &err, key ? MANIFEST_SIGNED : MANIFEST_UNSIGNED, NULL);
	snapshot_format(&m->snapshot, name);
	assert_string_equal(name, row[SNAPSHOT]);

	CLEANUP(freep) uint8_t *raw = stored_file(row[NS], row[SNAPSHOT], row[FILE_NAME], &len);
	assert_sha256(raw, len, row[STORED]);
	const struct manifest_file *file = manifest_find(m, row[FILE_NAME]);
	assert_int_equal(file != NULL, strcmp(row[CSUM], "-") != 0);
	if (file) {
		hex_encode(file->csum, DIGEST_SIZE, hex);
		assert_string_equal(hex, row[CSUM]);
		assert_string_equal(crypt_mode_name(file->mode), row[MODE]);
	}
	if (archive_kind_of(row[FILE_NAME]) == ARCHIVE_BLOB)
		check_blob(row, raw, len, file, key);
	else
		check_index(row, raw, len, file, key);
}

static void decodes_every_file_as_the_reference_client_does(void **state)
{
	size_t len;
	CLEANUP(freep) char *table = test_file("golden/archives.tsv", &len);
	char *at = table, *row[N_FIELDS];
	int n = 0;
	for (; next_row(&at, row, N_FIELDS); n++)
		check_row(row);
	assert_true(n >= 20);
}

static void reads_nothing_of_an_encrypted_image_with_another_key(void **state)
{
	static const char snapshot[] = "vm/204/2024-06-02T00:00:00Z";
	CLEANUP(crypt_key_freep) struct crypt_key *wrong = key_of("key-wrong.json");
	CLEANUP(manifest_freep) struct manifest *m = NULL;
	struct err err = ERR_NONE;
	struct index index;
	size_t len;
	CLEANUP(freep) uint8_t *index_json = stored_file("-", snapshot, "index.json.blob", &len);
	assert_int_equal(manifest_decode(codec, index_json, len, &m, NULL), 0);
	expect("manifest", manifest_check(m, wrong, &err), &err, -EKEYREJECTED, "c3:32:d8:d8:46:23:bd:d8");
	CLEANUP(freep) uint8_t *raw = stored_file("-", snapshot, "drive-scsi0.img.fidx", &len);
	assert_int_equal(index_parse(raw, len, &index, NULL), 0);
	for (uint32_t n = 0; n < index.n_chunks; n++) {
		struct index_chunk chunk = index_chunk(&index, n);
		struct chunk_want want = { .len = chunk.len, .key = wrong };
		const uint8_t *data = NULL;
		CLEANUP(freep) uint8_t *blob = stored_chunk(chunk.digest, &len), *out = malloc(chunk.len);
		memcpy(want.digest, chunk.digest, DIGEST_SIZE);
		expect("chunk", blob_decode_chunk(codec, blob, len, &want, out, &data, &err), &err, -EBADMSG, "tag");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(decodes_every_file_as_the_reference_client_does),
		TEST(reads_nothing_of_an_encrypted_image_with_another_key),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
