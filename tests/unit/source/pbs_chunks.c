/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_chunks.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pbs_fake.h"
#include "scratch.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/lock.h"

#define MAX_LEN 5000	 /* bytes of a chunk that a test asks for */
#define PATIENCE_MS 60000 /* of a test with what has to come; nothing is measured by it */
#define SOON_NS 5000000000 /* what does not wait for anything takes less */

/* -- the clock: set by tests of what happens after an hour -- */

static _Atomic int64_t shift_s;

time_t __wrap_time(time_t *ret);
time_t __wrap_time(time_t *ret)
{
	struct timespec now;
	(void) clock_gettime(CLOCK_REALTIME, &now);
	time_t t = now.tv_sec + (time_t)shift_s;
	if (ret)
		*ret = t;
	return t;
}

/* -- a server, the connections to it, and fetches one can wait for -- */

struct scene {
	struct pbs_fake *fake;
	struct pbs_server server;
	struct pbs_reader reader;
	struct source source;
	struct pbs_chunks *chunks;
	struct bufpool *pool;
	pthread_mutex_t lock; /* guards @told */
	char told[4000];
};

struct asked {
	struct fetch fetch;
	uint8_t n;
	sem_t done;
	_Atomic unsigned n_done;
	int64_t done_ns;
};

static void take_line(void *user, const char *line)
{
	struct scene *s = user;
	HOLD(&s->lock);
	size_t len = strlen(s->told);
	(void) snprintf(s->told + len, sizeof s->told - len, "%s\n", line);
}

static void begin_server(struct scene *s, bool with_ticket)
{
	struct pbs_repository repository;
	struct pbs_options options;
	memset(s, 0, sizeof *s);
	shift_s = 0;
	(void) pthread_mutex_init(&s->lock, NULL);
	s->fake = pbs_fake_start();
	s->pool = bufpool_new(MAX_LEN, 4);
	s->source.tell = take_line;
	s->source.tell_user = s;
	pbs_fake_options(s->fake, with_ticket, &repository, &options);
	assert_int_equal(pbs_server_init(&s->server, &options, NULL), 0);
	s->reader.server = &s->server;
	assert_int_equal(snapshot_parse("vm/100/2024-01-01T00:00:00Z", &s->reader.snapshot, NULL), 0);
}

static void begin_chunks(struct scene *s, unsigned n_connections)
{
	struct err err = ERR_NONE;
	assert_int_equal(pbs_chunks_new(&s->source, &s->reader, n_connections, &s->chunks, NULL), 0);
	if (pbs_session_open(pbs_chunks_session(s->chunks), &err) < 0)
		fail_msg("%s", err.msg);
}

static void begin(struct scene *s)
{
	begin_server(s, false);
	begin_chunks(s, 1);
}

static void end(struct scene *s)
{
	pbs_chunks_free(s->chunks);
	pbs_server_deinit(&s->server);
	pbs_fake_stop(s->fake);
	bufpool_free(s->pool);
	(void) pthread_mutex_destroy(&s->lock);
}

static void on_done(struct fetch *fetch)
{
	struct asked *a = CONTAINER_OF(fetch, struct asked, fetch);
	a->n_done++;
	a->done_ns = now_ns();
	(void) sem_post(&a->done);
}

static void ask_until(struct scene *s, struct asked *a, uint8_t n, enum priority priority, struct deadline until)
{
	memset(a, 0, sizeof *a);
	(void) sem_init(&a->done, 0, 0);
	a->n = n;
	a->fetch = (struct fetch){ .max_len = MAX_LEN, .until = until, .pool = s->pool, .done = on_done,
				   .job.priority = priority };
	memset(a->fetch.digest, n, DIGEST_SIZE);
	list_init(&a->fetch.job.node);
	pbs_chunks_fetch(s->chunks, &a->fetch);
}

static void ask_like(struct scene *s, struct asked *a, uint8_t n, enum priority priority)
{
	ask_until(s, a, n, priority, DEADLINE_NEVER);
}

static void ask(struct scene *s, struct asked *a, uint8_t n)
{
	ask_like(s, a, n, PRIORITY_DEMAND);
}

