/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_chunks.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "source/pbs_refusal.h"
#include "util/bytes.h"
#include "util/lock.h"
#include "util/thread.h"

/*
 *   fetch ──▶ queue ──▶ a slot of the least busy connection ──▶ done
 *               ▲                     │ connection lost, stream refused or reset
 *               └─────────────────────┘
 *
 * Each thread serves its connection, or makes it again: at once, then less and less often.  While there
 * is no connection at all, what somebody waits for stays in the queue, however long (the reader has its own
 * deadline), and the rest fails.  What nobody waits for any more has lost its priority, and goes as well.
 */
#define N_SLOTS	     64	   /* under way on one connection; the stream's own bound is lower for large chunks */
#define N_TRIES	     3	   /* of a chunk whose stream the server breaks off */
#define HOLD_MS	     100   /* after a refused stream nothing more is asked for */
#define STUCK_MS     30000 /* without a byte of an answer, although the server lives; or a reader's patience */
#define FAIR_BYTES   (2u << 20) /* of each other answer before this one gets its turn; two frames */
#define RETRY_MS     250   /* doubled each time, up to: */
#define WANTED_MS    1000  /* somebody waits */
#define IDLE_MS	     30000
#define REFUSED_MS   5000  /* the server is there and does not let us in */
#define RENEW_WAIT_MS 60000

/* One chunk under way. */
struct slot {
	struct h2_request request;
	struct list node; /* idle, or under way */
	struct worker *worker;
	struct fetch *fetch;
	struct mem mem;
	size_t len;
	int result; /* of taking the body */
	int64_t moved_ns;
	uint64_t n_before; /* worker->n_bytes then */
	uint64_t n_seen;   /* and when it was last found overdue */
	struct pbs_text text; /* of a refusal */
};

struct worker {
	struct pbs_chunks *chunks;
	struct pbs_session session;
	pthread_t thread;
	bool has_thread;
	int wake_fd;
	struct slot *slots;
	struct list idle, busy; /* struct slot */
	unsigned n_tries;	/* to connect, since a chunk came */
	int last_failure;
	uint64_t n_bytes;	/* of all bodies */
	struct deadline last_try, hold_until, renew_at;

	/* guarded by chunks->lock */
	bool is_up;
	unsigned n_busy;
};

struct pbs_chunks {
	struct source *source; /* lent; who is told */
	struct pbs_server *server;
	struct worker *workers;
	unsigned n_workers;

	pthread_mutex_t lock; /* guards all below */
	struct list queue;    /* struct fetch */
	bool is_started, is_shut_down;
	unsigned n_up;
	struct source_health health;
};

/* -- waking ---------------------------------------------------------------------------------- */

static void wake(struct worker *worker)
{
	(void) eventfd_write(worker->wake_fd, 1);
}

static struct worker *least_busy_locked(struct pbs_chunks *chunks)
{
	struct worker *best = &chunks->workers[0];
	for (unsigned i = 1; i < chunks->n_workers; i++) {
		struct worker *worker = &chunks->workers[i];
		if (worker->is_up && (!best->is_up || worker->n_busy < best->n_busy))
			best = worker;
	}
	return best;
}

static bool is_wanted(const struct fetch *fetch)
{
	return fetch->job.priority == PRIORITY_DEMAND && !deadline_is_over(fetch->until);
}

/* -- the end of a fetch ---------------------------------------------------------------------- */

static void fail_all(struct list *fetches, int code, const char *words)
{
	struct list *node;
	while ((node = list_pop(fetches))) {
		struct fetch *fetch = CONTAINER_OF(node, struct fetch, node);
		fetch->result = err_set(&fetch->err, code, "%s", words);
		fetch->done(fetch);
	}
}

/*
 * First in the queue: it has waited longest.  Whoever is shut down empties the queue.  Streams also end while
 * something is sent, just before their thread waits, and another connection may have room: somebody is woken.
 */
