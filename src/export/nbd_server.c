/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "export/nbd_internal.h"
#include "util/array.h"
#include "util/lock.h"
#include "util/thread.h"

/*
 * The thread that serves NBD.  It goes round and round:
 *
 *   epoll ─▶ clients that said something: requests begin ─▶ answers that are there by now ─▶ sent ─┐
 *     ▲  sleeps without a timeout while there is nothing to do and no deadline to keep             │
 *     └────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Reads are answered on the threads of the stream; they put the answer on a list and wake this thread if it
 * sleeps.  With as many clients as there may be, one that still haggles makes room for a new one.
 */
#define CLIENTS_MAX	  1000u
#define DESCRIPTORS_KEPT  100u	/* for chunks, control socket and all else of the process */
#define HANDSHAKE_MS	  60000
#define SEND_MS		  60000
#define HELD_BYTES	  (64u << 20)
#define CROWDED_SHARE	  12 /* of SEND_MS: so long, when somebody else can have nothing at all */
#define ALIVE_IDLE_S	  60 /* a machine that is gone is no client after two minutes */
#define ALIVE_EVERY_S	  10
#define ALIVE_MISSES	  6
#define LISTEN_AGAIN_MS	  1000	/* when the system had no descriptor left */
#define EVENTS_MAX	  64
#define ACCEPTS_MAX	  32 /* in one turn, of one socket */
#define SEND_BUFFER	  (1 << 20) /* bytes; what the kernel gives at most is up to it */

static void tell(struct nbd_server *server)
{
	(void) eventfd_write(server->event_fd, 1);
}

static void wake(struct nbd_server *server)
{
	(void) eventfd_write(server->wake_fd, 1);
}

/* -- for clients and answers ----------------------------------------------------------------- */

/* Woken under the lock: when that is free, the last answer may be taken and the server gone. */
void nbd_server_done(struct nbd_server *server, struct nbd_answer *answer)
{
	HOLD(&server->lock);
	list_append(&server->done, &answer->done_node);
	if (server->is_asleep)
		wake(server);
	server->is_asleep = false;
}

void nbd_server_ready(struct nbd_client *client)
{
	if (list_is_empty(&client->ready_node))
		list_append(&client->server->ready, &client->ready_node);
}

void nbd_server_has_user(struct nbd_client *client, bool is_user)
{
	struct nbd_server *server = client->server;
	{
		HOLD(&server->lock);
		if (list_is_empty(&client->user_node) != is_user)
			return;
		if (is_user) {
			list_append(&server->users, &client->user_node);
			server->n_users++;
		} else {
			list_remove(&client->user_node);
			server->n_users--;
		}
	}
	tell(server);
}

/* Who has not chosen yet keeps the server as well: a handshake has a deadline of its own. */
void nbd_server_count_client(struct nbd_server *server, int change)
{
	server->n_clients += (size_t)change;
	HOLD(&server->lock);
	if (server->options.idle_ms)
		server->idle_until = server->n_clients ? DEADLINE_NEVER : deadline_in_ms(server->options.idle_ms);
}

void nbd_server_release(struct nbd_server *server, size_t n_bytes)
{
	struct list *node;
	server->n_bytes -= n_bytes;
	while ((node = list_pop(&server->waiters))) {
		struct nbd_client *client = CONTAINER_OF(node, struct nbd_client, waiter_node);
		client->is_stalled = false;
		nbd_server_ready(client);
	}
}

/* -- new clients ----------------------------------------------------------------------------- */

