/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_server.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "scratch.h"
#include "tls_peer.h"
#include "unit.h"
#include "util/bytes.h"

/*
 * The client is the library itself, with its bytes in memory: the test carries them between the client and the
 * server's socket, so that it decides how many arrive, and what becomes of them on the way.
 */
#define KEY	  "00112233445566778899aabbccddeeff"
#define OTHER_KEY "ffeeddccbbaa99887766554433221100"

static int set_up(void **state)
{
	const struct tls_peer_options good = { .issuer = ISSUER_AUTHORITY, .names = "DNS:localhost" },
				      expired = { .issuer = ISSUER_AUTHORITY, .is_expired = true },
				      stranger = { .issuer = ISSUER_SELF };
	if (scratch_begin(state) || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -1;
	scratch_puts("open/x", "");
	scratch_puts("closed/x", "");
	tls_certificate_write(&good, "open/server-cert.pem", "open/server-key.pem");
	tls_certificate_write(&good, "closed/server-cert.pem", "closed/server-key.pem");
	tls_authority_write("closed/ca-cert.pem");
	tls_certificate_write(&good, "good-cert.pem", "good-key.pem");
	tls_certificate_write(&expired, "expired-cert.pem", "expired-key.pem");
	tls_certificate_write(&stranger, "stranger-cert.pem", "stranger-key.pem");
	scratch_puts("keys.psk", "bob:" OTHER_KEY "\nalice:" KEY "\n");
	return 0;
}

/* -- a client -------------------------------------------------------------------------------- */

struct client {
	const char *certificates, *psk_file; /* of the server */
	int version;			     /* 0 = any */
	const char *name;		     /* of its certificate; NULL = none */
	const char *user, *key;		     /* NULL = none */
};

struct scene {
	struct client client; /* first */
	struct tls_server *server;
	struct tls_session *session;
	SSL_CTX *ctx;
	SSL *ssl;
	int fd, wire; /* the server's socket, and the other end */
};

static unsigned tell_key(SSL *ssl, const char *hint, char *user, unsigned user_len, unsigned char *key, unsigned len)
{
	const struct client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	(void) snprintf(user, user_len, "%s", client->user);
	assert_true(hex_decode(client->key, key, strlen(client->key) / 2));
	return (unsigned)strlen(client->key) / 2;
}

static void use_certificate(SSL_CTX *ctx, const char *name)
{
	char path[64];
	(void) snprintf(path, sizeof path, "%s-cert.pem", name);
	assert_int_equal(SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM), 1);
	(void) snprintf(path, sizeof path, "%s-key.pem", name);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1);
}

static void make_client(struct scene *s)
{
	s->ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(s->ctx);
	SSL_CTX_set_app_data(s->ctx, &s->client);
	/* What a client may do that is not careful. */
	SSL_CTX_set_security_level(s->ctx, 0);
	assert_int_equal(SSL_CTX_set_cipher_list(s->ctx, s->client.user ? "PSK" : "ALL"), 1);
	if (s->client.version) {
		assert_int_equal(SSL_CTX_set_min_proto_version(s->ctx, s->client.version), 1);
		assert_int_equal(SSL_CTX_set_max_proto_version(s->ctx, s->client.version), 1);
	}
	if (s->client.name)
		use_certificate(s->ctx, s->client.name);
	if (s->client.user)
		SSL_CTX_set_psk_client_callback(s->ctx, tell_key);
	s->ssl = SSL_new(s->ctx);
	SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(s->ssl);
}