static void give_back(struct pbs_chunks *chunks, struct fetch *fetch)
{
	HOLD(&chunks->lock);
	list_push(&chunks->queue, &fetch->node);
	wake(least_busy_locked(chunks));
}

static int settle_refused(struct slot *slot, const char *digest)
{
	struct fetch *fetch = slot->fetch;
	struct err why = ERR_NONE;
	int r = pbs_refusal((unsigned)slot->request.status, slot->text.data, slot->text.len, &why);
	return err_set(&fetch->err, r == -ENOENT ? -ENOENT : -EIO, "chunk %s: %s", digest, why.msg);
}

static int settle_good(struct slot *slot)
{
	slot->fetch->raw = slot->mem;
	slot->fetch->raw_len = slot->len;
	slot->mem = MEM_NONE;
	return 0;
}

/* 1 = it is to be asked for again, else the fetch has its result. */
static int settle(struct slot *slot, enum h2_end end)
{
	struct fetch *fetch = slot->fetch;
	struct worker *worker = slot->worker;
	bool is_refused = slot->request.status && slot->request.status != 200;
	char digest[2 * DIGEST_SIZE + 1];
	hex_encode(fetch->digest, DIGEST_SIZE, digest);
	if (slot->result == -ENOMEM)
		fetch->result = err_set(&fetch->err, -ENOMEM, "no memory for chunk %s", digest);
	else if (slot->result < 0)
		fetch->result = err_set(&fetch->err, -EBADMSG, "chunk %s: the server sends more than a chunk "
					"can be", digest);
	else if (is_refused && (end == H2_DONE || end == H2_BROKEN))
		fetch->result = settle_refused(slot, digest);
	else if (end == H2_DONE)
		fetch->result = settle_good(slot);
	else if (end == H2_BROKEN && ++fetch->n_tries >= N_TRIES)
		fetch->result = err_set(&fetch->err, -EIO, "chunk %s: the server breaks off its answer", digest);
	else
		return 1;
	if (end == H2_DONE)
		worker->n_tries = 0;
	return 0;
}

static void release(struct slot *slot)
{
	struct worker *worker = slot->worker;
	bufpool_put(slot->fetch->pool, slot->mem);
	slot->mem = MEM_NONE;
	slot->fetch = NULL;
	list_remove(&slot->node);
	list_push(&worker->idle, &slot->node);
	HOLD(&worker->chunks->lock);
	worker->n_busy--;
}

static void slot_ended(struct h2_request *request, enum h2_end end)
{
	struct slot *slot = CONTAINER_OF(request, struct slot, request);
	struct fetch *fetch = slot->fetch;
	struct worker *worker = slot->worker;
	if (end == H2_REFUSED)
		worker->hold_until = deadline_in_ms(HOLD_MS);
	bool is_again = settle(slot, end);
	release(slot);
	if (is_again)
		give_back(worker->chunks, fetch);
	else
		fetch->done(fetch);
}

/* -- a chunk arrives ------------------------------------------------------------------------- */

static int make_room(struct slot *slot)
{
	struct fetch *fetch = slot->fetch;
	uint64_t len = min_u64(slot->request.length, fetch->max_len);
	if (!slot->mem.data)
		slot->mem = bufpool_get(fetch->pool, len);
	return slot->mem.data ? 0 : -ENOMEM;
}

static void note_progress(struct slot *slot)
{
	slot->moved_ns = now_ns();
	slot->n_before = slot->n_seen = slot->worker->n_bytes;
}

/* The length is checked against what was announced as well: by the HTTP/2 library. */
static int take_chunk(struct h2_request *request, const uint8_t *data, size_t len)
{
	struct slot *slot = CONTAINER_OF(request, struct slot, request);
	slot->worker->n_bytes += len;
	note_progress(slot);
	if (request->status != 200)
		return pbs_text_add(&slot->text, data, len);
	slot->result = len > slot->fetch->max_len - slot->len ? -EMSGSIZE : make_room(slot);
	if (slot->result == 0 && len > slot->mem.cap - slot->len) /* more than was announced */
		slot->result = -EMSGSIZE;
	if (slot->result < 0)
		return slot->result;
	memcpy(slot->mem.data + slot->len, data, len);
	slot->len += len;
	return 0;
}

