/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tunnel.h"

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"
#include "tls_peer.h"
#include "unit.h"
#include "util/bytes.h"

enum { LEN = 8 << 20 }; /* more than the kernel keeps on the way */
static uint8_t pattern[LEN], got[LEN];

struct scene {
	struct tls_peer *server;
	struct tls_trust trust;
	struct link link;
	struct tunnel *tunnel;
	sem_t go;	  /* the server may begin */
	size_t n_taken;	  /* bytes of the pattern the server got */
	bool is_right;
};

/* Takes what comes, once it may. */
static void take_all(struct tls_conn *conn)
{
	struct scene *s = conn->user;
	static uint8_t in[16384];
	(void) sem_wait(&s->go);
	s->is_right = true;
	while (s->n_taken < LEN) {
		int n = tls_conn_read(conn, in, min_size(sizeof in, LEN - s->n_taken));
		if (n < 0)
			return;
		s->is_right &= memcmp(in, pattern + s->n_taken, (size_t)n) == 0;
		s->n_taken += (size_t)n;
	}
	(void) tls_conn_write(conn, "thanks", 6);
}

static void give_all(struct tls_conn *conn)
{
	struct scene *s = conn->user;
	(void) sem_wait(&s->go);
	(void) tls_conn_write(conn, pattern, LEN);
}

static void begin(struct scene *s, void (*serve)(struct tls_conn *conn))
{
	const struct tls_peer_options options = { .names = "DNS:x", .serve = serve, .user = s };
	struct err err = ERR_NONE;
	*s = (struct scene){ .trust.is_pinned = true };
	(void) sem_init(&s->go, 0, 0);
	s->server = tls_peer_start(&options);
	memcpy(s->trust.fingerprint, tls_peer_fingerprint(s->server), DIGEST_SIZE);
	s->link = (struct link){ .host = "127.0.0.1", .port = tls_peer_port(s->server), .stop_fd = -EBADF,
				 .check.trust = &s->trust };
	if (tunnel_open(&s->link, deadline_in_ms(20000), &s->tunnel, &err) < 0)
		fail_msg("%s", err.msg);
}

static void end(struct scene *s)
{
	(void) sem_post(&s->go);
	tunnel_close(s->tunnel);
	tls_peer_stop(s->server);
	(void) sem_destroy(&s->go);
}

static void wait_for(struct scene *s, short events)
{
	struct pollfd fd = { .fd = tunnel_fd(s->tunnel), .events = events };
	assert_int_equal(poll(&fd, 1, 20000), 1);
}

/* As much as there is; false = the end. */
static bool receive_some(struct scene *s, size_t most, size_t *have)
{
	for (;;) {
		ssize_t n = tunnel_receive(s->tunnel, got + *have, min_size(most, LEN - *have));
		if (n == -EAGAIN) {
			wait_for(s, POLLIN);
			continue;
		}
		assert_true(n >= 0);
		*have += (size_t)n;
		return n > 0;
	}
}

static void sends_all_of_it_however_slow_the_other_end_is(void **state)
{
	struct scene s;
	bool was_full = false;
	begin(&s, take_all);
	assert_int_equal(tunnel_receive(s.tunnel, got, 1), -EAGAIN);
	for (size_t have = 0; have < LEN;) {
		ssize_t n = tunnel_send(s.tunnel, pattern + have, LEN - have);
		if (n == -EAGAIN) {
			if (!was_full)
				(void) sem_post(&s.go);
			was_full = true;
			wait_for(&s, POLLOUT);
			continue;
		}
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_true(was_full);
	for (size_t have = 0; have < 6;)
		assert_true(receive_some(&s, 6, &have));
	assert_memory_equal(got, "thanks", 6);
	assert_int_equal(s.n_taken, LEN);
	assert_true(s.is_right);
	end(&s);
}

/* All that poll() does not tell of any more has to come before -EAGAIN: a byte at a time finds what is left inside. */
static void receives_all_of_it_and_then_the_end(void **state)
{
	static const size_t rows[] = { LEN, 1000, 1 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, give_all);
		(void) sem_post(&s.go);
		size_t have = 0, most = rows[i];
		memset(got, 0, sizeof got);
		while (receive_some(&s, most, &have))
			if (have >= 100000) /* then faster */
				most = LEN;
		assert_int_equal(have, LEN);
		assert_memory_equal(got, pattern, LEN);
		assert_int_equal(tunnel_receive(s.tunnel, got, 1), 0);
		end(&s);
	}
}

static void says_that_the_connection_is_gone(void **state)
{
	struct scene s;
	ssize_t n;
	begin(&s, take_all);
	tls_peer_cut(s.server);
	wait_for(&s, POLLIN);
	n = tunnel_receive(s.tunnel, got, 10);
	assert_true(n == 0 || n == -ECONNRESET);
	do {
		n = tunnel_send(s.tunnel, pattern, 100000);
		if (n == -EAGAIN)
			wait_for(&s, POLLOUT);
	} while (n > 0 || n == -EAGAIN);
	assert_int_equal(n, -ECONNRESET);
	end(&s);
	tunnel_close(NULL);
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < LEN; i++)
		pattern[i] = (uint8_t)(i * 31 + (i >> 8) + (i >> 16));
	const struct CMUnitTest tests[] = {
		TEST(sends_all_of_it_however_slow_the_other_end_is),
		TEST(receives_all_of_it_and_then_the_end),
		TEST(says_that_the_connection_is_gone),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