static void begin(struct scene *s, const struct client *client)
{
	const struct tls_server_options options = { client->certificates, client->psk_file };
	struct err err = ERR_NONE;
	int fds[2];
	*s = (struct scene){ .client = *client };
	if (tls_server_open(&options, &s->server, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	s->fd = fds[0];
	s->wire = fds[1];
	s->session = tls_session_new(s->server, s->fd);
	assert_non_null(s->session);
	make_client(s);
}

static void end(struct scene *s)
{
	tls_session_free(s->session);
	tls_server_close(s->server);
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
	ERR_clear_error();
	closep(&s->fd);
	closep(&s->wire);
}

/* -- the way between them -------------------------------------------------------------------- */

/* What the client has to say. */
static size_t spoken(struct scene *s, uint8_t *ret, size_t len)
{
	int n = BIO_read(SSL_get_wbio(s->ssl), ret, (int)len);
	return n > 0 ? (size_t)n : 0;
}

static void put(struct scene *s, const void *data, size_t len)
{
	assert_int_equal(send(s->wire, data, len, MSG_NOSIGNAL), len);
}

static void to_server(struct scene *s)
{
	uint8_t bytes[32768];
	size_t n = spoken(s, bytes, sizeof bytes);
	if (n)
		put(s, bytes, n);
}

static void to_client(struct scene *s)
{
	uint8_t bytes[32768];
	ssize_t n;
	while ((n = read(s->wire, bytes, sizeof bytes)) > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(s->ssl), bytes, (int)n), n);
}

static int begin_session(struct scene *s)
{
	bool must_send;
	int r = tls_session_begin(s->session, &must_send);
	assert_true(r == 1 || r == 0 || r == -EPROTO || r == -ECONNRESET);
	assert_false(must_send); /* there is room */
	return r;
}

/* What the server makes of it: 1, or why not. */
static int shake_hands(struct scene *s)
{
	int r = 0;
	for (int i = 0; i < 10 && r == 0; i++) {
		(void) SSL_do_handshake(s->ssl);
		to_server(s);
		r = begin_session(s);
		to_client(s);
	}
	(void) SSL_do_handshake(s->ssl);
	return r;
}

static void must_talk(struct scene *s)
{
	char text[16], answer[] = "answer";
	struct iovec iov = { answer, 6 };
	assert_int_equal(tls_session_receive(s->session, text, sizeof text), -EAGAIN);
	assert_int_equal(SSL_write(s->ssl, "question", 8), 8);
	to_server(s);
	assert_int_equal(tls_session_receive(s->session, text, sizeof text), 8);
	assert_memory_equal(text, "question", 8);
	assert_int_equal(tls_session_send(s->session, &iov, 1), 6);
	to_client(s);
	assert_int_equal(SSL_read(s->ssl, text, sizeof text), 6);
	assert_memory_equal(text, "answer", 6);
}

/* -- who may come ---------------------------------------------------------------------------- */

#define OPEN   "open", NULL
#define CLOSED "closed", NULL
#define KEYS   NULL, "keys.psk"
#define BOTH   "closed", "keys.psk"
#define V12    TLS1_2_VERSION
#define V13    TLS1_3_VERSION

static void lets_in_who_may_come(void **state)
{
	static const struct client rows[] = {
		{ OPEN, 0 },
		{ OPEN, V12 },
		{ OPEN, V13 },
		{ OPEN, V13, "stranger" }, /* not asked for */
		{ CLOSED, V12, "good" },
		{ CLOSED, V13, "good" },
		{ KEYS, 0, NULL, "alice", KEY },
		{ KEYS, V12, NULL, "alice", KEY },
		{ KEYS, V13, NULL, "alice", KEY },
		{ KEYS, V13, NULL, "bob", OTHER_KEY },
		{ BOTH, V12, "good" },
		{ BOTH, V13, "good" },
		{ BOTH, V12, NULL, "alice", KEY },
		{ BOTH, V13, NULL, "alice", KEY },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, &rows[i]);
		int r = shake_hands(&s);
		if (r != 1)
			fail_msg("row %zu: %d", i, r);
		must_talk(&s);
		end(&s);
	}
}

