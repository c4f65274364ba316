/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_session.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "format/index.h"
#include "net/upgrade.h"
#include "net/url.h"
#include "source/pbs_refusal.h"
#include "util/bytes.h"

/*
 * A stalled connection is found by a PING that is not answered, sent only while something is asked for:
 * an idle session sleeps, and the kernel's keep-alive finds a machine that is gone.
 */
#define PING_AFTER_MS 5000
#define IDLE_NS	      30000000000 /* after that nobody knows whether the other end is still there */
#define INPUT_LEN     (64u << 10) /* bytes; a TLS record is 16 KiB */
#define SLOWEST	      16	  /* bytes a millisecond of a file; less is no connection */
#define TURN_LEN      (2u << 20)  /* bytes taken before what is to be sent gets its turn */

void pbs_session_init(struct pbs_session *session, const struct pbs_reader *reader)
{
	*session = (struct pbs_session){
		.reader = reader,
		.link = pbs_server_link(reader->server),
		/* Found well before a reader's patience ends. */
		.ping_after_ms = (int64_t)min_u64(PING_AFTER_MS, (uint64_t)reader->server->timeout_ms / 6),
	};
}

void pbs_session_close(struct pbs_session *session)
{
	h2_free(STEAL(session->h2));
	tunnel_close(STEAL(session->tunnel));
}

void pbs_session_deinit(struct pbs_session *session)
{
	pbs_session_close(session);
	free(STEAL(session->input));
}

bool pbs_session_is_open(const struct pbs_session *session)
{
	return session->h2;
}

static int lost(const struct pbs_session *session, struct err *err)
{
	return err_set(err, -ECONNRESET, "%s closed the connection", session->link.host);
}

/* -- one turn -------------------------------------------------------------------------------- */

/* How long the machine slept since it started. */
static int64_t slept_ns(void)
{
	struct timespec t;
	(void) clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - now_ns();
}

static void heard(struct pbs_session *session)
{
	session->heard_ns = now_ns();
	session->is_pinged = false;
}

static struct deadline patience(const struct pbs_session *session)
{
	if (h2_is_idle(session->h2))
		return DEADLINE_NEVER;
	int64_t ms = session->ping_after_ms * (session->is_pinged ? 2 : 1);
	return (struct deadline){ session->heard_ns + ms * 1000000 };
}

static int lose_patience(struct pbs_session *session, struct err *err)
{
	if (!deadline_is_over(patience(session)))
		return 0;
	if (session->is_pinged)
		return err_set(err, -ETIMEDOUT, "%s does not answer any more", session->link.host);
	session->is_pinged = true;
	return h2_ping(session->h2, err);
}

/* 1 = there is more than the connection takes now. */
static int send_pending(struct pbs_session *session, struct err *err)
{
	const uint8_t *data;
	ssize_t len;
	while ((len = h2_pending(session->h2, &data, err)) > 0) {
		ssize_t n = tunnel_send(session->tunnel, data, (size_t)len);
		if (n == -EAGAIN)
			return 1;
		if (n < 0)
			return lost(session, err);
		h2_sent(session->h2, (size_t)n);
	}
	return (int)len;
}

static int receive(struct pbs_session *session, struct err *err)
{
	session->has_more = false;
	for (size_t have = 0; have < TURN_LEN;) {
		ssize_t n = tunnel_receive(session->tunnel, session->input, INPUT_LEN);
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return lost(session, err);
		heard(session);
		int r = h2_feed(session->h2, session->input, (size_t)n, err);
		if (r < 0)
			return r;
		have += (size_t)n;
	}
	session->has_more = true;
	return 0;
}

static int wait_ms(const struct pbs_session *session, struct deadline until)
{
	if (session->has_more)
		return 0;
	struct deadline soonest = patience(session);
	return deadline_poll_ms(soonest.ns < until.ns ? soonest : until);
}

int pbs_session_turn(struct pbs_session *session, int wake_fd, struct deadline until, struct err *err)
{
	bool was_idle = h2_is_idle(session->h2);
	int is_full = send_pending(session, err);
	if (is_full < 0)
		return is_full;
	if (!was_idle && h2_is_idle(session->h2))
		return 0; /* what could not be sent any more has ended: there is nothing to wait for */
	struct pollfd fds[] = {
		{ .fd = tunnel_fd(session->tunnel), .events = (short)(POLLIN | (is_full ? POLLOUT : 0)) },
		{ .fd = session->link.stop_fd, .events = POLLIN },
		{ .fd = wake_fd, .events = POLLIN },
	};
	if (poll(fds, ARRAY_LEN(fds), wait_ms(session, until)) < 0 && errno != EINTR)
		return err_errno(err, -errno, "cannot wait for %s", session->link.host);
	if (fds[1].revents)
		return err_set(err, -ECANCELED, "stopped");
	eventfd_t n;
	if (fds[2].revents)
		(void) eventfd_read(wake_fd, &n);
	int r = fds[0].revents || session->has_more ? receive(session, err) : 0;
	return r < 0 ? r : lose_patience(session, err);
}