static void greet(struct nbd_client *client)
{
	uint8_t greeting[NBD_GREETING_SIZE];
	nbd_greeting_write(greeting);
	client->until = deadline_in_ms(client->server->options.handshake_ms);
	list_append(&client->server->handshakes, &client->timed_node);
	/* It fits: nothing was sent before. */
	if (send(client->fd, greeting, sizeof greeting, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof greeting)
		nbd_client_drop(client);
}

static void set_socket(int fd, int level, int name, int value)
{
	(void) setsockopt(fd, level, name, &value, sizeof value);
}

static void add_client(struct nbd_server *server, int take_fd, bool has_chosen)
{
	set_socket(take_fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
	/* A unix socket has none of these. */
	set_socket(take_fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_socket(take_fd, IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE_S);
	set_socket(take_fd, IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_EVERY_S);
	set_socket(take_fd, IPPROTO_TCP, TCP_KEEPCNT, ALIVE_MISSES);
	set_socket(take_fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	struct nbd_client *client = nbd_client_new(server, take_fd);
	if (!client)
		return;
	list_append(&server->clients, &client->node);
	nbd_server_count_client(server, 1);
	client->interest = EPOLLIN;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0) {
		nbd_client_drop(client);
	} else if (has_chosen) {
		client->handshake.chosen = &server->options.offer.exports[0];
		nbd_client_begin_requests(client);
	} else {
		greet(client);
	}
}

static void watch_listeners(struct nbd_server *server, bool is_listening)
{
	for (size_t i = 0; i < server->options.n_listen_fds; i++) {
		struct epoll_event event = { .events = is_listening ? EPOLLIN : 0u, .data.ptr = &server->listen_fds[i] };
		if (server->listen_fds[i] >= 0)
			(void) epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listen_fds[i], &event);
	}
}

/* One who has not chosen anything yet, for a long time, makes room. */
static bool drop_haggler(struct nbd_server *server)
{
	if (list_is_empty(&server->handshakes))
		return false;
	nbd_client_drop(CONTAINER_OF(server->handshakes.next, struct nbd_client, timed_node));
	return true;
}

static void admit(struct nbd_server *server, int take_fd, bool has_chosen)
{
	if (server->n_clients < server->max_clients || drop_haggler(server))
		add_client(server, take_fd, has_chosen);
	else
		closep(&take_fd);
}

/* False = nobody more is there, or has to wait. */
static bool accept_client(struct nbd_server *server, int listen_fd)
{
	CLEANUP(closep) int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		if (drop_haggler(server))
			return true;
		watch_listeners(server, false);
		server->listen_again = deadline_in_ms(LISTEN_AGAIN_MS);
		return false;
	}
	if (fd < 0)
		return errno == ECONNABORTED || errno == EINTR;
	admit(server, steal_fd(&fd), false);
	return true;
}

static void accept_some(struct nbd_server *server, int listen_fd)
{
	for (int n = 0; n < ACCEPTS_MAX && accept_client(server, listen_fd); n++)
		;
}

static void take_newcomers(struct nbd_server *server)
{
	CLEANUP(freep) struct nbd_newcomer *newcomers = NULL;
	size_t n;
	{
		HOLD(&server->lock);
		newcomers = STEAL(server->newcomers);
		n = server->n_newcomers;
		server->n_newcomers = server->cap_newcomers = 0;
	}
	for (size_t i = 0; i < n; i++)
		admit(server, newcomers[i].fd, newcomers[i].has_chosen);
}

/* -- one turn -------------------------------------------------------------------------------- */

static struct nbd_client *first_of(const struct list *timed)
{
	return CONTAINER_OF(timed->next, struct nbd_client, timed_node);
}

static void soonest(struct deadline *d, const struct list *timed)
{
	if (!list_is_empty(timed)) {
		struct deadline first = first_of(timed)->until;
		if (first.ns < d->ns)
			*d = first;
	}
}

/* Until when the client that takes nothing for longest may do so, while somebody has nothing at all. */
static struct deadline crowded_until(const struct nbd_server *server)
{
	const struct nbd_client *waiter = CONTAINER_OF(server->waiters.next, struct nbd_client, waiter_node);
	if (list_is_empty(&server->waiters) || waiter->n_answers || list_is_empty(&server->senders))
		return DEADLINE_NEVER;
	int64_t send_ms = server->options.send_ms;
	return (struct deadline){ first_of(&server->senders)->until.ns -
				  (send_ms - send_ms / CROWDED_SHARE) * INT64_C(1000000) };
}

/* Milliseconds.  It counts as asleep from the moment on when nothing is found to do. */
static int how_long(struct nbd_server *server)
{
	struct deadline until = server->listen_again;
	soonest(&until, &server->handshakes);
	soonest(&until, &server->senders);
	struct deadline crowded = crowded_until(server);
	if (crowded.ns < until.ns)
		until = crowded;
	HOLD(&server->lock);
	if (server->idle_until.ns < until.ns)
		until = server->idle_until;
	if (!list_is_empty(&server->ready) || !list_is_empty(&server->done))
		return 0;
	server->is_asleep = true;
	return deadline_poll_ms(until);
}

static void take_wake(struct nbd_server *server)
{
	eventfd_t ignored;
	(void) eventfd_read(server->wake_fd, &ignored);
	take_newcomers(server);
}

static void take_client_event(struct nbd_client *client, uint32_t events)
{
	if (client->stage == NBD_GONE)
		return; /* dropped in this very turn */
	if (events & (EPOLLHUP | EPOLLERR)) {
		nbd_client_drop(client);
		return;
	}
	client->has_input |= !!(events & EPOLLIN);
	nbd_server_ready(client);
}

static void take_event(struct nbd_server *server, const struct epoll_event *event)
{
	if (event->data.ptr == &server->wake_fd) {
		take_wake(server);
		return;
	}
	for (size_t i = 0; i < server->options.n_listen_fds; i++) {
		if (event->data.ptr != &server->listen_fds[i])
			continue;
		if (server->listen_fds[i] >= 0)
			accept_some(server, server->listen_fds[i]);
		return;
	}
	take_client_event(event->data.ptr, event->events);
}

static void wait_for_events(struct nbd_server *server)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(server->epoll_fd, events, EVENTS_MAX, how_long(server));
	{
		HOLD(&server->lock);
		server->is_asleep = false;
	}
	for (int i = 0; i < n; i++)
		take_event(server, &events[i]);
}

