/* SPDX-License-Identifier: Apache-2.0 */
#include "net/link.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http.h"
#include "net/tunnel.h"
#include "scratch.h"
#include "tls_peer.h"
#include "unit.h"
#include "util/thread.h"

/* -- servers that do one thing --------------------------------------------------------------- */

static void close_at_once(struct tls_conn *conn)
{
}

static void close_in_the_handshake(struct tls_conn *conn)
{
	char hello[5];
	(void) tls_conn_read(conn, hello, sizeof hello);
}

static void be_silent(struct tls_conn *conn)
{
	char byte;
	while (tls_conn_read(conn, &byte, 1) > 0)
		;
}

static void say(struct tls_conn *conn, const char *text)
{
	char request[2000];
	if (conn->ssl)
		(void) tls_conn_read_request(conn, request, sizeof request);
	(void) tls_conn_write(conn, text, strlen(text));
}

static void speak_ssh(struct tls_conn *conn)
{
	say(conn, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n");
	be_silent(conn);
}

static void speak_plain_http(struct tls_conn *conn)
{
	say(conn, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

/* Messages that are to be passed over (HelloRequest; RFC 5246, 7.4.1.1), then nothing more. */
static void greet_without_end(struct tls_conn *conn)
{
	static const char greeting[] = { 22, 3, 3, 0, 4, 0, 0, 0, 0 };
	for (int i = 0; i < 100000; i++)
		if (!tls_conn_write(conn, greeting, sizeof greeting))
			return;
	be_silent(conn);
}

static void break_off(struct tls_conn *conn)
{
	say(conn, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it");
}

static void break_off_in_the_header(struct tls_conn *conn)
{
	say(conn, "HTTP/1.1 200 O");
}

static void say_nothing(struct tls_conn *conn)
{
	say(conn, "");
}

/* -- one call -------------------------------------------------------------------------------- */

static struct tls_trust any;

static struct link link_to(uint16_t port)
{
	return (struct link){ .host = "127.0.0.1", .port = port, .stop_fd = -EBADF, .check.trust = &any };
}

static int call(struct link *link, struct deadline until, struct err *err)
{
	const struct http_request request = { .target = "/", .max_len = 1000, .until = until };
	struct http_answer answer = HTTP_ANSWER_EMPTY;
	struct http *http = NULL;
	assert_int_equal(http_new(link, &http, NULL), 0);
	int r = http_call(http, &request, &answer, err);
	http_answer_deinit(&answer);
	http_free(http);
	return r;
}

static struct tls_peer *start(void (*serve)(struct tls_conn *conn), bool is_plain)
{
	const struct tls_peer_options options = { .names = "IP:127.0.0.1", .is_plain = is_plain, .serve = serve };
	struct tls_peer *server = tls_peer_start(&options);
	any = (struct tls_trust){ .is_pinned = true };
	memcpy(any.fingerprint, tls_peer_fingerprint(server), DIGEST_SIZE);
	return server;
}

static void tells_one_kind_of_bad_server_from_another(void **state)
{
	static const struct {
		void (*serve)(struct tls_conn *conn);
		bool is_plain;
		int code, other_code;
		const char *words;
	} rows[] = {
		{ speak_ssh, true, -EPROTO, 0, "does not answer as a TLS server" },
		{ speak_plain_http, true, -EPROTO, 0, "does not answer as a TLS server" },
		{ greet_without_end, true, -EPROTO, 0, "does not answer as a TLS server" },
		/* how it looks depends on whether it left something unread */
		{ close_at_once, true, -EPROTO, -ECONNRESET, "127.0.0.1:" },
		{ close_in_the_handshake, true, -EPROTO, -ECONNRESET, "127.0.0.1:" },
		{ speak_ssh, false, -EPROTO, 0, "does not speak HTTP" },
		{ say_nothing, false, -ECONNRESET, 0, "closed the connection" },
		{ close_at_once, false, -ECONNRESET, 0, "closed the connection" },
		{ break_off, false, -ECONNRESET, 0, "closed the connection" },
		{ break_off_in_the_header, false, -ECONNRESET, -EPROTO, "127.0.0.1:" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_peer *server = start(rows[i].serve, rows[i].is_plain);
		struct link link = link_to(tls_peer_port(server));
		struct err err = ERR_NONE;
		int r = call(&link, deadline_in_ms(20000), &err);
		if (r >= 0 || (r != rows[i].code && r != rows[i].other_code) || !strstr(err.msg, rows[i].words))
			fail_msg("row %zu: %d: %s", i, r, err.msg);
		assert_int_equal(err.code, r);
		tls_peer_stop(server);
	}
}

static void says_that_nobody_is_there(void **state)
{
	struct tls_peer *server = start(be_silent, true);
	struct link link = link_to(tls_peer_port(server));
	char words[100];
	tls_peer_stop(server);
	struct err err = ERR_NONE;
	struct tunnel *tunnel = NULL;
	(void) snprintf(words, sizeof words, "cannot connect to 127.0.0.1:%u: Connection refused", (unsigned)link.port);
	assert_int_equal(call(&link, DEADLINE_NEVER, &err), -ECONNREFUSED);
	assert_string_equal(err.msg, words);
	assert_int_equal(tunnel_open(&link, DEADLINE_NEVER, &tunnel, &err), -ECONNREFUSED);
	assert_string_equal(err.msg, words);
	assert_null(tunnel);
}

/* -- patience -------------------------------------------------------------------------------- */

static int call_either_way(struct link *link, bool with_tunnel, struct deadline until, struct err *err)
{
	if (!with_tunnel)
		return call(link, until, err);
	struct tunnel *tunnel = NULL;
	int r = tunnel_open(link, until, &tunnel, err);
	assert_null(tunnel);
	return r;
}

/* In the handshake, and behind it. */
static void waits_until_the_deadline_and_not_longer(void **state)
{
	for (int is_plain = 0; is_plain <= 1; is_plain++)
		for (int with_tunnel = 0; with_tunnel <= is_plain; with_tunnel++) {
			struct tls_peer *server = start(be_silent, is_plain);
			struct link link = link_to(tls_peer_port(server));
			struct err err = ERR_NONE;
			struct deadline until = deadline_in_ms(200);
			assert_int_equal(call_either_way(&link, with_tunnel, until, &err), -ETIMEDOUT);
			assert_true(deadline_is_over(until));
			assert_true(now_ns() - until.ns < 5000000000);
			assert_non_null(strstr(err.msg, "does not answer in time"));
			tls_peer_stop(server);
		}
}

struct stopper {
	struct tls_peer *server;
	int fd;
};

/* Once the connection is there. */
static void *stop_soon(void *user)
{
	struct stopper *stopper = user;
	while (tls_peer_n_accepted(stopper->server) == 0)
		(void) usleep(1000);
	(void) usleep(20000);
	(void) eventfd_write(stopper->fd, 1);
	return NULL;
}

static void gives_up_at_once_when_it_is_stopped(void **state)
{
	for (int is_plain = 0; is_plain <= 1; is_plain++)
		for (int with_tunnel = 0; with_tunnel <= is_plain; with_tunnel++) {
			struct tls_peer *server = start(be_silent, is_plain);
			struct link link = link_to(tls_peer_port(server));
			struct stopper stopper = { .server = server, .fd = eventfd(0, EFD_CLOEXEC) };
			struct err err = ERR_NONE;
			pthread_t thread;
			assert_true(stopper.fd >= 0);
			link.stop_fd = stopper.fd;
			assert_int_equal(thread_start(&thread, "stop", stop_soon, &stopper), 0);
			int64_t start_ns = now_ns();
			assert_int_equal(call_either_way(&link, with_tunnel, DEADLINE_NEVER, &err), -ECANCELED);
			/* and for good */
			assert_int_equal(call_either_way(&link, with_tunnel, DEADLINE_NEVER, &err), -ECANCELED);
			assert_true(now_ns() - start_ns < 5000000000);
			(void) pthread_join(thread, NULL);
			(void) close(stopper.fd);
			tls_peer_stop(server);
		}
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		TEST(tells_one_kind_of_bad_server_from_another),
		TEST(says_that_nobody_is_there),
		TEST(waits_until_the_deadline_and_not_longer),
		TEST(gives_up_at_once_when_it_is_stopped),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