/* -- asking ---------------------------------------------------------------------------------- */

/* What is wanted most, of those the one that waits longest. */
static struct fetch *most_wanted_locked(struct pbs_chunks *chunks)
{
	struct fetch *best = NULL;
	for (struct list *node = chunks->queue.next; node != &chunks->queue; node = node->next) {
		struct fetch *fetch = CONTAINER_OF(node, struct fetch, node);
		if (!best || fetch->job.priority < best->job.priority)
			best = fetch;
	}
	return best;
}

/* NULL = there is none, or it is the turn of another worker, who is woken. */
static struct fetch *next_fetch(struct worker *worker)
{
	struct pbs_chunks *chunks = worker->chunks;
	struct worker *least;
	{
		HOLD(&chunks->lock);
		struct fetch *fetch = most_wanted_locked(chunks);
		if (!fetch)
			return NULL;
		least = least_busy_locked(chunks);
		if (least->n_busy >= worker->n_busy) {
			list_remove(&fetch->node);
			worker->n_busy++;
			return fetch;
		}
	}
	wake(least);
	return NULL;
}

static int ask(struct worker *worker, struct fetch *fetch, struct err *err)
{
	struct slot *slot = CONTAINER_OF(list_pop(&worker->idle), struct slot, node);
	char target[sizeof "/chunk?digest=" + 2 * DIGEST_SIZE] = "/chunk?digest=";
	hex_encode(fetch->digest, DIGEST_SIZE, target + strlen(target));
	list_append(&worker->busy, &slot->node);
	slot->fetch = fetch;
	slot->len = slot->text.len = 0;
	slot->result = 0;
	note_progress(slot);
	int r = pbs_session_ask(&worker->session, &slot->request, target, err);
	if (r < 0) {
		release(slot);
		give_back(worker->chunks, fetch);
	}
	return r;
}

static int ask_for_more(struct worker *worker, struct err *err)
{
	const struct h2 *h2 = worker->session.h2;
	unsigned most = (unsigned)min_size(h2_max_requests(h2), N_SLOTS);
	while (worker->n_busy < most && !h2_is_going_away(h2) && deadline_is_over(worker->hold_until)) {
		struct fetch *fetch = next_fetch(worker);
		int r = fetch ? ask(worker, fetch, err) : 0;
		if (!fetch || r < 0)
			return r;
	}
	return 0;
}

/* -- a connection ---------------------------------------------------------------------------- */

static void connection_made(struct worker *worker)
{
	struct pbs_chunks *chunks = worker->chunks;
	struct source_health before;
	{
		HOLD(&chunks->lock);
		before = chunks->health;
		worker->is_up = true;
		chunks->n_up++;
		chunks->health = SOURCE_HEALTHY;
	}
	if (before.is_lost)
		source_tell(chunks->source, "%s: connected again after %lld s", chunks->server->name,
			    (long long)(time(NULL) - before.since));
}

static void connection_lost(struct worker *worker, const struct err *why)
{
	struct pbs_chunks *chunks = worker->chunks;
	bool is_news;
	worker->last_failure = why->code;
	{
		HOLD(&chunks->lock);
		chunks->n_up -= worker->is_up;
		worker->is_up = false;
		is_news = chunks->n_up == 0 && !chunks->health.is_lost && !chunks->is_shut_down;
		if (is_news)
			chunks->health = (struct source_health){ .is_lost = true, .since = time(NULL) };
		chunks->health.why = *why;
	}
	pbs_session_close(&worker->session); /* what it had under way is in the queue again */
	if (is_news)
		source_tell(chunks->source, "%s: the connection is lost (%s); reads wait for it",
			    chunks->server->name, why->msg);
}