static void lets_in_nobody_else(void **state)
{
	static const struct client rows[] = {
		{ OPEN, TLS1_1_VERSION },
		{ CLOSED, V12 },
		{ CLOSED, V13 },
		{ CLOSED, V12, "stranger" },
		{ CLOSED, V13, "stranger" },
		{ CLOSED, V12, "expired" },
		{ CLOSED, V13, "expired" },
		{ KEYS, V12 },
		{ KEYS, V13 },
		{ KEYS, V13, "good" },
		{ KEYS, V12, NULL, "alice", OTHER_KEY }, /* bob's */
		{ KEYS, V13, NULL, "alice", OTHER_KEY },
		{ KEYS, V13, NULL, "alice", KEY "00" },
		{ KEYS, V12, NULL, "mallory", KEY },
		{ KEYS, V13, NULL, "mallory", KEY },
		{ KEYS, V13, NULL, "alic", KEY },
		{ KEYS, V13, NULL, "alice:", KEY },
		{ KEYS, V13, NULL, "", KEY },
		{ KEYS, V12, NULL, "", KEY },
		{ BOTH, V12 },
		{ BOTH, V13 },
		{ BOTH, V13, "stranger" },
		{ BOTH, V13, NULL, "alice", OTHER_KEY },
		{ BOTH, V13, "stranger", "mallory", KEY },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, &rows[i]);
		int r = shake_hands(&s);
		if (r >= 0)
			fail_msg("row %zu: %d", i, r);
		end(&s);
	}
}

/* -- handshakes that are none ---------------------------------------------------------------- */

static void bytes_that_are_no_tls_are_refused_at_once(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
#define ROW(text) { text, sizeof text - 1 }
		ROW("IHAVEOPT\0\0\0\5\0\0\0\0"), /* the client goes on as if nothing had been said */
		ROW("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		ROW("SSH-2.0-x\r\n"),
		ROW("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		ROW("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		ROW("\x15\x03\x01\0\2\2\x28"),			       /* an alert */
		ROW("\x17\x03\x03\0\1x"),			       /* data before there is a key */
		ROW("\x16\x03\x01\xff\xff\1\0\xff\xff\3\3"),	       /* a record of a length that none has */
		ROW("\x16\x03\x01\0\4\2\0\0\0"),		       /* a ServerHello */
		ROW("\x16\x03\x01\0\4\1\xff\xff\xff"),		       /* a ClientHello of 16 MiB */
		ROW("\x16\x03\x01\0\6\1\0\0\2\3\3"),		       /* one that ends after its version */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		begin(&s, &(struct client){ OPEN });
		put(&s, rows[i].bytes, rows[i].len);
		int r = begin_session(&s);
		if (r != -EPROTO)
			fail_msg("row %zu: %d", i, r);
		assert_true(begin_session(&s) < 0); /* for good */
		end(&s);
	}
}

/* The client's first @n bytes; all it says when there are less. */
static size_t say_hello(struct scene *s, size_t n)
{
	uint8_t bytes[4096];
	(void) SSL_do_handshake(s->ssl);
	size_t have = spoken(s, bytes, sizeof bytes);
	n = min_size(n, have);
	if (n)
		put(s, bytes, n);
	return have;
}

static void waits_for_the_rest_of_a_handshake_until_the_client_is_gone(void **state)
{
	size_t len = 2;
	for (size_t n = 0; n < len; n = n < 12 ? n + 1 : n + 37) {
		struct scene s;
		begin(&s, &(struct client){ OPEN });
		len = say_hello(&s, n);
		assert_true(len > 100);
		assert_int_equal(begin_session(&s), 0);
		assert_int_equal(begin_session(&s), 0);
		assert_int_equal(shutdown(s.wire, SHUT_WR), 0);
		assert_true(begin_session(&s) < 0);
		end(&s);
	}
}

static void a_client_that_goes_in_the_middle_is_gone(void **state)
{
	static const int versions[] = { V12, V13 };
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct scene s;
		begin(&s, &(struct client){ CLOSED, versions[i], "good" });
		(void) say_hello(&s, SIZE_MAX);
		assert_int_equal(begin_session(&s), 0); /* answered */
		to_client(&s);
		closep(&s.wire);
		assert_true(begin_session(&s) < 0);
		end(&s);
	}
}

