/* SPDX-License-Identifier: Apache-2.0 */
#include "format/key_file.h"

#include <stdio.h>
#include <string.h>

#include "data.h"
#include "unit.h"
#include "util/bytes.h"

#define PRINT "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"
#define TIMES "\"created\":\"2024-01-02T03:04:05Z\",\"modified\":\"2024-01-02T03:04:05Z\","
#define SALT "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
#define RAW "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define SCRYPT_KDF "\"kdf\":{\"Scrypt\":{\"n\":65536,\"r\":8,\"p\":1,\"salt\":\"" SALT "\"}},"
#define SCRYPT_SEALED \
	"EBESExQVFhcYGRobHB0eH540h/v2Vd9IAwshrPEvuXGhLDoK9q1DPFMYTFFcMaUuksVDDmEd/ytT1prMsXc6dQ=="
#define PBKDF2_KDF "\"kdf\":{\"PBKDF2\":{\"iter\":65535,\"salt\":\"" SALT "\"}},"
#define PBKDF2_SEALED \
	"EBESExQVFhcYGRobHB0eHzWpsYdf3GJMhrwqIAnQE4Az5PGsbQQM1xtzIte8MTcKfQb08fLaMtlzuUTHnCFXNw=="
#define DATA(base64) "\"data\":\"" base64 "\""

#define KEY_NONE "{\"kdf\":null," TIMES DATA(RAW "=") ",\"fingerprint\":\"" PRINT "\"}"
#define KEY_SCRYPT "{" SCRYPT_KDF TIMES DATA(SCRYPT_SEALED) ",\"hint\":\"a hint\"}"
#define KEY_PBKDF2 "{" PBKDF2_KDF TIMES DATA(PBKDF2_SEALED) "}"

static int parse(const char *text, struct key_file *ret, struct err *err)
{
	CLEANUP(freep) uint8_t *copy = exact_copy(text, strlen(text));
	return key_file_parse((char *)copy, strlen(text), ret, err);
}

/* Parse and open; the key must be K0 when that works. */
static int open_key(const char *text, const char *password, struct err *err)
{
	CLEANUP(key_file_deinit) struct key_file file = { 0 };
	CLEANUP(crypt_key_freep) struct crypt_key *key = NULL, *k0 = key_k0();
	CLEANUP(secret_deinit) struct secret secret = SECRET_EMPTY;
	int r = parse(text, &file, err);
	if (r < 0)
		return r;
	if (password)
		assert_int_equal(secret_init_copy(&secret, password, strlen(password), NULL), 0);
	r = key_file_open(&file, password ? &secret : NULL, &key, err);
	assert_int_equal(r == 0, key != NULL);
	if (r == 0)
		assert_memory_equal(crypt_key_enc(key), crypt_key_enc(k0), GCM_KEY_SIZE);
	return r;
}

static void opens_keys_of_every_kind(void **state)
{
	static const struct {
		const char *name, *text, *password;
	} rows[] = {
		{ "no kdf", KEY_NONE, NULL },
		{ "no kdf, with a password", KEY_NONE, "not needed" },
		{ "scrypt", KEY_SCRYPT, "test-password" },
		{ "PBKDF2", KEY_PBKDF2, "test-password" },
		{ "kdf not mentioned", "{" TIMES DATA(RAW "=") "}", NULL },
		{ "no padding", "{" TIMES DATA(RAW) "}", NULL },
		{ "unknown keys", "{\"x\":[1.5,null],\"info\":\"y\"," TIMES DATA(RAW "=") "}", NULL },
		{ "null where nothing may be", "{" TIMES DATA(RAW "=") ",\"fingerprint\":null,\"hint\":null}", NULL },
		{ "white space", " {\n " TIMES " \"data\" :\t\"" RAW "=\"\r\n}\n", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i].name, open_key(rows[i].text, rows[i].password, &err), &err, 0, NULL);
	}
}