static void await(struct asked *a)
{
	struct timespec until;
	(void) clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_MS / 1000;
	if (sem_timedwait(&a->done, &until) < 0)
		fail_msg("chunk %u was not answered", a->n);
	assert_int_equal(a->n_done, 1);
}

static void expect_bytes(struct scene *s, struct asked *a, size_t len)
{
	await(a);
	if (a->fetch.result < 0)
		fail_msg("chunk %u: %s", a->n, a->fetch.err.msg);
	assert_int_equal(a->fetch.raw_len, len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(a->fetch.raw.data[i], pbs_fake_byte(a->n, i));
	bufpool_put(s->pool, a->fetch.raw);
}

static void expect_chunk(struct scene *s, struct asked *a)
{
	expect_bytes(s, a, FAKE_LEN(a->n));
}

static void expect_failure(struct asked *a, int code, const char *words)
{
	await(a);
	if (a->fetch.result != code)
		fail_msg("chunk %u: %d: %s", a->n, a->fetch.result, a->fetch.err.msg);
	assert_int_equal(a->fetch.err.code, code);
	if (!strstr(a->fetch.err.msg, words))
		fail_msg("'%s' does not say '%s'", a->fetch.err.msg, words);
	assert_null(a->fetch.raw.data);
}

static void fetch_right(struct scene *s, uint8_t n)
{
	struct asked a;
	ask(s, &a, n);
	expect_chunk(s, &a);
}

static struct fake_seen seen(struct scene *s)
{
	struct fake_seen ret;
	pbs_fake_seen(s->fake, &ret);
	return ret;
}

/* The server was asked for as many chunks. */
static void wait_for_requests(struct scene *s, unsigned n)
{
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	while (seen(s).n_chunks < n && !deadline_is_over(until))
		(void) usleep(1000);
	assert_int_equal(seen(s).n_chunks, n);
}

static struct source_health health(struct scene *s)
{
	struct source_health ret;
	pbs_chunks_health(s->chunks, &ret);
	return ret;
}

static void wait_for_health(struct scene *s, bool is_lost, const char *words)
{
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	while (!deadline_is_over(until)) {
		struct source_health now = health(s);
		if (now.is_lost == is_lost && strstr(now.why.msg, words))
			return;
		(void) usleep(1000);
	}
	fail_msg("is_lost %d, '%s' and not '%s'", health(s).is_lost, health(s).why.msg, words);
}

static void expect_told(struct scene *s, const char *first, const char *then)
{
	HOLD(&s->lock);
	const char *at = strstr(s->told, first);
	if (!at || (then && !strstr(at, then)))
		fail_msg("'%s' says nothing of '%s', '%s'", s->told, first, then ? then : "");
}

/* -- chunks ---------------------------------------------------------------------------------- */

static void gives_many_at_once(void **state)
{
	for (unsigned n = 1; n <= 3; n++) {
		struct scene s;
		static struct asked a[256];
		begin_server(&s, false);
		begin_chunks(&s, n);
		for (size_t i = 0; i < ARRAY_LEN(a); i++)
			ask_like(&s, &a[i], (uint8_t)i, i % N_PRIORITIES);
		for (size_t i = 0; i < ARRAY_LEN(a); i++)
			expect_chunk(&s, &a[i]);
		struct fake_seen have = seen(&s);
		for (size_t i = 0; i < ARRAY_LEN(a); i++)
			assert_int_equal(have.n_asked[i], 1);
		assert_false(health(&s).is_lost);
		assert_string_equal(s.told, "");
		end(&s);
	}
}

static void asks_first_for_what_is_wanted_most(void **state)
{
	enum { FIRST = 9, PREFETCH, AHEAD, DEMAND, RAISED, LOWERED };
	static const uint8_t order[] = { FIRST, FIRST, DEMAND, RAISED, AHEAD, PREFETCH, LOWERED };
	struct scene s;
	struct asked first, a[5];
	begin_server(&s, false);
	pbs_fake_limit(s.fake, 1);
	begin_chunks(&s, 1);
	fetch_right(&s, FIRST); /* and the settings are here */
	SCRIPT(s.fake, FIRST, FAKE_HOLD);
	ask(&s, &first, FIRST);
	wait_for_requests(&s, 2);
	ask_like(&s, &a[0], PREFETCH, PRIORITY_PREFETCH);
	ask_like(&s, &a[1], AHEAD, PRIORITY_READ_AHEAD);
	ask_like(&s, &a[2], DEMAND, PRIORITY_DEMAND);
	ask_like(&s, &a[3], RAISED, PRIORITY_PREFETCH);
	ask_like(&s, &a[4], LOWERED, PRIORITY_DEMAND);
	pbs_chunks_raise(s.chunks, &a[3].fetch, PRIORITY_DEMAND);
	pbs_chunks_raise(s.chunks, &a[3].fetch, PRIORITY_READ_AHEAD); /* it is more urgent than that */
	a[4].fetch.job.priority = PRIORITY_PREFETCH;
	SCRIPT(s.fake, FIRST, FAKE_GOOD);
	expect_chunk(&s, &first);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_chunk(&s, &a[i]);
	assert_memory_equal(seen(&s).order, order, sizeof order);
	end(&s);
}

static void spreads_the_load_over_its_connections(void **state)
{
	enum { N = 40 };
	for (unsigned n = 2; n <= 3; n++) {
		struct scene s;
		struct asked a[N];
		struct deadline until = deadline_in_ms(PATIENCE_MS);
		begin_server(&s, false);
		begin_chunks(&s, n);
		for (bool is_up = false; !is_up && !deadline_is_over(until);) {
			struct asked few[3];
			SCRIPT(s.fake, -1, FAKE_HOLD);
			unsigned before = seen(&s).n_chunks;
			for (unsigned i = 0; i < n; i++)
				ask(&s, &few[i], (uint8_t)i);
			wait_for_requests(&s, before + n);
			SCRIPT(s.fake, -1, FAKE_GOOD);
			for (unsigned i = 0; i < n; i++)
				expect_chunk(&s, &few[i]);
			is_up = true;
			for (unsigned i = 0; i < n; i++)
				is_up &= seen(&s).n_on[i] > 0;
		}
		struct fake_seen before = seen(&s);
		SCRIPT(s.fake, -1, FAKE_HOLD);
		for (unsigned i = 0; i < N; i++)
			ask(&s, &a[i], (uint8_t)i);
		wait_for_requests(&s, before.n_chunks + N);
		struct fake_seen have = seen(&s);
		for (unsigned i = 0; i < n; i++)
			assert_in_range(have.n_on[i] - before.n_on[i], N / n, N / n + 1);
		SCRIPT(s.fake, -1, FAKE_GOOD);
		for (unsigned i = 0; i < N; i++)
			expect_chunk(&s, &a[i]);
		end(&s);
	}
}

/* -- answers that are not good --------------------------------------------------------------- */

static void tells_one_kind_of_bad_answer_from_another(void **state)
{
	static char long_text[2000];
	memset(long_text, 'x', sizeof long_text - 1);
	const struct {
		struct fake_script script;
		int code;
		const char *words;
		size_t len;
	} rows[] = {
		{ { .act = FAKE_STATUS, .status = 404, .text = "" }, -ENOENT, "it is not there" },
		{ { .act = FAKE_STATUS, .status = 400, .text = "reading file \"x\" failed - No such file or directory "
		    "(os error 2)" }, -ENOENT, "No such file" },
		{ { .act = FAKE_STATUS, .status = 401, .text = "download chunk 00 not allowed" }, -EIO, "not allowed" },
		{ { .act = FAKE_STATUS, .status = 500, .text = "x" }, -EIO, "trouble of its own: x" },
		{ { .act = FAKE_STATUS, .status = 500, .text = long_text }, -EIO, "trouble of its own: xxxx" },
		{ { .act = FAKE_STATUS, .status = 206, .text = "y" }, -EIO, "another answer than a backup server" },
		{ { .act = FAKE_LENGTH, .len = MAX_LEN + 1 }, -EBADMSG, "the server sends more than a chunk can be" },
		{ { .act = FAKE_ANNOUNCED, .len = MAX_LEN + 1 }, -EBADMSG, "more than a chunk can be" },
		{ { .act = FAKE_LENGTH, .len = 2000000 }, -EBADMSG, "more than a chunk can be" },
		{ { .act = FAKE_RESET }, -EIO, "the server breaks off its answer" },
		{ { .act = FAKE_LENGTH, .len = MAX_LEN }, 0, NULL, MAX_LEN },
		{ { .act = FAKE_ANNOUNCED, .len = MAX_LEN }, 0, NULL, MAX_LEN },
		{ { .act = FAKE_ANNOUNCED, .len = 0 }, 0, NULL, 0 },
	};
	struct scene s;
	struct asked a[ARRAY_LEN(rows)];
	begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		pbs_fake_script(s.fake, (int)i, &rows[i].script);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		ask(&s, &a[i], (uint8_t)i);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].code)
			expect_failure(&a[i], rows[i].code, rows[i].words);
		else
			expect_bytes(&s, &a[i], rows[i].len);
	fetch_right(&s, 100); /* on the same connection */
	assert_int_equal(seen(&s).n_readers, 1);
	end(&s);
}

