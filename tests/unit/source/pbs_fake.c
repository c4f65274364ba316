/* SPDX-License-Identifier: Apache-2.0 */
#include "pbs_fake.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "util/bytes.h"
#include "util/list.h"
#include "util/lock.h"

#define LOOK_MS 5 /* a connection looks at what the test says as often */

struct file {
	char name[64];
	const uint8_t *data;
	size_t len;
};

struct pbs_fake {
	struct tls_peer *server;
	struct pbs_repository repository;
	pthread_mutex_t lock; /* guards all below */
	struct fake_script scripts[256];
	struct file files[4];
	size_t n_files;
	int upgrade_status;
	const char *upgrade_text;
	unsigned limit, n_frozen, n_gone;
	int n_refused;
	struct fake_seen seen;
};

struct stream {
	struct list node;
	int32_t id;
	char path[200];
	int n;	 /* of the chunk; -1 = a file, or a text */
	const uint8_t *data;
	size_t at, len;
	bool is_held, is_to_break, is_to_stall;
};

/* One that became a reader. */
struct reader {
	struct pbs_fake *fake;
	struct tls_conn *conn;
	nghttp2_session *h2;
	struct list streams;
	unsigned number;
	unsigned n_gone; /* of fake's, seen */
	int32_t last_id;
};

uint8_t pbs_fake_byte(unsigned n, size_t at)
{
	return (uint8_t)(n * 7 + at * 31 + (at >> 8));
}

/* -- answers --------------------------------------------------------------------------------- */

static ssize_t give_body(nghttp2_session *h2, int32_t id, uint8_t *to, size_t len, uint32_t *flags,
			 nghttp2_data_source *from, void *user)
{
	struct stream *s = from->ptr;
	size_t n = min_size(len, s->len - s->at);
	if (s->is_to_break && s->at)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* RST_STREAM */
	if (s->is_to_stall && n == 0)
		return NGHTTP2_ERR_DEFERRED;
	for (size_t i = 0; i < n; i++)
		to[i] = s->data ? s->data[s->at + i] : pbs_fake_byte((unsigned)s->n, s->at + i);
	if (s->is_to_break)
		n /= 2;
	s->at += n;
	if (s->at == s->len && !s->is_to_stall)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
			     NGHTTP2_NV_FLAG_NONE };
}

static void answer(struct reader *r, struct stream *s, int status, bool is_announced)
{
	char code[12], length[24];
	(void) snprintf(code, sizeof code, "%d", status);
	(void) snprintf(length, sizeof length, "%zu", s->len);
	const nghttp2_nv headers[] = { pair(":status", code), pair("content-length", length) };
	const nghttp2_data_provider body = { .source.ptr = s, .read_callback = give_body };
	(void) nghttp2_submit_response(r->h2, s->id, headers, is_announced ? 2 : 1, s->len ? &body : NULL);
}

static void answer_text(struct reader *r, struct stream *s, int status, const char *text)
{
	s->data = (const uint8_t *)text;
	s->len = strlen(text);
	answer(r, s, status, true);
}

static void answer_chunk(struct reader *r, struct stream *s)
{
	struct fake_script script;
	{
		HOLD(&r->fake->lock);
		struct fake_script *left = &r->fake->scripts[s->n];
		script = *left;
		if (left->n_times && --left->n_times == 0)
			left->act = FAKE_GOOD;
	}
	s->is_held = script.act == FAKE_HOLD;
	s->len = script.act >= FAKE_LENGTH ? script.len : FAKE_LEN(s->n);
	s->is_to_break = script.act == FAKE_RESET;
	s->is_to_stall = script.act == FAKE_STALL;
	if (script.act == FAKE_REFUSE)
		(void) nghttp2_submit_rst_stream(r->h2, 0, s->id, NGHTTP2_REFUSED_STREAM);
	else if (script.act == FAKE_STATUS)
		answer_text(r, s, script.status, script.text);
	else if (!s->is_held)
		answer(r, s, 200, script.act != FAKE_LENGTH && script.act != FAKE_STALL);
}

static void answer_file(struct reader *r, struct stream *s, const char *name)
{
	struct file file = { 0 };
	{
		HOLD(&r->fake->lock);
		r->fake->seen.n_downloads++;
		for (size_t i = 0; i < r->fake->n_files; i++)
			if (strcmp(r->fake->files[i].name, name) == 0)
				file = r->fake->files[i];
	}
	if (!file.data) {
		answer_text(r, s, 400, "No such file or directory (os error 2)");
		return;
	}
	s->data = file.data;
	s->len = file.len;
	answer(r, s, 200, true);
}

