/* SPDX-License-Identifier: Apache-2.0 */
#include "format/manifest.h"

#include <stdio.h>
#include <string.h>

#include "crypto/kdf.h"
#include "data.h"
#include "unit.h"
#include "util/buf.h"
#include "util/bytes.h"

#define HEX_AA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_BB "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define PRINT "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"
#define OTHER_PRINT "00:11:22:33:44:55:66:77:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"

/* A manifest that was signed with K0, in pieces. */
#define GROUP "\"backup-id\":\"100\",\"backup-time\":1704164645,\"backup-type\":\"vm\""
#define FILE_1 "{\"crypt-mode\":\"encrypt\",\"csum\":\"" HEX_AA "\",\"filename\":\"drive-scsi0.img.fidx\",\"size\":10485760}"
#define FILE_2 "{\"crypt-mode\":\"encrypt\",\"csum\":\"" HEX_BB "\",\"filename\":\"qemu-server.conf.blob\",\"size\":123}"
#define FILES "\"files\":[" FILE_1 "," FILE_2 "]"
#define SIGNATURE "9797fe507d1451d6137714b54ad6c17f97a2c6074f0f6e1ce182fc7cfece0d95"
#define SIGNED "\"signature\":\"" SIGNATURE "\""
#define UNPROTECTED "\"unprotected\":{\"key-fingerprint\":\"" PRINT "\"}"
#define WHOLE "{" GROUP "," FILES "," SIGNED "," UNPROTECTED "}"

static struct crypt_key *k0;

static int set_up(void **state)
{
	k0 = key_k0();
	return 0;
}

static int tear_down(void **state)
{
	crypt_key_free(k0);
	return 0;
}

static int parse(const char *text, struct manifest **ret, struct err *err)
{
	CLEANUP(freep) uint8_t *copy = exact_copy(text, strlen(text));
	return manifest_parse((char *)copy, strlen(text), ret, err);
}

/* Parse and compare with the key. */
static int check(const char *text, const struct crypt_key *key, struct err *err)
{
	CLEANUP(manifest_freep) struct manifest *m = NULL;
	int r = parse(text, &m, err);
	assert_int_equal(r, 0);
	return manifest_check(m, key, err);
}

static void sign(const char *canonical, char ret[static 65])
{
	uint8_t signature[DIGEST_SIZE];
	assert_int_equal(crypt_key_sign(k0, canonical, strlen(canonical), signature, NULL), 0);
	hex_encode(signature, DIGEST_SIZE, ret);
}

static void reads_what_belongs_to_a_snapshot(void **state)
{
	CLEANUP(manifest_freep) struct manifest *m = NULL;
	char name[SNAPSHOT_TEXT_SIZE];
	assert_int_equal(parse(WHOLE, &m, NULL), 0);
	snapshot_format(&m->snapshot, name);
	assert_string_equal(name, "vm/100/2024-01-02T03:04:05Z");
	assert_int_equal(m->n_files, 2);
	assert_string_equal(m->files[0].name, "drive-scsi0.img.fidx");
	assert_int_equal(m->files[0].size, 10485760);
	assert_int_equal(m->files[0].mode, CRYPT_ENCRYPT);
	assert_int_equal(m->files[1].csum[31], 0xbb);
	assert_true(m->has_signature && m->has_fingerprint);
	assert_ptr_equal(manifest_find(m, "qemu-server.conf.blob"), &m->files[1]);
	assert_null(manifest_find(m, "qemu-server.conf"));
	assert_null(m->notes);
	assert_null(m->verify_state);
}

