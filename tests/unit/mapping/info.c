/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/info.h"

#include <string.h>

#include "format/data.h"
#include "format/json.h"
#include "unit.h"

static char latin[] = "caf\xe9", empty[] = "", utf8[] = "caf\xc3\xa9 \"1\"\\\n", bytes[] = "\x01\xff\x80/\x7f";
static char part_1[] = "/dev/loop3p1", part_2[] = "/dev/lo\xffp2";
static char *partitions[] = { part_1, part_2 };

/* Every field another value, names of every kind.  Lent strings: no deinit. */
static struct mapping_info example(void)
{
	return (struct mapping_info){
		.name = latin,
		.device = part_1,
		.uri = utf8,
		.via = VIA_FILE,
		.repository = bytes,
		.ns = empty,
		.snapshot = utf8,
		.archive = latin,
		.size = INT64_MAX,
		.pid = 4194304,
		.keeper_pid = 4194303,
		.state = MAPPING_ENDING,
		.since = 1704164645,
		.lost_since = 1704164650,
		.lost_why = bytes,
		.stats = { 1, 2, 3, 4, 5 },
		.partitions = { partitions, 2, 2 },
		.journals = { partitions + 1, 1, 1 },
		.users = { partitions, 1, 2 },
	};
}

/* To text and back, as over a socket. */
static json_t *over_the_wire(json_t *take_json)
{
	assert_non_null(take_json);
	CLEANUP(freep) char *text = json_dumps(take_json, JSON_COMPACT);
	json_t *json = NULL;
	json_decref(take_json);
	assert_non_null(text);
	assert_int_equal(json_parse_object(text, strlen(text), "message", &json, NULL), 0);
	return json;
}

static void a_mapping_comes_out_as_it_went_in(void **state)
{
	const struct mapping_info in = example();
	CLEANUP(mapping_info_deinit) struct mapping_info out = MAPPING_INFO_EMPTY;
	CLEANUP(json_freep) json_t *json = over_the_wire(mapping_info_to_json(&in));
	assert_int_equal(mapping_info_from_json(json, &out, NULL), 0);
	assert_string_equal(out.name, in.name);
	assert_string_equal(out.device, in.device);
	assert_string_equal(out.uri, in.uri);
	assert_string_equal(out.repository, in.repository);
	assert_string_equal(out.ns, in.ns);
	assert_string_equal(out.snapshot, in.snapshot);
	assert_string_equal(out.archive, in.archive);
	assert_int_equal(out.via, in.via);
	assert_true(out.size == in.size);
	assert_int_equal(out.pid, in.pid);
	assert_int_equal(out.keeper_pid, in.keeper_pid);
	assert_int_equal(out.state, in.state);
	assert_int_equal(out.since, in.since);
	assert_int_equal(out.lost_since, in.lost_since);
	assert_string_equal(out.lost_why, in.lost_why);
	assert_memory_equal(&out.stats, &in.stats, sizeof out.stats);
	assert_int_equal(out.partitions.n, 2);
	assert_string_equal(out.partitions.items[0], part_1);
	assert_string_equal(out.partitions.items[1], part_2);
	assert_int_equal(out.journals.n, 1);
	assert_string_equal(out.journals.items[0], part_2);
	assert_int_equal(out.users.n, 1);
	assert_string_equal(out.users.items[0], part_1);
	assert_int_equal(out.holders.n, 0);
}

static void states_and_kinds_have_names(void **state)
{
	static const char *const states[] = { "ready", "reconnecting", "ending", "silent", "dead" };
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		assert_string_equal(mapping_state_name((enum mapping_state)i), states[i]);
	assert_string_equal(mapping_via_name(VIA_LOOP), "loop");
	assert_string_equal(mapping_via_name(VIA_FILE), "file");
	assert_string_equal(mapping_via_name(VIA_SOCKET), "socket");
	assert_string_equal(mapping_via_name(VIA_NBD), "nbd");
	assert_string_equal(mapping_via_name(VIA_TREE), "mount");
}

/* Takes @value; NULL = the key is left out. */
static void must_refuse(const char *key, json_t *value)
{
	const struct mapping_info info = example();
	struct mapping_info out = { .pid = 77 };
	struct err err = ERR_NONE;
	CLEANUP(json_freep) json_t *json = over_the_wire(mapping_info_to_json(&info));
	assert_non_null(json_object_get(json, key));
	assert_int_equal(value ? json_object_set_new(json, key, value) : json_object_del(json, key), 0);
	expect(key, mapping_info_from_json(json, &out, &err), &err, -EPROTO, key);
	assert_int_equal(out.pid, 77); /* written on success only */
}

static json_t *parsed(const char *text)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(json);
	return json;
}

