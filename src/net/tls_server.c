/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_server.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/bytes.h"
#include "util/file.h"
#include "util/secret.h"

#define PSK_FILE_MAX (1u << 20) /* bytes */
#define PSK_KEY_MIN  16u	/* bytes; shorter ones can be guessed */
#define PSK_KEY_MAX  256u	/* what OpenSSL takes */
#define RECORD_MAX   (16u << 10)

struct psk {
	char *name;
	struct secret key;
};

struct tls_server {
	SSL_CTX *ctx;
	struct psk *psks;
	size_t n_psks, cap_psks;
};

struct tls_session {
	SSL *ssl;
};

/* The library's words for its last failure, at the end of a message. */
static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());
	ERR_clear_error();
	return text ? text : "it cannot be used";
}

/* -- certificates ---------------------------------------------------------------------------- */

struct file_path {
	char text[4096];
};

static int path_in(const char *dir, const char *name, struct file_path *ret, struct err *err)
{
	if (snprintf(ret->text, sizeof ret->text, "%s/%s", dir, name) >= (int)sizeof ret->text)
		return err_set(err, -ENAMETOOLONG, "%s is too long", dir);
	/* The library would not tell why. */
	CLEANUP(closep) int fd = open(ret->text, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_errno(err, -errno, "cannot open %s", ret->text) : 0;
}

/* Instead of a question on the terminal, which the library would ask. */
static int have_no_password(char *ret, int len, int is_writing, void *user)
{
	if (user)
		*(bool *)user = true;
	return -1;
}

static int load_key(struct tls_server *server, const char *path, struct err *err)
{
	bool is_encrypted = false;
	SSL_CTX_set_default_passwd_cb(server->ctx, have_no_password);
	SSL_CTX_set_default_passwd_cb_userdata(server->ctx, &is_encrypted);
	int r = SSL_CTX_use_PrivateKey_file(server->ctx, path, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(server->ctx, NULL);
	const char *why = reason();
	/* One of another kind is taken without a word: its certificate could still come. */
	bool is_other = r == 1 && SSL_CTX_check_private_key(server->ctx) != 1;
	ERR_clear_error();
	if (is_other)
		return err_set(err, -EINVAL, "%s is the key of another certificate", path);
	if (r == 1)
		return 0;
	return is_encrypted ? err_set(err, -EINVAL, "%s has a password: it must be a key without one", path)
			    : err_set(err, -EINVAL, "%s: %s", path, why);
}

static int load_own(struct tls_server *server, const char *dir, struct err *err)
{
	struct file_path cert, key;
	int r = path_in(dir, "server-cert.pem", &cert, err);
	if (r == 0)
		r = path_in(dir, "server-key.pem", &key, err);
	if (r < 0)
		return r;
	if (SSL_CTX_use_certificate_chain_file(server->ctx, cert.text) != 1)
		return err_set(err, -EINVAL, "%s: %s", cert.text, reason());
	return load_key(server, key.text, err);
}

static int load_revoked(struct tls_server *server, const char *dir, struct err *err)
{
	struct file_path crl;
	int r = path_in(dir, "ca-crl.pem", &crl, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	X509_STORE *store = SSL_CTX_get_cert_store(server->ctx);
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
	if (!lookup || X509_load_crl_file(lookup, crl.text, X509_FILETYPE_PEM) < 1)
		return err_set(err, -EINVAL, "%s: %s", crl.text, reason());
	(void) X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

/* Whoever is known to this authority may come; without one, whoever likes. */
static int load_authority(struct tls_server *server, const char *dir, struct err *err)
{
	struct file_path ca;
	int r = path_in(dir, "ca-cert.pem", &ca, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca.text);
	if (!names || SSL_CTX_load_verify_locations(server->ctx, ca.text, NULL) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return err_set(err, -EINVAL, "%s: %s", ca.text, reason());
	}
	SSL_CTX_set_client_CA_list(server->ctx, names);
	SSL_CTX_set_verify(server->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return load_revoked(server, dir, err);
}

static int load_certificates(struct tls_server *server, const char *dir, struct err *err)
{
	int r = load_own(server, dir, err);
	return r < 0 ? r : load_authority(server, dir, err);
}

/* -- keys that both sides have --------------------------------------------------------------- */

static const struct psk *find_psk(const struct tls_server *server, const char *name)
{
	for (size_t i = 0; i < server->n_psks; i++)
		if (strcmp(server->psks[i].name, name) == 0)
			return &server->psks[i];
	return NULL;
}

/* 0 = no such client */
static unsigned give_psk(SSL *ssl, const char *name, unsigned char *ret, unsigned len)
{
	const struct tls_server *server = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const struct psk *psk = name ? find_psk(server, name) : NULL;
	if (!psk || psk->key.len > len)
		return 0;
	memcpy(ret, psk->key.data, psk->key.len);
	return (unsigned)psk->key.len;
}

/* NAME:KEY; the message names the line, and shows nothing of it. */
static int add_psk(struct tls_server *server, char *line, unsigned number, const char *path, struct err *err)
{
	char *colon = strchr(line, ':');
	const char *hex = colon ? colon + 1 : "";
	size_t len = strlen(hex);
	struct psk psk = { NULL, SECRET_EMPTY };
	if (!colon || colon == line || len % 2 || len < 2 * PSK_KEY_MIN || len > 2 * PSK_KEY_MAX)
		return err_set(err, -EINVAL, "%s, line %u: not NAME:KEY with a key of %u to %u bytes in hex digits", path,
			       number, PSK_KEY_MIN, PSK_KEY_MAX);
	int r = array_grow(&server->psks, server->n_psks, &server->cap_psks, sizeof psk, err);
	if (r == 0)
		r = secret_init(&psk.key, len / 2, err);
	if (r < 0)
		return r;
	*colon = '\0';
	psk.name = strdup(line);
	bool is_hex = hex_decode(hex, psk.key.data, len / 2);
	if (psk.name && is_hex) {
		server->psks[server->n_psks++] = psk;
		return 0;
	}
	secret_deinit(&psk.key);
	free(psk.name);
	return is_hex ? err_set(err, -ENOMEM, "no memory")
		      : err_set(err, -EINVAL, "%s, line %u: its key is not written in hex digits", path, number);
}

static int add_psks(struct tls_server *server, char *text, const char *path, struct err *err)
{
	unsigned number = 0;
	int r = 0;
	for (char *line = text, *next; r == 0 && line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		line[strcspn(line, "\r")] = '\0';
		number++;
		if (*line && *line != '#')
			r = add_psk(server, line, number, path, err);
	}
	if (r == 0 && server->n_psks == 0)
		return err_set(err, -EINVAL, "%s has no keys", path);
	return r;
}

static int load_psks(struct tls_server *server, const char *path, struct err *err)
{
	uint8_t *text = NULL;
	size_t len = 0;
	int r = read_file_at(AT_FDCWD, path, 0, PSK_FILE_MAX, &text, &len, err);
	if (r < 0)
		return r;
	r = add_psks(server, (char *)text, path, err);
	secret_wipe_and_free(text, len);
	if (r == 0)
		SSL_CTX_set_psk_server_callback(server->ctx, give_psk);
	return r;
}

/* -- all of it ------------------------------------------------------------------------------- */

void tls_server_close(struct tls_server *server)
{
	if (!server)
		return;
	for (size_t i = 0; i < server->n_psks; i++) {
		secret_deinit(&server->psks[i].key);
		free(server->psks[i].name);
	}
	free(server->psks);
	SSL_CTX_free(server->ctx);
	free(server);
}

/*
 * A key belongs to SHA-256 (RFC 8446, section 4.2.11).  A server with certificates as well would take the client's
 * favourite, mostly one of SHA-384, and then ask for a certificate; one without would take what is left of the client's
 * list, mostly ChaCha20, which costs twice as much as AES does where the processor has that.
 */
static void prefer_sha256(SSL_CTX *ctx)
{
	(void) SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void) SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
					     "TLS_AES_256_GCM_SHA384");
}

static void set_up(struct tls_server *server, const struct tls_server_options *options)
{
	SSL_CTX *ctx = server->ctx;
	(void) SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	/* A session that goes on is not asked for its certificate again: there are none. */
	(void) SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	(void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void) SSL_CTX_set_num_tickets(ctx, 0);
	/* A key is a session to the library, which belongs to somebody where certificates are asked for. */
	(void) SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"nbd", 3);
	(void) SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				     SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_app_data(ctx, server);
	/* With keys alone, of the old version only the suites that use them, with forward secrecy. */
	if (options->psk_file && !options->certificates)
		(void) SSL_CTX_set_cipher_list(ctx, "kECDHEPSK:kDHEPSK:!eNULL:!SHA1");
	if (options->psk_file)
		prefer_sha256(ctx);
}

int tls_server_open(const struct tls_server_options *options, struct tls_server **ret, struct err *err)
{
	struct tls_server *server = calloc(1, sizeof *server);
	if (server)
		server->ctx = SSL_CTX_new(TLS_server_method());
	if (!server || !server->ctx) {
		tls_server_close(server);
		return err_set(err, -ENOMEM, "no memory for TLS");
	}
	set_up(server, options);
	int r = 0;
	if (!options->certificates && !options->psk_file)
		r = err_set(err, -EINVAL, "TLS needs certificates or keys");
	if (r == 0 && options->certificates)
		r = load_certificates(server, options->certificates, err);
	if (r == 0 && options->psk_file)
		r = load_psks(server, options->psk_file, err);
	if (r < 0)
		tls_server_close(server);
	else
		*ret = server;
	return r;
}

/* -- one connection -------------------------------------------------------------------------- */

struct tls_session *tls_session_new(struct tls_server *server, int fd)
{
	struct tls_session *session = calloc(1, sizeof *session);
	if (session)
		session->ssl = SSL_new(server->ctx);
	if (!session || !session->ssl || SSL_set_fd(session->ssl, fd) != 1) {
		tls_session_free(session);
		return NULL;
	}
	SSL_set_accept_state(session->ssl);
	return session;
}

void tls_session_free(struct tls_session *session)
{
	if (!session)
		return;
	if (session->ssl && SSL_is_init_finished(session->ssl))
		(void) SSL_shutdown(session->ssl);
	ERR_clear_error();
	SSL_free(session->ssl);
	free(session);
}

/* What came of a call that returned @r. */
static int outcome(struct tls_session *session, int r)
{
	int error = SSL_get_error(session->ssl, r);
	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int tls_session_begin(struct tls_session *session, bool *ret_must_send)
{
	int r = SSL_do_handshake(session->ssl);
	*ret_must_send = false;
	if (r == 1)
		return 1;
	*ret_must_send = SSL_want_write(session->ssl);
	r = outcome(session, r);
	return r == -EAGAIN ? 0 : r == 0 ? -ECONNRESET : r;
}

ssize_t tls_session_receive(struct tls_session *session, void *buf, size_t len)
{
	size_t n = 0;
	int r = SSL_read_ex(session->ssl, buf, len, &n);
	return r == 1 ? (ssize_t)n : outcome(session, r);
}

/* Small pieces become one record: each costs a head, a tag and a system call. */
static size_t gather(const struct iovec *iov, int n, uint8_t *to)
{
	size_t len = 0;
	for (int i = 0; i < n && len < RECORD_MAX; i++) {
		size_t piece = min_size(iov[i].iov_len, RECORD_MAX - len);
		memcpy(to + len, iov[i].iov_base, piece);
		len += piece;
	}
	return len;
}

ssize_t tls_session_send(struct tls_session *session, const struct iovec *iov, int n)
{
	uint8_t record[RECORD_MAX];
	const void *data = iov[0].iov_base;
	size_t len = iov[0].iov_len, sent = 0;
	if (len < RECORD_MAX) {
		len = gather(iov, n, record);
		data = record;
	}
	int r = SSL_write_ex(session->ssl, data, len, &sent);
	return r == 1 ? (ssize_t)sent : outcome(session, r) == -EAGAIN ? -EAGAIN : -ECONNRESET;
}