static void tells_what_is_in_a_file(void **state)
{
	CLEANUP(key_file_deinit) struct key_file none = { 0 };
	CLEANUP(key_file_deinit) struct key_file scrypt = { 0 };
	CLEANUP(key_file_deinit) struct key_file pbkdf2 = { 0 };
	assert_int_equal(parse(KEY_NONE, &none, NULL), 0);
	assert_int_equal(none.kdf, KEY_KDF_NONE);
	assert_true(none.has_fingerprint);
	assert_int_equal(none.data.len, 32);
	assert_null(none.hint);

	assert_int_equal(parse(KEY_SCRYPT, &scrypt, NULL), 0);
	assert_int_equal(scrypt.kdf, KEY_KDF_SCRYPT);
	assert_false(scrypt.has_fingerprint);
	assert_int_equal(scrypt.data.len, 64);
	assert_string_equal(scrypt.hint, "a hint");
	assert_true(scrypt.n == 65536 && scrypt.r == 8 && scrypt.p == 1 && scrypt.salt_len == 32);

	assert_int_equal(parse(KEY_PBKDF2, &pbkdf2, NULL), 0);
	assert_int_equal(pbkdf2.kdf, KEY_KDF_PBKDF2);
	assert_true(pbkdf2.iterations == 65535 && pbkdf2.salt_len == 32);
}

#define BEGIN "-----BEGIN PROXMOX BACKUP KEY-----"
#define END "-----END PROXMOX BACKUP KEY-----"

static void opens_a_key_typed_from_paper(void **state)
{
	static const char *const rows[] = {
		BEGIN "\n" KEY_NONE "\n" END "\n",
		"Subject: my key\n\n" BEGIN "\r\n" KEY_NONE "\r\n" END "\r\nand the QR code",
		BEGIN KEY_NONE END,
		BEGIN "\n" KEY_NONE "\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect(rows[i], open_key(rows[i], NULL, &err), &err, 0, NULL);
	}
	struct key_file file;
	assert_int_equal(parse(BEGIN END KEY_NONE, &file, NULL), -EBADMSG);
	assert_int_equal(parse(BEGIN, &file, NULL), -EBADMSG);
	assert_int_equal(parse(KEY_NONE END, &file, NULL), -EBADMSG);
}