static void takes_a_handshake_byte_by_byte(void **state)
{
	struct scene s;
	uint8_t bytes[4096];
	int r = 0;
	begin(&s, &(struct client){ CLOSED, V13, "good" });
	for (int round = 0; round < 3 && r == 0; round++) {
		(void) SSL_do_handshake(s.ssl);
		size_t n = spoken(&s, bytes, sizeof bytes);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(r, 0);
			put(&s, bytes + i, 1);
			r = begin_session(&s);
		}
		to_client(&s);
	}
	assert_int_equal(r, 1);
	(void) SSL_do_handshake(s.ssl);
	must_talk(&s);
	end(&s);
}

/* Whatever the spoilt bit makes of the client's words: it is not let in, and nothing breaks. */
static void a_spoilt_handshake_lets_nobody_in(void **state)
{
	size_t len = 1;
	for (size_t at = 0; at < len; at += 3) {
		struct scene s;
		uint8_t bytes[4096];
		begin(&s, &(struct client){ KEYS, V13, NULL, "alice", KEY });
		(void) SSL_do_handshake(s.ssl);
		len = spoken(&s, bytes, sizeof bytes);
		bytes[at] ^= (uint8_t)(1u << at % 8);
		put(&s, bytes, len);
		int r = begin_session(&s);
		to_client(&s);
		if (r == 0)
			r = shake_hands(&s);
		if (r == 1)
			fail_msg("byte %zu", at);
		end(&s);
	}
}

/* -- what is said ---------------------------------------------------------------------------- */

static void pieces_become_one_record(void **state)
{
	struct scene s;
	uint8_t bytes[32768];
	char text[300], piece[] = "abc";
	struct iovec iov[100];
	begin(&s, &(struct client){ OPEN });
	assert_int_equal(shake_hands(&s), 1);
	for (size_t i = 0; i < ARRAY_LEN(iov); i++)
		iov[i] = (struct iovec){ piece, 3 };
	assert_int_equal(tls_session_send(s.session, iov, ARRAY_LEN(iov)), 300);
	ssize_t n = read(s.wire, bytes, sizeof bytes);
	assert_in_range(n, 300, 400); /* a head and a tag, once */
	assert_int_equal(BIO_write(SSL_get_rbio(s.ssl), bytes, (int)n), n);
	assert_int_equal(SSL_read(s.ssl, text, sizeof text), 300);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(text[i], piece[i % 3]);
	end(&s);
}

/* A socket takes so much; the rest is said when the client has read, as sendmsg() has it. */
static void goes_on_where_it_was_when_there_is_room_again(void **state)
{
	static uint8_t sent[1 << 20], got[1 << 20];
	struct scene s;
	size_t n_sent = 0, n_got = 0;
	unsigned n_full = 0;
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 2654435761u >> 13);
	begin(&s, &(struct client){ OPEN });
	assert_int_equal(shake_hands(&s), 1);
	for (int i = 0; i < 10000 && n_got < sizeof got; i++) {
		/* In one piece or two: the next time they are others, and so is the memory they are in. */
		size_t len = sizeof sent - n_sent, piece = i % 2 ? len : min_size(777, len);
		struct iovec iov[] = { { sent + n_sent, piece }, { sent + n_sent + piece, len - piece } };
		ssize_t r = len ? tls_session_send(s.session, iov, 2) : -EAGAIN;
		if (r > 0) {
			n_sent += (size_t)r;
			continue;
		}
		assert_int_equal(r, -EAGAIN);
		n_full++;
		to_client(&s);
		while ((r = SSL_read(s.ssl, got + n_got, (int)(sizeof got - n_got))) > 0)
			n_got += (size_t)r;
	}
	assert_int_equal(n_got, sizeof got);
	assert_memory_equal(got, sent, sizeof got);
	assert_true(n_full > 1);
	end(&s);
}