int pbs_session_ask(struct pbs_session *session, struct h2_request *request, const char *target,
		    struct err *err)
{
	if (h2_is_idle(session->h2)) {
		int64_t slept = slept_ns();
		bool is_doubtful = now_ns() - session->heard_ns > IDLE_NS ||
				   slept - session->slept_ns > 1000000000;
		session->slept_ns = slept;
		heard(session);
		if (is_doubtful) { /* it is probed at once */
			session->is_pinged = true;
			session->heard_ns -= session->ping_after_ms * 1000000;
			int r = h2_ping(session->h2, err);
			if (r < 0)
				return r;
		}
	}
	return h2_submit(session->h2, request, target, err);
}

/* -- becoming a reader ----------------------------------------------------------------------- */

static int wait_for(struct pbs_session *session, short events, struct deadline until, struct err *err)
{
	struct pollfd fds[] = {
		{ .fd = tunnel_fd(session->tunnel), .events = events },
		{ .fd = session->link.stop_fd, .events = POLLIN },
	};
	if (poll(fds, ARRAY_LEN(fds), deadline_poll_ms(until)) < 0 && errno != EINTR)
		return err_errno(err, -errno, "cannot wait for %s", session->link.host);
	if (fds[1].revents)
		return err_set(err, -ECANCELED, "stopped");
	if (deadline_is_over(until))
		return err_set(err, -ETIMEDOUT, "%s:%u does not answer in time", session->link.host,
			       (unsigned)session->link.port);
	return 0;
}