static void refuses_files_out_of_their_grammar(void **state)
{
	static const struct {
		const char *name, *text, *words;
	} rows[] = {
		{ "nothing", "", "key file is not valid JSON" },
		{ "a list", "[" KEY_NONE "]", "no JSON object" },
		{ "the same key twice", "{" DATA(RAW "=") "," DATA(RAW "=") "}", "same key twice" },
		{ "PEM", "-----BEGIN RSA PRIVATE KEY-----", "not valid JSON" },

		{ "no data", "{\"kdf\":null}", "'data' is missing" },
		{ "data is null", "{\"data\":null}", "'data' is missing" },
		{ "data is a number", "{\"data\":5}", "'data' is missing" },
		{ "data is empty", "{" DATA("") "}", "has 0 bytes, not 32" },
		{ "data is not base64", "{" DATA("AAEC*wQF") "}", "not base64" },
		{ "data is short", "{" DATA("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==") "}", "31 bytes, not 32" },
		{ "data is long", "{" DATA("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g") "}", "33 bytes, not 32" },
		{ "a sealed key without kdf", "{" DATA(SCRYPT_SEALED) "}", "64 bytes, not 32" },
		{ "a raw key with kdf", "{" SCRYPT_KDF DATA(RAW "=") "}", "32 bytes, not 64" },
		{ "sealed, too short", "{" PBKDF2_KDF DATA("AAAA") "}", "3 bytes, not 64" },
		{ "sealed, too long", "{" PBKDF2_KDF DATA("AAAA" SCRYPT_SEALED) "}", "'data'" },

		{ "kdf is a text", "{\"kdf\":\"Scrypt\"," DATA(RAW "=") "}", "unknown kdf" },
		{ "kdf is empty", "{\"kdf\":{}," DATA(RAW "=") "}", "unknown kdf" },
		{ "kdf is false", "{\"kdf\":false," DATA(RAW "=") "}", "unknown kdf" },
		{ "another kdf", "{\"kdf\":{\"Argon2\":{}}," DATA(RAW "=") "}", "unknown kdf" },
		{ "kdf in lower case", "{\"kdf\":{\"scrypt\":{}}," DATA(RAW "=") "}", "unknown kdf" },
		{ "both", "{\"kdf\":{\"Scrypt\":{},\"PBKDF2\":{}}," DATA(RAW "=") "}", "unknown kdf" },
		{ "another one beside", "{\"kdf\":{\"Scrypt\":{},\"Argon2\":{}}," DATA(RAW "=") "}", "unknown kdf" },
		{ "scrypt is null", "{\"kdf\":{\"Scrypt\":null}," DATA(RAW "=") "}", "'n' is missing" },
		{ "no r", "{\"kdf\":{\"Scrypt\":{\"n\":2}}," DATA(RAW "=") "}", "'r' is missing" },
		{ "no p", "{\"kdf\":{\"Scrypt\":{\"n\":2,\"r\":1}}," DATA(RAW "=") "}", "'p' is missing" },
		{ "negative", "{\"kdf\":{\"Scrypt\":{\"n\":-2,\"r\":1}}," DATA(RAW "=") "}", "'n' is missing or no count" },
		{ "broken number", "{\"kdf\":{\"PBKDF2\":{\"iter\":1.0}}," DATA(RAW "=") "}", "'iter' is missing or no count" },
		{ "no salt", "{\"kdf\":{\"PBKDF2\":{\"iter\":1}}," DATA(RAW "=") "}", "'salt' is missing" },
		{ "salt is not base64", "{\"kdf\":{\"PBKDF2\":{\"iter\":1,\"salt\":\"?\"}}," DATA(RAW "=") "}", "'salt' is not" },

		{ "fingerprint is short", "{" DATA(RAW "=") ",\"fingerprint\":\"0e:ab\"}", "64 hex digits" },
		{ "fingerprint is a number", "{" DATA(RAW "=") ",\"fingerprint\":5}", "64 hex digits" },

		{ "no times", "{" DATA(RAW "=") "}", "'created' is missing" },
		{ "not created", "{\"modified\":\"2024-01-02T03:04:05Z\"," DATA(RAW "=") "}", "'created' is missing" },
		{ "not modified", "{\"created\":\"2024-01-02T03:04:05Z\"," DATA(RAW "=") "}", "'modified' is missing" },
		{ "created is null", "{\"created\":null,\"modified\":\"\"," DATA(RAW "=") "}", "'created' is missing" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct key_file file = { .n = 77 };
		struct err err = ERR_NONE;
		expect(rows[i].name, parse(rows[i].text, &file, &err), &err, -EBADMSG, rows[i].words);
		assert_int_equal(file.n, 77);
	}
}

static void bounds_file_and_salt(void **state)
{
	enum { SALT_MAX = 1024, N_TEXT = (SALT_MAX + 2) / 3 * 4 };
	static const struct {
		size_t n_chars; /* of base64 */
		int r;
	} rows[] = { { N_TEXT - 2, 0 }, { N_TEXT, -EBADMSG }, { 3000, -EBADMSG }, { 60000, -EBADMSG } };
	CLEANUP(freep) char *text = calloc(1, KEY_FILE_MAX + 2), *salt = calloc(1, KEY_FILE_MAX + 1);
	struct err err = ERR_NONE;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(key_file_deinit) struct key_file file = { 0 };
		memset(salt, 'A', KEY_FILE_MAX);
		salt[rows[i].n_chars] = '\0';
		(void) snprintf(text, KEY_FILE_MAX, "{\"kdf\":{\"PBKDF2\":{\"iter\":1,\"salt\":\"%s\"}},%s}", salt,
				TIMES DATA(PBKDF2_SEALED));
		expect("salt", parse(text, &file, &err), &err, rows[i].r, NULL);
		assert_int_equal(file.salt_len, rows[i].r == 0 ? SALT_MAX : 0);
	}
	CLEANUP(key_file_deinit) struct key_file file = { 0 };
	memset(text, ' ', KEY_FILE_MAX + 1);
	memcpy(text, KEY_NONE, strlen(KEY_NONE));
	expect("one byte too long", parse(text, &file, &err), &err, -EBADMSG, "longer than 65536");
	text[KEY_FILE_MAX] = '\0';
	expect("as long as can be", parse(text, &file, &err), &err, 0, NULL);
}

