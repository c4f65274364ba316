/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "export/nbd_server.h"
#include "util/list.h"

/* What nbd_server.c, nbd_client.c and nbd_answer.c share.  All of it belongs to the server's thread, but for what
 * a lock guards. */

/* -- an answer ------------------------------------------------------------------------------- */

/* Some bytes of an answer: a head, then what a read has brought, or @data. */
struct nbd_part {
	uint8_t head[NBD_REPLY_MAX];
	size_t head_len;
	const uint8_t *data; /* inside answer->bytes; NULL = the read's */
	size_t len;	     /* bytes behind the head */
	bool has_read;
	struct read read;
};

/*
 * What one client gets for one thing it said.
 *
 *   asked (reads are on their way) ── the last one, on any thread: server->done ──▶ replies (being sent) ──▶ freed
 */
struct nbd_answer {
	struct list node;      /* client->asked, then client->replies */
	struct list done_node; /* server->done, guarded by server->lock */
	struct nbd_client *client;
	struct nbd_request request;
	size_t weight;	       /* bytes it counts for until it is sent, memory for itself included */
	atomic_uint n_missing; /* reads, and 1 while they are submitted */
	uint8_t *bytes;	       /* its own; NULL = none */
	unsigned n_parts;
	unsigned at_part;      /* where sending is: so many bytes into this part */
	size_t at_byte;
	struct nbd_part parts[];
};

/* Bytes it will count for. */
size_t nbd_answer_weight(const struct nbd_request *request);

/* The answer to a request that was checked: its reads begin.  NULL = no memory. */
struct nbd_answer *nbd_answer_request(struct nbd_client *client, const struct nbd_request *request);
struct nbd_answer *nbd_answer_error(struct nbd_client *client, const struct nbd_request *request,
				    const struct err *why);
/* Bytes as they are. */
struct nbd_answer *nbd_answer_bytes(struct nbd_client *client, const void *bytes, size_t len);
void nbd_answer_free(struct nbd_answer *answer);

/* All its reads are done: what is sent is what became of them. */
void nbd_answer_finish(struct nbd_answer *answer);
void nbd_answer_cancel(struct nbd_answer *answer);

/* What is to be sent next, at most @most pieces; returns how many.  Sent: true = that was all of it. */
int nbd_answer_fill(const struct nbd_answer *answer, struct iovec *iov, int most);
bool nbd_answer_sent(struct nbd_answer *answer, size_t *len);

/* Bytes of the chunks it holds, without the first one if that is *@last; the last one there. */
size_t nbd_answer_held(const struct nbd_answer *answer, const struct chunk **last);
/* It has to wait for its client: it shall not hold chunks much larger than itself. */
void nbd_answer_keep_less(struct nbd_answer *answer);

/* -- a client -------------------------------------------------------------------------------- */

enum nbd_stage {
	NBD_SAYS_FLAGS,
	NBD_HAGGLES,
	NBD_BEGINS_TLS,
	NBD_REQUESTS, /* it has chosen an export, and is a user */
	NBD_LEAVES,   /* gets what it asked for, and is not listened to any more */
	NBD_GONE,     /* only its answers that are on their way are left */
};

#define NBD_IN_SIZE (16u << 10) /* bytes: the longest option that is understood */

/* For zeros, of one client in one turn, each bounded as well: the thread is everybody's. */
#define NBD_LOOKS_MAX 256u

struct nbd_client {
	struct nbd_server *server;
	int fd;
	struct tls_session *tls; /* NULL = none yet */
	enum nbd_stage stage;
	uint32_t interest;	 /* what epoll watches */
	struct list node;	 /* server->clients, then server->graves */
	struct list timed_node;	 /* server->handshakes or server->senders */
	struct list ready_node;	 /* server->ready */
	struct list waiter_node; /* server->waiters: until others need less */
	struct list user_node;	 /* server->users, guarded by server->lock */
	struct deadline until;	 /* while it is on timed_node's list */
	size_t n_sent;		 /* since that was set */
	bool is_stalled;	 /* has all it may have: not listened to until something was sent */
	bool is_blocked;	 /* takes no bytes now */
	bool has_input;		 /* there may be more to receive */
	unsigned looks_left;	 /* of NBD_LOOKS_MAX */
	struct nbd_handshake handshake;
	struct nbd_session session; /* when it requests */
	struct image *image;
	struct list asked, replies; /* struct nbd_answer */
	size_t n_answers, n_bytes;  /* on both lists and on server->done; their weight */
	size_t n_held;		    /* bytes of chunks its replies hold while it is blocked */
	uint64_t skip;		    /* bytes of input nobody wants */
	struct nbd_request refused; /* what they belong to: answered when they have come */
	bool has_refused;
	char peer[64];
	size_t in_from, in_to; /* what is in there */
	uint8_t in[NBD_IN_SIZE];
};

struct nbd_client *nbd_client_new(struct nbd_server *server, int take_fd);
void nbd_client_free(struct nbd_client *client);
/* The handshake is over; the export is chosen. */
void nbd_client_begin_requests(struct nbd_client *client);
/* One turn: sends, listens, answers. */
void nbd_client_work(struct nbd_client *client);
void nbd_client_answered(struct nbd_answer *answer);
void nbd_client_drop(struct nbd_client *client);
/* Its deadline begins anew, if it took its share of what it has since that was set.  False = it did not. */
bool nbd_client_renew(struct nbd_client *client);

/* -- the server ------------------------------------------------------------------------------ */

/* A connection that was brought. */
struct nbd_newcomer {
	int fd;
	bool has_chosen; /* it is beyond the handshake */
};

struct nbd_server {
	struct nbd_server_options options;
	int epoll_fd, wake_fd, event_fd;
	int *listen_fds; /* -EBADF when closed */
	pthread_t thread;
	bool has_thread;

	struct list clients, graves, ready;
	struct list waiters; /* those first who have nothing at all */
	struct list handshakes, senders; /* soonest deadline first */
	size_t n_clients, max_clients, n_bytes, n_held;
	struct deadline listen_again, idle_until;

	pthread_mutex_t lock; /* guards all below */
	struct list done;     /* struct nbd_answer at done_node, all reads of which are done */
	bool is_asleep;	      /* or about to be: who puts something here wakes it */
	struct list users;    /* struct nbd_client at user_node */
	unsigned n_users;
	struct nbd_newcomer *newcomers;
	size_t n_newcomers, cap_newcomers;
	bool is_ending, is_closing, has_ended;
};

/* On any thread. */
void nbd_server_done(struct nbd_server *server, struct nbd_answer *answer);
/* The client has something to do in this turn. */
void nbd_server_ready(struct nbd_client *client);
void nbd_server_has_user(struct nbd_client *client, bool is_user);
void nbd_server_count_client(struct nbd_server *server, int change);
void nbd_server_release(struct nbd_server *server, size_t n_bytes);
