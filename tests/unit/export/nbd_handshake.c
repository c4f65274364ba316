/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_handshake.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "util/bytes.h"

enum { DISK_SIZE = 1 << 20, PART_SIZE = 4097, FLAGS = 0x0503, FLAGS_WITH_DF = 0x0583 };

static const struct nbd_export exports[] = {
	{ "disk.img", "a disk", DISK_SIZE },
	{ "disk.img/p1", "its first partition", PART_SIZE },
};

static const struct nbd_offer offer = { exports, 2, .has_default = true };
static const struct nbd_offer nothing_by_default = { exports, 2 };
static const struct nbd_offer behind_tls = { exports, 2, .has_default = true, .needs_tls = true };

/* One client. */
struct client {
	struct nbd_handshake handshake;
	struct buf answer;
};

static void begin(struct client *c, const struct nbd_offer *what)
{
	c->answer = BUF_EMPTY;
	nbd_handshake_init(&c->handshake, what);
}

static void end(struct client *c)
{
	buf_deinit(&c->answer);
}

static int say(struct client *c, uint32_t id, const void *data, size_t len)
{
	const struct nbd_option option = { id, (uint32_t)len };
	c->answer.len = 0;
	return nbd_handshake_answer(&c->handshake, &option, data, &c->answer, NULL);
}

/* An option about an export: its name, then @rest. */
static int say_of(struct client *c, uint32_t id, const char *name, const char *rest, size_t rest_len)
{
	uint8_t data[256];
	size_t n = strlen(name);
	store_be32(data, (uint32_t)n);
	memcpy(data + 4, name, n);
	memcpy(data + 4 + n, rest, rest_len);
	return say(c, id, data, 4 + n + rest_len);
}

#define GO_REST	     "\0\0", 2
#define CONTEXT_REST "\0\0\0\1\0\0\0\17base:allocation", 23

/* The answer's messages in order: what kind each is, e.g. "3,3,1"; errors without their bit 31 and an 'e'. */
static const char *kinds(struct client *c, char ret[static 64])
{
	const uint8_t *at = (const uint8_t *)c->answer.data;
	size_t left = c->answer.len, n = 0;
	ret[0] = '\0';
	while (left) {
		assert_true(left >= 20 && load_be64(at) == 0x0003e889045565a9);
		uint32_t kind = load_be32(at + 12), len = load_be32(at + 16);
		assert_true(len <= left - 20);
		n += (size_t)snprintf(ret + n, 64 - n, "%s%s%u", n ? "," : "", kind >> 31 ? "e" : "",
				      kind & 0x7fffffff);
		at += 20 + len;
		left -= 20 + len;
	}
	return ret;
}

static void expect(struct client *c, int step, int want_step, const char *want)
{
	char got[64];
	assert_int_equal(step, want_step);
	assert_string_equal(kinds(c, got), want);
}

static void goes_to_an_export_by_name(void **state)
{
	const struct {
		const char *name;
		const struct nbd_offer *offer;
		uint64_t size; /* 0 = there is none */
	} rows[] = {
		{ "disk.img", &offer, DISK_SIZE }, { "disk.img/p1", &offer, PART_SIZE }, { "", &offer, DISK_SIZE },
		{ "", &nothing_by_default, 0 },	   { "disk.im", &offer, 0 },		 { "disk.img/p2", &offer, 0 },
		{ "disk.img/", &offer, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct client c;
		begin(&c, rows[i].offer);
		int step = say_of(&c, NBD_OPT_GO, rows[i].name, GO_REST);
		if (rows[i].size) {
			expect(&c, step, NBD_TRANSMIT, "3,1");
			assert_true(load_be64((uint8_t *)c.answer.data + 22) == rows[i].size);
			assert_true(nbd_handshake_session(&c.handshake).size == rows[i].size);
		} else {
			expect(&c, step, NBD_GO_ON, "e6");
		}
		int old = say(&c, NBD_OPT_EXPORT_NAME, rows[i].name, strlen(rows[i].name));
		assert_int_equal(old, rows[i].size ? NBD_TRANSMIT : -EPROTO);
		end(&c);
	}
}

static void tells_what_an_export_is_like(void **state)
{
	struct client c;
	begin(&c, &offer);
	expect(&c, say_of(&c, NBD_OPT_INFO, "disk.img", "\0\3\0\1\0\2\0\3", 8), NBD_GO_ON, "3,3,3,3,1");
	assert_non_null(memmem(c.answer.data, c.answer.len, "a disk", 6));
	assert_int_equal(load_be16((uint8_t *)c.answer.data + 30), FLAGS);
	assert_null(c.handshake.chosen);
	expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "1");
	expect(&c, say_of(&c, NBD_OPT_INFO, "disk.img", GO_REST), NBD_GO_ON, "3,1");
	assert_int_equal(load_be16((uint8_t *)c.answer.data + 30), FLAGS_WITH_DF);
	expect(&c, say_of(&c, NBD_OPT_INFO, "disk.img", "\0\3", 2), NBD_GO_ON, "e3");
	end(&c);
}