static void refuses_a_wrong_password_with_the_hint(void **state)
{
	struct err err = ERR_NONE;
	expect("hint", open_key(KEY_SCRYPT, "wrong-password", &err), &err, -EKEYREJECTED, "hint: a hint)");
	expect("no hint", open_key(KEY_PBKDF2, "wrong-password", &err), &err, -EKEYREJECTED,
	       "(wrong password?)");
	expect("terminal", open_key("{" PBKDF2_KDF TIMES DATA(PBKDF2_SEALED) ",\"hint\":\"\\u001b[31m\"}", "wrong-password",
				    &err), &err, -EKEYREJECTED, "hint: \\x1b[31m)");
	expect("longer", open_key(KEY_PBKDF2, "test-password ", &err), &err, -EKEYREJECTED, NULL);
}

static void wants_a_password_of_five_bytes(void **state)
{
	struct err err = ERR_NONE;
	expect("none", open_key(KEY_PBKDF2, NULL, &err), &err, -EINVAL, "too short");
	expect("empty", open_key(KEY_PBKDF2, "", &err), &err, -EINVAL, "too short");
	expect("four", open_key(KEY_PBKDF2, "1234", &err), &err, -EINVAL, "at least 5");
	expect("five", open_key(KEY_PBKDF2, "12345", &err), &err, -EKEYREJECTED, NULL);
}

static void refuses_a_key_that_is_not_the_one_of_its_fingerprint(void **state)
{
	static const char text[] = "{" TIMES DATA(RAW "=") ",\"fingerprint\":\"00112233445566778899aabbccddeeff"
				   "00112233445566778899aabbccddeeff\"}";
	struct err err = ERR_NONE;
	expect("other", open_key(text, NULL, &err), &err, -EKEYREJECTED, "00:11:22:33:44:55:66:77");
	expect("both named", -1, &err, -1, "0e:ab:d4:46:0b:6e:b9:ca");
}

static void refuses_parameters_that_would_take_all_memory_or_time(void **state)
{
	static const char *const kdfs[] = {
		"\"Scrypt\":{\"n\":2097152,\"r\":8,\"p\":1", "\"Scrypt\":{\"n\":4611686018427387904,\"r\":1,\"p\":1",
		"\"Scrypt\":{\"n\":2,\"r\":9223372036854775807,\"p\":1", "\"Scrypt\":{\"n\":65535,\"r\":8,\"p\":1",
		"\"Scrypt\":{\"n\":0,\"r\":0,\"p\":0", "\"Scrypt\":{\"n\":16,\"r\":1,\"p\":9223372036854775807",
		"\"PBKDF2\":{\"iter\":0", "\"PBKDF2\":{\"iter\":100000001", "\"PBKDF2\":{\"iter\":9223372036854775807",
	};
	for (size_t i = 0; i < ARRAY_LEN(kdfs); i++) {
		char text[600];
		struct err err = ERR_NONE;
		(void) snprintf(text, sizeof text, "{\"kdf\":{%s,\"salt\":\"%s\"}},%s}", kdfs[i], SALT,
				TIMES DATA(SCRYPT_SEALED));
		expect(kdfs[i], open_key(text, "test-password", &err), &err, -EINVAL, "out of limits");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opens_keys_of_every_kind),
		TEST(tells_what_is_in_a_file),
		TEST(opens_a_key_typed_from_paper),
		TEST(refuses_files_out_of_their_grammar),
		TEST(bounds_file_and_salt),
		TEST(refuses_a_wrong_password_with_the_hint),
		TEST(wants_a_password_of_five_bytes),
		TEST(refuses_a_key_that_is_not_the_one_of_its_fingerprint),
		TEST(refuses_parameters_that_would_take_all_memory_or_time),
	};
	return RUN_TESTS(tests);
}
