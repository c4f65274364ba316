/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "export/nbd_internal.h"
#include "util/bytes.h"

/*
 * One connection.  What a client may have on its way is bounded: by its own limits, and by what all of them have
 * together.  Who has reached a limit is not listened to until something of its was sent, or others need less.
 * Who has nothing on its way may always ask for a little, so nobody is starved by those who take nothing of
 * what they asked for; and these are hung up on when their time is over.
 */
#define ANSWERS_MAX    256u	      /* of one client */
#define CLIENT_BYTES   NBD_PAYLOAD_MAX /* of one client; more than one answer */
#define TOTAL_BYTES    (128u << 20)   /* of all */
#define ALWAYS_BYTES   (256u << 10)   /* of a client that has nothing else, whatever the others have */
#define PROGRESS_BYTES (64u << 10)    /* to be taken, or … */
#define PROGRESS_SHARE 32u	      /* … of what it has, until the deadline for more begins anew */
#define IOV_MAX_USED   256	      /* pieces in one system call */

struct nbd_client *nbd_client_new(struct nbd_server *server, int take_fd)
{
	struct nbd_client *client = malloc(sizeof *client);
	if (!client) {
		closep(&take_fd);
		return NULL;
	}
	memset(client, 0, offsetof(struct nbd_client, in));
	client->server = server;
	client->fd = take_fd;
	struct list *nodes[] = { &client->node, &client->timed_node, &client->ready_node, &client->waiter_node,
				 &client->user_node, &client->asked, &client->replies };
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		list_init(nodes[i]);
	nbd_handshake_init(&client->handshake, &server->options.offer);
	return client;
}

void nbd_client_free(struct nbd_client *client)
{
	closep(&client->fd);
	free(client);
}

static void hold(struct nbd_client *client, size_t n_bytes)
{
	client->server->n_held += n_bytes - client->n_held;
	client->n_held = n_bytes;
}

static void forget_answer(struct nbd_answer *answer)
{
	struct nbd_client *client = answer->client;
	list_remove(&answer->node);
	client->n_answers--;
	client->n_bytes -= answer->weight;
	nbd_server_release(client->server, answer->weight);
	nbd_answer_free(answer);
}

/* Its reads that are on their way keep it until they are done. */
void nbd_client_drop(struct nbd_client *client)
{
	if (client->stage == NBD_GONE)
		return;
	nbd_server_has_user(client, false);
	client->stage = NBD_GONE;
	tls_session_free(STEAL(client->tls));
	closep(&client->fd); /* epoll forgets it with that */
	list_remove(&client->timed_node);
	list_remove(&client->ready_node);
	list_remove(&client->waiter_node);
	list_remove(&client->node);
	list_append(&client->server->graves, &client->node);
	nbd_server_count_client(client->server, -1);
	hold(client, 0);
	while (!list_is_empty(&client->replies))
		forget_answer(CONTAINER_OF(client->replies.next, struct nbd_answer, node));
	for (struct list *node = client->asked.next; node != &client->asked; node = node->next)
		nbd_answer_cancel(CONTAINER_OF(node, struct nbd_answer, node));
}

/* -- answers --------------------------------------------------------------------------------- */

/* @answer: NULL = no memory: then the client is told nothing, and hung up on. */
static bool add_answer(struct nbd_client *client, struct nbd_answer *answer, struct list *to)
{
	if (!answer) {
		nbd_client_drop(client);
		return false;
	}
	list_append(to, &answer->node);
	client->n_answers++;
	client->n_bytes += answer->weight;
	client->server->n_bytes += answer->weight;
	return true;
}

void nbd_client_answered(struct nbd_answer *answer)
{
	struct nbd_client *client = answer->client;
	list_remove(&answer->node);
	if (client->stage == NBD_GONE) {
		forget_answer(answer);
		return;
	}
	nbd_answer_finish(answer);
	list_append(&client->replies, &answer->node);
	nbd_server_ready(client);
}

/* -- sending --------------------------------------------------------------------------------- */

static int fill(const struct nbd_client *client, struct iovec *iov)
{
	int n = 0;
	for (struct list *node = client->replies.next; node != &client->replies && n < IOV_MAX_USED;
	     node = node->next)
		n += nbd_answer_fill(CONTAINER_OF(node, struct nbd_answer, node), iov + n, IOV_MAX_USED - n);
	return n;
}

