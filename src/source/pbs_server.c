/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_server.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "net/credential.h"
#include "source/pbs_answers.h"
#include "source/pbs_refusal.h"
#include "util/file.h"
#include "util/lock.h"

/*
 * A token is its own proof.  A user has a ticket for two hours, and gets the next one for a password or for
 * a ticket that is still good.  So where the password is known, log-in waits until a connection wants it;
 * where only a ticket is, it is renewed in time, and lost with the server when that stays away too long.
 */
#define TICKET_GOOD_S  7140  /* of 7200: what is on its way arrives in time */
#define TICKET_FRESH_S 900   /* an older one of an earlier command is renewed, as the reference client does */
#define RENEW_S	       3600
#define TIMEOUT_MS     60000
#define LOGIN_MAX      (64u << 10) /* bytes of an answer */

int pbs_server_init(struct pbs_server *server, struct pbs_options *options, struct err *err)
{
	*server = (struct pbs_server){
		.repository = *options->repository,
		.guide = options->guide,
		.has_guide = true,
		.ticket = options->take_ticket,
		.trust = { .is_pinned = options->is_pinned, .is_known = options->is_known },
		.timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS,
		.secret = SECRET_EMPTY,
	};
	options->take_ticket = PBS_TICKET_NONE;
	memcpy(server->trust.fingerprint, options->fingerprint, DIGEST_SIZE);
	pbs_repository_format(&server->repository, server->name);
	(void) pthread_mutex_init(&server->lock, NULL);
	server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->stop_fd < 0)
		return err_errno(err, -errno, "cannot make an event");
	server->link = pbs_server_link(server);
	return 0;
}

void pbs_server_deinit(struct pbs_server *server)
{
	pbs_server_end_set_up(server);
	closep(&server->stop_fd);
	secret_deinit(&server->secret);
	pbs_ticket_deinit(&server->ticket);
	(void) pthread_mutex_destroy(&server->lock);
}

void pbs_server_stop(struct pbs_server *server)
{
	(void) eventfd_write(server->stop_fd, 1);
}

void pbs_server_go_on(struct pbs_server *server)
{
	eventfd_t n;
	(void) eventfd_read(server->stop_fd, &n);
}

void pbs_server_end_set_up(struct pbs_server *server)
{
	if (server->has_guide)
		server->guide.free(server->guide.user);
	server->has_guide = false;
	http_free(STEAL(server->http));
}

struct link pbs_server_link(const struct pbs_server *server)
{
	return (struct link){
		.host = server->repository.host,
		.port = server->repository.port,
		.stop_fd = server->stop_fd,
		.check = { .trust = &server->trust },
	};
}

static void remember(struct pbs_server *server, const struct link *link)
{
	server->trust.is_known = true;
	memcpy(server->trust.fingerprint, link->check.seen, DIGEST_SIZE);
}

/* @link failed with @r: true = the user vouches for the certificate now, it is worth another try. */
static bool ask_trust(struct pbs_server *server, const struct link *link, int *r, struct err *err)
{
	const struct pbs_guide *guide = &server->guide;
	enum tls_verdict verdict = link->check.verdict;
	bool is_question = verdict == TLS_UNKNOWN || (verdict == TLS_CHANGED && !server->trust.is_pinned);
	if (*r != -EACCES || !is_question || !server->has_guide)
		return false;
	*r = guide->unknown_certificate(guide->user, link->check.seen, err);
	if (*r < 0)
		return false;
	remember(server, link);
	return true;
}

int pbs_server_connect(struct pbs_server *server, struct link *link, struct tunnel **ret, struct err *err)
{
	int r;
	do {
		r = tunnel_open(link, deadline_in_ms(server->timeout_ms), ret, err);
	} while (ask_trust(server, link, &r, err));
	/* Without rights, what vouches for it may be out of reach: a user's own list of authorities. */
	if (r == 0 && server->has_guide && !server->trust.is_pinned && link->check.verdict == TLS_TRUSTED)
		remember(server, link);
	return r;
}

/* -- log-in ---------------------------------------------------------------------------------- */

/* As a JSON string; at most six times as long. */
static char *add_json_string(char *to, const uint8_t *text, size_t len)
{
	*to++ = '"';
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x20) {
			to += sprintf(to, "\\u%04x", text[i]);
			continue;
		}
		if (text[i] == '"' || text[i] == '\\')
			*to++ = '\\';
		*to++ = (char)text[i];
	}
	*to++ = '"';
	return to;
}