static void tells_a_goodbye_from_a_cut(void **state)
{
	static const int versions[] = { V12, V13 };
	char text[16];
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct scene s;
		begin(&s, &(struct client){ OPEN, versions[i] });
		assert_int_equal(shake_hands(&s), 1);
		(void) SSL_shutdown(s.ssl);
		to_server(&s);
		assert_int_equal(tls_session_receive(s.session, text, sizeof text), 0);
		end(&s);

		begin(&s, &(struct client){ OPEN, versions[i] });
		assert_int_equal(shake_hands(&s), 1);
		assert_int_equal(shutdown(s.wire, SHUT_WR), 0);
		assert_true(tls_session_receive(s.session, text, sizeof text) < 0);
		end(&s);
	}
}

static void says_goodbye_itself(void **state)
{
	struct scene s;
	char text[16];
	begin(&s, &(struct client){ OPEN });
	assert_int_equal(shake_hands(&s), 1);
	tls_session_free(s.session);
	s.session = NULL;
	to_client(&s);
	int r = SSL_read(s.ssl, text, sizeof text);
	assert_int_equal(SSL_get_error(s.ssl, r), SSL_ERROR_ZERO_RETURN);
	end(&s);
}

static void a_record_that_was_changed_on_its_way_ends_it(void **state)
{
	static const int versions[] = { V12, V13 };
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct scene s;
		uint8_t bytes[200];
		char text[16];
		begin(&s, &(struct client){ OPEN, versions[i] });
		assert_int_equal(shake_hands(&s), 1);
		to_server(&s);
		assert_int_equal(SSL_write(s.ssl, "question", 8), 8);
		size_t n = spoken(&s, bytes, sizeof bytes);
		bytes[n - 1] ^= 1;
		put(&s, bytes, n);
		assert_true(tls_session_receive(s.session, text, sizeof text) < 0);
		struct iovec iov = { text, sizeof text };
		assert_true(tls_session_send(s.session, &iov, 1) < 0);
		end(&s);
	}
}

/* -- files ----------------------------------------------------------------------------------- */

static void open_fails(const char *certificates, const char *psk_file, int code, const char *words)
{
	const struct tls_server_options options = { certificates, psk_file };
	struct tls_server *server = NULL;
	struct err err = ERR_NONE;
	int r = tls_server_open(&options, &server, &err);
	if (r != code || !strstr(err.msg, words) || strstr(err.msg, KEY) || strchr(err.msg, '\n'))
		fail_msg("%s, %s: %d (%s), not %d (%s)", certificates, psk_file, r, err.msg, code, words);
	assert_null(server);
}

static void write_key_of_another_kind(const char *path)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	FILE *f = fopen(path, "we");
	assert_true(key && f);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
	EVP_PKEY_free(key);
}

static void write_encrypted_key(const char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *f = fopen(path, "we");
	const uint8_t password[] = "secret";
	assert_true(key && f);
	assert_int_equal(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), password, 6, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
	EVP_PKEY_free(key);
}

static void refuses_files_that_are_none(void **state)
{
	open_fails(NULL, NULL, -EINVAL, "certificates or keys");
	open_fails("nowhere", NULL, -ENOENT, "nowhere/server-cert.pem");
	open_fails("keys.psk", NULL, -ENOTDIR, "keys.psk/server-cert.pem");
	tls_certificate_write(&(struct tls_peer_options){ ISSUER_SELF }, "dir-cert.pem", "dir-key.pem");
	scratch_puts("dir/server-cert.pem", "nonsense\n");
	open_fails("dir", NULL, -ENOENT, "dir/server-key.pem");
	scratch_puts("dir/server-key.pem", "nonsense\n");
	open_fails("dir", NULL, -EINVAL, "dir/server-cert.pem: ");
	assert_int_equal(rename("dir-cert.pem", "dir/server-cert.pem"), 0);
	open_fails("dir", NULL, -EINVAL, "dir/server-key.pem: ");
	assert_int_equal(rename("good-key.pem", "dir/server-key.pem"), 0); /* of another certificate */
	open_fails("dir", NULL, -EINVAL, "dir/server-key.pem: key values mismatch");
	assert_int_equal(rename("dir/server-key.pem", "good-key.pem"), 0);
	write_key_of_another_kind("dir/server-key.pem");
	open_fails("dir", NULL, -EINVAL, "dir/server-key.pem is the key of another certificate");
	write_encrypted_key("dir/server-key.pem");
	open_fails("dir", NULL, -EINVAL, "dir/server-key.pem has a password");
	assert_int_equal(rename("dir-key.pem", "dir/server-key.pem"), 0);
	scratch_puts("dir/ca-cert.pem", "");
	open_fails("dir", NULL, -EINVAL, "dir/ca-cert.pem: ");
	tls_authority_write("dir/ca-cert.pem");
	scratch_puts("dir/ca-crl.pem", "nonsense\n");
	open_fails("dir", NULL, -EINVAL, "dir/ca-crl.pem: ");
	assert_int_equal(unlink("dir/ca-cert.pem") | mkdir("dir/ca-cert.pem", 0700), 0);
	open_fails("dir", NULL, -EINVAL, "dir/ca-cert.pem: ");
}