static void asks_again_for_what_was_refused_or_broken_off(void **state)
{
	struct scene s;
	struct asked a[3];
	begin(&s);
	SCRIPT(s.fake, 1, FAKE_REFUSE, .n_times = 4); /* it was not looked at: as often as it takes */
	SCRIPT(s.fake, 2, FAKE_RESET, .n_times = 2);
	SCRIPT(s.fake, 3, FAKE_RESET, .n_times = 3);
	int64_t start_ns = now_ns();
	for (size_t i = 0; i < 3; i++)
		ask(&s, &a[i], (uint8_t)(1 + i));
	expect_chunk(&s, &a[0]);
	assert_true(a[0].done_ns - start_ns >= 4 * 100000000ll); /* not at once each time: it has enough to do */
	expect_chunk(&s, &a[1]);
	expect_failure(&a[2], -EIO, "breaks off");
	struct fake_seen have = seen(&s);
	assert_int_equal(have.n_asked[1], 5);
	assert_int_equal(have.n_asked[2], 3);
	assert_int_equal(have.n_asked[3], 3);
	assert_int_equal(have.n_readers, 1);
	end(&s);
}

/* Nothing else moves on this connection. */
static void goes_on_behind_an_answer_that_was_refused(void **state)
{
	struct scene s;
	struct asked a[4];
	begin_server(&s, false);
	pbs_fake_limit(s.fake, 1);
	begin_chunks(&s, 1);
	fetch_right(&s, 9); /* and the settings are here */
	for (int i = 0; i < 4; i += 2)
		SCRIPT(s.fake, i, FAKE_STALL, .len = MAX_LEN + 1);
	int64_t start_ns = now_ns();
	for (size_t i = 0; i < 4; i++)
		ask(&s, &a[i], (uint8_t)i);
	for (size_t i = 0; i < 4; i++)
		if (i % 2)
			expect_chunk(&s, &a[i]);
		else
			expect_failure(&a[i], -EBADMSG, "more than a chunk can be");
	assert_true(now_ns() - start_ns < SOON_NS);
	end(&s);
}