/* While there is no connection: nobody needs them now. */
static void fail_unwanted(struct pbs_chunks *chunks)
{
	struct list unwanted;
	struct err why;
	list_init(&unwanted);
	{
		HOLD(&chunks->lock);
		if (chunks->n_up)
			return;
		why = chunks->health.why;
		struct list *node = chunks->queue.next;
		while (node != &chunks->queue) {
			struct fetch *fetch = CONTAINER_OF(node, struct fetch, node);
			node = node->next;
			if (is_wanted(fetch))
				continue;
			list_remove(&fetch->node);
			list_append(&unwanted, &fetch->node);
		}
	}
	fail_all(&unwanted, -ECANCELED, why.msg);
}

static bool is_waited_for(struct pbs_chunks *chunks)
{
	HOLD(&chunks->lock);
	return !list_is_empty(&chunks->queue);
}

static bool is_refusal(int code)
{
	return code == -EACCES || code == -ENOENT || code == -EBUSY || code == -EAGAIN || code == -EBADMSG;
}

static struct deadline next_try(struct worker *worker)
{
	if (worker->n_tries == 0)
		return worker->last_try;
	bool is_waited = is_waited_for(worker->chunks);
	int64_t most = is_waited ? WANTED_MS : IDLE_MS;
	if (is_refusal(worker->last_failure))
		most = is_waited ? REFUSED_MS : 2 * IDLE_MS;
	int64_t ms = RETRY_MS;
	for (unsigned i = 1; i < worker->n_tries && ms < most; i++)
		ms *= 2;
	return (struct deadline){ worker->last_try.ns + (int64_t)min_u64((uint64_t)ms, (uint64_t)most) * 1000000 };
}

/* A new fetch that finds it asleep for long shortens the wait. */
static void sleep_until_next_try(struct worker *worker)
{
	for (;;) {
		fail_unwanted(worker->chunks);
		struct deadline at = next_try(worker);
		if (deadline_is_over(at))
			return;
		struct pollfd fds[] = {
			{ .fd = worker->session.link.stop_fd, .events = POLLIN },
			{ .fd = worker->wake_fd, .events = POLLIN },
		};
		int n = poll(fds, ARRAY_LEN(fds), deadline_poll_ms(at));
		eventfd_t ignored;
		if (n > 0 && fds[0].revents)
			return;
		if (n > 0)
			(void) eventfd_read(worker->wake_fd, &ignored);
	}
}

static void connect_again(struct worker *worker)
{
	struct err why = ERR_NONE;
	sleep_until_next_try(worker);
	worker->last_try = deadline_in_ms(0);
	worker->n_tries++;
	worker->hold_until = deadline_in_ms(0);
	if (pbs_session_open(&worker->session, &why) < 0)
		connection_lost(worker, &why);
	else
		connection_made(worker);
}

/* Only where there is no password to log in with again; the first thread does it for all. */
static void renew_ticket(struct worker *worker)
{
	struct pbs_server *server = worker->chunks->server;
	if (!deadline_is_over(worker->renew_at))
		return;
	int r = pbs_server_renew(server, &worker->session.link, NULL);
	worker->renew_at = r < 0 ? deadline_in_ms(RENEW_WAIT_MS) : pbs_server_renew_at(server);
}

static struct deadline sooner(struct deadline a, struct deadline b)
{
	return a.ns < b.ns ? a : b;
}

/* When an answer that does not go on is given up. */
static struct deadline overdue_at(const struct slot *slot)
{
	uint64_t ms = min_u64(STUCK_MS, (uint64_t)slot->worker->chunks->server->timeout_ms);
	return (struct deadline){ slot->moved_ns + (int64_t)ms * 1000000 };
}

static struct deadline stuck_at(const struct worker *worker)
{
	struct deadline at = DEADLINE_NEVER;
	for (struct list *node = worker->busy.next; node != &worker->busy; node = node->next)
		at = sooner(at, overdue_at(CONTAINER_OF(node, struct slot, node)));
	return at;
}

