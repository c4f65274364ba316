/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "scratch.h"
#include "tls_peer.h"
#include "unit.h"
#include "util/bytes.h"

/*
 * What the server answers is in what it is asked for: /STATUS/N is N bytes with that status, /headers/N and /trailers/N
 * nothing, with N bytes of lines before or behind it, /echo the request as it came; with "?close" it closes the
 * connection afterwards.
 */
static bool send_echo(struct tls_conn *conn, const char *request)
{
	char head[100];
	int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", strlen(request));
	return tls_conn_write(conn, head, (size_t)len) && tls_conn_write(conn, request, strlen(request));
}

static bool send_bytes(struct tls_conn *conn, int status, size_t n)
{
	char text[200];
	int len = snprintf(text, sizeof text, "HTTP/1.1 %d x\r\nlocation: /200/5\r\ntransfer-encoding: chunked\r\n\r\n", status);
	bool is_good = tls_conn_write(conn, text, (size_t)len);
	for (size_t have = 0; is_good && have < n;) {
		char body[1000];
		size_t part = min_size(sizeof body, n - have);
		memset(body, 'x', sizeof body);
		len = snprintf(text, sizeof text, "%zx\r\n", part);
		is_good = tls_conn_write(conn, text, (size_t)len) && tls_conn_write(conn, body, part) &&
			  tls_conn_write(conn, "\r\n", 2);
		have += part;
	}
	return is_good && tls_conn_write(conn, "0\r\n\r\n", 5);
}

static bool send_lines(struct tls_conn *conn, size_t n)
{
	static const char line[] = "x-line: a header\r\n";
	for (size_t have = 0; have < n; have += sizeof line - 1)
		if (!tls_conn_write(conn, line, sizeof line - 1))
			return false;
	return true;
}

static bool send_headers(struct tls_conn *conn, size_t n_headers, size_t n_trailers)
{
	static const char start[] = "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n", body[] = "\r\n0\r\n";
	return tls_conn_write(conn, start, sizeof start - 1) && send_lines(conn, n_headers) &&
	       tls_conn_write(conn, body, sizeof body - 1) && send_lines(conn, n_trailers) &&
	       tls_conn_write(conn, "\r\n", 2);
}

static void serve(struct tls_conn *conn)
{
	char request[4000];
	bool is_good = true;
	while (is_good && tls_conn_read_request(conn, request, sizeof request)) {
		int status = 0;
		size_t n = 0;
		if (sscanf(request, "%*s /%d/%zu", &status, &n) == 2)
			is_good = send_bytes(conn, status, n);
		else if (sscanf(request, "%*s /headers/%zu", &n) == 1)
			is_good = send_headers(conn, n, 0);
		else if (sscanf(request, "%*s /trailers/%zu", &n) == 1)
			is_good = send_headers(conn, 0, n);
		else
			is_good = send_echo(conn, request);
		if (strstr(request, "?close"))
			return;
	}
}

struct scene {
	struct tls_peer *server;
	struct tls_trust trust;
	struct link link;
	struct http *http;
};

static void begin(struct scene *s)
{
	const struct tls_peer_options options = { .names = "DNS:x", .serve = serve };
	*s = (struct scene){ .server = tls_peer_start(&options), .trust.is_pinned = true };
	memcpy(s->trust.fingerprint, tls_peer_fingerprint(s->server), DIGEST_SIZE);
	s->link = (struct link){ .host = "127.0.0.1", .port = tls_peer_port(s->server), .stop_fd = -EBADF,
				 .check.trust = &s->trust };
	assert_int_equal(http_new(&s->link, &s->http, NULL), 0);
}

static void end(struct scene *s)
{
	http_free(s->http);
	tls_peer_stop(s->server);
}

static int call(struct scene *s, const char *target, size_t max_len, struct http_answer *ret, struct err *err)
{
	const struct http_request request = { .target = target, .max_len = max_len, .until = deadline_in_ms(20000) };
	return http_call(s->http, &request, ret, err);
}

/* @more: the lines behind those that are always there. */
static void expect_echo(struct scene *s, const struct http_request *request, const char *method, const char *more)
{
	struct http_answer answer = HTTP_ANSWER_EMPTY;
	char text[1000];
	(void) snprintf(text, sizeof text, "%s /a%%20b?c=d&e=%%2F.. HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: */*\r\n"
			"User-Agent: pbsmap\r\n%s", method, (unsigned)s->link.port, more);
	assert_int_equal(http_call(s->http, request, &answer, NULL), 0);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.body.data, text);
	http_answer_deinit(&answer);
	assert_null(answer.body.data);
}

