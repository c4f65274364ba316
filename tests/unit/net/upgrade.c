/* SPDX-License-Identifier: Apache-2.0 */
#include "net/upgrade.h"

#include <stdlib.h>
#include <string.h>

#include "format/data.h"
#include "unit.h"
#include "util/buf.h"
#include "util/bytes.h"

#define OK_LINE "HTTP/1.1 101 Switching Protocols\r\n"
#define OK_NAME "upgrade: proxmox-backup-reader-protocol-v1\r\n"
/* As a server 3.2.4 sends it. */
#define OK_HEAD OK_LINE "connection: upgrade\r\n" OK_NAME "date: Mon, 23 Nov 2026 19:50:34 GMT\r\n\r\n"

/* The answer in pieces of @step bytes, each in memory of its own; how much of it was used. */
static int feed(struct upgrade_answer *answer, const char *text, size_t len, size_t step, size_t *ret_used,
		struct err *err)
{
	int r = UPGRADE_MORE;
	for (*ret_used = 0; r == UPGRADE_MORE && *ret_used < len;) {
		size_t n = min_size(step, len - *ret_used), used = SIZE_MAX;
		CLEANUP(freep) uint8_t *piece = exact_copy(text + *ret_used, n);
		r = upgrade_answer_feed(answer, piece, n, &used, err);
		if (r < 0)
			return r;
		assert_true(r == UPGRADE_MORE ? used == n : used <= n);
		*ret_used += used;
	}
	return r;
}

static const size_t steps[] = { 1, 2, 3, 7, SIZE_MAX };

static void accepts_and_leaves_what_follows(void **state)
{
	static const char *const rows[] = {
		OK_HEAD,
		OK_LINE OK_NAME "\r\n",
		"HTTP/1.1 101\r\n" OK_NAME "\r\n",
		"HTTP/1.1 101 \r\nUPGRADE:proxmox-backup-reader-protocol-v1\t \r\n\r\n",
		OK_LINE OK_NAME OK_NAME "\r\n",
		/* Such an answer has no body, whatever it says: RFC 9112, 6.3 */
		OK_LINE OK_NAME "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\nupgrade: x\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" OK_HEAD,
		OK_LINE "x: \xff\t\xc3\xbc\r\n" OK_NAME "\r\n",
	};
	static const char follows[] = "\0\0\x12\x04\0\r\n\r\nHTTP/1.1 500 x\r\n\r\n";
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
			struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
			CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
			struct err err = ERR_NONE;
			size_t used;
			assert_int_equal(buf_puts(&text, rows[i], NULL), 0);
			assert_int_equal(buf_add(&text, follows, sizeof follows, NULL), 0);
			int r = feed(&answer, text.data, text.len, steps[k], &used, &err);
			expect(rows[i], r, &err, UPGRADE_ACCEPTED, NULL);
			assert_int_equal(used, strlen(rows[i]));
		}
	}
}

#define R400 "HTTP/1.1 400 Bad Request\r\n"

