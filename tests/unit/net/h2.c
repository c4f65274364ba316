/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "util/buf.h"
#include "util/bytes.h"

/*
 * The other end is the server's half of the library, or frames written by hand where that would not send them.
 * Bytes go from memory to memory, when the test says so.
 */
#define WHOLE SIZE_MAX
#define N_REQUESTS 64

struct answer {
	int32_t stream;
	const uint8_t *data;
	size_t len;
};

struct peers {
	struct h2 *h2;
	nghttp2_session *server;
	struct buf requests; /* what the server saw: "stream method scheme authority path" and a line end */
	struct answer answers[N_REQUESTS];
	size_t n_answers;
	size_t step;	     /* bytes fed at a time */
	struct buf recorded; /* all that went to the client */
	unsigned n_pings, n_pongs;
	uint32_t reset_code; /* of the last stream the client reset */
	unsigned n_resets;
};

/* One request and its end. */
struct asked {
	struct h2_request request;
	struct buf body;
	size_t most; /* bytes it takes */
	unsigned n_done, n_refused;
	enum h2_end end;
};

static uint8_t pattern[(1 << 20) + 77];

/* -- the client's side ----------------------------------------------------------------------- */

static int take(struct h2_request *request, const uint8_t *data, size_t len)
{
	struct asked *a = CONTAINER_OF(request, struct asked, request);
	assert_int_equal(a->n_done, 0);
	if (len > a->most - a->body.len) {
		a->n_refused++;
		return -EMSGSIZE;
	}
	return buf_add(&a->body, data, len, NULL);
}

static void done(struct h2_request *request, enum h2_end end)
{
	struct asked *a = CONTAINER_OF(request, struct asked, request);
	a->n_done++;
	a->end = end;
}

static void ask(struct peers *p, struct asked *a, const char *target)
{
	*a = (struct asked){ .request = { .body = take, .done = done }, .most = SIZE_MAX };
	struct err err = ERR_NONE;
	assert_int_equal(h2_submit(p->h2, &a->request, target, &err), 0);
}

static void expect_end(struct asked *a, enum h2_end end)
{
	assert_int_equal(a->n_done, 1);
	assert_int_equal(a->end, end);
	buf_deinit(&a->body);
}

static void expect_answer(struct asked *a, int status, const void *body, size_t len)
{
	assert_int_equal(a->n_done, 1);
	assert_int_equal(a->end, H2_DONE);
	assert_int_equal(a->request.status, status);
	assert_int_equal(a->body.len, len);
	if (len)
		assert_memory_equal(a->body.data, body, len);
	buf_deinit(&a->body);
}

/* -- the server's side ----------------------------------------------------------------------- */

static int server_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
			 const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct peers *p = user;
	if (name_len && name[0] == ':')
		assert_int_equal(buf_printf(&p->requests, NULL, " %.*s", (int)value_len, (const char *)value), 0);
	return 0;
}

static int server_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct peers *p = user;
	if (frame->hd.type == NGHTTP2_HEADERS)
		assert_int_equal(buf_printf(&p->requests, NULL, " %d\n", frame->hd.stream_id), 0);
	if (frame->hd.type == NGHTTP2_PING)
		*(frame->hd.flags & NGHTTP2_FLAG_ACK ? &p->n_pongs : &p->n_pings) += 1;
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		p->reset_code = frame->rst_stream.error_code;
		p->n_resets++;
	}
	return 0;
}

static ssize_t server_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t len, uint32_t *flags,
			   nghttp2_data_source *from, void *user)
{
	struct answer *answer = from->ptr;
	size_t n = min_size(len, answer->len);
	memcpy(to, answer->data, n);
	answer->data += n;
	answer->len -= n;
	if (answer->len == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

enum announced { SILENT, ANNOUNCED };

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
			     NGHTTP2_NV_FLAG_NONE };
}

