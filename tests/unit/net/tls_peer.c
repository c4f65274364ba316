/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_peer.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "unit.h"
#include "util/cleanup.h"
#include "util/list.h"
#include "util/lock.h"
#include "util/thread.h"

struct connection {
	struct tls_conn conn;
	struct list node;
	pthread_t thread;
};

struct tls_peer {
	struct tls_peer_options options;
	int listen_fd, stop_fd;
	uint16_t port;
	uint8_t fingerprint[DIGEST_SIZE];
	SSL_CTX *ctx;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below, and the fd of each connection */
	struct list connections;
	unsigned n_accepted;
	bool is_refusing;
};

/* -- certificates ---------------------------------------------------------------------------- */

/* One authority for a test program, made when it is first needed, by one thread. */
static EVP_PKEY *authority_key;
static X509 *authority;

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(cert, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static X509 *make_certificate(EVP_PKEY *key, const char *name, X509 *issuer)
{
	X509 *cert = X509_new();
	assert_non_null(cert);
	assert_int_equal(X509_set_version(cert, 2), 1);
	int64_t serial;
	assert_int_equal(RAND_bytes((uint8_t *)&serial, sizeof serial), 1);
	assert_int_equal(ASN1_INTEGER_set_int64(X509_get_serialNumber(cert), serial & INT64_MAX), 1);
	(void) X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	(void) X509_gmtime_adj(X509_getm_notAfter(cert), 3600 * 24);
	X509_NAME *subject = X509_get_subject_name(cert);
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	return cert;
}

static void make_authority(void)
{
	if (authority)
		return;
	authority_key = EVP_EC_gen("P-256");
	assert_non_null(authority_key);
	authority = make_certificate(authority_key, "an authority of tests", NULL);
	add_extension(authority, authority, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(authority, authority, NID_key_usage, "critical,keyCertSign");
	assert_true(X509_sign(authority, authority_key, EVP_sha256()) > 0);
}

void tls_authority_write(const char *path)
{
	make_authority();
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, authority), 1);
	assert_int_equal(fclose(f), 0);
}

static X509 *issue(EVP_PKEY *key, const struct tls_peer_options *options)
{
	bool is_own = options->issuer == ISSUER_SELF;
	make_authority();
	X509 *cert = make_certificate(key, "a peer of tests", is_own ? NULL : authority);
	if (options->names)
		add_extension(cert, is_own ? cert : authority, NID_subject_alt_name, options->names);
	if (options->is_expired)
		(void) X509_gmtime_adj(X509_getm_notAfter(cert), -60);
	assert_true(X509_sign(cert, is_own ? key : authority_key, EVP_sha256()) > 0);
	return cert;
}

