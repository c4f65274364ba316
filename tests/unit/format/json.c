/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json.h"

#include <string.h>

#include "data.h"
#include "format/base64.h"
#include "unit.h"
#include "util/buf.h"
#include "util/bytes.h"

static char *unbase64(const char *text, size_t *ret_len)
{
	size_t len = strlen(text);
	char *bytes = malloc(len + 1);
	assert_non_null(bytes);
	assert_true(base64_decode(text, len, (uint8_t *)bytes, ret_len));
	bytes[*ret_len] = '\0';
	return bytes;
}

static void writes_canonical_text_like_a_second_implementation(void **state)
{
	size_t len;
	CLEANUP(crypt_key_freep) struct crypt_key *key = key_k0();
	CLEANUP(freep) char *table = test_file("vectors/json.tsv", &len);
	char *at = table, *row[3];
	int n = 0;
	for (; next_row(&at, row, ARRAY_LEN(row)); n++) {
		CLEANUP(json_freep) json_t *json = NULL;
		CLEANUP(freep) char *text = unbase64(row[0], &len), *canonical = NULL;
		struct err err = ERR_NONE;
		uint8_t signature[DIGEST_SIZE];
		char hex[2 * DIGEST_SIZE + 1];
		expect(row[0], json_parse_object(text, len, "row", &json, &err), &err, 0, NULL);
		expect(row[0], json_canonical(json, &canonical, &err), &err, 0, NULL);
		CLEANUP(freep) char *expected = unbase64(row[1], &len);
		assert_string_equal(canonical, expected);
		assert_int_equal(crypt_key_sign(key, canonical, strlen(canonical), signature, NULL), 0);
		hex_encode(signature, DIGEST_SIZE, hex);
		assert_string_equal(hex, row[2]);
	}
	assert_int_equal(n, 100);
}

static void sorts_keys_as_bytes_at_every_level(void **state)
{
	static const char text[] = "{\"b\":{\"\xc3\xbc\":1,\"z\":2,\"Z\":3,\"\":4},\"a\":[{\"y\":1,\"x\":2}],\"aa\":0,"
				   "\"B\":true}";
	CLEANUP(json_freep) json_t *json = NULL;
	CLEANUP(freep) char *canonical = NULL;
	assert_int_equal(json_parse_object(text, sizeof text - 1, "text", &json, NULL), 0);
	assert_int_equal(json_canonical(json, &canonical, NULL), 0);
	assert_string_equal(canonical, "{\"B\":true,\"a\":[{\"x\":2,\"y\":1}],\"aa\":0,"
				       "\"b\":{\"\":4,\"Z\":3,\"z\":2,\"\xc3\xbc\":1}}");
}

static void escapes_a_nul_inside_a_text(void **state)
{
	static const char text[] = "{\"a\":\"x\\u0000y\"}";
	CLEANUP(json_freep) json_t *json = NULL;
	CLEANUP(freep) char *canonical = NULL;
	assert_int_equal(json_parse_object(text, sizeof text - 1, "text", &json, NULL), 0);
	assert_int_equal(json_canonical(json, &canonical, NULL), 0);
	assert_string_equal(canonical, text);
}

static void refuses_to_sign_what_has_no_single_form(void **state)
{
	static const char *const rows[] = {
		"{\"a\":null}", "{\"a\":[1,{\"b\":null}]}", "{\"a\":1.5}", "{\"a\":1e3}", "{\"a\":-0.0}",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(json_freep) json_t *json = NULL;
		char *canonical = NULL;
		struct err err = ERR_NONE;
		assert_int_equal(json_parse_object(rows[i], strlen(rows[i]), "row", &json, NULL), 0);
		expect(rows[i], json_canonical(json, &canonical, &err), &err, -EBADMSG, "cannot be signed");
		assert_null(canonical);
	}
}

#define ROW(text) { text, sizeof(text) - 1 }

static void refuses_text_that_is_not_one_plain_object(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
		ROW(""), ROW(" "), ROW("null"), ROW("[]"), ROW("\"{}\""), ROW("1"), ROW("{"), ROW("{]"), ROW("}"),
		ROW("{}{}"), ROW("{} x"), ROW("{}\0"), ROW("{a:1}"), ROW("{'a':1}"), ROW("{\"a\":1,}"), ROW("{\"a\"}"),
		ROW("{\"a\":01}"), ROW("{\"a\":+1}"), ROW("{\"a\":NaN}"), ROW("{\"a\":tru}"),
		ROW("{\"a\":9223372036854775808}"), ROW("{\"a\":-9223372036854775809}"), ROW("{\"a\":1e999}"),
		ROW("{\"a\":\"\n\"}"), ROW("{\"a\":\"\\x41\"}"), ROW("{\"a\":\"\\ud800\"}"), ROW("{\"a\":\"\xff\"}"),
		ROW("{\"a\":\"\xc0\xaf\"}"), ROW("{\"a\":\"\xed\xa0\x80\"}"), ROW("\xef\xbb\xbf{}"), ROW("/**/{}"),
		ROW("{\"a\\u0000b\":1}"),
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *json = NULL;
		struct err err = ERR_NONE;
		CLEANUP(freep) uint8_t *text = exact_copy(rows[i].text, rows[i].len);
		expect(rows[i].text, json_parse_object((char *)text, rows[i].len, "row", &json, &err), &err,
		       -EBADMSG, "row is no");
		assert_null(json);
	}
}