/* Those who are ready now; who becomes so again is for the next time. */
static void work(struct nbd_server *server)
{
	struct list now;
	struct list *node;
	list_init(&now);
	list_take_all(&now, &server->ready);
	while ((node = list_pop(&now)))
		nbd_client_work(CONTAINER_OF(node, struct nbd_client, ready_node));
}

static void take_done(struct nbd_server *server)
{
	struct list done;
	struct list *node;
	list_init(&done);
	{
		HOLD(&server->lock);
		list_take_all(&done, &server->done);
	}
	while ((node = list_pop(&done)))
		nbd_client_answered(CONTAINER_OF(node, struct nbd_answer, done_node));
}

static void drop_late(struct list *timed)
{
	while (!list_is_empty(timed) && deadline_is_over(first_of(timed)->until))
		nbd_client_drop(first_of(timed));
}

/* Who takes next to nothing of what it has makes room, one at a time: its room may be enough. */
static void drop_hog(struct nbd_server *server)
{
	while (deadline_is_over(crowded_until(server))) {
		struct nbd_client *client = first_of(&server->senders);
		if (!nbd_client_renew(client))
			nbd_client_drop(client); /* the waiters are none any more */
	}
}

static void bury(struct nbd_server *server)
{
	struct list *node = server->graves.next;
	while (node != &server->graves) {
		struct nbd_client *client = CONTAINER_OF(node, struct nbd_client, node);
		node = node->next;
		if (client->n_answers)
			continue;
		list_remove(&client->node);
		nbd_client_free(client);
	}
}

static void stop_listening(struct nbd_server *server)
{
	server->listen_again = DEADLINE_NEVER;
	for (size_t i = 0; i < server->options.n_listen_fds; i++)
		closep(&server->listen_fds[i]);
	while (drop_haggler(server))
		;
}

/* What others told it to do, and what its time has come for.  False = that was all. */
static bool go_on(struct nbd_server *server)
{
	bool is_ending, is_closing;
	unsigned n_users;
	{
		HOLD(&server->lock);
		server->is_ending |= deadline_is_over(server->idle_until);
		is_ending = server->is_ending && server->n_newcomers == 0;
		is_closing = server->is_closing;
		n_users = server->n_users;
	}
	if (is_ending || is_closing)
		stop_listening(server);
	if (!is_ending && deadline_is_over(server->listen_again)) {
		server->listen_again = DEADLINE_NEVER;
		watch_listeners(server, true);
	}
	while (is_closing && !list_is_empty(&server->clients))
		nbd_client_drop(CONTAINER_OF(server->clients.next, struct nbd_client, node));
	return !is_closing && !(is_ending && n_users == 0);
}

static void turn(struct nbd_server *server)
{
	wait_for_events(server);
	work(server); /* listens */
	take_done(server);
	work(server); /* sends */
	drop_late(&server->handshakes);
	drop_late(&server->senders);
	drop_hog(server);
	bury(server);
}

static void *serve(void *arg)
{
	struct nbd_server *server = arg;
	while (go_on(server))
		turn(server);
	/* Whoever was dropped has reads on their way until these are given up. */
	for (;;) {
		bury(server);
		if (list_is_empty(&server->graves) && list_is_empty(&server->clients))
			break;
		turn(server);
		(void) go_on(server);
	}
	{
		HOLD(&server->lock);
		server->has_ended = true;
	}
	tell(server);
	return NULL;
}

/* -- for others ------------------------------------------------------------------------------ */

static int watch_fd(struct nbd_server *server, int *fd, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = fd };
	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, *fd, &event) < 0)
		return err_errno(err, -errno, "cannot wait for NBD clients");
	return 0;
}

static int begin(struct nbd_server *server, struct err *err)
{
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	server->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->epoll_fd < 0 || server->wake_fd < 0 || server->event_fd < 0)
		return err_errno(err, -errno, "cannot wait for NBD clients");
	int r = watch_fd(server, &server->wake_fd, err);
	for (size_t i = 0; r == 0 && i < server->options.n_listen_fds; i++) {
		int flags = fcntl(server->listen_fds[i], F_GETFL);
		(void) fcntl(server->listen_fds[i], F_SETFL, flags | O_NONBLOCK); /* somebody else may be first */
		r = watch_fd(server, &server->listen_fds[i], err);
	}
	return r;
}