static void answer(struct peers *p, int32_t stream, int status, const void *data, size_t len, enum announced how)
{
	char code[8], length[24];
	struct answer *a = &p->answers[p->n_answers++];
	assert_true(p->n_answers <= N_REQUESTS);
	*a = (struct answer){ .stream = stream, .data = data, .len = len };
	(void) snprintf(code, sizeof code, "%d", status);
	(void) snprintf(length, sizeof length, "%zu", len);
	nghttp2_nv headers[] = { pair(":status", code), pair("content-length", length) };
	nghttp2_data_provider body = { .source.ptr = a, .read_callback = server_body };
	assert_int_equal(nghttp2_submit_response(p->server, stream, headers, how == ANNOUNCED ? 2 : 1,
						 len ? &body : NULL), 0);
}

/* -- between them ---------------------------------------------------------------------------- */

static int feed_client(struct peers *p, const void *data, size_t len, struct err *err)
{
	const uint8_t *at = data;
	assert_int_equal(buf_add(&p->recorded, data, len, NULL), 0);
	for (size_t have = 0; have < len;) {
		/* in memory of its own: whoever reads beyond it is found */
		size_t n = min_size(p->step, len - have);
		CLEANUP(freep) uint8_t *piece = malloc(n);
		memcpy(piece, at + have, n);
		int r = h2_feed(p->h2, piece, n, err);
		if (r < 0)
			return r;
		have += n;
	}
	return 0;
}

static bool to_server(struct peers *p)
{
	const uint8_t *data;
	ssize_t len = h2_pending(p->h2, &data, NULL);
	assert_true(len >= 0);
	if (len > 0) {
		size_t n = min_size(p->step, (size_t)len); /* a part of it is as good */
		assert_int_equal(nghttp2_session_mem_recv(p->server, data, n), n);
		h2_sent(p->h2, n);
	}
	return len > 0;
}

static bool to_client(struct peers *p)
{
	const uint8_t *data;
	struct err err = ERR_NONE;
	ssize_t len = nghttp2_session_mem_send(p->server, &data);
	assert_true(len >= 0);
	if (len > 0 && feed_client(p, data, (size_t)len, &err) < 0)
		fail_msg("%s", err.msg);
	return len > 0;
}

static void exchange(struct peers *p)
{
	bool is_moving;
	do {
		is_moving = to_server(p);
		is_moving |= to_client(p);
	} while (is_moving);
}

static void begin_with(struct peers *p, size_t step, const nghttp2_settings_entry *settings, size_t n)
{
	*p = (struct peers){ .step = step };
	nghttp2_session_callbacks *callbacks;
	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, server_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, server_frame);
	assert_int_equal(nghttp2_session_server_new(&p->server, callbacks, p), 0);
	nghttp2_session_callbacks_del(callbacks);
	assert_int_equal(nghttp2_submit_settings(p->server, NGHTTP2_FLAG_NONE, settings, n), 0);
	assert_int_equal(h2_new("store.example:8007", &p->h2, NULL), 0);
	exchange(p);
}

static void begin(struct peers *p)
{
	begin_with(p, WHOLE, NULL, 0);
}

static void end(struct peers *p)
{
	h2_free(p->h2);
	nghttp2_session_del(p->server);
	buf_deinit(&p->requests);
	buf_deinit(&p->recorded);
}

/* -- frames by hand: RFC 9113, section 4.1 -- */


static void frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
	const uint8_t head[9] = {
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags,
		(uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream,
	};
	assert_int_equal(buf_add(b, head, sizeof head, NULL), 0);
	if (len)
		assert_int_equal(buf_add(b, payload, len, NULL), 0);
}

/* ":status: 200" of the static table; RFC 7541, appendix A */
static const uint8_t status_200[] = { 0x88 };

static void frame_head(struct buf *b, uint32_t stream)
{
	frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, status_200, 1);
}