/* -- a connection that is lost --------------------------------------------------------------- */

static void lose(struct scene *s)
{
	tls_peer_refuse(pbs_fake_server(s->fake), true);
	tls_peer_cut(pbs_fake_server(s->fake));
}

static void come_back(struct scene *s)
{
	tls_peer_refuse(pbs_fake_server(s->fake), false);
}

static void waits_for_a_server_that_comes_back_where_somebody_wants_it(void **state)
{
	struct scene s;
	struct asked wanted, unwanted, later, later_unwanted, left;
	begin(&s);
	SCRIPT(s.fake, -1, FAKE_HOLD);
	ask(&s, &wanted, 1);
	ask(&s, &left, 2);
	ask_like(&s, &unwanted, 3, PRIORITY_READ_AHEAD);
	wait_for_requests(&s, 3);
	assert_false(health(&s).is_lost);
	int64_t before = time(NULL);
	lose(&s);
	expect_failure(&unwanted, -ECANCELED, "127.0.0.1");
	assert_true(health(&s).is_lost);
	assert_in_range(health(&s).since, before, time(NULL));
	ask_like(&s, &later_unwanted, 4, PRIORITY_PREFETCH);
	expect_failure(&later_unwanted, -ECANCELED, "127.0.0.1");
	ask(&s, &later, 5);
	left.fetch.job.priority = PRIORITY_PREFETCH; /* nobody waits any more */
	expect_failure(&left, -ECANCELED, "127.0.0.1");
	assert_int_equal(wanted.n_done + later.n_done, 0);
	SCRIPT(s.fake, -1, FAKE_GOOD);
	come_back(&s);
	expect_chunk(&s, &wanted);
	expect_chunk(&s, &later);
	assert_false(health(&s).is_lost);
	expect_told(&s, ": the connection is lost (127.0.0.1 closed the connection); reads wait for it\n",
		    ": connected again after ");
	assert_int_equal(seen(&s).n_readers, 2);
	end(&s);
}