static void lists_all_exports(void **state)
{
	struct client c;
	begin(&c, &offer);
	expect(&c, say(&c, NBD_OPT_LIST, "", 0), NBD_GO_ON, "2,2,1");
	assert_non_null(memmem(c.answer.data, c.answer.len, "disk.img/p1", 11));
	expect(&c, say(&c, NBD_OPT_LIST, "x", 1), NBD_GO_ON, "e3");
	end(&c);
}

static void the_old_option_ends_in_zeroes_unless_told(void **state)
{
	for (uint32_t flags = 0; flags < 4; flags++) {
		struct client c;
		begin(&c, &offer);
		c.handshake.client_flags = flags;
		assert_int_equal(say(&c, NBD_OPT_EXPORT_NAME, "", 0), NBD_TRANSMIT);
		assert_int_equal(c.answer.len, flags & NBD_FLAG_NO_ZEROES ? 10 : 134);
		end(&c);
	}
}

static void agrees_on_a_style(void **state)
{
	struct client c;
	begin(&c, &offer);
	expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "x", 1), NBD_GO_ON, "e3");
	assert_int_equal(c.handshake.style, NBD_SIMPLE);
	expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "1");
	assert_int_equal(c.handshake.style, NBD_STRUCTURED);
	expect(&c, say(&c, NBD_OPT_EXTENDED_HEADERS, "x", 1), NBD_GO_ON, "e3");
	assert_int_equal(c.handshake.style, NBD_STRUCTURED);
	expect(&c, say(&c, NBD_OPT_EXTENDED_HEADERS, "", 0), NBD_GO_ON, "1");
	expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "e10");
	assert_int_equal(c.handshake.style, NBD_EXTENDED);
	assert_int_equal(say(&c, NBD_OPT_EXPORT_NAME, "disk.img", 8), -EPROTO);
	expect(&c, say_of(&c, NBD_OPT_GO, "disk.img", GO_REST), NBD_TRANSMIT, "3,1");
	assert_int_equal(nbd_handshake_session(&c.handshake).style, NBD_EXTENDED);
	end(&c);
}

static void a_context_is_that_of_one_export(void **state)
{
	const struct {
		const char *chosen;
		bool has_context;
	} rows[] = { { "disk.img", true }, { "", true }, { "disk.img/p1", false } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct client c;
		begin(&c, &offer);
		expect(&c, say_of(&c, NBD_OPT_SET_META_CONTEXT, "disk.img", CONTEXT_REST), NBD_GO_ON, "e3");
		expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "1");
		expect(&c, say_of(&c, NBD_OPT_SET_META_CONTEXT, "disk.img", CONTEXT_REST), NBD_GO_ON, "4,1");
		expect(&c, say_of(&c, NBD_OPT_GO, rows[i].chosen, GO_REST), NBD_TRANSMIT, "3,1");
		assert_int_equal(nbd_handshake_session(&c.handshake).has_context, rows[i].has_context);
		end(&c);
	}
}

static void a_later_choice_of_contexts_counts(void **state)
{
	static const struct {
		const char *name, *rest;
		size_t len;
		const char *want;
	} rows[] = {
		{ "disk.img", "\0\0\0\0", 4, "1" },				/* none */
		{ "disk.img", "\0\0\0\1\0\0\0\5base:", 13, "1" },		/* a wildcard chooses nothing */
		{ "disk.img", "\0\0\0\1\0\0\0\11qemu:dirt", 17, "1" },		/* somebody else's */
		{ "nothing", CONTEXT_REST, "e6" },
		{ "disk.img", "\0\0\0\2\0\0\0\0", 8, "e3" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct client c;
		begin(&c, &offer);
		expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "1");
		expect(&c, say_of(&c, NBD_OPT_SET_META_CONTEXT, "disk.img", CONTEXT_REST), NBD_GO_ON, "4,1");
		expect(&c, say_of(&c, NBD_OPT_SET_META_CONTEXT, rows[i].name, rows[i].rest, rows[i].len), NBD_GO_ON,
		       rows[i].want);
		assert_null(c.handshake.context);
		expect(&c, say_of(&c, NBD_OPT_SET_META_CONTEXT, "disk.img", CONTEXT_REST), NBD_GO_ON, "4,1");
		expect(&c, say(&c, NBD_OPT_SET_META_CONTEXT, NULL, 1 << 20), NBD_GO_ON, "e9"); /* too much */
		assert_null(c.handshake.context);
		end(&c);
	}
}