/* What the client finds wrong with it, at once or when it has said so. */
static int feed_and_say(struct peers *p, struct buf *frames, struct err *err)
{
	const uint8_t *data;
	int r = feed_client(p, frames->data, frames->len, err);
	ssize_t n = 0;
	while (r == 0 && (n = h2_pending(p->h2, &data, err)) > 0)
		h2_sent(p->h2, (size_t)n);
	return r < 0 ? r : (int)n;
}

static void feed_all(struct peers *p, struct buf *frames, int code)
{
	struct err err = ERR_NONE;
	int r = code < 0 ? feed_and_say(p, frames, &err) : feed_client(p, frames->data, frames->len, &err);
	if (r != code)
		fail_msg("%d and not %d: %s", r, code, err.msg);
	assert_int_equal(err.code, code);
	buf_deinit(frames);
}

/* -- requests and answers -------------------------------------------------------------------- */

static void says_what_it_wants_and_from_whom(void **state)
{
	struct peers p;
	struct asked a;
	begin(&p);
	ask(&p, &a, "/chunk?digest=ab%20c");
	assert_false(h2_is_idle(p.h2));
	exchange(&p);
	assert_string_equal(p.requests.data, " GET https store.example:8007 /chunk?digest=ab%20c 1\n");
	answer(&p, 1, 200, "x", 1, SILENT);
	exchange(&p);
	assert_true(h2_is_idle(p.h2));
	expect_answer(&a, 200, "x", 1);
	end(&p);
}

static void gives_whole_answers(void **state)
{
	static const struct {
		int status;
		size_t len;
		enum announced how;
	} rows[] = {
		{ 200, 0, SILENT },
		{ 200, 0, ANNOUNCED },
		{ 200, 1, ANNOUNCED },
		{ 200, 16384, ANNOUNCED },
		{ 200, sizeof pattern, ANNOUNCED },
		{ 200, sizeof pattern, SILENT },
		{ 400, 30, ANNOUNCED },
		{ 404, 0, SILENT },
		{ 599, 3, SILENT },
	};
	static const size_t steps[] = { WHOLE, 1000 };
	for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
		struct peers p;
		struct asked a[ARRAY_LEN(rows)];
		begin_with(&p, steps[s], NULL, 0);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			ask(&p, &a[i], "/");
		exchange(&p);
		for (size_t i = ARRAY_LEN(rows); i-- > 0;) /* the last one first */
			answer(&p, (int32_t)(2 * i + 1), rows[i].status, pattern, rows[i].len, rows[i].how);
		exchange(&p);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			assert_int_equal(a[i].request.length, rows[i].how == ANNOUNCED ? rows[i].len : UINT64_MAX);
			expect_answer(&a[i], rows[i].status, pattern, rows[i].len);
		}
		end(&p);
	}
}

static void uses_a_request_again(void **state)
{
	struct peers p;
	struct asked a;
	begin(&p);
	for (int i = 0; i < 3; i++) {
		ask(&p, &a, "/");
		exchange(&p);
		answer(&p, 2 * i + 1, i == 1 ? 404 : 200, pattern, 10, i ? SILENT : ANNOUNCED);
		exchange(&p);
		assert_int_equal(a.request.length, i ? UINT64_MAX : 10);
		expect_answer(&a, i == 1 ? 404 : 200, pattern, 10);
	}
	end(&p);
}

static void takes_large_frames(void **state)
{
	struct peers p;
	struct asked a;
	struct buf frames = BUF_EMPTY;
	begin(&p);
	ask(&p, &a, "/");
	exchange(&p);
	frame_head(&frames, 1);
	frame(&frames, NGHTTP2_DATA, 0, 1, pattern, 1 << 20);
	frame(&frames, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, pattern + (1 << 20), 77);
	feed_all(&p, &frames, 0);
	expect_answer(&a, 200, pattern, sizeof pattern);
	end(&p);
}