static void reads_what_is_not_signed(void **state)
{
	CLEANUP(manifest_freep) struct manifest *m = NULL;
	assert_int_equal(parse("{" GROUP "," FILES ",\"unprotected\":{\"notes\":\"line 1\\nline 2\",\"chunk_upload_stats\":"
			       "{\"count\":1,\"ratio\":0.5,\"x\":null},\"verify_state\":{\"state\":\"ok\",\"upid\":\"UPID:a\"}}}",
			       &m, NULL), 0);
	assert_string_equal(m->notes, "line 1\nline 2");
	assert_string_equal(m->verify_state, "ok");
	assert_string_equal(m->verify_upid, "UPID:a");
	assert_false(m->has_signature || m->has_fingerprint);
}

/* Anybody may edit that part: it must not keep a snapshot from being read. */
static void minds_no_nonsense_in_what_is_not_signed(void **state)
{
	static const char *const rows[] = {
		"null", "5", "[]", "\"x\"", "{}", "{\"key-fingerprint\":null}", "{\"key-fingerprint\":5}",
		"{\"key-fingerprint\":\"0e:ab\"}", "{\"verify_state\":\"ok\"}", "{\"verify_state\":{\"state\":5}}",
		"{\"notes\":[null]}",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[1000];
		struct err err = ERR_NONE;
		(void) snprintf(text, sizeof text, "{%s,%s,%s,\"unprotected\":%s}", GROUP, FILES, SIGNED, rows[i]);
		expect(rows[i], check(text, k0, &err), &err, MANIFEST_SIGNED, NULL);
	}
}

#define WITH_FILE(file) "{" GROUP ",\"files\":[" file "]}"
#define NAMED(name) WITH_FILE("{\"csum\":\"" HEX_AA "\",\"filename\":\"" name "\",\"size\":1}")
#define SIZED(size) WITH_FILE("{\"csum\":\"" HEX_AA "\",\"filename\":\"a.blob\",\"size\":" size "}")
#define SUMMED(csum) WITH_FILE("{\"csum\":" csum ",\"filename\":\"a.blob\",\"size\":1}")
#define MODED(mode) \
	WITH_FILE("{\"csum\":\"" HEX_AA "\",\"filename\":\"a.blob\",\"size\":1,\"crypt-mode\":" mode "}")