static void asks_in_so_many_words(void **state)
{
	struct scene s;
	begin(&s);
	const struct http_request plain = { .target = "/a%20b?c=d&e=%2F..", .max_len = 1000, .until = deadline_in_ms(20000) };
	struct http_request with_header = plain, post = plain;
	with_header.header = "Cookie: PBSAuthCookie=a%3Ab";
	post.header = "Authorization: x";
	post.body = "{\"username\":\"a\"}";
	for (int i = 0; i < 2; i++) { /* and nothing of the one before */
		expect_echo(&s, &plain, "GET", "\r\n");
		expect_echo(&s, &with_header, "GET", "Cookie: PBSAuthCookie=a%3Ab\r\n\r\n");
		expect_echo(&s, &post, "POST", "Content-Type: application/json\r\nAuthorization: x\r\n"
			    "Content-Length: 16\r\n\r\n{\"username\":\"a\"}");
	}
	assert_int_equal(tls_peer_n_accepted(s.server), 1); /* all on one connection */
	end(&s);
}

static void gives_any_status_and_follows_nothing(void **state)
{
	static const int rows[] = { 200, 302, 401, 404, 500 };
	struct scene s;
	begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_answer answer = HTTP_ANSWER_EMPTY;
		char target[32];
		(void) snprintf(target, sizeof target, "/%d/7", rows[i]);
		assert_int_equal(call(&s, target, 100, &answer, NULL), 0);
		assert_int_equal(answer.status, rows[i]);
		assert_string_equal(answer.body.data, "xxxxxxx");
		http_answer_deinit(&answer);
	}
	assert_int_equal(tls_peer_n_accepted(s.server), 1);
	end(&s);
}

static void takes_no_more_than_it_wants(void **state)
{
	static const struct {
		size_t n, max_len;
		int code;
	} rows[] = {
		{ 0, 0, 0 }, { 1, 0, -EPROTO }, { 5000, 5000, 0 }, { 5001, 5000, -EPROTO },
		{ 1 << 20, 1 << 20, 0 }, { (1 << 20) + 1, 1 << 20, -EPROTO }, { SIZE_MAX, 100000, -EPROTO }, { 3, 3, 0 },
	};
	struct scene s;
	begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_answer answer = HTTP_ANSWER_EMPTY;
		struct err err = ERR_NONE;
		char target[64];
		(void) snprintf(target, sizeof target, "/200/%zu", rows[i].n);
		int r = call(&s, target, rows[i].max_len, &answer, &err);
		if (r != rows[i].code)
			fail_msg("row %zu: %d: %s", i, r, err.msg);
		if (r == 0) {
			assert_int_equal(answer.body.len, rows[i].n);
			assert_int_equal(strspn(answer.body.data, "x"), rows[i].n);
		} else {
			assert_null(answer.body.data); /* of a failed call nothing is left */
			assert_non_null(strstr(err.msg, "answers more than it may"));
		}
		http_answer_deinit(&answer);
	}
	end(&s);
}

static void takes_no_more_headers_than_it_wants(void **state)
{
	static const struct {
		const char *target;
		int code;
	} rows[] = {
		{ "/headers/60000", 0 }, { "/headers/70000", -EPROTO },
		{ "/trailers/60000", 0 }, { "/trailers/70000", -EPROTO }, { "/trailers/9999999999", -EPROTO },
	};
	struct scene s;
	begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_answer answer = HTTP_ANSWER_EMPTY;
		struct err err = ERR_NONE;
		int r = call(&s, rows[i].target, 100, &answer, &err);
		if (r != rows[i].code)
			fail_msg("%s: %d: %s", rows[i].target, r, err.msg);
		assert_true(r == 0 || strstr(err.msg, "answers more than it may"));
		http_answer_deinit(&answer);
	}
	end(&s);
}

static void connects_again_where_the_server_closed(void **state)
{
	struct scene s;
	begin(&s);
	for (unsigned i = 1; i <= 3; i++) {
		struct http_answer answer = HTTP_ANSWER_EMPTY;
		assert_int_equal(call(&s, "/echo?close", 1000, &answer, NULL), 0);
		assert_int_equal(answer.status, 200);
		http_answer_deinit(&answer);
		assert_int_equal(tls_peer_n_accepted(s.server), i);
	}
	end(&s);
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		TEST(asks_in_so_many_words),
		TEST(gives_any_status_and_follows_nothing),
		TEST(takes_no_more_than_it_wants),
		TEST(takes_no_more_headers_than_it_wants),
		TEST(connects_again_where_the_server_closed),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
