/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/backup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "format/data.h"
#include "format/key_file.h"
#include "scratch.h"
#include "store.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/file.h"

#define PLAIN "host/plain/2024-06-02T00:00:00Z"
#define VM "vm/100/2024-06-03T00:00:00Z"
#define ENCRYPTED "vm/200/2024-06-03T00:00:00Z"
#define SCRYPT "vm/201/2024-06-02T00:00:00Z"
#define PBKDF2 "vm/202/2024-06-02T00:00:00Z"
#define SIGNED "vm/203/2024-06-02T00:00:00Z"
#define DRIVE "drive-scsi0.img"
#define SMALL_SIZE 12587008

#define NOT_CHECKED_WITH "warning: the signature of the manifest was not checked: that takes the key "
#define NOT_CHECKED NOT_CHECKED_WITH "c3:32:d8:d8:46:23:bd:d8"
#define NOT_SIGNED "warning: the manifest is not signed"
#define VOUCHES_FOR_NOTHING NOT_SIGNED " and the archive not encrypted: the key vouches for nothing"

static int begin(void **state)
{
	static const char *const keys[] = { "none", "scrypt", "pbkdf2", "wrong" };
	if (scratch_begin(state))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		char from[64];
		(void) snprintf(from, sizeof from, "keys/key-%s.json", keys[i]);
		golden_copy(from, strchr(from, '/') + 1);
	}
	return 0;
}

/* Every test may damage the store. */
static int renew(void **state)
{
	store_copy();
	return scratch_environment(state);
}

struct row {
	const char *snapshot, *archive;
	const char *key;      /* --keyfile */
	const char *ns;
	const char *name, *value; /* of the environment */
	bool allow_unsigned;
	int r;
	const char *words;    /* of the error; after success all that was said */
};

static int open_row(const struct row *row, struct strv *said, struct failure *why, struct backup **ret)
{
	struct repository_options options = store_options(said);
	options.keyfile = row->key;
	options.ns = row->ns;
	options.allow_unsigned = row->allow_unsigned;
	scratch_environment(NULL);
	if (row->name)
		assert_int_equal(setenv(row->name, row->value, 1), 0);
	return backup_open(&options, row->snapshot, row->archive, ret, why);
}

static void try(const struct row *row)
{
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	CLEANUP(backup_closep) struct backup *backup = NULL;
	int r = open_row(row, &said, &why, &backup);
	expect(row->snapshot, r, &why.err, row->r, row->r < 0 ? row->words : NULL);
	assert_int_equal(why.err.code, r);
	assert_int_equal(r == 0, backup != NULL);
	if (r == 0)
		assert_string_equal(joined(&said), row->words);
}

static void opens_what_can_be_trusted_and_says_how_far(void **state)
{
	static const struct row rows[] = {
		{ PLAIN, "small.img", .words = "" },
		{ PLAIN, "small.img.fidx", .words = "" },
		{ "vm/100", DRIVE, .words = "snapshot " VM },
		{ ENCRYPTED, DRIVE, "key-none.json", .words = "" },
		{ SCRYPT, DRIVE, "key-scrypt.json", NULL, "PBS_ENCRYPTION_PASSWORD", "scrypt-pass-a", .words = "" },
		{ PBKDF2, DRIVE, "key-pbkdf2.json", NULL, "PBS_ENCRYPTION_PASSWORD", "pbkdf2-pass-a", .words = "" },
		{ SIGNED, DRIVE, .words = NOT_CHECKED },
		{ SIGNED, DRIVE, "key-none.json", .words = "" },
		{ "vm/100", DRIVE, "key-none.json", "a/b", .words = "snapshot vm/100/2024-06-02T00:00:07Z" },
		{ "vm/100", DRIVE, "key-none.json", NULL, "PBS_NAMESPACE", "a/b",
		  .words = "snapshot vm/100/2024-06-02T00:00:07Z" },
		{ VM, DRIVE, NULL, "", "PBS_NAMESPACE", "a/b", .words = "" },
		{ VM, DRIVE, "key-none.json", .allow_unsigned = true, .words = VOUCHES_FOR_NOTHING },
		/* The default key file: where it is needed and fits. */
		{ ENCRYPTED, DRIVE, NULL, NULL, "XDG_CONFIG_HOME", "fits", .words = "" },
		{ SIGNED, DRIVE, NULL, NULL, "XDG_CONFIG_HOME", "fits", .words = "" },
		{ SIGNED, DRIVE, NULL, NULL, "XDG_CONFIG_HOME", "other", .words = NOT_CHECKED },
		{ VM, DRIVE, NULL, NULL, "XDG_CONFIG_HOME", "fits", .words = "" },
		{ VM, DRIVE, NULL, NULL, "XDG_CONFIG_HOME", "broken", .words = "" },
	};
	golden_copy("keys/key-none.json", "fits/proxmox-backup/encryption-key.json");
	golden_copy("keys/key-wrong.json", "other/proxmox-backup/encryption-key.json");
	scratch_puts("broken/proxmox-backup/encryption-key.json", "{}");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		try(&rows[i]);
}