/* What a byte at a time gives is what all at once gives. */
static void does_not_care_how_the_bytes_come(void **state)
{
	struct peers first, again;
	struct asked a[4], b[4];
	begin(&first);
	for (size_t i = 0; i < 4; i++)
		ask(&first, &a[i], "/");
	a[2].most = 5;
	exchange(&first);
	answer(&first, 1, 200, pattern, 70000, ANNOUNCED);
	answer(&first, 3, 400, pattern, 300, SILENT);
	answer(&first, 5, 200, pattern, 600, ANNOUNCED);
	assert_int_equal(nghttp2_submit_rst_stream(first.server, 0, 7, NGHTTP2_REFUSED_STREAM), 0);
	exchange(&first);
	static const size_t steps[] = { 1, 2, 9, 1001 };
	for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
		begin_with(&again, steps[s], NULL, 0);
		h2_free(again.h2);
		assert_int_equal(h2_new("x", &again.h2, NULL), 0);
		for (size_t i = 0; i < 4; i++)
			ask(&again, &b[i], "/");
		b[2].most = 5;
		const uint8_t *ignored;
		for (ssize_t n; (n = h2_pending(again.h2, &ignored, NULL)) > 0;)
			h2_sent(again.h2, (size_t)n);
		assert_int_equal(feed_client(&again, first.recorded.data, first.recorded.len, NULL), 0);
		for (size_t i = 0; i < 4; i++) {
			assert_int_equal(b[i].request.status, a[i].request.status);
			assert_int_equal(b[i].n_done, a[i].n_done);
			assert_int_equal(b[i].end, a[i].end);
			if (i == 2)
				continue; /* how much it had taken depends on them */
			assert_int_equal(b[i].body.len, a[i].body.len);
			if (a[i].body.len)
				assert_memory_equal(b[i].body.data, a[i].body.data, a[i].body.len);
			buf_deinit(&b[i].body);
		}
		expect_end(&b[2], H2_BROKEN);
		end(&again);
	}
	for (size_t i = 0; i < 4; i++)
		buf_deinit(&a[i].body);
	end(&first);
}

/* -- answers that are none ------------------------------------------------------------------- */

/* Even where the rest, and the end, are in the same bytes. */
static void takes_nothing_more_of_a_body_that_was_refused(void **state)
{
	static const size_t steps[] = { WHOLE, 100, 1 };
	static const size_t n_first[] = { 50, 600 }; /* bytes of the first frame of 900 */
	for (size_t s = 0; s < ARRAY_LEN(steps); s++)
		for (size_t n = 0; n < ARRAY_LEN(n_first); n++) {
			struct peers p;
			struct asked a, other;
			struct buf frames = BUF_EMPTY;
			begin_with(&p, steps[s], NULL, 0);
			ask(&p, &a, "/too-long");
			ask(&p, &other, "/other");
			a.most = 10;
			exchange(&p);
			frame_head(&frames, 1);
			frame_head(&frames, 3);
			frame(&frames, NGHTTP2_DATA, 0, 1, pattern, n_first[n]);
			frame(&frames, NGHTTP2_DATA, 0, 1, pattern, 5);
			frame(&frames, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, pattern, 900 - n_first[n]);
			frame(&frames, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, pattern, 9);
			feed_all(&p, &frames, 0);
			assert_int_equal(a.n_done, 1); /* it does not wait for anything */
			exchange(&p);
			assert_int_equal(a.n_refused, 1);
			expect_end(&a, H2_BROKEN);
			assert_int_equal(p.n_resets, 1);
			assert_int_equal(p.reset_code, NGHTTP2_CANCEL);
			expect_answer(&other, 200, pattern, 9);
			end(&p);
		}
}

static void refuses_a_body_in_its_last_frame(void **state)
{
	static const size_t steps[] = { WHOLE, 7 };
	for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
		struct peers p;
		struct asked a;
		struct buf frames = BUF_EMPTY;
		begin_with(&p, steps[s], NULL, 0);
		ask(&p, &a, "/");
		a.most = 10;
		exchange(&p);
		frame_head(&frames, 1);
		frame(&frames, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, pattern, 40);
		feed_all(&p, &frames, 0);
		exchange(&p);
		assert_int_equal(a.n_refused, 1);
		expect_end(&a, H2_BROKEN);
		end(&p);
	}
}