/* On a slow link an answer that is overdue may only wait while each of the others gets its frame. */
static bool is_stuck(struct worker *worker)
{
	for (struct list *node = worker->busy.next; node != &worker->busy; node = node->next) {
		struct slot *slot = CONTAINER_OF(node, struct slot, node);
		uint64_t n_others = worker->n_bytes - slot->n_before;
		if (!deadline_is_over(overdue_at(slot)))
			continue;
		bool is_silent = worker->n_bytes == slot->n_seen;
		if (is_silent || n_others >= (uint64_t)worker->n_busy * FAIR_BYTES)
			return true;
		slot->moved_ns = now_ns();
		slot->n_seen = worker->n_bytes;
	}
	return false;
}

static struct deadline turn_until(const struct worker *worker)
{
	struct deadline until = sooner(stuck_at(worker), worker->renew_at);
	return deadline_is_over(worker->hold_until) ? until : sooner(until, worker->hold_until);
}

static void serve(struct worker *worker)
{
	struct err why = ERR_NONE;
	struct pbs_session *session = &worker->session;
	renew_ticket(worker);
	int r = ask_for_more(worker, &why);
	if (r == 0)
		r = pbs_session_turn(session, worker->wake_fd, turn_until(worker), &why);
	if (r == 0 && is_stuck(worker))
		r = err_set(&why, -ETIMEDOUT, "%s does not go on with an answer", session->link.host);
	if (r == 0 && h2_is_going_away(session->h2) && h2_is_idle(session->h2))
		r = err_set(&why, -ECONNRESET, "%s ends the connection", session->link.host);
	if (r < 0)
		connection_lost(worker, &why);
}

/* -- threads --------------------------------------------------------------------------------- */

static bool is_shut_down(struct pbs_chunks *chunks)
{
	HOLD(&chunks->lock);
	return chunks->is_shut_down;
}

static void empty_queue(struct pbs_chunks *chunks)
{
	struct list rest;
	list_init(&rest);
	{
		HOLD(&chunks->lock);
		list_take_all(&rest, &chunks->queue);
	}
	fail_all(&rest, -ESHUTDOWN, "it was shut down");
}

static void *run(void *user)
{
	struct worker *worker = user;
	struct pbs_chunks *chunks = worker->chunks;
	worker->last_try = deadline_in_ms(0);
	worker->renew_at = worker == chunks->workers ? pbs_server_renew_at(chunks->server) : DEADLINE_NEVER;
	while (!is_shut_down(chunks)) {
		if (pbs_session_is_open(&worker->session))
			serve(worker);
		else
			connect_again(worker);
	}
	pbs_session_close(&worker->session);
	empty_queue(chunks);
	return NULL;
}

/* The first one takes over the connection of set-up; without it there is nothing. */
static int start_threads(struct pbs_chunks *chunks)
{
	pbs_server_end_set_up(chunks->server);
	for (unsigned i = 0; i < chunks->n_workers; i++) {
		struct worker *worker = &chunks->workers[i];
		char name[16];
		(void) snprintf(name, sizeof name, "net-%u", i);
		int r = thread_start(&worker->thread, name, run, worker);
		worker->has_thread = r == 0;
		if (r < 0 && i == 0)
			return r;
	}
	return 0;
}

/* -- for the source -------------------------------------------------------------------------- */

static int worker_init(struct worker *worker, struct pbs_chunks *chunks, const struct pbs_reader *reader)
{
	worker->chunks = chunks;
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->slots = calloc(N_SLOTS, sizeof *worker->slots);
	list_init(&worker->idle);
	list_init(&worker->busy);
	pbs_session_init(&worker->session, reader);
	for (size_t i = 0; worker->slots && i < N_SLOTS; i++) {
		struct slot *slot = &worker->slots[i];
		slot->worker = worker;
		slot->request = (struct h2_request){ .body = take_chunk, .done = slot_ended };
		list_append(&worker->idle, &slot->node);
	}
	return worker->wake_fd < 0 || !worker->slots ? -ENOMEM : 0;
}