static void knows_a_refusal_and_its_words(void **state)
{
	static const struct {
		const char *answer;
		unsigned status;
		const char *text;
		bool is_up_to_close;
	} rows[] = {
		{ "HTTP/1.1 401 Unauthorized\r\ncontent-length: 48\r\ndate: Mon, 23 Nov 2026 19:50:40 GMT\r\n\r\n"
		  "authentication failed - invalid ticket - expired", 401,
		  "authentication failed - invalid ticket - expired", false },
		{ R400 "Content-Length:21\r\n\r\ninvalid protocol name", 400, "invalid protocol name", false },
		{ R400 "content-length: 0\r\n\r\n", 400, "", false },
		{ R400 "content-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400, "abc", false },
		{ R400 "transfer-encoding: Chunked\r\n\r\n4\r\nno s\r\n00a;x=\"y\"\r\nuch store!\r\n0\r\n", 400,
		  "no such store!", false },
		{ R400 "transfer-encoding: chunked\r\n\r\n0\r\n", 400, "", false },
		/* the length is not the one that counts: RFC 9112, 6.3 */
		{ R400 "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n", 400, "abc", false },
		{ R400 "\r\nup to the end", 400, "up to the end", true },
		{ "HTTP/1.0 503 x\r\n\r\nold", 503, "old", true },
		{ "HTTP/1.1 200 OK\r\n\r\n<html>", 200, "<html>", true },
		{ "HTTP/1.1 301 Moved Permanently\r\nlocation: https://example.org:8007\r\ncontent-length: 0\r\n\r\n", 301,
		  "https://example.org:8007", false },
		{ "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false },
		{ "HTTP/1.1 304 Not Modified\r\n\r\n", 304, "", false },
		{ R400 "location: elsewhere\r\ncontent-length: 1\r\n\r\nx", 400, "x", false },
		{ "HTTP/1.1 100 Continue\r\ncontent-length: 7\r\n\r\n" R400 "content-length: 1\r\n\r\nx", 400, "x", false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
			struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
			struct err err = ERR_NONE;
			size_t used;
			int r = feed(&answer, rows[i].answer, strlen(rows[i].answer), steps[k], &used, &err);
			if (rows[i].is_up_to_close) {
				expect(rows[i].answer, r, &err, UPGRADE_MORE, NULL);
				r = upgrade_answer_end(&answer, &err);
			}
			expect(rows[i].answer, r, &err, UPGRADE_REFUSED, NULL);
			assert_int_equal(answer.status, rows[i].status);
			assert_string_equal(answer.text, rows[i].text);
			assert_int_equal(answer.text_len, strlen(rows[i].text));
		}
	}
}

/* The status is known by then, and is what counts. */
static void takes_a_refusal_with_a_broken_body_for_one(void **state)
{
	static const struct {
		const char *answer, *text;
	} rows[] = {
		{ R400 "content-length: x\r\n\r\nabc", "" },
		{ R400 "content-length: -1\r\n\r\nabc", "" },
		{ R400 "content-length: \r\n\r\nabc", "" },
		{ R400 "content-length: 3, 3\r\n\r\nabc", "" },
		{ R400 "content-length: 3\r\ncontent-length: 4\r\n\r\nabc", "" },
		{ R400 "content-length: 18446744073709551619\r\n\r\nabc", "" },
		{ R400 "transfer-encoding: gzip, chunked\r\n\r\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\nabc", "" },
		{ R400 "content-encoding: deflate\r\ncontent-length: 3\r\n\r\nabc", "" },
		{ "HTTP/1.0 400 x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\nx\r\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\n\r\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\n-3\r\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\n0x3\r\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\n123456789\r\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\n3\nabc", "" },
		{ R400 "transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n", "abc" },
		{ R400 "transfer-encoding: chunked\r\n\r\n3\r\nabc\n", "abc" },
		{ R400 "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\x1b\r\n", "abc" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
			struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
			size_t used;
			int r = feed(&answer, rows[i].answer, strlen(rows[i].answer), steps[k], &used, NULL);
			expect(rows[i].answer, r, &ERR_NONE, UPGRADE_REFUSED, NULL);
			assert_int_equal(answer.status, 400);
			assert_string_equal(answer.text, rows[i].text);
		}
	}
}

static void keeps_the_beginning_of_a_long_text(void **state)
{
	static const char *const heads[] = {
		R400 "content-length: 999999999999999999\r\n\r\n", R400 "\r\n", R400 "transfer-encoding: chunked\r\n\r\nfffff\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
		uint8_t noise[UPGRADE_TEXT_MAX + 100];
		size_t used;
		fill_noise(noise, sizeof noise, 1);
		noise[0] = 0;
		assert_int_equal(feed(&answer, heads[i], strlen(heads[i]), SIZE_MAX, &used, NULL), UPGRADE_MORE);
		assert_int_equal(feed(&answer, (char *)noise, sizeof noise, 33, &used, NULL), UPGRADE_REFUSED);
		assert_int_equal(answer.text_len, UPGRADE_TEXT_MAX);
		assert_memory_equal(answer.text, noise, UPGRADE_TEXT_MAX);
	}
}

static void refuses_what_is_not_http(void **state)
{
	static const struct {
		const char *answer;
		size_t len; /* 0: up to the NUL */
		const char *words;
	} rows[] = {
		{ "SSH-2.0-OpenSSH_9.2\r\n", 0, "it begins otherwise" },
		{ "\x15\x03\x01\x00\x02\x02\x46", 7, "control character" },
		{ "\0\0\x12\x04", 4, "control character" },
		{ "\r\n" OK_HEAD, 0, "no status" },
		{ " " OK_HEAD, 0, "it begins otherwise" },
		{ "http/1.1 101 x\r\n", 0, "it begins otherwise" },
		{ "HTTP/2 101 x\r\n", 0, "it begins otherwise" },
		{ "HTTP/1.x 101 x\r\n", 0, "no status" },
		{ "HTTP/1.1\r\n", 0, "no status" },
		{ "HTTP/1.1 10\r\n", 0, "no status" },
		{ "HTTP/1.1  101 x\r\n", 0, "no status" },
		{ "HTTP/1.1 1010 x\r\n", 0, "no status" },
		{ "HTTP/1.1 099 x\r\n", 0, "no status" },
		{ "HTTP/1.1 600 x\r\n", 0, "no status" },
		{ "HTTP/1.1 4x0 x\r\n", 0, "no status" },
		{ "HTTP/1.1 101 x\n", 0, "does not end with CR LF" },
		{ OK_LINE OK_NAME "\n", 0, "does not end with CR LF" },
		{ OK_LINE "a: b\rc\r\n", 0, "does not end with CR LF" },
		{ OK_LINE "a: b\r\r\n", 0, "does not end with CR LF" },
		{ OK_LINE "a: \0b\r\n", sizeof(OK_LINE) - 1 + 7, "control character" },
		{ OK_LINE "a: \x1b[31m\r\n", 0, "control character" },
		{ OK_LINE "a: \x7f\r\n", 0, "control character" },
		{ OK_LINE "a: b\r\n folded\r\n", 0, "without a name" },
		{ OK_LINE "a: b\r\n\tfol: ded\r\n", 0, "without a name" },
		{ OK_LINE "upgrade : proxmox-backup-reader-protocol-v1\r\n", 0, "without a name" },
		{ OK_LINE ": x\r\n", 0, "without a name" },
		{ OK_LINE "nothing\r\n", 0, "without a name" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
			struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
			struct err err = ERR_NONE;
			size_t used, len = rows[i].len ? rows[i].len : strlen(rows[i].answer);
			int r = feed(&answer, rows[i].answer, len, steps[k], &used, &err);
			expect(rows[i].answer, r, &err, -EPROTO, rows[i].words);
		}
	}
}

static void refuses_another_protocol(void **state)
{
	static const char *const rows[] = {
		OK_LINE "\r\n",
		OK_LINE "connection: upgrade\r\n\r\n",
		OK_LINE "upgrade: proxmox-backup-protocol-v1\r\n\r\n",
		OK_LINE "upgrade: proxmox-backup-reader-protocol-v1x\r\n\r\n",
		OK_LINE "upgrade: proxmox-backup-reader-protocol-v\r\n\r\n",
		OK_LINE "upgrade: Proxmox-backup-reader-protocol-v1\r\n\r\n",
		OK_LINE "upgrade: proxmox-backup-reader-protocol-v1, h2c\r\n\r\n",
		OK_LINE "upgrade: \r\n\r\n",
		OK_LINE OK_NAME "upgrade: websocket\r\n\r\n",
		OK_LINE "upgrade: websocket\r\n" OK_NAME "\r\n",
		OK_LINE "x-upgrade: proxmox-backup-reader-protocol-v1\r\n\r\n",
		"HTTP/1.0 101 x\r\n" OK_NAME "\r\n",
		/* said by another answer */
		"HTTP/1.1 100 Continue\r\n" OK_NAME "\r\n" OK_LINE "\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
		struct err err = ERR_NONE;
		size_t used;
		int r = feed(&answer, rows[i], strlen(rows[i]), SIZE_MAX, &used, &err);
		expect(rows[i], r, &err, -EPROTO, "changes to another protocol");
	}
}

/* @head, then @line again and again: the outcome. */
static int feed_without_end(const char *head, const char *line, size_t *ret_total, struct err *err)
{
	struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
	size_t used;
	int r = feed(&answer, head, strlen(head), SIZE_MAX, &used, err);
	for (*ret_total = used; r == UPGRADE_MORE && *ret_total < (1u << 20); *ret_total += used)
		r = feed(&answer, line, strlen(line), SIZE_MAX, &used, err);
	return r;
}

static void bounds_what_it_reads(void **state)
{
	static const struct {
		const char *head, *line;
		int r;
	} rows[] = {
		{ OK_LINE, "x", -EPROTO },
		{ OK_LINE "x:", "yyyyyyyyyyyyy", -EPROTO },
		{ OK_LINE, "a: b\r\n", -EPROTO },
		{ "", "HTTP/1.1 100 Continue\r\n\r\n", -EPROTO },
		{ R400 "transfer-encoding: chunked\r\n\r\n1;", "xxxxxxxx", UPGRADE_REFUSED },
		/* 400 bytes of text in one thousand times as many */
		{ R400 "transfer-encoding: chunked\r\n\r\n", "1; aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "\r\nx\r\n", UPGRADE_REFUSED },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		size_t total;
		int r = feed_without_end(rows[i].head, rows[i].line, &total, &err);
		expect(rows[i].head, r, &err, rows[i].r, rows[i].r < 0 ? "longer than 65536 bytes" : NULL);
		assert_in_range(total, UPGRADE_ANSWER_MAX - 1000, UPGRADE_ANSWER_MAX + 1000);
	}
}

/* Cookies of a proxy, say: longer than what is kept of a line, and of no interest. */
static void reads_over_long_headers(void **state)
{
	struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	size_t used;
	assert_int_equal(buf_printf(&text, NULL, OK_LINE "set-cookie: %060000d\r\n" OK_NAME "\r\n", 0), 0);
	assert_int_equal(feed(&answer, text.data, text.len, 1000, &used, NULL), UPGRADE_ACCEPTED);
	assert_int_equal(used, text.len);
}

/* A value that was cut is none. */
static void does_not_believe_a_header_that_was_cut(void **state)
{
	struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	struct err err = ERR_NONE;
	size_t used, blanks = UPGRADE_LINE_MAX - 1 - strlen("upgrade:" UPGRADE_PROTOCOL);
	assert_int_equal(buf_printf(&text, NULL, OK_LINE "upgrade:%*s" UPGRADE_PROTOCOL "x\r\n\r\n", (int)blanks, ""), 0);
	int r = feed(&answer, text.data, text.len, SIZE_MAX, &used, &err);
	expect("cut", r, &err, -EPROTO, "another protocol");
}

static void says_where_the_connection_ended(void **state)
{
	static const struct {
		const char *answer, *words;
	} rows[] = {
		{ "", "closed the connection without an answer" },
		{ "H", "in the middle of its answer" },
		{ OK_LINE, "in the middle of its answer" },
		{ OK_LINE OK_NAME "\r", "in the middle of its answer" },
		{ "HTTP/1.1 100 Continue\r\n\r\n", "in the middle of its answer" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
		struct err err = ERR_NONE;
		size_t used;
		int r = feed(&answer, rows[i].answer, strlen(rows[i].answer), SIZE_MAX, &used, &err);
		expect(rows[i].answer, r, &err, UPGRADE_MORE, NULL);
		expect(rows[i].answer, upgrade_answer_end(&answer, &err), &err, -ECONNRESET, rows[i].words);
	}
}

static void keeps_the_words_of_a_body_cut_short(void **state)
{
	static const char *const rows[] = {
		R400 "content-length: 100\r\n\r\nno perm", R400 "transfer-encoding: chunked\r\n\r\n8\r\nno perm",
		R400 "transfer-encoding: chunked\r\n\r\n7\r\nno perm", R400 "transfer-encoding: chunked\r\n\r\n7\r\nno perm\r\n1",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct upgrade_answer answer = UPGRADE_ANSWER_NONE;
		size_t used;
		assert_int_equal(feed(&answer, rows[i], strlen(rows[i]), 5, &used, NULL), UPGRADE_MORE);
		assert_int_equal(upgrade_answer_end(&answer, NULL), UPGRADE_REFUSED);
		assert_string_equal(answer.text, "no perm");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accepts_and_leaves_what_follows),
		TEST(knows_a_refusal_and_its_words),
		TEST(takes_a_refusal_with_a_broken_body_for_one),
		TEST(keeps_the_beginning_of_a_long_text),
		TEST(refuses_what_is_not_http),
		TEST(refuses_another_protocol),
		TEST(bounds_what_it_reads),
		TEST(reads_over_long_headers),
		TEST(does_not_believe_a_header_that_was_cut),
		TEST(says_where_the_connection_ended),
		TEST(keeps_the_words_of_a_body_cut_short),
	};
	return RUN_TESTS(tests);
}