static void answer_request(struct reader *r, struct stream *s)
{
	static const char chunk[] = "/chunk?digest=", file[] = "/download?file-name=";
	uint8_t digest[DIGEST_SIZE];
	r->last_id = s->id;
	if (strncmp(s->path, file, strlen(file)) == 0) {
		answer_file(r, s, s->path + strlen(file));
		return;
	}
	if (strncmp(s->path, chunk, strlen(chunk)) != 0 || !hex_decode(s->path + strlen(chunk), digest, DIGEST_SIZE)) {
		answer_text(r, s, 404, s->path);
		return;
	}
	s->n = digest[0];
	{
		HOLD(&r->fake->lock);
		struct fake_seen *seen = &r->fake->seen;
		seen->order[seen->n_chunks++ % sizeof seen->order] = digest[0];
		seen->n_asked[s->n]++;
		seen->n_on[r->number % ARRAY_LEN(seen->n_on)]++;
	}
	answer_chunk(r, s);
}

/* -- HTTP/2 ---------------------------------------------------------------------------------- */

static int on_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct reader *r = user;
	struct stream *s = calloc(1, sizeof *s);
	*s = (struct stream){ .id = frame->hd.stream_id, .n = -1 };
	list_append(&r->streams, &s->node);
	return nghttp2_session_set_stream_user_data(h2, s->id, s);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	if (s && name_len == 5 && memcmp(name, ":path", 5) == 0)
		(void) snprintf(s->path, sizeof s->path, "%.*s", (int)value_len, (const char *)value);
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	if (s && frame->hd.type == NGHTTP2_HEADERS)
		answer_request(user, s);
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(h2, id);
	if (!s)
		return 0;
	list_remove(&s->node);
	free(s);
	return 0;
}

static bool send_pending(struct reader *r)
{
	const uint8_t *data;
	ssize_t n;
	while ((n = nghttp2_session_mem_send(r->h2, &data)) > 0)
		if (!tls_conn_write(r->conn, data, (size_t)n))
			return false;
	return n == 0;
}

static bool receive(struct reader *r)
{
	uint8_t in[16384];
	int n = tls_conn_read(r->conn, in, sizeof in);
	return n > 0 && nghttp2_session_mem_recv(r->h2, in, (size_t)n) == n;
}

static bool is_frozen(struct reader *r)
{
	HOLD(&r->fake->lock);
	return r->number < r->fake->n_frozen;
}

/* What the test says now. */
static void look(struct reader *r)
{
	struct fake_script scripts[256];
	bool is_to_go;
	int n_refused;
	{
		HOLD(&r->fake->lock);
		memcpy(scripts, r->fake->scripts, sizeof scripts);
		is_to_go = r->n_gone != r->fake->n_gone;
		r->n_gone = r->fake->n_gone;
		n_refused = r->fake->n_refused;
	}
	if (is_to_go)
		(void) nghttp2_submit_goaway(r->h2, 0, r->last_id - 2 * n_refused, 0, NULL, 0);
	for (struct list *node = r->streams.next; node != &r->streams; node = node->next) {
		struct stream *s = CONTAINER_OF(node, struct stream, node);
		if (s->is_held && scripts[s->n].act != FAKE_HOLD)
			answer_chunk(r, s);
	}
}

static bool turn(struct reader *r)
{
	struct pollfd fd = { .fd = r->conn->fd };
	if (is_frozen(r))
		return poll(&fd, 1, LOOK_MS) == 0;
	look(r);
	if (!send_pending(r) || !nghttp2_session_want_read(r->h2))
		return false;
	fd.events = POLLIN;
	if (!SSL_pending(r->conn->ssl) && poll(&fd, 1, LOOK_MS) <= 0)
		return true;
	if (is_frozen(r))
		return true;
	return receive(r) && send_pending(r);
}

static void read_on(struct tls_conn *conn)
{
	struct pbs_fake *fake = conn->user;
	struct reader r = { .fake = fake, .conn = conn };
	nghttp2_settings_entry settings = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0 };
	list_init(&r.streams);
	{
		HOLD(&fake->lock);
		r.number = fake->seen.n_readers++;
		r.n_gone = fake->n_gone;
		settings.value = fake->limit;
	}
	nghttp2_session_callbacks *callbacks;
	(void) nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	(void) nghttp2_session_server_new(&r.h2, callbacks, &r);
	nghttp2_session_callbacks_del(callbacks);
	(void) nghttp2_submit_settings(r.h2, 0, &settings, settings.value != 0);
	while (turn(&r))
		;
	nghttp2_session_del(r.h2);
	struct list *node;
	while ((node = list_pop(&r.streams)))
		free(CONTAINER_OF(node, struct stream, node));
}

/* -- HTTP/1.1 -------------------------------------------------------------------------------- */

static bool say(struct tls_conn *conn, int status, const char *text)
{
	char head[200];
	int len = snprintf(head, sizeof head, "HTTP/1.1 %d x\r\ncontent-length: %zu\r\n\r\n", status, strlen(text));
	return tls_conn_write(conn, head, (size_t)len) && tls_conn_write(conn, text, strlen(text));
}