static void gives_up_at_the_deadline_of_a_fetch(void **state)
{
	struct scene s;
	struct asked a;
	begin(&s);
	fetch_right(&s, 1);
	lose(&s);
	wait_for_health(&s, true, "");
	struct deadline until = deadline_in_ms(300);
	ask_until(&s, &a, 2, PRIORITY_DEMAND, until);
	expect_failure(&a, -ECANCELED, "127.0.0.1");
	assert_true(a.done_ns >= until.ns);
	end(&s);
}

/* However often: each chunk comes once and is right. */
static void loses_nothing_when_the_connection_is_cut_again_and_again(void **state)
{
	struct scene s;
	static struct asked a[200];
	begin_server(&s, false);
	begin_chunks(&s, 2);
	for (size_t i = 0; i < ARRAY_LEN(a); i++) {
		ask(&s, &a[i], (uint8_t)i);
		if (i % 50 == 25)
			tls_peer_cut(pbs_fake_server(s.fake));
	}
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		expect_chunk(&s, &a[i]);
	end(&s);
}

static void goes_on_with_a_server_that_goes_away_elsewhere(void **state)
{
	struct scene s;
	struct asked a[4];
	begin(&s);
	SCRIPT(s.fake, -1, FAKE_HOLD);
	for (size_t i = 0; i < 4; i++)
		ask(&s, &a[i], (uint8_t)i);
	wait_for_requests(&s, 4);
	pbs_fake_go_away(s.fake, 2);
	(void) usleep(50000); /* most likely it is known now */
	SCRIPT(s.fake, -1, FAKE_GOOD);
	for (size_t i = 0; i < 4; i++)
		expect_chunk(&s, &a[i]);
	struct fake_seen have = seen(&s);
	assert_int_equal(have.n_asked[0], 1);
	assert_int_equal(have.n_asked[1], 1);
	assert_int_equal(have.n_asked[2], 2);
	assert_int_equal(have.n_asked[3], 2);
	assert_int_equal(have.n_readers, 2);
	end(&s);
}

static void finds_a_server_that_is_stuck(void **state)
{
	struct scene s;
	struct asked a;
	begin(&s);
	pbs_chunks_session(s.chunks)->ping_after_ms = 100;
	fetch_right(&s, 1);
	pbs_fake_freeze(s.fake);
	ask(&s, &a, 2);
	expect_chunk(&s, &a); /* on a new connection */
	assert_int_equal(seen(&s).n_readers, 2);
	expect_told(&s, "lost (127.0.0.1 does not answer any more)", "connected again");
	end(&s);
}

static void waits_for_a_server_that_is_only_slow(void **state)
{
	struct scene s;
	struct asked a;
	begin(&s);
	pbs_chunks_session(s.chunks)->ping_after_ms = 200;
	SCRIPT(s.fake, 1, FAKE_HOLD);
	ask(&s, &a, 1);
	wait_for_requests(&s, 1);
	(void) usleep(900000); /* more than twice that */
	SCRIPT(s.fake, 1, FAKE_GOOD);
	expect_chunk(&s, &a);
	assert_int_equal(seen(&s).n_readers, 1);
	assert_string_equal(s.told, "");
	end(&s);
}