static void refuses_manifests_out_of_their_grammar(void **state)
{
	static const struct {
		const char *name, *text, *words;
	} rows[] = {
		{ "nothing", "", "not valid JSON" },
		{ "a list", "[]", "no JSON object" },
		{ "cut", "{" GROUP, "not valid JSON" },
		{ "junk behind", WHOLE "x", "not valid JSON" },
		{ "a key twice", "{" GROUP "," FILES "," FILES "}", "same key twice" },
		{ "a key twice in a file", WITH_FILE("{\"size\":1,\"size\":1}"), "same key twice" },
		{ "a key twice in what is not signed", "{" GROUP "," FILES ",\"unprotected\":{\"a\":1,\"a\":2}}",
		  "same key twice" },

		{ "no type", "{\"backup-id\":\"1\",\"backup-time\":1,\"files\":[]}", "'backup-type' is missing" },
		{ "no id", "{\"backup-type\":\"vm\",\"backup-time\":1,\"files\":[]}", "'backup-id' is missing" },
		{ "no time", "{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"files\":[]}", "'backup-time' is missing" },
		{ "time is a text", "{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"backup-time\":\"1\",\"files\":[]}",
		  "no integer" },
		{ "time is broken", "{\"backup-type\":\"vm\",\"backup-id\":\"1\",\"backup-time\":1.0,\"files\":[]}",
		  "no integer" },
		{ "unknown type", "{\"backup-type\":\"VM\",\"backup-id\":\"1\",\"backup-time\":1,\"files\":[]}", "grammar" },
		{ "id climbs", "{\"backup-type\":\"vm\",\"backup-id\":\"..\",\"backup-time\":1,\"files\":[]}", "grammar" },
		{ "id with a NUL", "{\"backup-type\":\"vm\",\"backup-id\":\"1\\u0000\",\"backup-time\":1,\"files\":[]}",
		  "'backup-id'" },

		{ "no files", "{" GROUP "}", "'files' is missing" },
		{ "files is null", "{" GROUP ",\"files\":null}", "'files' is missing" },
		{ "files is an object", "{" GROUP ",\"files\":{}}", "'files' is missing" },
		{ "a file is null", WITH_FILE("null"), "'filename' is missing" },
		{ "a file is a text", WITH_FILE("\"a.blob\""), "'filename' is missing" },

		{ "name climbs", NAMED("../a.blob"), "file name" },
		{ "name with a slash", NAMED("a/b.blob"), "file name" },
		{ "name is hidden", NAMED(".a.blob"), "file name" },
		{ "name is empty", NAMED(""), "file name" },
		{ "only an ending", NAMED(".blob"), "file name" },
		{ "no ending", NAMED("a"), "file name" },
		{ "user's name", NAMED("drive-scsi0.img"), "file name" },
		{ "other ending", NAMED("a.tmp_fidx"), "file name" },
		{ "name with a NUL", NAMED("a.blob\\u0000"), "'filename'" },
		{ "name with a line", NAMED("a\\n.blob"), "file name" },
		{ "a name twice", "{" GROUP ",\"files\":[" FILE_1 "," FILE_2 "," FILE_1 "]}",
		  "drive-scsi0.img.fidx is there twice" },

		{ "no size", WITH_FILE("{\"csum\":\"" HEX_AA "\",\"filename\":\"a.blob\"}"), "'size' is missing" },
		{ "negative size", SIZED("-1"), "impossible size" },
		{ "broken size", SIZED("1.5"), "no integer" },
		{ "size in quotes", SIZED("\"1\""), "no integer" },
		{ "size 2^63", SIZED("9223372036854775808"), "not valid JSON" },
		{ "size with an exponent", SIZED("1e3"), "no integer" },

		{ "no csum", WITH_FILE("{\"filename\":\"a.blob\",\"size\":1}"), "'csum' is missing" },
		{ "csum is null", SUMMED("null"), "'csum' is missing" },
		{ "csum is empty", SUMMED("\"\""), "64 hex digits" },
		{ "csum has 62 digits", SUMMED("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
		  "64 hex digits" },
		{ "csum has 66 digits", SUMMED("\"" HEX_AA "aa\""), "64 hex digits" },
		{ "csum with a g", SUMMED("\"gaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
		  "64 hex digits" },
		{ "csum with colons", SUMMED("\"" PRINT "\""), "64 hex digits" },

		{ "unknown mode", MODED("\"rot13\""), "unknown crypt-mode" },
		{ "mode in capitals", MODED("\"Encrypt\""), "unknown crypt-mode" },
		{ "mode is null", MODED("null"), "'crypt-mode'" },
		{ "mode is a number", MODED("1"), "'crypt-mode'" },
		{ "mode with a NUL", MODED("\"none\\u0000\""), "'crypt-mode'" },

		{ "signature is short", "{" GROUP "," FILES ",\"signature\":\"97\"}", "64 hex digits" },
		{ "signature is empty", "{" GROUP "," FILES ",\"signature\":\"\"}", "64 hex digits" },
		{ "signature is a number", "{" GROUP "," FILES ",\"signature\":5}", "'signature'" },
		{ "signature is false", "{" GROUP "," FILES ",\"signature\":false}", "'signature'" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct manifest *m = NULL;
		struct err err = ERR_NONE;
		expect(rows[i].name, parse(rows[i].text, &m, &err), &err, -EBADMSG, rows[i].words);
		assert_null(m);
	}
}

static void takes_what_old_and_new_clients_write(void **state)
{
	static const struct {
		const char *name, *text;
		enum crypt_mode mode;
	} rows[] = {
		{ "no crypt-mode, before 0.8", NAMED("a.blob"), CRYPT_NONE },
		{ "none", MODED("\"none\""), CRYPT_NONE },
		{ "sign-only", MODED("\"sign-only\""), CRYPT_SIGN_ONLY },
		{ "encrypt", MODED("\"encrypt\""), CRYPT_ENCRYPT },
		{ "digits in capitals", SUMMED("\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""), CRYPT_NONE },
		{ "largest size", SIZED("9223372036854775807"), CRYPT_NONE },
		{ "empty", SIZED("0"), CRYPT_NONE },
		{ "unknown keys", WITH_FILE("{\"csum\":\"" HEX_AA "\",\"filename\":\"a.blob\",\"size\":1,\"x\":[null,1.5]}"),
		  CRYPT_NONE },
		{ "dynamic", NAMED("root.pxar.didx"), CRYPT_NONE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(manifest_freep) struct manifest *m = NULL;
		struct err err = ERR_NONE;
		expect(rows[i].name, parse(rows[i].text, &m, &err), &err, 0, NULL);
		assert_int_equal(m->files[0].mode, rows[i].mode);
	}
	CLEANUP(manifest_freep) struct manifest *m = NULL;
	assert_int_equal(parse("{" GROUP ",\"files\":[]}", &m, NULL), 0);
	assert_int_equal(m->n_files, 0);
	for (int mode = CRYPT_NONE; mode <= CRYPT_SIGN_ONLY; mode++)
		assert_non_null(crypt_mode_name((enum crypt_mode)mode));
}

static void bounds_the_number_of_files(void **state)
{
	enum { MOST = 10000 };
	for (size_t n = MOST; n <= MOST + 1; n++) {
		CLEANUP(manifest_freep) struct manifest *m = NULL;
		CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
		struct err err = ERR_NONE;
		assert_int_equal(buf_printf(&text, NULL, "{%s,\"files\":[", GROUP), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(buf_printf(&text, NULL, "%s{\"csum\":\"%s\",\"filename\":\"%zu.blob\",\"size\":1}",
						    i ? "," : "", HEX_AA, i), 0);
		assert_int_equal(buf_puts(&text, "]}", NULL), 0);
		int r = parse(text.data, &m, &err);
		if (n == MOST)
			expect("most", r, &err, 0, NULL);
		else
			expect("one more", r, &err, -EBADMSG, "names 10001 files, at most 10000");
	}
}

/* -- signatures -- */

#define CSUM_01 "0101010101010101010101010101010101010101010101010101010101010101"
#define CSUM_02 "0202020202020202020202020202020202020202020202020202020202020202"

static void verifies_the_signature_that_the_reference_client_makes(void **state)
{
	static const char text[] =
		"{\"backup-type\": \"host\", \"backup-id\": \"elsa\", \"backup-time\": 1593179765, \"files\": ["
		"{\"filename\": \"test1.img.fidx\", \"crypt-mode\": \"encrypt\", \"size\": 200, \"csum\": \"" CSUM_01 "\"},"
		"{\"filename\": \"abc.blob\", \"crypt-mode\": \"none\", \"size\": 200, \"csum\": \"" CSUM_02 "\"}],"
		"\"signature\": \"d7b446fb7db081662081d4b40fedd858a1d6307a5aff4ecff7d5bf4fd35679e9\"}";
	CLEANUP(crypt_key_freep) struct crypt_key *key = NULL;
	uint8_t bytes[GCM_KEY_SIZE];
	struct err err = ERR_NONE;
	assert_int_equal(kdf_scrypt("test", 4, (const uint8_t *)"", 0, 65536, 8, 1, bytes, NULL), 0);
	assert_int_equal(crypt_key_new(bytes, &key, NULL), 0);
	expect("its key", check(text, key, &err), &err, MANIFEST_SIGNED, NULL);
	expect("another", check(text, k0, &err), &err, -EKEYREJECTED, "wrong signature in manifest");
}

static void says_how_far_a_manifest_can_be_trusted(void **state)
{
	static const struct {
		const char *name, *text;
		int with_key, without;
	} rows[] = {
		{ "signed", WHOLE, MANIFEST_SIGNED, MANIFEST_NOT_CHECKED },
		{ "signed, no fingerprint", "{" GROUP "," FILES "," SIGNED "}", MANIFEST_SIGNED, MANIFEST_NOT_CHECKED },
		{ "signed in capitals, other order",
		  "{\"signature\":\"9797FE507D1451D6137714B54AD6C17F97A2C6074F0F6E1CE182FC7CFECE0D95\",  " FILES "," GROUP "}",
		  MANIFEST_SIGNED, MANIFEST_NOT_CHECKED },
		{ "no signature", "{" GROUP "," FILES "}", MANIFEST_UNSIGNED, MANIFEST_UNSIGNED },
		{ "null", "{" GROUP "," FILES ",\"signature\":null}", MANIFEST_UNSIGNED, MANIFEST_UNSIGNED },
		{ "no signature, but a fingerprint", "{" GROUP "," FILES "," UNPROTECTED "}", MANIFEST_UNSIGNED,
		  MANIFEST_UNSIGNED },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i].name, check(rows[i].text, k0, &err), &err, rows[i].with_key, NULL);
		expect(rows[i].name, check(rows[i].text, NULL, &err), &err, rows[i].without, NULL);
	}
}

/* What is signed may not change: not a name, size, csum or mode, not the order, nothing more or less. */
static void refuses_a_manifest_changed_after_it_was_signed(void **state)
{
	static const char *const rows[] = {
		"\"backup-id\":\"101\",\"backup-time\":1704164645,\"backup-type\":\"vm\"," FILES,
		"\"backup-id\":\"100\",\"backup-time\":1704164646,\"backup-type\":\"vm\"," FILES,
		"\"backup-id\":\"100\",\"backup-time\":1704164645,\"backup-type\":\"ct\"," FILES,
		GROUP ",\"files\":[]",
		GROUP ",\"files\":[" FILE_1 "]",
		GROUP ",\"files\":[" FILE_2 "," FILE_1 "]",
		GROUP ",\"files\":[" FILE_1 ",{\"crypt-mode\":\"none\",\"csum\":\"" HEX_BB
		"\",\"filename\":\"qemu-server.conf.blob\",\"size\":123}]",
		GROUP ",\"files\":[" FILE_1 ",{\"csum\":\"" HEX_BB "\",\"filename\":\"qemu-server.conf.blob\",\"size\":123}]",
		GROUP ",\"files\":[" FILE_1 ",{\"crypt-mode\":\"encrypt\",\"csum\":\"" HEX_AA
		"\",\"filename\":\"qemu-server.conf.blob\",\"size\":123}]",
		GROUP ",\"files\":[" FILE_1 ",{\"crypt-mode\":\"encrypt\",\"csum\":\"" HEX_BB
		"\",\"filename\":\"qemu-server.conf.blob\",\"size\":124}]",
		GROUP ",\"files\":[" FILE_1 ",{\"crypt-mode\":\"encrypt\",\"csum\":\"" HEX_BB
		"\",\"filename\":\"qemu-server.log.blob\",\"size\":123}]",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[1500];
		struct err err = ERR_NONE;
		(void) snprintf(text, sizeof text, "{%s,%s,%s}", rows[i], SIGNED, UNPROTECTED);
		expect(rows[i], check(text, k0, &err), &err, -EKEYREJECTED, "wrong signature in manifest");
	}
}

static void refuses_a_signature_with_one_flipped_bit(void **state)
{
	uint8_t signature[DIGEST_SIZE];
	assert_true(hex_decode(SIGNATURE, signature, DIGEST_SIZE));
	for (size_t bit = 0; bit < 8 * DIGEST_SIZE; bit++) {
		char text[1500], hex[65];
		struct err err = ERR_NONE;
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		hex_encode(signature, DIGEST_SIZE, hex);
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		(void) snprintf(text, sizeof text, "{%s,%s,\"signature\":\"%s\"}", GROUP, FILES, hex);
		expect(hex, check(text, k0, &err), &err, -EKEYREJECTED, "wrong signature in manifest");
	}
}

static void names_both_keys_when_it_is_another_one(void **state)
{
	static const char *const rows[] = { "," SIGNED, "" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[1500];
		struct err err = ERR_NONE;
		(void) snprintf(text, sizeof text, "{%s,%s%s,\"unprotected\":{\"key-fingerprint\":\"%s\"}}", GROUP, FILES,
				rows[i], OTHER_PRINT);
		expect("theirs", check(text, k0, &err), &err, -EKEYREJECTED, "manifest's key 00:11:22:33:44:55:66:77 does");
		expect("ours", -1, &err, -1, "provided key 0e:ab:d4:46:0b:6e:b9:ca");
	}
}

/* Clients up to 4.1 sign all keys but two, later ones only those that they know. */
static void accepts_both_forms_of_signature(void **state)
{
	static const char extra[] = "\"x\":[true,{\"b\":-1,\"a\":\"\\u00fc/\\u0007\"}]";
	char canonical[1500], hex[65], text[2000];
	struct err err = ERR_NONE;
	(void) snprintf(canonical, sizeof canonical, "{%s,%s,\"x\":[true,{\"a\":\"\xc3\xbc/\\u0007\",\"b\":-1}]}", GROUP,
			FILES);
	sign(canonical, hex);
	(void) snprintf(text, sizeof text, "{%s,%s,%s,\"signature\":\"%s\",%s}", extra, GROUP, FILES, hex,
			UNPROTECTED);
	expect("all keys", check(text, k0, &err), &err, MANIFEST_SIGNED, NULL);
	(void) snprintf(text, sizeof text, "{%s,%s,%s,%s}", extra, GROUP, FILES, SIGNED);
	expect("known keys", check(text, k0, &err), &err, MANIFEST_SIGNED, NULL);
	(void) snprintf(text, sizeof text, "{%s,%s,\"x\":null,%s}", GROUP, FILES, SIGNED);
	expect("known keys, null beside them", check(text, k0, &err), &err, MANIFEST_SIGNED, NULL);
	(void) snprintf(text, sizeof text, "{%s,%s,\"x\":null,\"signature\":\"%s\"}", GROUP, FILES, hex);
	expect("neither", check(text, k0, &err), &err, -EKEYREJECTED, "wrong signature");
}

/* -- the blob -- */

static void reads_the_blob_unless_it_is_encrypted(void **state)
{
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	assert_int_equal(blob_codec_new(&codec, NULL), 0);
	uint8_t raw[2000];
	size_t len = 0;
	struct err err = ERR_NONE;
	struct manifest *m = NULL;
	for (int level = 0; level <= 3; level += 3) {
		assert_int_equal(blob_encode(codec, (const uint8_t *)WHOLE, strlen(WHOLE), NULL, level, raw, &len, NULL),
				 0);
		assert_int_equal(manifest_decode(codec, raw, len, &m, NULL), 0);
		assert_int_equal(m->n_files, 2);
		manifest_free(m);
		m = NULL;
		for (size_t cut = 0; cut < len; cut += 7)
			expect("cut", manifest_decode(codec, raw, cut, &m, &err), &err, -EBADMSG, cut < 12 ? "too small" : "crc32");
	}
	assert_int_equal(blob_encode(codec, (const uint8_t *)WHOLE, strlen(WHOLE), k0, 3, raw, &len, NULL), 0);
	expect("encrypted", manifest_decode(codec, raw, len, &m, &err), &err, -EBADMSG, "manifest is encrypted");
	assert_int_equal(blob_encode(codec, (const uint8_t *)"", 0, NULL, 0, raw, &len, NULL), 0);
	expect("empty", manifest_decode(codec, raw, len, &m, &err), &err, -EBADMSG, "not valid JSON");
	assert_null(m);
}

/* A few bytes on the disk may be any number of them in memory. */
static void refuses_a_blob_of_more_text_than_a_server_takes(void **state)
{
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	assert_int_equal(blob_codec_new(&codec, NULL), 0);
	enum { MOST = MANIFEST_MAX };
	CLEANUP(freep) char *text = malloc(MOST + 1);
	CLEANUP(freep) uint8_t *raw = malloc(blob_encode_bound(MOST + 1));
	assert_true(text && raw);
	memset(text, ' ', MOST + 1);
	memcpy(text, WHOLE, strlen(WHOLE));
	for (int level = 0; level <= 1; level++) {
		for (size_t len = MOST; len <= MOST + 1; len++) {
			CLEANUP(manifest_freep) struct manifest *m = NULL;
			struct err err = ERR_NONE;
			size_t raw_len = 0;
			assert_int_equal(blob_encode(codec, (uint8_t *)text, len, NULL, level, raw, &raw_len,
						     NULL), 0);
			int r = manifest_decode(codec, raw, raw_len, &m, &err);
			if (len == MOST)
				expect("most", r, &err, 0, NULL);
			else
				expect("one more", r, &err, -EBADMSG, "more than 16777216 bytes");
		}
	}
}

static void reads_back_what_it_writes(void **state)
{
	struct snapshot snap;
	struct manifest_file files[2] = {
		{ .name = "drive-scsi0.img.fidx", .size = 10485760, .mode = CRYPT_ENCRYPT },
		{ .name = "qemu-server.conf.blob", .size = 123, .mode = CRYPT_ENCRYPT },
	};
	assert_int_equal(snapshot_parse("vm/100/2024-01-02T03:04:05Z", &snap, NULL), 0);
	memset(files[0].csum, 0xaa, DIGEST_SIZE);
	memset(files[1].csum, 0xbb, DIGEST_SIZE);
	for (int is_signed = 0; is_signed < 2; is_signed++) {
		CLEANUP(freep) char *text = NULL;
		CLEANUP(manifest_freep) struct manifest *m = NULL;
		assert_int_equal(manifest_write(&snap, files, 2, is_signed ? k0 : NULL, &text, NULL), 0);
		assert_int_equal(!!strstr(text, SIGNATURE), is_signed);
		assert_int_equal(parse(text, &m, NULL), 0);
		assert_int_equal(snapshot_compare(&m->snapshot, &snap), 0);
		assert_int_equal(m->n_files, 2);
		for (size_t i = 0; i < 2; i++) {
			assert_string_equal(m->files[i].name, files[i].name);
			assert_int_equal(m->files[i].size, files[i].size);
			assert_int_equal(m->files[i].mode, files[i].mode);
			assert_memory_equal(m->files[i].csum, files[i].csum, DIGEST_SIZE);
		}
		assert_int_equal(manifest_check(m, k0, NULL), is_signed ? MANIFEST_SIGNED : MANIFEST_UNSIGNED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_what_belongs_to_a_snapshot),
		TEST(reads_what_is_not_signed),
		TEST(minds_no_nonsense_in_what_is_not_signed),
		TEST(refuses_manifests_out_of_their_grammar),
		TEST(takes_what_old_and_new_clients_write),
		TEST(bounds_the_number_of_files),
		TEST(verifies_the_signature_that_the_reference_client_makes),
		TEST(says_how_far_a_manifest_can_be_trusted),
		TEST(refuses_a_manifest_changed_after_it_was_signed),
		TEST(refuses_a_signature_with_one_flipped_bit),
		TEST(names_both_keys_when_it_is_another_one),
		TEST(accepts_both_forms_of_signature),
		TEST(reads_the_blob_unless_it_is_encrypted),
		TEST(refuses_a_blob_of_more_text_than_a_server_takes),
		TEST(reads_back_what_it_writes),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