static void refuses_what_is_not_there_or_not_allowed(void **state)
{
	static const struct row rows[] = {
		{ VM, DRIVE, NULL, "x", .r = -ENOENT, .words = "there is no namespace x" },
		{ VM, DRIVE, NULL, "a//b", .r = -EINVAL },
		{ "vm/999", DRIVE, .r = -ENOENT, .words = "there is no group vm/999" },
		{ "vm/100/2024-06-03T00:00:01Z", DRIVE, .r = -ENOENT, .words = "there is: " VM },
		{ VM, "root.pxar", .r = -EISDIR, .words = "ls, cat and extract" },
		{ VM, "qemu-server.conf", .r = -EINVAL, .words = "drive-scsi0.img, drive-scsi1.img" },
		{ VM, "drive-scsi9.img", .r = -ENOENT, .words = "drive-scsi0.img, drive-scsi1.img" },
		{ ENCRYPTED, DRIVE, .r = -ENOKEY, .words = "made with key c3:32:d8:d8:46:23:bd:d8; give its --keyfile" },
		{ ENCRYPTED, DRIVE, NULL, NULL, "XDG_CONFIG_HOME", "other", .r = -ENOKEY, .words = "c3:32" },
		{ ENCRYPTED, DRIVE, "key-wrong.json", .r = -EKEYREJECTED, .words = "5f:c5:3e:ee" },
		{ SIGNED, DRIVE, "key-wrong.json", .r = -EKEYREJECTED, .words = "5f:c5:3e:ee" },
		{ ENCRYPTED, DRIVE, "key-wrong.json", .allow_unsigned = true, .r = -EKEYREJECTED },
		{ ENCRYPTED, DRIVE, "nowhere.json", .r = -ENOKEY, .words = "nowhere.json" },
		{ PBKDF2, DRIVE, "key-pbkdf2.json", NULL, "PBS_ENCRYPTION_PASSWORD", "wrong-password",
		  .r = -EKEYREJECTED, .words = "key-pbkdf2.json" },
		{ VM, DRIVE, "key-none.json", .r = -EACCES, .words = "not signed, although a key was given" },
		{ VM, DRIVE, "nowhere.json", .r = -ENOKEY, .words = "nowhere.json" },
	};
	golden_copy("keys/key-wrong.json", "other/proxmox-backup/encryption-key.json");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		try(&rows[i]);
}