static void refuses_a_mapping_with_a_field_that_is_missing_or_of_another_kind(void **state)
{
	static const struct {
		const char *keys[16], *bad[16];
	} rows[] = {
		{ { "name", "device", "uri", "repository", "ns", "snapshot", "archive", "lost_why" },
		  { "null", "5", "true", "{}", "{\"x\":1}", "[\"a\"]", "[null]", "[0]", "[256]", "[-1]",
		    "[65.0]", "[[65]]", "[4294967361]" } },
		{ { "size", "read_bytes", "fetched_bytes", "fetched_chunks", "cache_hits", "damaged_chunks", "pid",
		    "keeper", "state", "since", "lost_since", "via" },
		  { "null", "\"5\"", "true", "[]", "{}", "1.5", "1e300", "-1", "-9223372036854775808" } },
		{ { "state" }, { "3" } },
		{ { "via" }, { "5" } },
		{ { "pid", "keeper", "state", "via" }, { "4294967296", "4294967297", "9223372036854775807" } },
		{ { "partitions", "journals", "users" },
		  { "null", "5", "\"/dev/loop3p1\"", "{}", "[5]", "[null]", "[{}]", "[[0]]",
		    "[\"/dev/loop3p1\",7]" } },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (const char *const *key = rows[i].keys; *key; key++) {
			must_refuse(*key, NULL);
			for (const char *const *bad = rows[i].bad; *bad; bad++)
				must_refuse(*key, parsed(*bad));
		}
	}
	struct mapping_info out;
	CLEANUP(json_freep) json_t *list = json_array(), *nothing = json_object();
	assert_int_equal(mapping_info_from_json(NULL, &out, NULL), -EPROTO);
	assert_int_equal(mapping_info_from_json(list, &out, NULL), -EPROTO);
	assert_int_equal(mapping_info_from_json(nothing, &out, NULL), -EPROTO);
}

/* Where it says more, it comes from a newer version. */
static void minds_no_key_it_does_not_know(void **state)
{
	const struct mapping_info info = example();
	CLEANUP(mapping_info_deinit) struct mapping_info out = MAPPING_INFO_EMPTY;
	CLEANUP(json_freep) json_t *json = mapping_info_to_json(&info);
	assert_int_equal(json_object_set_new(json, "later", parsed("[{}]")), 0);
	assert_int_equal(mapping_info_from_json(json, &out, NULL), 0);
}

static void a_failure_comes_out_as_it_went_in(void **state)
{
	CLEANUP(failure_deinit) struct failure in = FAILURE_NONE, out = FAILURE_NONE;
	(void) err_set(&in.err, -EKEYREJECTED, "no %s", "caf\xc3\xa9 \"x\" %s");
	assert_int_equal(strv_add(&in.candidates, latin, NULL), 0);
	assert_int_equal(strv_add(&in.candidates, "b", NULL), 0);
	assert_int_equal(strv_add(&in.holders, "process 1 (init)", NULL), 0);
	CLEANUP(json_freep) json_t *json = over_the_wire(failure_to_json(&in));
	failure_from_json(json, &out);
	assert_int_equal(out.err.code, -EKEYREJECTED);
	assert_string_equal(out.err.msg, in.err.msg);
	assert_int_equal(out.candidates.n, 2);
	assert_string_equal(out.candidates.items[0], latin);
	assert_string_equal(out.candidates.items[1], "b");
	assert_int_equal(out.holders.n, 1);
	assert_string_equal(out.holders.items[0], "process 1 (init)");
}

/* It is one in any case: nobody takes nonsense for success. */
static void nonsense_is_a_failure_too(void **state)
{
	static const struct {
		const char *json;
		int code;
		const char *words;
	} rows[] = {
		{ "{}", -EPROTO, "nothing of use" },
		{ "[]", -EPROTO, "nothing of use" },
		{ "{\"code\":0,\"message\":\"fine\"}", -EPROTO, "fine" },
		{ "{\"code\":5,\"message\":\"x\"}", -EPROTO, "x" },
		{ "{\"code\":-4096,\"message\":\"x\"}", -EPROTO, "x" },
		{ "{\"code\":-4095,\"message\":\"x\"}", -4095, "x" },
		{ "{\"code\":-4294967292,\"message\":\"x\"}", -EPROTO, "x" },
		{ "{\"code\":-9223372036854775808}", -EPROTO, "nothing of use" },
		{ "{\"code\":-5.0,\"message\":7}", -EPROTO, "nothing of use" },
		{ "{\"code\":-5,\"message\":[],\"candidates\":7,\"holders\":{}}", -5, "" },
		{ "{\"code\":-5,\"message\":\"x\",\"candidates\":[\"a\",7],\"holders\":[[7.5]]}", -5, "x" },
		{ "{\"code\":-5,\"message\":\"%s%n\"}", -5, "%s%n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		CLEANUP(json_freep) json_t *json = parsed(rows[i].json);
		failure_from_json(json, &why);
		expect(rows[i].json, why.err.code, &why.err, rows[i].code, rows[i].words);
	}
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	failure_from_json(NULL, &why);
	assert_int_equal(why.err.code, -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_mapping_comes_out_as_it_went_in),
		TEST(states_and_kinds_have_names),
		TEST(refuses_a_mapping_with_a_field_that_is_missing_or_of_another_kind),
		TEST(minds_no_key_it_does_not_know),
		TEST(a_failure_comes_out_as_it_went_in),
		TEST(nonsense_is_a_failure_too),
	};
	return RUN_TESTS(tests);
}
