/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <signal.h>
#include <string.h>

#include "crypto/crypt_key.h"
#include "net/http.h"
#include "scratch.h"
#include "tls_peer.h"
#include "unit.h"
#include "util/bytes.h"

static void answer_once(struct tls_conn *conn)
{
	char request[1000];
	static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
	if (tls_conn_read_request(conn, request, sizeof request))
		(void) tls_conn_write(conn, answer, sizeof answer - 1);
}

static int set_up(void **state)
{
	int r = scratch_begin(state);
	tls_authority_write("authority.pem");
	return r;
}

enum trusted { NOTHING, KNOWN, KNOWN_OTHER, PINNED, PINNED_OTHER };

static struct tls_trust trust_of(const struct tls_peer *server, enum trusted trusted)
{
	struct tls_trust trust = {
		.is_known = trusted == KNOWN || trusted == KNOWN_OTHER,
		.is_pinned = trusted == PINNED || trusted == PINNED_OTHER,
	};
	memcpy(trust.fingerprint, tls_peer_fingerprint(server), DIGEST_SIZE);
	if (trusted == KNOWN_OTHER || trusted == PINNED_OTHER)
		trust.fingerprint[DIGEST_SIZE - 1] ^= 1;
	return trust;
}

/* Words of the failure that follows; "" = none. */
static void expect_words(const struct tls_peer *server, const struct link *link, const struct err *err)
{
	char seen[FINGERPRINT_TEXT_SIZE], want[400] = "";
	fingerprint_format(tls_peer_fingerprint(server), DIGEST_SIZE, seen);
	if (link->check.verdict == TLS_UNKNOWN)
		(void) snprintf(want, sizeof want, "nothing vouches for the certificate of %s", link->host);
	if (link->check.verdict == TLS_CHANGED)
		(void) snprintf(want, sizeof want, "the certificate of %s has the fingerprint %s, expected is ",
				link->host, seen);
	assert_int_equal(strncmp(err->msg, want, strlen(want)), 0);
}