static void take_sent(struct nbd_client *client, size_t len)
{
	client->n_sent += len;
	while (!list_is_empty(&client->replies)) {
		struct nbd_answer *answer = CONTAINER_OF(client->replies.next, struct nbd_answer, node);
		if (!nbd_answer_sent(answer, &len))
			break;
		forget_answer(answer);
		client->is_stalled = false;
	}
}

static ssize_t send_some(struct nbd_client *client)
{
	struct iovec iov[IOV_MAX_USED];
	int n_iov = fill(client, iov);
	if (client->tls && n_iov)
		return tls_session_send(client->tls, iov, n_iov);
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)n_iov };
	ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

/* From one chunk come many answers to a client that copies. */
static size_t bytes_held(const struct nbd_client *client)
{
	const struct chunk *last = NULL;
	size_t n = 0;
	for (struct list *node = client->replies.next; node != &client->replies; node = node->next)
		n += nbd_answer_held(CONTAINER_OF(node, struct nbd_answer, node), &last);
	return n;
}

/* Most take more in a moment, and chunks are held for them; for those who are too many, bytes are copied out. */
static void hold_little(struct nbd_client *client)
{
	const struct nbd_server *server = client->server;
	hold(client, 0);
	size_t n_bytes = bytes_held(client);
	if (n_bytes <= server->options.held_bytes - server->n_held) {
		hold(client, n_bytes);
		return;
	}
	for (struct list *node = client->replies.next; node != &client->replies; node = node->next)
		nbd_answer_keep_less(CONTAINER_OF(node, struct nbd_answer, node));
}

bool nbd_client_renew(struct nbd_client *client)
{
	struct nbd_server *server = client->server;
	bool is_waited_for = !list_is_empty(&client->timed_node);
	if (is_waited_for && client->n_sent < max_u64(PROGRESS_BYTES, client->n_bytes / PROGRESS_SHARE))
		return false;
	client->n_sent = 0;
	client->until = deadline_in_ms(server->options.send_ms);
	list_remove(&client->timed_node);
	list_append(&server->senders, &client->timed_node);
	return true;
}

/* It takes no more now: until when it has to take some of it. */
static void wait_for_client(struct nbd_client *client)
{
	client->is_blocked = true;
	hold_little(client);
	if (client->stage >= NBD_REQUESTS) /* else the deadline of the handshake holds */
		(void) nbd_client_renew(client);
}

static void send_replies(struct nbd_client *client)
{
	ssize_t n = 0;
	while (!list_is_empty(&client->replies) && n >= 0) {
		n = send_some(client);
		if (n >= 0)
			take_sent(client, (size_t)n);
	}
	if (n == -EAGAIN || n == -EINTR) {
		wait_for_client(client);
		return;
	}
	if (n < 0) {
		nbd_client_drop(client);
		return;
	}
	client->is_blocked = false;
	hold(client, 0);
	if (client->stage >= NBD_REQUESTS)
		list_remove(&client->timed_node);
	if (client->stage == NBD_LEAVES && client->n_answers == 0)
		nbd_client_drop(client);
}

/* -- who it is ------------------------------------------------------------------------------- */

static void describe_process(pid_t pid, char *ret, size_t len)
{
	char path[32], name[32] = "";
	(void) snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	if (file && fgets(name, sizeof name, file))
		name[strcspn(name, "\n")] = '\0';
	(void) snprintf(ret, len, "process %d%s%s%s", (int)pid, *name ? " (" : "", name, *name ? ")" : "");
}

static void describe_peer(struct nbd_client *client)
{
	struct ucred ucred;
	socklen_t len = sizeof ucred;
	char host[INET6_ADDRSTRLEN] = "";
	union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } peer = { 0 };
	socklen_t peer_len = sizeof peer;
	(void) snprintf(client->peer, sizeof client->peer, "a client");
	if (getpeername(client->fd, &peer.any, &peer_len) < 0)
		return;
	if (peer.any.sa_family == AF_INET && inet_ntop(AF_INET, &peer.v4.sin_addr, host, sizeof host))
		(void) snprintf(client->peer, sizeof client->peer, "%s:%u", host, ntohs(peer.v4.sin_port));
	else if (peer.any.sa_family == AF_INET6 && inet_ntop(AF_INET6, &peer.v6.sin6_addr, host, sizeof host))
		(void) snprintf(client->peer, sizeof client->peer, "[%s]:%u", host, ntohs(peer.v6.sin6_port));
	else if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &ucred, &len) == 0)
		describe_process(ucred.pid, client->peer, sizeof client->peer);
}

/* -- what it says ---------------------------------------------------------------------------- */

/* All of these: 1 = something was taken, 0 = more is needed, or has to wait; -EPROTO, -ENOMEM. */