static void tells_a_refused_stream_from_a_broken_one(void **state)
{
	static const struct {
		uint32_t code;
		bool is_begun;
		enum h2_end end;
	} rows[] = {
		{ NGHTTP2_REFUSED_STREAM, false, H2_REFUSED },
		{ NGHTTP2_INTERNAL_ERROR, false, H2_BROKEN },
		{ NGHTTP2_INTERNAL_ERROR, true, H2_BROKEN },
		{ NGHTTP2_CANCEL, true, H2_BROKEN },
		{ NGHTTP2_NO_ERROR, false, H2_BROKEN },
		{ NGHTTP2_NO_ERROR, true, H2_BROKEN }, /* without an error, and before the end */
	};
	struct peers p;
	struct asked a[ARRAY_LEN(rows)];
	begin(&p);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(&p, &a[i], "/");
	exchange(&p);
	struct buf frames = BUF_EMPTY;
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		const uint8_t code[4] = { 0, 0, 0, (uint8_t)rows[i].code };
		if (rows[i].is_begun) {
			frame_head(&frames, 2 * i + 1);
			frame(&frames, NGHTTP2_DATA, 0, 2 * i + 1, pattern, 100);
		}
		frame(&frames, NGHTTP2_RST_STREAM, 0, 2 * i + 1, code, sizeof code);
	}
	feed_all(&p, &frames, 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_end(&a[i], rows[i].end);
	assert_true(h2_is_idle(p.h2));
	end(&p);
}

/* content-length: literal, not indexed, name 28 of the static table. */
static void frame_head_with_length(struct buf *b, uint32_t stream, const char *length)
{
	uint8_t head[32] = { 0x88, 0x0f, 28 - 15, (uint8_t)strlen(length) };
	memcpy(head + 4, length, strlen(length));
	frame(b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, head, 4 + strlen(length));
}

static void gives_no_answer_of_another_length_than_it_said(void **state)
{
	static const struct {
		const char *length;
		size_t len;
		enum h2_end end;
	} rows[] = {
		{ "100", 100, H2_DONE },
		{ "100", 99, H2_BROKEN },
		{ "100", 101, H2_BROKEN },
		{ "0", 1, H2_BROKEN },
		{ "9223372036854775807", 100, H2_BROKEN },
		{ "9223372036854775808", 100, H2_BROKEN },
		{ "18446744073709551716", 100, H2_BROKEN },
		{ "-1", 100, H2_BROKEN },
		{ "100x", 100, H2_BROKEN },
		{ "", 0, H2_BROKEN },
	};
	struct peers p;
	struct asked a[ARRAY_LEN(rows)], last;
	begin(&p);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(&p, &a[i], "/");
	ask(&p, &last, "/");
	exchange(&p);
	struct buf frames = BUF_EMPTY;
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		frame_head_with_length(&frames, 2 * i + 1, rows[i].length);
		frame(&frames, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 2 * i + 1, pattern, rows[i].len);
	}
	frame_head(&frames, 2 * ARRAY_LEN(rows) + 1);
	frame(&frames, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 2 * ARRAY_LEN(rows) + 1, "end", 3);
	feed_all(&p, &frames, 0);
	exchange(&p);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_end(&a[i], rows[i].end);
	expect_answer(&last, 200, "end", 3); /* what is wrong with one concerns no other */
	end(&p);
}

/* -- the end of a connection ----------------------------------------------------------------- */