static void opens_its_indexes_again_and_only_the_same(void **state)
{
	static const uint8_t index[70000] = { 1, 2, 3 }, other[70000] = { 1, 2, 4 };
	struct scene s;
	struct asked a;
	struct sha256 *hash = NULL;
	begin_server(&s, false);
	pbs_fake_put_file(s.fake, "disk.img.fidx", index, sizeof index);
	strcpy(s.reader.indexes[0].name, "disk.img.fidx");
	assert_int_equal(sha256_new(&hash, NULL), 0);
	assert_int_equal(sha256_begin(hash, NULL), 0);
	assert_int_equal(sha256_add(hash, index, sizeof index, NULL), 0);
	assert_int_equal(sha256_end(hash, s.reader.indexes[0].csum, NULL), 0);
	sha256_free(hash);
	s.reader.n_indexes = 1;
	begin_chunks(&s, 1);
	fetch_right(&s, 1);
	assert_int_equal(seen(&s).n_downloads, 1);
	tls_peer_cut(pbs_fake_server(s.fake));
	fetch_right(&s, 2);
	assert_int_equal(seen(&s).n_downloads, 2);
	pbs_fake_put_file(s.fake, "disk.img.fidx", other, sizeof other);
	tls_peer_cut(pbs_fake_server(s.fake));
	wait_for_health(&s, true, "disk.img.fidx is not the index any more that it was");
	ask(&s, &a, 3);
	(void) usleep(50000);
	assert_int_equal(seen(&s).n_asked[3], 0);
	pbs_fake_put_file(s.fake, "disk.img.fidx", index, sizeof index);
	expect_chunk(&s, &a);
	end(&s);
}

static void says_why_the_server_does_not_let_it_in_again(void **state)
{
	struct scene s;
	struct asked a;
	begin(&s);
	fetch_right(&s, 1);
	pbs_fake_upgrade(s.fake, 403, "permission check failed.");
	tls_peer_cut(pbs_fake_server(s.fake));
	ask(&s, &a, 2);
	wait_for_health(&s, true, "permission check failed.");
	pbs_fake_upgrade(s.fake, 0, NULL);
	expect_chunk(&s, &a);
	end(&s);
}

/* -- the end --------------------------------------------------------------------------------- */

static void expect_shut_down(struct scene *s, struct asked *a, size_t n)
{
	struct asked later;
	int64_t start_ns = now_ns();
	pbs_chunks_shutdown(s->chunks);
	for (size_t i = 0; i < n; i++) {
		expect_failure(&a[i], -ESHUTDOWN, "it was shut down");
		assert_true(a[i].done_ns - start_ns < SOON_NS);
	}
	ask(s, &later, 200);
	expect_failure(&later, -ESHUTDOWN, "it was shut down");
	int64_t end_ns = now_ns();
	pbs_chunks_free(STEAL(s->chunks));
	assert_true(now_ns() - end_ns < SOON_NS);
	end(s);
}

static void fails_what_is_under_way_when_it_is_shut_down(void **state)
{
	for (unsigned n = 1; n <= 2; n++) {
		struct scene s;
		struct asked a[100]; /* more than are under way at a time */
		begin_server(&s, false);
		begin_chunks(&s, n);
		SCRIPT(s.fake, -1, FAKE_HOLD);
		for (size_t i = 0; i < ARRAY_LEN(a); i++)
			ask(&s, &a[i], (uint8_t)i);
		expect_shut_down(&s, a, ARRAY_LEN(a));
	}
}

static void fails_what_waits_when_it_is_shut_down(void **state)
{
	struct scene s;
	struct asked a[3];
	begin(&s);
	fetch_right(&s, 1);
	lose(&s);
	wait_for_health(&s, true, "");
	for (size_t i = 0; i < 3; i++)
		ask(&s, &a[i], (uint8_t)i);
	expect_shut_down(&s, a, 3);
}

static void fails_what_waits_for_an_answer_to_a_connection_when_it_is_shut_down(void **state)
{
	struct scene s;
	struct asked a[3];
	begin(&s);
	fetch_right(&s, 1);
	unsigned before = tls_peer_n_accepted(pbs_fake_server(s.fake));
	pbs_fake_upgrade(s.fake, -1, NULL);
	tls_peer_cut(pbs_fake_server(s.fake));
	for (size_t i = 0; i < 3; i++)
		ask(&s, &a[i], (uint8_t)i);
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	while (tls_peer_n_accepted(pbs_fake_server(s.fake)) == before && !deadline_is_over(until))
		(void) usleep(1000);
	expect_shut_down(&s, a, 3);
}