/* {"a":[PIECE,PIECE…]} with so many values in all */
static void fill_array(struct buf *text, const char *piece, size_t values_in_piece, size_t n_values)
{
	assert_int_equal(buf_puts(text, "{\"a\":[", NULL), 0);
	for (size_t i = 0; i < (n_values - 2) / values_in_piece; i++)
		assert_int_equal(buf_printf(text, NULL, "%s%s", i ? "," : "", piece), 0);
	assert_int_equal(buf_puts(text, "]}", NULL), 0);
}

static void bounds_the_number_of_values(void **state)
{
	static const struct {
		const char *piece;
		size_t n_values;
	} rows[] = {
		{ "0", 1 }, { "[0]", 2 }, { "{\"k\":0}", 2 }, { "\"\\\",[\"", 1 }, { "\"[{,,,\\\\\"", 1 }
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int more = 0; more <= 8; more += 8) {
			CLEANUP(json_freep) json_t *json = NULL;
			CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
			struct err err = ERR_NONE;
			/* openers are counted, and what stands behind one as well */
			fill_array(&text, rows[i].piece, rows[i].n_values, JSON_MAX_VALUES + (size_t)more);
			int r = json_parse_object(text.data, text.len, "row", &json, &err);
			if (more)
				expect(rows[i].piece, r, &err, -EBADMSG, "row holds more than 250000 values");
			else
				expect(rows[i].piece, r, &err, 0, NULL);
		}
	}
}

static void refuses_a_key_that_comes_twice_at_any_depth(void **state)
{
	static const char *const rows[] = {
		"{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"a\":3}", "{\"x\":{\"a\":1,\"a\":1}}", "{\"x\":[{\"a\":1,\"\\u0061\":1}]}",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *json = NULL;
		struct err err = ERR_NONE;
		expect(rows[i], json_parse_object(rows[i], strlen(rows[i]), "row", &json, &err), &err, -EBADMSG,
		       "the same key twice");
	}
}

/* Deep enough for anything real; deeper is refused before the stack is used up. */
static void bounds_the_depth(void **state)
{
	static const struct {
		size_t depth;
		int r;
	} rows[] = { { 100, 0 }, { 2000, 0 }, { 100000, -EBADMSG } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t depth = rows[i].depth, len = 5 + 2 * depth + 1;
		CLEANUP(json_freep) json_t *json = NULL;
		CLEANUP(freep) char *text = malloc(len), *canonical = NULL;
		memcpy(text, "{\"a\":", 5);
		memset(text + 5, '[', depth);
		memset(text + 5 + depth, ']', depth);
		text[len - 1] = '}';
		assert_int_equal(json_parse_object(text, len, "deep", &json, NULL), rows[i].r);
		if (json)
			assert_int_equal(json_canonical(json, &canonical, NULL), 0);
	}
}

/* A key file is JSON, too, and a message goes to logs and terminals. */
static void repeats_nothing_of_the_text_in_its_message(void **state)
{
	static const char *const rows[] = {
		"{\"data\":c2VjcmV0}", "{\"c2VjcmV0\":1,\"c2VjcmV0\":2}", "{\"data\":\"c2VjcmV0", "{} c2VjcmV0",
		"{\"a\" \"c2VjcmV0\"}",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *json = NULL;
		struct err err = ERR_NONE;
		expect(rows[i], json_parse_object(rows[i], strlen(rows[i]), "row", &json, &err), &err, -EBADMSG,
		       "(line 1, column ");
		assert_null(strstr(err.msg, "c2V"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(writes_canonical_text_like_a_second_implementation),
		TEST(sorts_keys_as_bytes_at_every_level),
		TEST(escapes_a_nul_inside_a_text),
		TEST(refuses_to_sign_what_has_no_single_form),
		TEST(refuses_text_that_is_not_one_plain_object),
		TEST(bounds_the_number_of_values),
		TEST(refuses_a_key_that_comes_twice_at_any_depth),
		TEST(bounds_the_depth),
		TEST(repeats_nothing_of_the_text_in_its_message),
	};
	return RUN_TESTS(tests);
}