static void decides_who_is_the_right_one(void **state)
{
	static const struct {
		enum tls_issuer issuer;
		const char *names, *host, *authorities;
		enum trusted trusted;
		enum tls_verdict verdict;
		bool is_expired;
	} rows[] = {
#define LOCAL "IP:127.0.0.1", "127.0.0.1"
		{ ISSUER_SELF, LOCAL, "authority.pem", NOTHING, TLS_UNKNOWN },
		{ ISSUER_SELF, LOCAL, "authority.pem", KNOWN, TLS_TRUSTED },
		{ ISSUER_SELF, LOCAL, "authority.pem", KNOWN_OTHER, TLS_CHANGED },
		{ ISSUER_SELF, LOCAL, "authority.pem", PINNED, TLS_TRUSTED },
		{ ISSUER_SELF, LOCAL, "authority.pem", PINNED_OTHER, TLS_CHANGED },
		{ ISSUER_AUTHORITY, LOCAL, "authority.pem", NOTHING, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, LOCAL, "authority.pem", KNOWN_OTHER, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, LOCAL, "authority.pem", PINNED_OTHER, TLS_CHANGED },
		{ ISSUER_AUTHORITY, LOCAL, "authority.pem", PINNED, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, LOCAL, "nothing", NOTHING, TLS_UNKNOWN },
		{ ISSUER_AUTHORITY, LOCAL, "nothing", KNOWN, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, LOCAL, "authority.pem", NOTHING, TLS_UNKNOWN, .is_expired = true },
		{ ISSUER_AUTHORITY, LOCAL, "authority.pem", KNOWN, TLS_TRUSTED, .is_expired = true },
		/* of somebody else */
		{ ISSUER_AUTHORITY, "DNS:other.example", "127.0.0.1", "authority.pem", NOTHING, TLS_UNKNOWN },
		{ ISSUER_AUTHORITY, "DNS:other.example", "127.0.0.1", "authority.pem", KNOWN, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, "DNS:other.example", "127.0.0.1", "authority.pem", KNOWN_OTHER, TLS_CHANGED },
		{ ISSUER_AUTHORITY, "DNS:other.example", "127.0.0.1", "authority.pem", PINNED, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, "IP:127.0.0.2", "127.0.0.1", "authority.pem", NOTHING, TLS_UNKNOWN },
		/* an address is no name, and a name no address */
		{ ISSUER_AUTHORITY, "DNS:127.0.0.1", "127.0.0.1", "authority.pem", NOTHING, TLS_UNKNOWN },
		{ ISSUER_AUTHORITY, "IP:127.0.0.1", "localhost", "authority.pem", NOTHING, TLS_UNKNOWN },
		{ ISSUER_AUTHORITY, "DNS:localhost", "localhost", "authority.pem", NOTHING, TLS_TRUSTED },
		{ ISSUER_AUTHORITY, "DNS:x.example,DNS:localhost", "localhost", "authority.pem", NOTHING, TLS_TRUSTED },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct tls_peer_options options = { .issuer = rows[i].issuer, .names = rows[i].names,
							    .is_expired = rows[i].is_expired, .serve = answer_once };
		struct tls_peer *server = tls_peer_start(&options);
		struct tls_trust trust = trust_of(server, rows[i].trusted);
		struct link link = { .host = rows[i].host, .port = tls_peer_port(server), .stop_fd = -EBADF,
				     .check.trust = &trust };
		const struct http_request request = { .target = "/", .max_len = 100, .until = deadline_in_ms(20000) };
		struct http_answer answer = HTTP_ANSWER_EMPTY;
		struct http *http = NULL;
		struct err err = ERR_NONE;
		(void) setenv("SSL_CERT_FILE", rows[i].authorities, 1);
		(void) setenv("SSL_CERT_DIR", "nothing", 1);
		assert_int_equal(http_new(&link, &http, NULL), 0);
		int r = http_call(http, &request, &answer, &err);
		if (r != (rows[i].verdict == TLS_TRUSTED ? 0 : -EACCES) || link.check.verdict != rows[i].verdict)
			fail_msg("row %zu: verdict %d, %d: %s", i, (int)link.check.verdict, r, err.msg);
		assert_memory_equal(link.check.seen, tls_peer_fingerprint(server), DIGEST_SIZE);
		expect_words(server, &link, &err);
		http_answer_deinit(&answer);
		http_free(http);
		tls_peer_stop(server);
	}
}

/* What is said of one connection is not said of the next one. */
static void forgets_what_it_saw_before(void **state)
{
	const struct tls_peer_options options = { .names = "DNS:x", .serve = answer_once };
	struct tls_peer *server = tls_peer_start(&options);
	struct tls_trust trust = trust_of(server, NOTHING);
	struct link link = { .host = "127.0.0.1", .port = tls_peer_port(server), .stop_fd = -EBADF,
			     .check.trust = &trust };
	const struct http_request request = { .target = "/", .max_len = 100, .until = DEADLINE_NEVER };
	struct http_answer answer = HTTP_ANSWER_EMPTY;
	struct http *http = NULL;
	assert_int_equal(http_new(&link, &http, NULL), 0);
	assert_int_equal(http_call(http, &request, &answer, NULL), -EACCES);
	assert_int_equal(link.check.verdict, TLS_UNKNOWN);
	trust.is_known = true; /* the user has said so */
	assert_int_equal(http_call(http, &request, &answer, NULL), 0);
	assert_int_equal(link.check.verdict, TLS_TRUSTED);
	http_answer_deinit(&answer);
	tls_peer_stop(server);
	assert_int_equal(http_call(http, &request, &answer, NULL), -ECONNREFUSED);
	assert_int_equal(link.check.verdict, TLS_NOT_SEEN);
	http_free(http);
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		TEST(decides_who_is_the_right_one),
		TEST(forgets_what_it_saw_before),
	};
	return cmocka_run_group_tests(tests, set_up, scratch_end);
}