static bool give_ticket(struct tls_conn *conn, struct pbs_fake *fake, const char *request)
{
	char text[200];
	{
		HOLD(&fake->lock);
		fake->seen.n_logins++;
		(void) snprintf(fake->seen.login, sizeof fake->seen.login, "%.900s", request);
		(void) snprintf(text, sizeof text, "{\"data\":{\"CSRFPreventionToken\":\"c\",\"ticket\":"
				"\"PBS:u@pam:%08u::sig\",\"username\":\"u@pam\"}}", fake->seen.n_logins);
	}
	return say(conn, 200, text);
}

/* True = the connection goes on with HTTP/1.1. */
static bool change_protocol(struct tls_conn *conn, struct pbs_fake *fake, const char *request)
{
	static const char yes[] = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"
				  "upgrade: proxmox-backup-reader-protocol-v1\r\n\r\n";
	int status;
	const char *text;
	{
		HOLD(&fake->lock);
		(void) snprintf(fake->seen.upgrade, sizeof fake->seen.upgrade, "%.900s", request);
		status = fake->upgrade_status;
		text = fake->upgrade_text;
	}
	if (status > 0)
		return say(conn, status, text);
	if (status < 0)
		return true;
	if (tls_conn_write(conn, yes, sizeof yes - 1))
		read_on(conn);
	return false;
}

static void serve(struct tls_conn *conn)
{
	struct pbs_fake *fake = conn->user;
	char request[4000];
	bool is_good = true;
	while (is_good && tls_conn_read_request(conn, request, sizeof request)) {
		if (strncmp(request, "POST /api2/json/access/ticket ", 30) == 0)
			is_good = give_ticket(conn, fake, request);
		else if (strncmp(request, "GET /api2/json/reader?", 22) == 0)
			is_good = change_protocol(conn, fake, request);
		else
			is_good = say(conn, 404, request);
	}
}

/* -- for tests ------------------------------------------------------------------------------- */

struct pbs_fake *pbs_fake_start(void)
{
	struct pbs_fake *fake = calloc(1, sizeof *fake);
	const struct tls_peer_options options = { .names = "IP:127.0.0.1", .serve = serve, .user = fake };
	assert_non_null(fake);
	(void) pthread_mutex_init(&fake->lock, NULL);
	fake->server = tls_peer_start(&options);
	return fake;
}

void pbs_fake_stop(struct pbs_fake *fake)
{
	tls_peer_stop(fake->server);
	(void) pthread_mutex_destroy(&fake->lock);
	free(fake);
}

struct tls_peer *pbs_fake_server(struct pbs_fake *fake)
{
	return fake->server;
}

static int tell_password(void *user, struct secret *ret, struct err *err)
{
	return secret_init_copy(ret, "secret", 6, err);
}

static void tell_nothing(void *user)
{
}

void pbs_fake_options(struct pbs_fake *fake, bool with_ticket, struct pbs_repository *repository,
		      struct pbs_options *ret)
{
	char text[80];
	(void) snprintf(text, sizeof text, "u@pam%s@127.0.0.1:%u:store", with_ticket ? "" : "!t",
			(unsigned)tls_peer_port(fake->server));
	assert_int_equal(pbs_repository_parse(text, repository, NULL), 0);
	*ret = (struct pbs_options){
		.repository = repository,
		.guide = { .password = tell_password, .free = tell_nothing },
		.take_ticket = PBS_TICKET_NONE,
		.is_pinned = true,
		.timeout_ms = 20000,
	};
	memcpy(ret->fingerprint, tls_peer_fingerprint(fake->server), DIGEST_SIZE);
}

void pbs_fake_script(struct pbs_fake *fake, int n, const struct fake_script *script)
{
	HOLD(&fake->lock);
	for (int i = 0; i < 256; i++)
		if (n < 0 || i == n)
			fake->scripts[i] = *script;
}

void pbs_fake_put_file(struct pbs_fake *fake, const char *name, const void *data, size_t len)
{
	HOLD(&fake->lock);
	struct file *file = fake->files;
	while (file < fake->files + fake->n_files && strcmp(file->name, name) != 0)
		file++;
	if (file == fake->files + fake->n_files)
		fake->n_files++;
	assert_true(fake->n_files <= ARRAY_LEN(fake->files));
	*file = (struct file){ .data = data, .len = len };
	(void) snprintf(file->name, sizeof file->name, "%s", name);
}

void pbs_fake_upgrade(struct pbs_fake *fake, int status, const char *text)
{
	HOLD(&fake->lock);
	fake->upgrade_status = status;
	fake->upgrade_text = text;
}

void pbs_fake_limit(struct pbs_fake *fake, unsigned n)
{
	HOLD(&fake->lock);
	fake->limit = n;
}

void pbs_fake_freeze(struct pbs_fake *fake)
{
	HOLD(&fake->lock);
	fake->n_frozen = fake->seen.n_readers;
}

void pbs_fake_go_away(struct pbs_fake *fake, int n_refused)
{
	HOLD(&fake->lock);
	fake->n_gone++;
	fake->n_refused = n_refused;
}

void pbs_fake_seen(struct pbs_fake *fake, struct fake_seen *ret)
{
	HOLD(&fake->lock);
	*ret = fake->seen;
}
