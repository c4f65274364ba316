/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json_scan.h"

#include <stdio.h>
#include <string.h>

#include "data.h"
#include "unit.h"

/* In memory of exactly that length. */
static struct json_text text_of(const char *text)
{
	return (struct json_text){ (const char *)exact_copy(text, strlen(text)), strlen(text) };
}

static void text_free(struct json_text *text)
{
	free((void *)(uintptr_t)text->at);
}

static void finds_a_member_as_it_is_written(void **state)
{
	static const struct {
		const char *object, *value; /* of "k"; NULL = none */
	} rows[] = {
		{ "{\"k\":1}", "1" },
		{ " \n{ \"a\" : [1,{\"k\":2}] , \"k\" : \"x,}\" }", "\"x,}\"" },
		{ "{\"a\":\"\\\"k\\\":\",\"k\":true}", "true" },
		{ "{\"a\":{\"k\":1},\"k\":{\"k\":[\"]\"]},\"z\":0}", "{\"k\":[\"]\"]}" },
		{ "{\"kk\":1,\"\":2,\"k\":-1.5e3}", "-1.5e3" },
		{ "{\"k\":1,\"k\":2}", "1" },
		{ "{\"k\":[[[]]]}", "[[[]]]" },
		{ "{}", NULL }, { "{\"a\":1}", NULL }, { "[\"k\",1]", NULL }, { "\"k\":1", NULL }, { "", NULL }, { "{", NULL },
		{ "{\"k\"}", NULL }, { "{\"k\"", NULL }, { "{k:1}", NULL }, { "{\"a\":1;\"k\":1}", NULL }, { "{\"a\":{\"k\":1}", NULL },
		/* cut: a parser refuses them */
		{ "{\"k\":", "" }, { "{\"k\":[1", "[1" }, { "{\"k\":\"x\\", "\"x\\" }, { "{\"k\":\"x\\\"", "\"x\\\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(text_free) struct json_text object = text_of(rows[i].object);
		struct json_text value;
		bool is_there = json_scan_member(object, "k", &value);
		if (is_there != (rows[i].value != NULL))
			fail_msg("%s", rows[i].object);
		if (!is_there)
			continue;
		assert_true(value.at >= object.at && value.at + value.len <= object.at + object.len);
		assert_int_equal(value.len, strlen(rows[i].value));
		assert_memory_equal(value.at, rows[i].value, value.len);
	}
}

static void goes_through_an_array(void **state)
{
	static const struct {
		const char *array, *items; /* with a '|' behind each */
		int r;
	} rows[] = {
		{ "[]", "", 0 }, { "[ ]", "", 0 }, { "[\n1\t]", "1|", 0 }, { "[1,2 , 3]", "1|2|3|", 0 },
		{ "[{\"a\":[1,2]},\"],[\",[[],[]]]", "{\"a\":[1,2]}|\"],[\"|[[],[]]|", 0 },
		{ "[\"\\\\\",\"\\\"\"]", "\"\\\\\"|\"\\\"\"|", 0 },
		{ "[x y]", "", -EBADMSG }, { "[1 2]", "", -EBADMSG }, { "[,1]", "", -EBADMSG }, { "[1,]", "1|", -EBADMSG },
		{ "[1,,2]", "1|", -EBADMSG }, { "[1", "", -EBADMSG }, { "[", "", -EBADMSG }, { "[ ", "", -EBADMSG }, { "", "", -EBADMSG },
		{ "{}", "", -EBADMSG }, { "1", "", -EBADMSG }, { "[]]", "", -EBADMSG }, { "[1]]", "1|", -EBADMSG },
		{ "[1]x", "1|", -EBADMSG }, { "[[1]", "", -EBADMSG }, { "[\"]", "", -EBADMSG }, { "[1}", "", -EBADMSG },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(text_free) struct json_text array = text_of(rows[i].array);
		struct json_text rest = array, item;
		char items[128] = "";
		int r;
		while ((r = json_scan_item(&rest, &item)) > 0)
			(void) snprintf(items + strlen(items), sizeof items - strlen(items), "%.*s|", (int)item.len, item.at);
		if (r != rows[i].r)
			fail_msg("%s: %d", rows[i].array, r);
		assert_string_equal(items, rows[i].items);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_a_member_as_it_is_written),
		TEST(goes_through_an_array),
	};
	return RUN_TESTS(tests);
}