static void ends_without_having_fetched_anything(void **state)
{
	struct scene s;
	begin(&s);
	end(&s);
	begin_server(&s, false);
	assert_int_equal(pbs_chunks_new(&s.source, &s.reader, 2, &s.chunks, NULL), 0);
	end(&s);
}

/* -- tickets --------------------------------------------------------------------------------- */

static bool has_ticket(struct scene *s, const char *want)
{
	HOLD(&s->server.lock);
	return strcmp((const char *)s->server.ticket.ticket.data, want) == 0;
}

/* A connection that is cut before would take the answer along. */
static void wait_for_ticket(struct scene *s, const char *want)
{
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	while (!has_ticket(s, want) && !deadline_is_over(until))
		(void) usleep(1000);
	assert_true(has_ticket(s, want));
}

/* Where only the ticket is known, each one is the password for the next. */
static void renews_a_ticket_before_it_is_void(void **state)
{
	struct scene s;
	begin_server(&s, true);
	struct pbs_ticket *ticket = &s.server.ticket;
	assert_int_equal(secret_init_copy(&ticket->ticket, "PBS:u@pam:00000000::old", 23, NULL), 0);
	ticket->since = time(NULL);
	begin_chunks(&s, 2);
	assert_non_null(strstr(seen(&s).upgrade, "\r\nCookie: PBSAuthCookie=PBS:u@pam:00000000::old\r\n"));
	assert_int_equal(seen(&s).n_logins, 0);
	shift_s = 3601;
	fetch_right(&s, 1);
	wait_for_ticket(&s, "PBS:u@pam:00000001::sig");
	assert_non_null(strstr(seen(&s).login, "{\"username\":\"u@pam\",\"password\":\"PBS:u@pam:00000000::old\"}"));
	tls_peer_cut(pbs_fake_server(s.fake));
	fetch_right(&s, 2);
	assert_non_null(strstr(seen(&s).upgrade, "\r\nCookie: PBSAuthCookie=PBS:u@pam:00000001::sig\r\n"));
	assert_int_equal(seen(&s).n_logins, 1); /* and only when it is time */
	end(&s);
}

static void logs_in_again_where_the_password_is_known(void **state)
{
	struct scene s;
	begin_server(&s, true);
	begin_chunks(&s, 1);
	assert_int_equal(seen(&s).n_logins, 1);
	shift_s = 3601;
	fetch_right(&s, 1);
	tls_peer_cut(pbs_fake_server(s.fake));
	fetch_right(&s, 2);
	assert_int_equal(seen(&s).n_logins, 1); /* the ticket is good for two hours */
	shift_s = 7201;
	tls_peer_cut(pbs_fake_server(s.fake));
	fetch_right(&s, 3);
	assert_int_equal(seen(&s).n_logins, 2);
	assert_non_null(strstr(seen(&s).login, "{\"username\":\"u@pam\",\"password\":\"secret\"}"));
	end(&s);
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		TEST(gives_many_at_once),
		TEST(asks_first_for_what_is_wanted_most),
		TEST(spreads_the_load_over_its_connections),
		TEST(tells_one_kind_of_bad_answer_from_another),
		TEST(asks_again_for_what_was_refused_or_broken_off),
		TEST(goes_on_behind_an_answer_that_was_refused),
		TEST(waits_for_a_server_that_comes_back_where_somebody_wants_it),
		TEST(gives_up_at_the_deadline_of_a_fetch),
		TEST(loses_nothing_when_the_connection_is_cut_again_and_again),
		TEST(goes_on_with_a_server_that_goes_away_elsewhere),
		TEST(finds_a_server_that_is_stuck),
		TEST(waits_for_a_server_that_is_only_slow),
		TEST(opens_its_indexes_again_and_only_the_same),
		TEST(says_why_the_server_does_not_let_it_in_again),
		TEST(fails_what_is_under_way_when_it_is_shut_down),
		TEST(fails_what_waits_when_it_is_shut_down),
		TEST(fails_what_waits_for_an_answer_to_a_connection_when_it_is_shut_down),
		TEST(ends_without_having_fetched_anything),
		TEST(renews_a_ticket_before_it_is_void),
		TEST(logs_in_again_where_the_password_is_known),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