static void lists_the_contexts_there_are(void **state)
{
	static const struct {
		const char *rest;
		size_t len;
		const char *want;
	} rows[] = {
		{ "\0\0\0\0", 4, "4,1" },
		{ "\0\0\0\1\0\0\0\5base:", 13, "4,1" },
		{ CONTEXT_REST, "4,1" },
		{ "\0\0\0\1\0\0\0\6base:x", 14, "1" },
		{ "\0\0\0\1\0\0\0\5qemu:", 13, "1" },
	};
	struct client c;
	begin(&c, &offer);
	expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "1");
	expect(&c, say_of(&c, NBD_OPT_SET_META_CONTEXT, "disk.img", CONTEXT_REST), NBD_GO_ON, "4,1");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&c, say_of(&c, NBD_OPT_LIST_META_CONTEXT, "disk.img", rows[i].rest, rows[i].len), NBD_GO_ON,
		       rows[i].want);
	assert_ptr_equal(c.handshake.context, &exports[0]); /* a list changes nothing */
	end(&c);
}

static void says_nothing_before_tls(void **state)
{
	struct client c;
	begin(&c, &behind_tls);
	expect(&c, say(&c, NBD_OPT_LIST, "", 0), NBD_GO_ON, "e5");
	expect(&c, say_of(&c, NBD_OPT_GO, "disk.img", GO_REST), NBD_GO_ON, "e5");
	expect(&c, say(&c, NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_GO_ON, "e5");
	expect(&c, say(&c, 4711, NULL, 1 << 20), NBD_GO_ON, "e5");
	assert_int_equal(say(&c, NBD_OPT_EXPORT_NAME, "disk.img", 8), -EPROTO);
	expect(&c, say(&c, NBD_OPT_STARTTLS, "x", 1), NBD_GO_ON, "e3");
	expect(&c, say(&c, NBD_OPT_STARTTLS, "", 0), NBD_START_TLS, "1");
	c.handshake.style = NBD_STRUCTURED;
	c.handshake.context = &exports[0];
	nbd_handshake_has_tls(&c.handshake);
	assert_int_equal(c.handshake.style, NBD_SIMPLE);
	assert_null(c.handshake.context);
	expect(&c, say(&c, NBD_OPT_STARTTLS, "", 0), NBD_GO_ON, "e3");
	expect(&c, say(&c, NBD_OPT_LIST, "", 0), NBD_GO_ON, "2,2,1");
	expect(&c, say_of(&c, NBD_OPT_GO, "", GO_REST), NBD_TRANSMIT, "3,1");
	end(&c);
}

static void does_without_tls(void **state)
{
	struct client c;
	begin(&c, &offer);
	expect(&c, say(&c, NBD_OPT_STARTTLS, "", 0), NBD_GO_ON, "e2");
	end(&c);
}

static void goes_on_after_what_it_does_not_know(void **state)
{
	struct client c;
	begin(&c, &offer);
	expect(&c, say(&c, 4, "abc", 3), NBD_GO_ON, "e1");
	expect(&c, say(&c, 0xffffffff, "", 0), NBD_GO_ON, "e1");
	expect(&c, say(&c, NBD_OPT_LIST, NULL, 1 << 20), NBD_GO_ON, "e9");
	assert_int_equal(say(&c, NBD_OPT_EXPORT_NAME, NULL, 1 << 20), -EPROTO);
	expect(&c, say(&c, NBD_OPT_ABORT, NULL, 1 << 20), NBD_HANG_UP, "1");
	end(&c);
}

static void haggling_has_an_end(void **state)
{
	struct client c;
	int step = NBD_GO_ON;
	unsigned n = 0;
	begin(&c, &offer);
	while (step == NBD_GO_ON && n < 100000) {
		step = say(&c, NBD_OPT_LIST, "", 0);
		n++;
	}
	assert_int_equal(step, -EPROTO);
	assert_true(n > 256 && n < 10000);
	end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(goes_to_an_export_by_name),
		TEST(tells_what_an_export_is_like),
		TEST(lists_all_exports),
		TEST(the_old_option_ends_in_zeroes_unless_told),
		TEST(agrees_on_a_style),
		TEST(a_context_is_that_of_one_export),
		TEST(a_later_choice_of_contexts_counts),
		TEST(lists_the_contexts_there_are),
		TEST(says_nothing_before_tls),
		TEST(does_without_tls),
		TEST(goes_on_after_what_it_does_not_know),
		TEST(haggling_has_an_end),
	};
	return RUN_TESTS(tests);
}