/* By hand and in place: a JSON library would leave copies of the password behind. */
static int login_body(const struct pbs_server *server, const struct secret *password, struct secret *ret,
		      struct err *err)
{
	const char *user = server->repository.auth_id;
	int r = secret_init(ret, 6 * (password->len + strlen(user)) + 64, err);
	if (r < 0)
		return r;
	char *to = stpcpy((char *)ret->data, "{\"username\":");
	to = add_json_string(to, (const uint8_t *)user, strlen(user));
	to = stpcpy(to, ",\"password\":");
	to = add_json_string(to, password->data, password->len);
	(void) stpcpy(to, "}");
	return 0;
}

static int post_login(struct pbs_server *server, struct http *http, const struct secret *password,
		      struct pbs_ticket *ret, struct err *err)
{
	CLEANUP(secret_deinit) struct secret body = SECRET_EMPTY;
	CLEANUP(http_answer_deinit) struct http_answer answer = HTTP_ANSWER_EMPTY;
	int r = login_body(server, password, &body, err);
	if (r < 0)
		return r;
	const struct http_request request = {
		.target = "/api2/json/access/ticket",
		.body = (const char *)body.data,
		.max_len = LOGIN_MAX,
		.until = deadline_in_ms(server->timeout_ms),
	};
	r = http_call(http, &request, &answer, err);
	if (r == 0 && answer.status != 200)
		r = pbs_refusal((unsigned)answer.status, answer.body.data, answer.body.len, err);
	if (r == 0)
		r = pbs_answer_ticket(answer.body.data, answer.body.len, time(NULL), ret, err);
	return r < 0 ? err_while(err, r, "logging in as %s at %s", server->repository.auth_id,
				 server->repository.host) : 0;
}

static int64_t ticket_age(const struct pbs_ticket *ticket)
{
	return ticket->ticket.data ? time(NULL) - ticket->since : INT64_MAX;
}

/* What a log-in is made with: a copy, because another thread may replace it. */
static int choose_password(struct pbs_server *server, struct secret *ret, struct err *err)
{
	HOLD(&server->lock);
	if (server->secret.data)
		return secret_init_copy(ret, server->secret.data, server->secret.len, err);
	if (ticket_age(&server->ticket) < TICKET_GOOD_S)
		return secret_init_copy(ret, server->ticket.ticket.data, server->ticket.ticket.len, err);
	return err_set(err, -EACCES, "the log-in of %s has expired, and its password is not known",
		       server->repository.auth_id);
}

/* Is it there, and is it the right one?  No connection is kept open while somebody types. */
static int look_at_certificate(struct pbs_server *server, struct link *link, struct err *err)
{
	struct tunnel *tunnel = NULL;
	if (link->check.verdict == TLS_TRUSTED)
		return 0;
	int r = pbs_server_connect(server, link, &tunnel, err);
	tunnel_close(tunnel);
	return r;
}

static int ask_password(struct pbs_server *server, struct link *link, struct err *err)
{
	struct secret secret = SECRET_EMPTY;
	int r = server->guide.is_typed ? look_at_certificate(server, link, err) : 0;
	if (r == 0)
		r = server->guide.password(server->guide.user, &secret, err);
	if (r < 0)
		return r;
	HOLD(&server->lock);
	secret_deinit(&server->secret);
	server->secret = secret;
	return 0;
}

/* Takes @ticket. */
static void use_ticket(struct pbs_server *server, struct pbs_ticket *take_ticket)
{
	if (server->has_guide && server->guide.new_ticket)
		server->guide.new_ticket(server->guide.user, take_ticket);
	struct pbs_ticket old;
	{
		HOLD(&server->lock);
		old = server->ticket;
		server->ticket = *take_ticket;
	}
	pbs_ticket_deinit(&old);
}

static int log_in_with(struct pbs_server *server, struct link *link, struct http *http, struct err *err)
{
	CLEANUP(secret_deinit) struct secret password = SECRET_EMPTY;
	struct pbs_ticket ticket = PBS_TICKET_NONE;
	int r = choose_password(server, &password, err);
	if (r < 0)
		return r;
	do {
		r = post_login(server, http, &password, &ticket, err);
	} while (ask_trust(server, link, &r, err));
	if (r == 0)
		use_ticket(server, &ticket);
	return r;
}

static bool has_secret(struct pbs_server *server)
{
	HOLD(&server->lock);
	return server->secret.data;
}