int pbs_chunks_new(struct source *source, const struct pbs_reader *reader, unsigned n_connections,
		   struct pbs_chunks **ret, struct err *err)
{
	struct pbs_chunks *chunks = calloc(1, sizeof *chunks);
	if (!chunks)
		return err_set(err, -ENOMEM, "no memory");
	chunks->source = source;
	chunks->server = reader->server;
	(void) pthread_mutex_init(&chunks->lock, NULL);
	list_init(&chunks->queue);
	chunks->workers = calloc(n_connections, sizeof *chunks->workers);
	int r = chunks->workers ? 0 : -ENOMEM;
	while (r == 0 && chunks->n_workers < n_connections)
		r = worker_init(&chunks->workers[chunks->n_workers++], chunks, reader);
	if (r < 0) {
		pbs_chunks_free(chunks);
		return err_set(err, -ENOMEM, "no memory for a connection");
	}
	*ret = chunks;
	return 0;
}

void pbs_chunks_free(struct pbs_chunks *chunks)
{
	if (!chunks)
		return;
	pbs_chunks_shutdown(chunks);
	for (unsigned i = 0; i < chunks->n_workers; i++) {
		struct worker *worker = &chunks->workers[i];
		if (worker->has_thread)
			(void) pthread_join(worker->thread, NULL);
		pbs_session_deinit(&worker->session);
		closep(&worker->wake_fd);
		free(worker->slots);
	}
	pbs_server_go_on(chunks->server); /* another snapshot may be opened */
	free(chunks->workers);
	(void) pthread_mutex_destroy(&chunks->lock);
	free(chunks);
}

struct pbs_session *pbs_chunks_session(struct pbs_chunks *chunks)
{
	return &chunks->workers[0].session;
}

/* True for the first fetch: it finds the connection of set-up. */
static bool begin(struct pbs_chunks *chunks)
{
	HOLD(&chunks->lock);
	if (chunks->is_started)
		return false;
	chunks->is_started = true;
	chunks->workers[0].is_up = pbs_session_is_open(&chunks->workers[0].session);
	chunks->n_up = chunks->workers[0].is_up;
	return true;
}

/* Else why not. */
static int enqueue(struct pbs_chunks *chunks, struct fetch *fetch)
{
	HOLD(&chunks->lock);
	if (chunks->is_shut_down)
		return err_set(&fetch->err, -ESHUTDOWN, "it was shut down");
	if (chunks->n_up == 0 && !is_wanted(fetch))
		return err_set(&fetch->err, -ECANCELED, "%s", chunks->health.why.msg);
	list_append(&chunks->queue, &fetch->node);
	/* It never blocks; and when the lock is free the fetch may be answered and all of this gone. */
	wake(least_busy_locked(chunks));
	return 0;
}

void pbs_chunks_fetch(struct pbs_chunks *chunks, struct fetch *fetch)
{
	fetch->origin = 0;
	fetch->raw = MEM_NONE;
	fetch->raw_len = 0;
	fetch->n_tries = 0;
	if (begin(chunks) && start_threads(chunks) < 0) {
		pbs_chunks_shutdown(chunks);
		empty_queue(chunks);
	}
	int r = enqueue(chunks, fetch);
	if (r < 0) {
		fetch->result = r;
		fetch->done(fetch);
	}
}

void pbs_chunks_raise(struct pbs_chunks *chunks, struct fetch *fetch, enum priority priority)
{
	if (priority < fetch->job.priority)
		fetch->job.priority = priority;
}

void pbs_chunks_shutdown(struct pbs_chunks *chunks)
{
	{
		HOLD(&chunks->lock);
		chunks->is_shut_down = true;
	}
	pbs_server_stop(chunks->server);
}

void pbs_chunks_health(struct pbs_chunks *chunks, struct source_health *ret)
{
	HOLD(&chunks->lock);
	*ret = chunks->health;
}