static void finishes_what_a_server_that_goes_away_has_begun(void **state)
{
	struct peers p;
	struct asked a[4];
	begin(&p);
	for (size_t i = 0; i < 4; i++)
		ask(&p, &a[i], "/");
	exchange(&p);
	assert_false(h2_is_going_away(p.h2));
	assert_int_equal(nghttp2_submit_goaway(p.server, 0, 3, NGHTTP2_NO_ERROR, NULL, 0), 0);
	exchange(&p);
	assert_true(h2_is_going_away(p.h2));
	expect_end(&a[2], H2_REFUSED); /* those behind it were not looked at */
	expect_end(&a[3], H2_REFUSED);
	answer(&p, 1, 200, pattern, 1000, ANNOUNCED);
	exchange(&p);
	assert_false(h2_is_idle(p.h2));
	answer(&p, 3, 200, pattern, 2000, ANNOUNCED);
	exchange(&p);
	expect_answer(&a[0], 200, pattern, 1000);
	expect_answer(&a[1], 200, pattern, 2000);
	assert_true(h2_is_idle(p.h2));
	end(&p);
}

/* It was asked for, but not sent yet: that is not the chunk's fault. */
static void gives_back_what_was_not_sent_when_the_server_went_away(void **state)
{
	static const int32_t lasts[] = { 0, INT32_MAX };
	for (size_t i = 0; i < ARRAY_LEN(lasts); i++) {
		struct peers p;
		struct asked a;
		begin(&p);
		ask(&p, &a, "/");
		uint8_t payload[8] = { 0 };
		for (int n = 0; n < 4; n++)
			payload[n] = (uint8_t)(lasts[i] >> (8 * (3 - n)));
		struct buf frames = BUF_EMPTY;
		frame(&frames, NGHTTP2_GOAWAY, 0, 0, payload, sizeof payload);
		assert_int_equal(feed_client(&p, frames.data, frames.len, NULL), 0);
		buf_deinit(&frames);
		(void) to_server(&p);
		expect_end(&a, H2_REFUSED);
		end(&p);
	}
}

static void ends_requests_with_the_connection(void **state)
{
	struct peers p;
	struct asked a[3];
	struct buf frames = BUF_EMPTY;
	begin(&p);
	ask(&p, &a[0], "/");
	ask(&p, &a[1], "/");
	exchange(&p);
	ask(&p, &a[2], "/"); /* not sent */
	frame_head(&frames, 3);
	frame(&frames, NGHTTP2_DATA, 0, 3, pattern, 100);
	feed_all(&p, &frames, 0);
	end(&p);
	for (size_t i = 0; i < 3; i++)
		expect_end(&a[i], H2_LOST);
	h2_free(NULL);
}

/* -- settings and pings ---------------------------------------------------------------------- */

static void tells_the_server_that_windows_are_open(void **state)
{
	struct peers p;
	struct asked a[8];
	begin(&p);
	nghttp2_session *s = p.server;
	assert_int_equal(nghttp2_session_get_remote_settings(s, NGHTTP2_SETTINGS_ENABLE_PUSH), 0);
	assert_int_equal(nghttp2_session_get_remote_settings(s, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 0x7fffffff);
	assert_int_equal(nghttp2_session_get_remote_settings(s, NGHTTP2_SETTINGS_MAX_FRAME_SIZE), 1 << 20);
	assert_int_equal(nghttp2_session_get_remote_settings(s, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE), 16 << 10);
	assert_int_equal(nghttp2_session_get_remote_window_size(s), 0x7fffffff);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		ask(&p, &a[i], "/");
	exchange(&p);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		answer(&p, (int32_t)(2 * i + 1), 200, pattern, sizeof pattern, SILENT);
	while (to_client(&p)) /* and nothing goes back */
		;
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_answer(&a[i], 200, pattern, sizeof pattern);
	end(&p);
}

static void obeys_what_the_server_lets_be_under_way(void **state)
{
	const nghttp2_settings_entry settings = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3 };
	struct peers p;
	struct asked a[5];
	begin(&p);
	assert_true(h2_max_requests(p.h2) >= 1000000); /* nothing was said */
	assert_int_equal(nghttp2_submit_settings(p.server, 0, &settings, 1), 0);
	exchange(&p);
	assert_int_equal(h2_max_requests(p.h2), 3);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		ask(&p, &a[i], "/");
	exchange(&p);
	assert_non_null(strstr(p.requests.data, " 5\n"));
	assert_null(strstr(p.requests.data, " 7\n"));
	answer(&p, 1, 200, "x", 1, SILENT);
	exchange(&p);
	assert_non_null(strstr(p.requests.data, " 7\n"));
	assert_null(strstr(p.requests.data, " 9\n"));
	expect_answer(&a[0], 200, "x", 1);
	end(&p);
	for (size_t i = 1; i < ARRAY_LEN(a); i++)
		expect_end(&a[i], H2_LOST);
}