#define KEY_OF_32 KEY KEY
#define KEY_OF_256 KEY_OF_32 KEY_OF_32 KEY_OF_32 KEY_OF_32 KEY_OF_32 KEY_OF_32 KEY_OF_32 KEY_OF_32

static void reads_keys_line_by_line(void **state)
{
	static const char *const good[] = {
		"alice:" KEY, "alice:" KEY "\n", "alice:" KEY "\r\n", "\n\n# a:b\n\nalice:" KEY "\n\n",
		"alice:00112233445566778899AABBCCDDEEFF\n", "bob:" KEY_OF_256 "\nalice:" KEY "\n",
		"bob:" KEY "\nalice:" KEY "\nalice:" OTHER_KEY "\n", /* the first one counts */
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct scene s;
		scratch_puts("some.psk", good[i]);
		begin(&s, &(struct client){ NULL, "some.psk", V13, NULL, "alice", KEY });
		if (shake_hands(&s) != 1)
			fail_msg("'%s'", good[i]);
		end(&s);
	}
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "has no keys" }, { "\n# x\n", "has no keys" }, { "alice", "line 1: not NAME:KEY" },
		{ "alice:\n", "line 1: not NAME:KEY" }, { ":" KEY "\n", "line 1: not NAME:KEY" },
		{ "alice:" KEY "0", "line 1: not NAME:KEY" }, { "bob:" KEY "\n\nalice:0011\n", "line 3: not NAME:KEY" },
		{ "alice:" KEY_OF_256 "00", "line 1: not NAME:KEY" }, { "alice: " KEY, "line 1: not NAME:KEY" },
		{ "alice:" KEY "zz\n", "line 1: its key is not written in hex digits" },
		{ "alice:0x" KEY "\n", "line 1: its key is not written in hex digits" },
		{ "alice:x:" KEY "\n", "line 1: its key is not written in hex digits" },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		scratch_puts("some.psk", bad[i].text);
		open_fails(NULL, "some.psk", -EINVAL, bad[i].words);
	}
	open_fails(NULL, "nowhere.psk", -ENOENT, "nowhere.psk");
	open_fails("open", "nowhere.psk", -ENOENT, "nowhere.psk");
	open_fails(NULL, "open", -EISDIR, "open");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lets_in_who_may_come),
		TEST(lets_in_nobody_else),
		TEST(bytes_that_are_no_tls_are_refused_at_once),
		TEST(waits_for_the_rest_of_a_handshake_until_the_client_is_gone),
		TEST(a_client_that_goes_in_the_middle_is_gone),
		TEST(takes_a_handshake_byte_by_byte),
		TEST(a_spoilt_handshake_lets_nobody_in),
		TEST(pieces_become_one_record),
		TEST(goes_on_where_it_was_when_there_is_room_again),
		TEST(tells_a_goodbye_from_a_cut),
		TEST(says_goodbye_itself),
		TEST(a_record_that_was_changed_on_its_way_ends_it),
		TEST(refuses_files_that_are_none),
		TEST(reads_keys_line_by_line),
	};
	return cmocka_run_group_tests(tests, set_up, scratch_end);
}