static void tells_what_a_stream_needs(void **state)
{
	static const struct {
		struct row row;
		const char *ns, *snapshot, *archive;
		uint64_t size;
		bool has_key, is_encrypted;
	} rows[] = {
		{ { PLAIN, "small.img.fidx" }, "", PLAIN, "small.img", SMALL_SIZE, false, false },
		{ { "vm/100", DRIVE }, "", VM, DRIVE, 64u << 20, false, false },
		{ { "vm/100", DRIVE, "key-none.json", "a/b" }, "a/b", "vm/100/2024-06-02T00:00:07Z", DRIVE,
		  SMALL_SIZE, true, true },
		{ { SIGNED, DRIVE, "key-none.json" }, "", SIGNED, DRIVE, SMALL_SIZE, true, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		CLEANUP(backup_closep) struct backup *backup = NULL;
		assert_int_equal(open_row(&rows[i].row, &said, &why, &backup), 0);
		assert_string_equal(backup->ns, rows[i].ns);
		assert_string_equal(backup->snapshot, rows[i].snapshot);
		assert_string_equal(backup->archive, rows[i].archive);
		assert_int_equal(backup->index.size, rows[i].size);
		assert_int_equal(backup->key != NULL, rows[i].has_key);
		assert_int_equal(backup->stream_key != NULL, rows[i].is_encrypted);
	}
}

/* Nobody who writes to the file afterwards changes what was checked. */
static void reads_a_copy_of_the_index(void **state)
{
	static const struct row row = { PLAIN, "small.img" };
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	CLEANUP(backup_closep) struct backup *backup = NULL;
	uint8_t csum[DIGEST_SIZE];
	assert_int_equal(open_row(&row, &said, &why, &backup), 0);
	CLEANUP(closep) int fd = open("store/" PLAIN "/small.img.fidx", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "overwritten", 11, 4096), 11);
	assert_int_equal(ftruncate(fd, 4096 + 11), 0);
	assert_int_equal(index_csum(&backup->index, csum, NULL), 0);
	assert_memory_equal(csum, manifest_find(backup->manifest, "small.img.fidx")->csum, DIGEST_SIZE);
}

