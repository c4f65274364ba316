/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"
#include "util/cleanup.h"

/*
 * Windows never hold an answer back: what may come is bounded by what was asked for, and each answer goes
 * straight to its place.  Frames are large enough to cost nothing and small enough for a demanded chunk to
 * get between those of others.
 */
#define WINDOW	     0x7fffffff	 /* bytes; the most there is */
#define FRAME_MAX    (1u << 20)	 /* bytes */
#define HEADER_BYTES (16u << 10) /* of the header list we ask for at most */

struct h2 {
	nghttp2_session *session;
	char authority[320];
	struct list requests; /* under way */
	const uint8_t *out;   /* nghttp2's, not sent yet */
	size_t out_len;
	bool is_going_away;
	bool has_failed;      /* the other end broke the rules, and is told so */
	char words[64];	      /* of the library, about that */
};

/* -- what nghttp2 tells ---------------------------------------------------------------------- */

static struct h2_request *request_of(nghttp2_session *session, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(session, stream);
}

static bool is_name(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}

/* Digits only; nghttp2 has looked at them. */
static uint64_t number(const uint8_t *text, size_t len)
{
	uint64_t value = 0;
	for (size_t i = 0; i < len && i < 19; i++)
		value = 10 * value + (uint64_t)(text[i] - '0');
	return value;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct h2_request *request = request_of(session, frame->hd.stream_id);
	if (!request)
		return 0;
	if (is_name(name, name_len, ":status"))
		request->status = (int)number(value, value_len);
	else if (is_name(name, name_len, "content-length"))
		request->length = number(value, value_len);
	return 0;
}

static void end(struct h2_request *request, enum h2_end how)
{
	list_remove(&request->node);
	request->done(request, how);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
		   size_t len, void *user)
{
	struct h2_request *request = request_of(session, stream);
	if (!request || request->body(request, data, len) >= 0)
		return 0;
	/* The rest of it, and its end, may be here already: it is nobody's. */
	(void) nghttp2_session_set_stream_user_data(session, stream, NULL);
	end(request, H2_BROKEN);
	return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL) == 0
		       ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
	struct h2_request *request = request_of(session, stream);
	if (!request)
		return 0;
	bool is_whole = code == NGHTTP2_NO_ERROR && request->status && request->has_ended;
	/* What was not sent when the other end went away counts as refused, too. */
	end(request, is_whole ? H2_DONE : code == NGHTTP2_REFUSED_STREAM ? H2_REFUSED : H2_BROKEN);
	return 0;
}

/* A GOAWAY of ours is the library's: its way to end a connection on which the other end broke the rules. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	if (frame->hd.type != NGHTTP2_GOAWAY)
		return 0;
	h2->has_failed = true;
	(void) snprintf(h2->words, sizeof h2->words, "%.*s", (int)frame->goaway.opaque_data_len,
			(const char *)frame->goaway.opaque_data);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h2 = user;
	struct h2_request *request = request_of(session, frame->hd.stream_id);
	bool is_answer = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		h2->is_going_away = true;
	/* A reset without an error code ends a stream as well, but not an answer. */
	if (request && is_answer && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		request->has_ended = true;
	return 0;
}

static int set_up(struct h2 *h2)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option = NULL;
	int r = nghttp2_session_callbacks_new(&callbacks);
	if (r != 0)
		return r;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
	r = nghttp2_option_new(&option);
	if (r == 0) {
		nghttp2_option_set_no_closed_streams(option, 1);
		r = nghttp2_session_client_new2(&h2->session, callbacks, h2, option);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return r;
}

static int greet(struct h2 *h2)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_BYTES },
	};
	int r = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	if (r == 0)
		r = nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
	return r;
}

static int broken(const char *how, struct err *err)
{
	return err_set(err, -EPROTO, "the server breaks the rules of HTTP/2%s%s", *how ? ": " : "", how);
}

static int failure(int code, struct err *err)
{
	if (code == NGHTTP2_ERR_NOMEM)
		return err_set(err, -ENOMEM, "no memory for HTTP/2");
	return broken(nghttp2_strerror(code), err);
}

/* -------------------------------------------------------------------------------------------- */

static void h2_freep(struct h2 **h2)
{
	h2_free(*h2);
}

int h2_new(const char *authority, struct h2 **ret, struct err *err)
{
	CLEANUP(h2_freep) struct h2 *h2 = calloc(1, sizeof *h2);
	if (!h2)
		return err_set(err, -ENOMEM, "no memory for HTTP/2");
	list_init(&h2->requests);
	(void) snprintf(h2->authority, sizeof h2->authority, "%s", authority);
	int r = set_up(h2);
	if (r == 0)
		r = greet(h2);
	if (r != 0)
		return failure(r, err);
	*ret = STEAL(h2);
	return 0;
}

void h2_free(struct h2 *h2)
{
	if (!h2)
		return;
	struct list *node;
	while ((node = h2->requests.next) != &h2->requests)
		end(CONTAINER_OF(node, struct h2_request, node), H2_LOST);
	nghttp2_session_del(h2->session);
	free(h2);
}

int h2_feed(struct h2 *h2, const uint8_t *data, size_t len, struct err *err)
{
	ssize_t n = nghttp2_session_mem_recv(h2->session, data, len);
	if (n < 0)
		return failure((int)n, err);
	return h2->has_failed || (size_t)n != len ? broken(h2->words, err) : 0;
}

ssize_t h2_pending(struct h2 *h2, const uint8_t **ret, struct err *err)
{
	if (h2->out_len == 0) {
		ssize_t n = nghttp2_session_mem_send(h2->session, &h2->out);
		if (n < 0)
			return failure((int)n, err);
		h2->out_len = (size_t)n;
	}
	if (h2->out_len == 0 && h2->has_failed)
		return broken(h2->words, err);
	*ret = h2->out;
	return (ssize_t)h2->out_len;
}

void h2_sent(struct h2 *h2, size_t len)
{
	h2->out += len;
	h2->out_len -= len;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.value = (uint8_t *)(uintptr_t)value,
		.namelen = strlen(name),
		.valuelen = strlen(value),
	};
}

int h2_submit(struct h2 *h2, struct h2_request *request, const char *target, struct err *err)
{
	const nghttp2_nv headers[] = {
		pair(":method", "GET"),
		pair(":scheme", "https"),
		pair(":authority", h2->authority),
		pair(":path", target),
		pair("user-agent", "pbsmap"),
	};
	request->status = 0;
	request->length = UINT64_MAX;
	request->has_ended = false;
	request->stream = nghttp2_submit_request(h2->session, NULL, headers, ARRAY_LEN(headers), NULL, request);
	if (request->stream < 0)
		return failure(request->stream, err);
	list_append(&h2->requests, &request->node);
	return 0;
}

int h2_ping(struct h2 *h2, struct err *err)
{
	int r = nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
	return r != 0 ? failure(r, err) : 0;
}

unsigned h2_max_requests(const struct h2 *h2)
{
	return nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool h2_is_idle(const struct h2 *h2)
{
	return list_is_empty(&h2->requests);
}

bool h2_is_going_away(const struct h2 *h2)
{
	return h2->is_going_away;
}