static int say(struct nbd_client *client, const void *bytes, size_t len)
{
	return add_answer(client, nbd_answer_bytes(client, bytes, len), &client->replies) ? 1 : -ENOMEM;
}

static void take_bytes(struct nbd_client *client, size_t n)
{
	client->in_from += n;
	if (client->in_from == client->in_to)
		client->in_from = client->in_to = 0;
}

static int take_flags(struct nbd_client *client, const uint8_t *in, size_t len)
{
	int r = nbd_client_flags_parse(in, len, &client->handshake.client_flags, NULL);
	if (r <= 0)
		return r;
	take_bytes(client, 4);
	client->stage = NBD_HAGGLES;
	return 1;
}

void nbd_client_begin_requests(struct nbd_client *client)
{
	client->stage = NBD_REQUESTS;
	client->session = nbd_handshake_session(&client->handshake);
	client->image = client->handshake.chosen->image;
	list_remove(&client->timed_node);
	describe_peer(client);
	nbd_server_has_user(client, true);
}

static int take_step(struct nbd_client *client, int step)
{
	if (step == NBD_HANG_UP)
		client->stage = NBD_LEAVES;
	if (step == NBD_START_TLS) {
		client->stage = NBD_BEGINS_TLS;
		/* What came in the open does not count as said under TLS. */
		return client->in_from == client->in_to ? 1 : -EPROTO;
	}
	if (step == NBD_TRANSMIT)
		nbd_client_begin_requests(client);
	return 1;
}

/* One option at a time: the next one waits until the answer to this one is on its way. */
static int take_option(struct nbd_client *client, const uint8_t *in, size_t len)
{
	struct nbd_option option;
	CLEANUP(buf_deinit) struct buf answer = BUF_EMPTY;
	if (!list_is_empty(&client->replies))
		return 0;
	int r = nbd_option_parse(in, len, &option, NULL);
	if (r <= 0)
		return r;
	bool is_long = option.len > NBD_IN_SIZE - NBD_OPTION_HEADER_SIZE;
	if (!is_long && option.len > len - NBD_OPTION_HEADER_SIZE)
		return 0;
	const uint8_t *data = is_long ? NULL : in + NBD_OPTION_HEADER_SIZE;
	int step = nbd_handshake_answer(&client->handshake, &option, data, &answer, NULL);
	if (step < 0)
		return step;
	take_bytes(client, NBD_OPTION_HEADER_SIZE + (is_long ? 0 : option.len));
	client->skip = is_long ? option.len : 0;
	r = say(client, answer.data, answer.len);
	return r < 0 ? r : take_step(client, step);
}

static bool has_room(struct nbd_client *client, size_t weight)
{
	struct nbd_server *server = client->server;
	if (client->n_answers == 0 && weight <= ALWAYS_BYTES)
		return true;
	client->is_stalled = client->n_answers >= ANSWERS_MAX ||
			     (client->n_answers && client->n_bytes + weight > CLIENT_BYTES);
	if (client->is_stalled)
		return false;
	if (server->n_bytes == 0 || server->n_bytes + weight <= TOTAL_BYTES)
		return true;
	client->is_stalled = true;
	list_remove(&client->waiter_node);
	if (client->n_answers)
		list_append(&server->waiters, &client->waiter_node);
	else
		list_push(&server->waiters, &client->waiter_node);
	return false;
}

static int answer_request(struct nbd_client *client, const struct nbd_request *request)
{
	struct err why = ERR_NONE;
	if (nbd_request_check(&client->session, request, &why) < 0)
		return add_answer(client, nbd_answer_error(client, request, &why), &client->replies) ? 1 : -ENOMEM;
	struct nbd_answer *answer = nbd_answer_request(client, request);
	bool has_reads = request->command != NBD_CMD_BLOCK_STATUS;
	if (!add_answer(client, answer, has_reads ? &client->asked : &client->replies))
		return -ENOMEM;
	/* Only now it is on a list from which it can be taken as done. */
	if (has_reads && atomic_fetch_sub(&answer->n_missing, 1) == 1)
		nbd_server_done(client->server, answer);
	return 1;
}

static int take_request(struct nbd_client *client, const uint8_t *in, size_t len)
{
	struct nbd_request request;
	enum nbd_style style = client->session.style;
	int r = nbd_request_parse(style, in, len, &request, NULL);
	if (r <= 0)
		return r;
	if (!has_room(client, nbd_answer_weight(&request)))
		return 0;
	take_bytes(client, nbd_request_size(style));
	if (request.command == NBD_CMD_DISC) {
		client->stage = NBD_LEAVES;
		return 1;
	}
	client->skip = nbd_request_payload(style, &request);
	if (client->skip == 0)
		return answer_request(client, &request);
	/* A client does not expect an answer before it has sent all of it. */
	client->refused = request;
	client->has_refused = true;
	return 1;
}