static void keeps_a_snapshot_from_being_removed(void **state)
{
	static const struct row good = { VM, DRIVE }, busy = { VM, DRIVE, .r = -EBUSY };
	CLEANUP(closep) int remover = -EBADF;
	{
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		CLEANUP(backup_closep) struct backup *backup = NULL;
		assert_int_equal(open_row(&good, &said, &why, &backup), 0);
		remover = open("store/" VM, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(flock(remover, LOCK_EX | LOCK_NB), -1);
	}
	assert_int_equal(flock(remover, LOCK_EX | LOCK_NB), 0);
	try(&busy);
}

/* -- damage ---------------------------------------------------------------------------------- */

/* The manifest of host/plain, not signed, as somebody else would have it. */
static void write_manifest(const char *path, const char *of, const struct manifest_file *files,
			   size_t n_files, const struct crypt_key *key)
{
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	CLEANUP(freep) char *text = NULL;
	struct snapshot snapshot;
	assert_int_equal(snapshot_parse(of, &snapshot, NULL), 0);
	assert_int_equal(manifest_write(&snapshot, files, n_files, key, &text, NULL), 0);
	size_t len = strlen(text);
	CLEANUP(freep) uint8_t *raw = malloc(blob_encode_bound(len));
	assert_int_equal(blob_codec_new(&codec, NULL), 0);
	assert_int_equal(blob_encode(codec, (uint8_t *)text, len, NULL, 1, raw, &len, NULL), 0);
	scratch_write(path, raw, len);
}

/* What the real manifest says of small.img. */
static struct manifest_file small_img(void)
{
	struct manifest_file file = { .name = "small.img.fidx", .size = SMALL_SIZE, .mode = CRYPT_NONE };
	assert_true(hex_decode("566d2cbe0681d3aaa07f08e3bf3262d0a9dde173d5691c58d103d0c187d757c5", file.csum,
			       DIGEST_SIZE));
	return file;
}

#define MANIFEST "store/" PLAIN "/index.json.blob"
#define INDEX "store/" PLAIN "/small.img.fidx"

static void flip(const char *path, off_t at)
{
	char byte;
	CLEANUP(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void flip_a_bit_of_the_manifest(void)
{
	flip(MANIFEST, 100);
}

static void cut_the_manifest(void)
{
	assert_int_equal(truncate(MANIFEST, 5), 0);
}

static void remove_the_manifest(void)
{
	assert_int_equal(unlink(MANIFEST), 0);
}

static void take_the_manifest_of_another(void)
{
	store_copy_file("store/" VM "/index.json.blob", MANIFEST);
}

static void take_the_manifest_of_another_second(void)
{
	struct manifest_file file = small_img();
	write_manifest(MANIFEST, "host/plain/2024-06-02T00:00:01Z", &file, 1, NULL);
}

static void have_another_size_in_the_manifest(void)
{
	struct manifest_file file = small_img();
	file.size += 512;
	write_manifest(MANIFEST, PLAIN, &file, 1, NULL);
}

static void have_another_csum_in_the_manifest(void)
{
	struct manifest_file file = small_img();
	file.csum[DIGEST_SIZE - 1] ^= 1;
	write_manifest(MANIFEST, PLAIN, &file, 1, NULL);
}

static void say_that_it_is_encrypted(void)
{
	struct manifest_file file = small_img();
	file.mode = CRYPT_ENCRYPT;
	write_manifest(MANIFEST, PLAIN, &file, 1, NULL);
}

static void forget_the_archive(void)
{
	struct manifest_file file = small_img();
	(void) strcpy(file.name, "other.img.fidx");
	write_manifest(MANIFEST, PLAIN, &file, 1, NULL);
}

static void flip_a_bit_of_a_digest(void)
{
	flip(INDEX, INDEX_HEADER_SIZE + 33);
}

static void flip_a_bit_of_the_index_s_magic(void)
{
	flip(INDEX, 0);
}

static void cut_the_index(void)
{
	assert_int_equal(truncate(INDEX, INDEX_HEADER_SIZE + 40), 0);
}

static void empty_the_index(void)
{
	assert_int_equal(truncate(INDEX, 0), 0);
}

static void remove_the_index(void)
{
	assert_int_equal(unlink(INDEX), 0);
}

static void put_a_directory_there(void)
{
	remove_the_index();
	assert_int_equal(mkdir(INDEX, 0700), 0);
}

static void put_a_link_there(void)
{
	assert_int_equal(rename(INDEX, "store/" PLAIN "/elsewhere.fidx"), 0);
	assert_int_equal(symlink("elsewhere.fidx", INDEX), 0);
}

static void put_another_image_s_index_there(void)
{
	store_copy_file("store/" PLAIN "/odd512.img.fidx", INDEX);
}

static void put_a_dynamic_index_there(void)
{
	static const uint8_t magic[] = { 0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd };
	uint8_t index[INDEX_HEADER_SIZE + 8 + DIGEST_SIZE] = { 0 };
	memcpy(index, magic, sizeof magic);
	store_le64(index + INDEX_HEADER_SIZE, SMALL_SIZE);
	scratch_write(INDEX, index, sizeof index);
}

static void refuses_a_snapshot_that_was_damaged_or_forged(void **state)
{
	static const struct {
		void (*damage)(void);
		int r;
		const char *words;
	} rows[] = {
		{ flip_a_bit_of_the_manifest, -EBADMSG, "reading the manifest of " PLAIN },
		{ cut_the_manifest, -EBADMSG, "reading the manifest of " PLAIN },
		{ remove_the_manifest, -EAGAIN, "not finished" },
		{ take_the_manifest_of_another, -EBADMSG, "the manifest in " PLAIN " is that of " VM },
		{ take_the_manifest_of_another_second, -EBADMSG, "is that of host/plain/2024-06-02T00:00:01Z" },
		{ have_another_size_in_the_manifest, -EBADMSG,
		  "wrong size for file 'small.img.fidx' (12587520 != 12587008)" },
		{ have_another_csum_in_the_manifest, -EBADMSG, "wrong checksum for file 'small.img.fidx'" },
		{ say_that_it_is_encrypted, -ENOKEY, "the backup is encrypted; give its --keyfile" },
		{ forget_the_archive, -ENOENT, "there is no archive small.img; there is: other.img" },
		{ flip_a_bit_of_a_digest, -EBADMSG, "wrong checksum for file 'small.img.fidx'" },
		{ flip_a_bit_of_the_index_s_magic, -EBADMSG, "reading the index small.img.fidx" },
		{ cut_the_index, -EBADMSG, "reading the index small.img.fidx" },
		{ empty_the_index, -EBADMSG, "small.img.fidx is empty" },
		{ remove_the_index, -EBADMSG, "is in the manifest, but not in the snapshot" },
		{ put_a_directory_there, -EBADMSG, NULL },
		{ put_a_link_there, -EBADMSG, NULL },
		{ put_another_image_s_index_there, -EBADMSG, "wrong size for file 'small.img.fidx'" },
		{ put_a_dynamic_index_there, -EBADMSG, "not the index of an image" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row row = { PLAIN, "small.img", .r = rows[i].r, .words = rows[i].words };
		(void) unlink(INDEX);
		(void) rmdir(INDEX);
		store_copy();
		rows[i].damage();
		try(&row);
	}
}

static struct crypt_key *golden_key(const char *name, const char *password)
{
	CLEANUP(secret_deinit) struct secret secret = SECRET_EMPTY;
	CLEANUP(key_file_deinit) struct key_file file = { 0 };
	CLEANUP(freep) uint8_t *text = NULL;
	struct crypt_key *key = NULL;
	size_t len;
	assert_int_equal(read_file_at(AT_FDCWD, name, 0, 4096, &text, &len, NULL), 0);
	assert_int_equal(key_file_parse((char *)text, len, &file, NULL), 0);
	if (password)
		assert_int_equal(secret_init_copy(&secret, (const uint8_t *)password, strlen(password), NULL), 0);
	assert_int_equal(key_file_open(&file, password ? &secret : NULL, &key, NULL), 0);
	return key;
}

/* Who has the store but not the key cannot give a signed snapshot other contents. */
static void a_signature_covers_what_is_shown(void **state)
{
	static const struct row with_key = { PLAIN, "small.img", "key-none.json", .words = "" },
				forged = { PLAIN, "small.img", "key-none.json", .r = -EKEYREJECTED },
				stripped = { PLAIN, "small.img", "key-none.json", .r = -EACCES,
					     .words = "not signed, although a key was given" };
	CLEANUP(crypt_key_freep) struct crypt_key *key = golden_key("key-none.json", NULL), *k0 = key_k0();
	struct manifest_file file = small_img();
	file.mode = CRYPT_SIGN_ONLY;
	write_manifest(MANIFEST, PLAIN, &file, 1, key);
	try(&with_key);
	write_manifest(MANIFEST, PLAIN, &file, 1, k0);
	try(&forged);
	write_manifest(MANIFEST, PLAIN, &file, 1, NULL);
	try(&stripped);
}

/* -- several archives ------------------------------------------------------------------------ */

/* A snapshot of these images, which are all the same but for their names; signed with @key. */
static void make_images(const struct manifest_file *images, size_t n, const struct crypt_key *key)
{
	struct manifest_file files[4];
	assert_true(n <= ARRAY_LEN(files));
	for (size_t i = 0; i < n; i++) {
		char path[128];
		files[i] = small_img();
		files[i].mode = images[i].mode;
		memcpy(files[i].name, images[i].name, sizeof files[i].name);
		(void) snprintf(path, sizeof path, "store/" PLAIN "/%s", images[i].name);
		store_copy_file(INDEX, path);
	}
	write_manifest(MANIFEST, PLAIN, files, n, key);
}

/* Whichever needs it first. */
static void one_password_opens_all_archives(void **state)
{
	static const struct manifest_file images[] = {
		{ .name = "a.img.fidx", .mode = CRYPT_NONE },
		{ .name = "b.img.fidx", .mode = CRYPT_ENCRYPT },
		{ .name = "c.img.fidx", .mode = CRYPT_ENCRYPT },
		{ .name = "d.img.fidx", .mode = CRYPT_SIGN_ONLY },
	};
	CLEANUP(crypt_key_freep) struct crypt_key *key = golden_key("key-scrypt.json", "scrypt-pass-a");
	golden_copy("keys/key-scrypt.json", "fits/proxmox-backup/encryption-key.json");
	make_images(images, ARRAY_LEN(images), key);
	for (size_t first = 0; first < ARRAY_LEN(images); first++) {
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		CLEANUP(backup_closep) struct backup *backup = NULL;
		struct repository_options options = store_options(&said);
		assert_int_equal(setenv("XDG_CONFIG_HOME", "fits", 1), 0);
		assert_int_equal(setenv("PBS_ENCRYPTION_PASSWORD", "scrypt-pass-a", 1), 0);
		assert_int_equal(backup_open(&options, PLAIN, images[first].name, &backup, &why), 0);
		for (size_t i = 0; i < ARRAY_LEN(images); i++) {
			CLEANUP(backup_closep) struct backup *beside = NULL;
			int r = backup_open_beside(&options, backup, images[i].name, &beside, &why);
			expect(images[i].name, r, &why.err, 0, NULL);
			assert_int_equal(beside->stream_key != NULL, images[i].mode == CRYPT_ENCRYPT);
		}
		assert_string_equal(joined(&said), first == 0 ? NOT_CHECKED_WITH "44:9e:e8:8c:cb:b6:82:ea" : "");
	}
}

static void what_is_said_of_a_manifest_is_said_once(void **state)
{
	static const struct manifest_file images[] = {
		{ .name = "a.img.fidx", .mode = CRYPT_SIGN_ONLY },
		{ .name = "b.img.fidx", .mode = CRYPT_SIGN_ONLY },
	};
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	CLEANUP(backup_closep) struct backup *backup = NULL;
	CLEANUP(backup_closep) struct backup *beside = NULL;
	CLEANUP(crypt_key_freep) struct crypt_key *key = golden_key("key-none.json", NULL);
	struct repository_options options = store_options(&said);
	make_images(images, ARRAY_LEN(images), key);
	assert_int_equal(backup_open(&options, PLAIN, "a.img", &backup, &why), 0);
	assert_int_equal(backup_open_beside(&options, backup, "b.img", &beside, &why), 0);
	assert_string_equal(joined(&said), NOT_CHECKED);
}

/* -- a loose index --------------------------------------------------------------------------- */

static int open_loose(const char *path, const char *key, struct strv *said, struct backup **ret,
		      struct failure *why)
{
	struct repository_options options = store_options(said);
	options.chunks = "store";
	options.keyfile = key;
	return backup_open(&options, path, NULL, ret, why);
}

#define NO_MANIFEST "warning: there is no manifest beside the index: nothing vouches for it"

#define WRONG_HEADER "warning: the checksum in the header of small.img.fidx is not that of its entries"

static void warns_of_a_wrong_checksum_in_the_header_of_an_index(void **state)
{
	static const struct row row = { PLAIN, "small.img", .words = WRONG_HEADER "; the manifest's is" };
	flip(INDEX, 32 + DIGEST_SIZE - 1);
	try(&row);

	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	CLEANUP(backup_closep) struct backup *backup = NULL;
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	assert_int_equal(unlink(MANIFEST), 0);
	assert_int_equal(open_loose(INDEX, NULL, &said, &backup, &why), 0);
	assert_string_equal(joined(&said), NO_MANIFEST "|" WRONG_HEADER);
}

static void opens_a_loose_index_with_or_without_a_manifest(void **state)
{
	static const struct {
		const char *path, *key, *said, *snapshot, *archive;
		bool is_decrypted;
	} rows[] = {
		{ "store/" PLAIN "/small.img.fidx", NULL, "", PLAIN, "small.img", false },
		{ "store/" SIGNED "/drive-scsi0.img.fidx", NULL, NOT_CHECKED, SIGNED, DRIVE, false },
		{ "store/" ENCRYPTED "/drive-scsi0.img.fidx", "key-none.json", "", ENCRYPTED, DRIVE, true },
		{ "alone.img.fidx", NULL, NO_MANIFEST, "", "alone.img", false },
		{ "./alone.img.fidx", "key-none.json", NO_MANIFEST, "", "alone.img", true },
	};
	store_copy_file(INDEX, "alone.img.fidx");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		CLEANUP(backup_closep) struct backup *backup = NULL;
		int r = open_loose(rows[i].path, rows[i].key, &said, &backup, &why);
		expect(rows[i].path, r, &why.err, 0, NULL);
		assert_string_equal(joined(&said), rows[i].said);
		assert_string_equal(backup->snapshot, rows[i].snapshot);
		assert_string_equal(backup->archive, rows[i].archive);
		assert_string_equal(backup->ns, "");
		assert_int_equal(backup->stream_key != NULL, rows[i].is_decrypted);
	}
}

static void refuses_a_loose_index_that_is_none(void **state)
{
	static const struct {
		const char *path, *key;
		int r;
		const char *words;
	} rows[] = {
		{ "nowhere.img.fidx", NULL, -ENOENT, "nowhere.img.fidx" },
		{ "store", NULL, -EINVAL, NULL },
		{ "store/", NULL, -EINVAL, NULL },
		{ "", NULL, -EINVAL, NULL },
		{ "a b.img.fidx", NULL, -EINVAL, "is no name of an index file" },
		{ "root.pxar.didx", NULL, -EISDIR, "ls, cat and extract" },
		{ "bad.img.fidx", NULL, -EBADMSG, "reading the index bad.img.fidx" },
		{ "empty.img.fidx", NULL, -EBADMSG, "empty.img.fidx is empty" },
		{ "good.img.fidx", "nowhere.json", -ENOKEY, "nowhere.json" },
		{ "store/" ENCRYPTED "/drive-scsi0.img.fidx", NULL, -ENOKEY, "c3:32" },
		{ "store/" ENCRYPTED "/drive-scsi0.img.fidx", "key-wrong.json", -EKEYREJECTED, NULL },
		{ "store/" PLAIN "/more.img.fidx", NULL, -EBADMSG, "the manifest beside more.img.fidx does not contain it" },
		{ "store/" PLAIN "/odd512.img.fidx", NULL, -EBADMSG, "wrong checksum" },
		{ "store/" SCRYPT "/drive-scsi0.img.fidx", NULL, -EBADMSG, "reading the manifest beside" },
	};
	store_copy_file(INDEX, "good.img.fidx");
	store_copy_file(INDEX, "a b.img.fidx");
	store_copy_file(INDEX, "store/" PLAIN "/more.img.fidx");
	scratch_puts("root.pxar.didx", "x");
	scratch_puts("bad.img.fidx", "no index");
	scratch_puts("empty.img.fidx", "");
	flip("store/" PLAIN "/odd512.img.fidx", INDEX_HEADER_SIZE);
	flip("store/" SCRYPT "/index.json.blob", 50);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		struct backup *backup = NULL;
		int r = open_loose(rows[i].path, rows[i].key, &said, &backup, &why);
		expect(rows[i].path, r, &why.err, rows[i].r, rows[i].words);
		assert_null(backup);
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, renew)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(opens_what_can_be_trusted_and_says_how_far),
		TEST_HERE(refuses_what_is_not_there_or_not_allowed),
		TEST_HERE(tells_what_a_stream_needs),
		TEST_HERE(reads_a_copy_of_the_index),
		TEST_HERE(keeps_a_snapshot_from_being_removed),
		TEST_HERE(refuses_a_snapshot_that_was_damaged_or_forged),
		TEST_HERE(a_signature_covers_what_is_shown),
		TEST_HERE(one_password_opens_all_archives),
		TEST_HERE(what_is_said_of_a_manifest_is_said_once),
		TEST_HERE(warns_of_a_wrong_checksum_in_the_header_of_an_index),
		TEST_HERE(opens_a_loose_index_with_or_without_a_manifest),
		TEST_HERE(refuses_a_loose_index_that_is_none),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