void tls_certificate_write(const struct tls_peer_options *options, const char *cert_path, const char *key_path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = issue(key, options);
	FILE *cert_file = fopen(cert_path, "we"), *key_file = fopen(key_path, "we");
	assert_true(cert_file && key_file);
	assert_int_equal(PEM_write_X509(cert_file, cert), 1);
	assert_int_equal(PEM_write_PrivateKey(key_file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(cert_file) | fclose(key_file), 0);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void make_context(struct tls_peer *server)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = issue(key, &server->options);
	unsigned len = 0;
	assert_int_equal(X509_digest(cert, EVP_sha256(), server->fingerprint, &len), 1);
	assert_int_equal(len, DIGEST_SIZE);
	server->ctx = SSL_CTX_new(TLS_server_method());
	assert_non_null(server->ctx);
	assert_int_equal(SSL_CTX_use_certificate(server->ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* -- connections ----------------------------------------------------------------------------- */

static void close_fd(struct connection *c)
{
	HOLD(&c->conn.server->lock);
	closep(&c->conn.fd);
}

static void *run_connection(void *user)
{
	struct connection *c = user;
	struct tls_conn *conn = &c->conn;
	bool is_good = true;
	if (!conn->server->options.is_plain) {
		conn->ssl = SSL_new(conn->server->ctx);
		is_good = conn->ssl && SSL_set_fd(conn->ssl, conn->fd) == 1 && SSL_accept(conn->ssl) == 1;
	}
	if (is_good)
		conn->server->options.serve(conn);
	if (conn->ssl && is_good)
		(void) SSL_shutdown(conn->ssl);
	SSL_free(conn->ssl);
	close_fd(c);
	return NULL;
}

static void take_connection(struct tls_peer *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	struct connection *c = calloc(1, sizeof *c);
	c->conn = (struct tls_conn){ .server = server, .fd = fd, .user = server->options.user };
	HOLD(&server->lock);
	server->n_accepted++;
	if (server->is_refusing || thread_start(&c->thread, "conn", run_connection, c) < 0) {
		(void) close(fd);
		free(c);
		return;
	}
	list_append(&server->connections, &c->node);
}

static void *run_server(void *user)
{
	struct tls_peer *server = user;
	for (;;) {
		struct pollfd fds[] = { { .fd = server->stop_fd, .events = POLLIN },
					{ .fd = server->listen_fd, .events = POLLIN } };
		(void) poll(fds, 2, -1);
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents)
			take_connection(server);
	}
}

/* -- life ------------------------------------------------------------------------------------ */

static void listen_somewhere(struct tls_peer *server)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(server->listen_fd >= 0);
	assert_int_equal(bind(server->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(server->listen_fd, 16), 0);
	assert_int_equal(getsockname(server->listen_fd, (struct sockaddr *)&at, &len), 0);
	server->port = ntohs(at.sin_port);
}

struct tls_peer *tls_peer_start(const struct tls_peer_options *options)
{
	struct tls_peer *server = calloc(1, sizeof *server);
	assert_non_null(server);
	server->options = *options;
	(void) pthread_mutex_init(&server->lock, NULL);
	list_init(&server->connections);
	if (!options->is_plain)
		make_context(server);
	listen_somewhere(server);
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(server->stop_fd >= 0);
	assert_int_equal(thread_start(&server->thread, "server", run_server, server), 0);
	return server;
}

void tls_peer_cut(struct tls_peer *server)
{
	HOLD(&server->lock);
	for (struct list *node = server->connections.next; node != &server->connections; node = node->next) {
		struct connection *c = CONTAINER_OF(node, struct connection, node);
		if (c->conn.fd >= 0)
			(void) shutdown(c->conn.fd, SHUT_RDWR);
	}
}

void tls_peer_refuse(struct tls_peer *server, bool is_refusing)
{
	HOLD(&server->lock);
	server->is_refusing = is_refusing;
}

void tls_peer_stop(struct tls_peer *server)
{
	struct list *node;
	if (!server)
		return;
	(void) eventfd_write(server->stop_fd, 1);
	(void) pthread_join(server->thread, NULL);
	tls_peer_cut(server);
	while ((node = list_pop(&server->connections))) {
		struct connection *c = CONTAINER_OF(node, struct connection, node);
		(void) pthread_join(c->thread, NULL);
		free(c);
	}
	(void) close(server->listen_fd);
	(void) close(server->stop_fd);
	SSL_CTX_free(server->ctx);
	(void) pthread_mutex_destroy(&server->lock);
	free(server);
}

uint16_t tls_peer_port(const struct tls_peer *server)
{
	return server->port;
}

const uint8_t *tls_peer_fingerprint(const struct tls_peer *server)
{
	return server->fingerprint;
}

unsigned tls_peer_n_accepted(struct tls_peer *server)
{
	HOLD(&server->lock);
	return server->n_accepted;
}

/* -- bytes ----------------------------------------------------------------------------------- */

int tls_conn_read(struct tls_conn *conn, void *to, size_t len)
{
	int n = conn->ssl ? SSL_read(conn->ssl, to, (int)len) : (int)read(conn->fd, to, len);
	return n > 0 ? n : -1;
}

bool tls_conn_write(struct tls_conn *conn, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len) {
		int n = conn->ssl ? SSL_write(conn->ssl, at, (int)len) : (int)write(conn->fd, at, len);
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

bool tls_conn_read_request(struct tls_conn *conn, char *ret, size_t len)
{
	size_t have = 0, want = SIZE_MAX;
	while (have < want) {
		int n = have < len - 1 ? tls_conn_read(conn, ret + have, 1) : -1;
		if (n < 0)
			return false;
		ret[++have] = '\0';
		const char *length = strcasestr(ret, "\r\ncontent-length: ");
		if (want == SIZE_MAX && have >= 4 && memcmp(ret + have - 4, "\r\n\r\n", 4) == 0)
			want = have + (length ? strtoul(length + 18, NULL, 10) : 0);
	}
	return true;
}