static int take_skipped(struct nbd_client *client, size_t len)
{
	size_t n = (size_t)min_u64(client->skip, len);
	client->skip -= n;
	take_bytes(client, n);
	return n > 0;
}

static int take_one(struct nbd_client *client)
{
	const uint8_t *in = client->in + client->in_from;
	size_t len = client->in_to - client->in_from;
	if (client->skip)
		return take_skipped(client, len);
	if (client->has_refused) {
		client->has_refused = false;
		return answer_request(client, &client->refused);
	}
	switch (client->stage) {
	case NBD_SAYS_FLAGS:
		return take_flags(client, in, len);
	case NBD_HAGGLES:
		return take_option(client, in, len);
	case NBD_REQUESTS:
		return take_request(client, in, len);
	default:
		return 0;
	}
}

/* 1 = there is more, for another turn. */
static int take_what_is_there(struct nbd_client *client)
{
	int r;
	do
		r = take_one(client);
	while (r > 0 && client->looks_left);
	return r;
}

/* -- listening ------------------------------------------------------------------------------- */

/* The answer that it may begin is on its way. */
static int begin_tls(struct nbd_client *client)
{
	if (!client->tls)
		client->tls = tls_session_new(client->server->options.tls, client->fd);
	if (!client->tls)
		return -ENOMEM;
	int r = tls_session_begin(client->tls, &client->is_blocked);
	client->has_input = r > 0;
	if (r <= 0)
		return r;
	nbd_handshake_has_tls(&client->handshake);
	client->stage = NBD_HAGGLES;
	return 0;
}

static ssize_t receive_some(struct nbd_client *client, void *buf, size_t len)
{
	if (client->tls)
		return tls_session_receive(client->tls, buf, len);
	ssize_t n = recv(client->fd, buf, len, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

/* A client never closes half of a connection: who has closed its side is gone. */
static int receive(struct nbd_client *client)
{
	if (client->in_from) {
		memmove(client->in, client->in + client->in_from, client->in_to - client->in_from);
		client->in_to -= client->in_from;
		client->in_from = 0;
	}
	size_t room = NBD_IN_SIZE - client->in_to;
	ssize_t n = receive_some(client, client->in + client->in_to, room);
	if (n == -EAGAIN || n == -EINTR) {
		client->has_input = false;
		return 0;
	}
	if (n <= 0)
		return -ECONNRESET;
	client->in_to += (size_t)n;
	/* TLS keeps what it has received, and epoll does not know of it. */
	client->has_input = client->tls || (size_t)n == room;
	return 0;
}

static bool is_heard(const struct nbd_client *client)
{
	return client->stage < NBD_LEAVES && !client->is_stalled &&
	       (client->stage >= NBD_REQUESTS || list_is_empty(&client->replies));
}

static void watch(struct nbd_client *client)
{
	struct epoll_event event = { .data.ptr = client };
	event.events = (is_heard(client) ? EPOLLIN : 0u) | (client->is_blocked ? EPOLLOUT : 0u);
	if (event.events == client->interest)
		return;
	client->interest = event.events;
	(void) epoll_ctl(client->server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
}

void nbd_client_work(struct nbd_client *client)
{
	int r = 0;
	client->looks_left = NBD_LOOKS_MAX;
	send_replies(client);
	if (client->stage == NBD_BEGINS_TLS && list_is_empty(&client->replies)) {
		r = begin_tls(client);
	} else if (client->stage != NBD_GONE && is_heard(client)) {
		r = take_what_is_there(client);
		if (r == 0 && client->has_input && is_heard(client))
			r = receive(client);
		if (r == 0)
			r = take_what_is_there(client);
	}
	bool has_left = client->stage == NBD_LEAVES && client->n_answers == 0;
	if (r == -EPROTO)
		send_replies(client); /* to what it has said before */
	if (r < 0 || has_left)
		nbd_client_drop(client);
	if (client->stage == NBD_GONE)
		return;
	bool can_send = !list_is_empty(&client->replies) && !client->is_blocked;
	if (can_send || r > 0 || (client->has_input && is_heard(client)))
		nbd_server_ready(client); /* sent when all that was asked for by now is known */
	else
		watch(client);
}