int nbd_server_listen(struct nbd_server *server, struct err *err)
{
	nbd_server_count_client(server, 0); /* it is idle from now on */
	int r = thread_start(&server->thread, "nbd", serve, server);
	server->has_thread = r == 0;
	return r < 0 ? err_set(err, r, "cannot start a thread") : 0;
}

static size_t find_max_clients(void)
{
	struct rlimit limit = { 0 };
	(void) getrlimit(RLIMIT_NOFILE, &limit);
	size_t n = limit.rlim_cur < 2 * DESCRIPTORS_KEPT ? DESCRIPTORS_KEPT : limit.rlim_cur - DESCRIPTORS_KEPT;
	return n < CLIENTS_MAX ? n : CLIENTS_MAX;
}

static void init(struct nbd_server *server)
{
	struct list *lists[] = { &server->clients, &server->graves, &server->ready, &server->waiters,
				 &server->handshakes, &server->senders, &server->done, &server->users };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	server->epoll_fd = server->wake_fd = server->event_fd = -EBADF;
	server->max_clients = find_max_clients();
	server->listen_again = DEADLINE_NEVER;
	server->idle_until = DEADLINE_NEVER;
	if (server->options.handshake_ms == 0)
		server->options.handshake_ms = HANDSHAKE_MS;
	if (server->options.send_ms == 0)
		server->options.send_ms = SEND_MS;
	if (server->options.held_bytes == 0)
		server->options.held_bytes = HELD_BYTES;
	(void) pthread_mutex_init(&server->lock, NULL);
}

static void deinit(struct nbd_server *server)
{
	closep(&server->epoll_fd);
	closep(&server->wake_fd);
	closep(&server->event_fd);
	for (size_t i = 0; i < server->n_newcomers; i++)
		closep(&server->newcomers[i].fd);
	(void) pthread_mutex_destroy(&server->lock);
	free(server->newcomers);
	free(server->listen_fds);
	free(server);
}

int nbd_server_open(const struct nbd_server_options *options, struct nbd_server **ret, struct err *err)
{
	struct nbd_server *server = calloc(1, sizeof *server);
	size_t fds_len = options->n_listen_fds * sizeof *options->listen_fds;
	int *listen_fds = malloc(fds_len + 1);
	if (!server || !listen_fds) {
		free(server);
		free(listen_fds);
		return err_set(err, -ENOMEM, "no memory for an NBD server");
	}
	if (fds_len)
		memcpy(listen_fds, options->listen_fds, fds_len);
	server->options = *options;
	server->listen_fds = listen_fds;
	init(server);
	int r = begin(server, err);
	if (r == 0 && options->n_listen_fds == 0)
		r = nbd_server_listen(server, err);
	if (r < 0) {
		deinit(server);
		return r;
	}
	*ret = server;
	return 0;
}

static int add_newcomer(struct nbd_server *server, struct nbd_newcomer newcomer, struct err *err)
{
	{
		HOLD(&server->lock);
		int r = array_grow(&server->newcomers, server->n_newcomers, &server->cap_newcomers, sizeof newcomer, err);
		if (r < 0) {
			closep(&newcomer.fd);
			return r;
		}
		server->newcomers[server->n_newcomers++] = newcomer;
	}
	wake(server);
	return 0;
}

int nbd_server_add_client(struct nbd_server *server, int take_fd, struct err *err)
{
	return add_newcomer(server, (struct nbd_newcomer){ take_fd, false }, err);
}

int nbd_server_add_session(struct nbd_server *server, int take_fd, struct err *err)
{
	return add_newcomer(server, (struct nbd_newcomer){ take_fd, true }, err);
}

int nbd_server_event_fd(const struct nbd_server *server)
{
	return server->event_fd;
}

bool nbd_server_has_ended(struct nbd_server *server)
{
	HOLD(&server->lock);
	return server->has_ended;
}

unsigned nbd_server_n_users(struct nbd_server *server)
{
	HOLD(&server->lock);
	return server->n_users;
}

int nbd_server_users(struct nbd_server *server, struct strv *ret, struct err *err)
{
	int r = 0;
	{
		HOLD(&server->lock);
		for (struct list *node = server->users.next; r == 0 && node != &server->users; node = node->next)
			r = strv_add(ret, CONTAINER_OF(node, struct nbd_client, user_node)->peer, err);
	}
	strv_sort_unique(ret);
	return r;
}

void nbd_server_end(struct nbd_server *server)
{
	{
		HOLD(&server->lock);
		server->is_ending = true;
	}
	wake(server);
}

void nbd_server_close(struct nbd_server *server)
{
	if (!server)
		return;
	{
		HOLD(&server->lock);
		server->is_closing = true;
	}
	wake(server);
	if (server->has_thread)
		(void) pthread_join(server->thread, NULL);
	else
		stop_listening(server);
	deinit(server);
}