static void asks_and_answers_whether_the_other_end_lives(void **state)
{
	struct peers p;
	begin(&p);
	assert_int_equal(h2_ping(p.h2, NULL), 0);
	exchange(&p);
	assert_int_equal(p.n_pings, 1);
	assert_int_equal(p.n_pongs, 0);
	assert_int_equal(nghttp2_submit_ping(p.server, 0, (const uint8_t *)"12345678"), 0);
	exchange(&p);
	assert_int_equal(p.n_pings, 1);
	assert_int_equal(p.n_pongs, 1);
	end(&p);
}

/* -- servers that break the rules ------------------------------------------------------------ */

static void refuses_what_is_no_http2(void **state)
{
	static const uint8_t zeros[70000], push[] = { 0, 0, 0, 2, 0x82 }, bad_table[] = { 0xbe }, too_high[] = { 0xff, 0xff,
		0xff, 0xff, 0xff, 0x0f };
	static const struct {
		const char *what;
		uint8_t type, flags;
		uint32_t stream;
		const void *payload;
		size_t len;
	} rows[] = {
		{ "data of no stream", NGHTTP2_DATA, 0, 0, "x", 1 },
		{ "data of a stream nobody asked for", NGHTTP2_DATA, 0, 99, "x", 1 },
		{ "an answer nobody asked for", NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 99, status_200, 1 },
		{ "a pushed answer", NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, push, sizeof push },
		{ "a header out of no table", NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, bad_table, 1 },
		{ "a number without an end", NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, too_high, sizeof too_high },
		{ "settings of a wrong length", NGHTTP2_SETTINGS, 0, 0, zeros, 5 },
		{ "settings of a stream", NGHTTP2_SETTINGS, 0, 1, zeros, 6 },
		{ "a ping of a wrong length", NGHTTP2_PING, 0, 0, zeros, 7 },
		{ "a window that opens by nothing", NGHTTP2_WINDOW_UPDATE, 0, 0, zeros, 4 },
		{ "the end of a stream that never was", NGHTTP2_RST_STREAM, 0, 99, zeros, 4 },
		{ "a continuation of nothing", NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, status_200, 1 },
		{ "more padding than frame", NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\xff", 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peers p;
		struct asked a;
		struct err err = ERR_NONE;
		struct buf frames = BUF_EMPTY;
		begin(&p);
		ask(&p, &a, "/");
		exchange(&p);
		frame(&frames, rows[i].type, rows[i].flags, rows[i].stream, rows[i].payload, rows[i].len);
		int r = feed_and_say(&p, &frames, &err);
		if (r != -EPROTO || !strstr(err.msg, "breaks the rules of HTTP/2"))
			fail_msg("%s: %d, %s", rows[i].what, r, err.msg);
		/* and for good */
		assert_int_equal(h2_feed(p.h2, (const uint8_t *)frames.data, frames.len, NULL), -EPROTO);
		buf_deinit(&frames);
		end(&p);
		expect_end(&a, H2_LOST);
	}
}

static void refuses_another_protocol(void **state)
{
	static const char *const rows[] = {
		"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
		"\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peers p = { .step = WHOLE };
		struct buf bytes = BUF_EMPTY;
		assert_int_equal(h2_new("x", &p.h2, NULL), 0);
		assert_int_equal(buf_puts(&bytes, rows[i], NULL), 0);
		feed_all(&p, &bytes, -EPROTO);
		end(&p);
	}
}

static void refuses_a_frame_that_is_too_long(void **state)
{
	struct peers p;
	struct asked a;
	struct buf frames = BUF_EMPTY;
	begin(&p);
	ask(&p, &a, "/");
	exchange(&p);
	frame_head(&frames, 1);
	frame(&frames, NGHTTP2_DATA, 0, 1, pattern, (1 << 20) + 1);
	feed_all(&p, &frames, -EPROTO);
	end(&p);
	expect_end(&a, H2_LOST);
}

/* What the other end makes us keep, while we cannot send, has an end. */
static void bounds_what_a_flood_makes_it_keep(void **state)
{
	static const uint8_t payload[8] = { 0, 3, 0, 0, 1, 0 };
	static const struct {
		uint8_t type;
		size_t len;
	} rows[] = { { NGHTTP2_PING, 8 }, { NGHTTP2_SETTINGS, 6 }, { NGHTTP2_SETTINGS, 0 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct peers p;
		struct buf one = BUF_EMPTY;
		int r = 0;
		unsigned n = 0;
		begin(&p);
		frame(&one, rows[i].type, 0, 0, payload, rows[i].len);
		for (; r == 0 && n < 100000; n++)
			r = h2_feed(p.h2, (const uint8_t *)one.data, one.len, NULL);
		assert_int_equal(r, -EPROTO);
		assert_true(n < 20000);
		buf_deinit(&one);
		end(&p);
	}
}

static void gives_up_a_header_without_an_end(void **state)
{
	static const uint8_t name[] = { 0x00, 1, 'x', 0 }; /* "x: ", not indexed */
	struct peers p;
	struct asked a;
	struct buf head = BUF_EMPTY, more = BUF_EMPTY, line = BUF_EMPTY;
	begin(&p);
	ask(&p, &a, "/");
	exchange(&p);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_add(&line, name, sizeof name, NULL), 0);
	frame(&head, NGHTTP2_HEADERS, 0, 1, status_200, 1);
	frame(&more, NGHTTP2_CONTINUATION, 0, 1, line.data, line.len);
	int r = h2_feed(p.h2, (const uint8_t *)head.data, head.len, NULL);
	for (unsigned n = 0; r == 0 && n < 100000; n++)
		r = h2_feed(p.h2, (const uint8_t *)more.data, more.len, NULL);
	assert_int_equal(r, -EPROTO);
	buf_deinit(&head);
	buf_deinit(&more);
	buf_deinit(&line);
	end(&p);
	expect_end(&a, H2_LOST);
}

int main(void)
{
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = (uint8_t)(i * 31 + (i >> 8));
	const struct CMUnitTest tests[] = {
		TEST(says_what_it_wants_and_from_whom),
		TEST(gives_whole_answers),
		TEST(uses_a_request_again),
		TEST(takes_large_frames),
		TEST(does_not_care_how_the_bytes_come),
		TEST(takes_nothing_more_of_a_body_that_was_refused),
		TEST(refuses_a_body_in_its_last_frame),
		TEST(tells_a_refused_stream_from_a_broken_one),
		TEST(gives_no_answer_of_another_length_than_it_said),
		TEST(finishes_what_a_server_that_goes_away_has_begun),
		TEST(gives_back_what_was_not_sent_when_the_server_went_away),
		TEST(ends_requests_with_the_connection),
		TEST(tells_the_server_that_windows_are_open),
		TEST(obeys_what_the_server_lets_be_under_way),
		TEST(asks_and_answers_whether_the_other_end_lives),
		TEST(refuses_what_is_no_http2),
		TEST(refuses_another_protocol),
		TEST(refuses_a_frame_that_is_too_long),
		TEST(bounds_what_a_flood_makes_it_keep),
		TEST(gives_up_a_header_without_an_end),
	};
	return RUN_TESTS(tests);
}