static int send_request(struct pbs_session *session, const struct secret *request, struct deadline until,
			struct err *err)
{
	for (size_t have = 0; have < request->len;) {
		ssize_t n = tunnel_send(session->tunnel, request->data + have, request->len - have);
		if (n < 0 && n != -EAGAIN)
			return lost(session, err);
		int r = n < 0 ? wait_for(session, POLLOUT, until, err) : 0;
		if (r < 0)
			return r;
		have += n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

/* What is behind the answer belongs to HTTP/2: the server says its settings at once. */
static int begin_http2(struct pbs_session *session, const uint8_t *rest, size_t len, struct err *err)
{
	int r = h2_new("localhost:8007", &session->h2, err);
	if (r < 0)
		return r;
	heard(session);
	session->slept_ns = slept_ns();
	session->has_more = true;
	return len ? h2_feed(session->h2, rest, len, err) : 0;
}

static int take_answer(struct pbs_session *session, struct upgrade_answer *answer, struct deadline until,
		       struct err *err)
{
	for (;;) {
		size_t used = 0;
		ssize_t n = tunnel_receive(session->tunnel, session->input, INPUT_LEN);
		int r;
		if (n == -EAGAIN)
			r = wait_for(session, POLLIN, until, err);
		else if (n <= 0)
			r = upgrade_answer_end(answer, err);
		else
			r = upgrade_answer_feed(answer, session->input, (size_t)n, &used, err);
		if (r == UPGRADE_ACCEPTED)
			return begin_http2(session, session->input + used, (size_t)n - used, err);
		if (r == UPGRADE_REFUSED)
			return pbs_refusal(answer->status, answer->text, answer->text_len, err);
		if (r < 0)
			return r;
	}
}

static int become_reader(struct pbs_session *session, struct upgrade_answer *answer, struct err *err)
{
	const struct pbs_reader *reader = session->reader;
	struct pbs_server *server = reader->server;
	CLEANUP(secret_deinit) struct secret credential = SECRET_EMPTY;
	CLEANUP(secret_deinit) struct secret request = SECRET_EMPTY;
	int r = pbs_server_credential(server, &session->link, &credential, err);
	if (r == 0)
		r = pbs_server_connect(server, &session->link, &session->tunnel, err);
	/* From here: a user may have thought about the certificate for long. */
	struct deadline until = deadline_in_ms(server->timeout_ms);
	if (r == 0)
		r = upgrade_request_format(&server->repository, reader->ns, &reader->snapshot, &credential,
					   &request, err);
	if (r == 0)
		r = send_request(session, &request, until, err);
	if (r == 0)
		r = take_answer(session, answer, until, err);
	if (r < 0)
		pbs_session_close(session);
	return r;
}

/* -- indexes --------------------------------------------------------------------------------- */

static int add_to_hash(void *user, const uint8_t *data, size_t len, struct err *err)
{
	return sha256_add(user, data, len, err);
}

/* The server gives the chunks of an index to whoever has read it, so it is read, and thrown away. */
static int open_index(struct pbs_session *session, const struct pbs_index *index, struct err *err)
{
	CLEANUP(sha256_freep) struct sha256 *hash = NULL;
	uint8_t csum[DIGEST_SIZE];
	int r = sha256_new(&hash, err);
	const struct pbs_sink sink = { .take = add_to_hash, .user = hash, .max_len = INDEX_FILE_MAX };
	if (r == 0)
		r = sha256_begin(hash, err);
	if (r == 0)
		r = pbs_session_download(session, index->name, &sink, err);
	if (r == 0)
		r = sha256_end(hash, csum, err);
	if (r == 0 && memcmp(csum, index->csum, DIGEST_SIZE) != 0)
		r = err_set(err, -EBADMSG, "%s is not the index any more that it was", index->name);
	return r;
}

int pbs_session_open(struct pbs_session *session, struct err *err)
{
	const struct pbs_reader *reader = session->reader;
	struct upgrade_answer answer;
	if (!session->input)
		session->input = malloc(INPUT_LEN);
	if (!session->input)
		return err_set(err, -ENOMEM, "no memory for a connection");
	int r;
	bool has_new_ticket = false;
	do {
		answer = UPGRADE_ANSWER_NONE;
		r = become_reader(session, &answer, err);
	} while (answer.status == 401 && !has_new_ticket &&
		 (has_new_ticket = pbs_server_drop_ticket(reader->server)));
	for (size_t i = 0; r == 0 && i < reader->n_indexes; i++)
		r = open_index(session, &reader->indexes[i], err);
	if (r < 0)
		pbs_session_close(session);
	return r;
}

/* -- files ----------------------------------------------------------------------------------- */

int pbs_text_add(struct pbs_text *text, const uint8_t *data, size_t len)
{
	size_t n = min_size(len, sizeof text->data - text->len);
	memcpy(text->data + text->len, data, n);
	text->len += n;
	return n == len ? 0 : -EMSGSIZE;
}

struct download {
	struct h2_request request;
	const struct pbs_sink *sink;
	uint64_t len;
	bool is_over;
	enum h2_end end;
	struct pbs_text text; /* of a refusal */
	int result;
	struct err *err;
};

static int take_file(struct h2_request *request, const uint8_t *data, size_t len)
{
	struct download *d = CONTAINER_OF(request, struct download, request);
	if (request->status != 200)
		return pbs_text_add(&d->text, data, len);
	if (len > d->sink->max_len - d->len)
		d->result = err_set(d->err, -EBADMSG, "it is too long: more than %llu bytes",
				    (unsigned long long)d->sink->max_len);
	else
		d->result = d->sink->take(d->sink->user, data, len, d->err);
	d->len += len;
	return d->result;
}

static void end_download(struct h2_request *request, enum h2_end end)
{
	struct download *d = CONTAINER_OF(request, struct download, request);
	d->end = end;
	d->is_over = true;
}

static int download_result(const struct pbs_session *session, const struct download *d, struct err *err)
{
	if (d->result < 0)
		return d->result;
	if (d->request.status && d->request.status != 200)
		return pbs_refusal((unsigned)d->request.status, d->text.data, d->text.len, err);
	if (d->end == H2_DONE)
		return 0;
	return err_set(err, d->end == H2_LOST ? -ECONNRESET : -EPROTO, "%s ended the answer in the middle",
		       session->link.host);
}

int pbs_session_download(struct pbs_session *session, const char *name, const struct pbs_sink *sink,
			 struct err *err)
{
	CLEANUP(buf_deinit) struct buf target = BUF_EMPTY;
	struct download d = {
		.request = { .body = take_file, .done = end_download },
		.sink = sink,
		.err = err,
	};
	if (!pbs_session_is_open(session))
		return lost(session, err);
	int r = buf_puts(&target, "/download", err);
	if (r == 0)
		r = url_add_query(&target, "file-name", name, err);
	if (r == 0)
		r = pbs_session_ask(session, &d.request, target.data, err);
	if (r < 0)
		return r;
	int64_t start_ns = now_ns();
	while (r == 0 && !d.is_over) {
		/* The longer it is, the longer it may take. */
		int64_t ms = session->reader->server->timeout_ms + (int64_t)(d.len / SLOWEST);
		struct deadline until = { start_ns + ms * 1000000 };
		r = pbs_session_turn(session, -EBADF, until, err);
		if (r == 0 && deadline_is_over(until) && !d.is_over)
			r = err_set(err, -ETIMEDOUT, "%s does not answer in time", session->link.host);
	}
	if (!d.is_over)
		pbs_session_close(session); /* ends the request, which lives here */
	return r < 0 ? r : download_result(session, &d, err);
}