static int log_in(struct pbs_server *server, struct link *link, struct http *http, struct err *err)
{
	bool has_ticket;
	{
		HOLD(&server->lock);
		has_ticket = ticket_age(&server->ticket) < TICKET_GOOD_S;
	}
	if (!has_secret(server) && !has_ticket && server->has_guide) {
		int r = ask_password(server, link, err);
		if (r < 0)
			return r;
	}
	int r = log_in_with(server, link, http, err);
	/* The ticket of an earlier command may be void, whatever its age. */
	if (r == -EACCES && link->check.verdict == TLS_TRUSTED && server->has_guide && !has_secret(server)) {
		r = ask_password(server, link, err);
		if (r == 0)
			r = log_in_with(server, link, http, err);
	}
	return r;
}

int pbs_server_renew(struct pbs_server *server, struct link *link, struct err *err)
{
	struct http *http = NULL;
	int r = http_new(link, &http, err);
	if (r == 0)
		r = log_in(server, link, http, err);
	http_free(http);
	return r;
}

/* -- who asks -------------------------------------------------------------------------------- */

static int token_credential(struct pbs_server *server, struct link *link, struct secret *ret, struct err *err)
{
	if (!has_secret(server) && server->has_guide) {
		int r = ask_password(server, link, err);
		if (r < 0)
			return r;
	}
	HOLD(&server->lock);
	return credential_of_token(server->repository.auth_id, &server->secret, ret, err);
}

/* 1 = there is a ticket to be used as it is. */
static int ticket_credential(struct pbs_server *server, struct secret *ret, struct err *err)
{
	HOLD(&server->lock);
	/* During set-up an old one is renewed for the next command as well; afterwards it is good to its end. */
	if (ticket_age(&server->ticket) >= (server->has_guide ? TICKET_FRESH_S : TICKET_GOOD_S))
		return 0;
	int r = credential_of_ticket(&server->ticket.ticket, ret, err);
	return r < 0 ? r : 1;
}

int pbs_server_credential(struct pbs_server *server, struct link *link, struct secret *ret, struct err *err)
{
	if (server->repository.is_token)
		return token_credential(server, link, ret, err);
	int r = ticket_credential(server, ret, err);
	if (r != 0)
		return r < 0 ? r : 0;
	/* The connection of set-up goes on to be used for calls. */
	r = link == &server->link ? log_in(server, link, server->http, err)
				  : pbs_server_renew(server, link, err);
	if (r < 0)
		return r;
	HOLD(&server->lock);
	return credential_of_ticket(&server->ticket.ticket, ret, err);
}

bool pbs_server_drop_ticket(struct pbs_server *server)
{
	if (server->repository.is_token)
		return false;
	struct pbs_ticket old;
	bool has_other_way;
	{
		HOLD(&server->lock);
		old = server->ticket;
		server->ticket = PBS_TICKET_NONE;
		has_other_way = old.ticket.data && (server->secret.data || server->has_guide);
	}
	pbs_ticket_deinit(&old);
	return has_other_way;
}

struct deadline pbs_server_renew_at(struct pbs_server *server)
{
	HOLD(&server->lock);
	if (server->repository.is_token || server->secret.data || !server->ticket.ticket.data)
		return DEADLINE_NEVER;
	int64_t left_s = RENEW_S - ticket_age(&server->ticket);
	return deadline_in_ms(left_s > 0 ? 1000 * left_s : 0);
}

/* -- calls ----------------------------------------------------------------------------------- */

static int get_once(struct pbs_server *server, const char *target, size_t max_len,
		    struct http_answer *ret, struct err *err)
{
	CLEANUP(secret_deinit) struct secret credential = SECRET_EMPTY;
	int r = server->http ? 0 : http_new(&server->link, &server->http, err);
	if (r == 0)
		r = pbs_server_credential(server, &server->link, &credential, err);
	if (r < 0)
		return r;
	const struct http_request request = {
		.target = target,
		.header = (const char *)credential.data,
		.max_len = max_len,
		.until = deadline_in_ms(server->timeout_ms),
	};
	do {
		r = http_call(server->http, &request, ret, err);
	} while (ask_trust(server, &server->link, &r, err));
	return r;
}

int pbs_server_get(struct pbs_server *server, const char *target, size_t max_len,
		   struct http_answer *ret, struct err *err)
{
	int r = get_once(server, target, max_len, ret, err);
	if (r == 0 && ret->status == 401 && pbs_server_drop_ticket(server)) {
		http_answer_deinit(ret);
		r = get_once(server, target, max_len, ret, err);
	}
	if (r == 0 && ret->status != 200) {
		r = pbs_refusal((unsigned)ret->status, ret->body.data, ret->body.len, err);
		http_answer_deinit(ret);
	}
	return r;
}
