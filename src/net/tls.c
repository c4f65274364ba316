/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "util/bytes.h"

#define READ_BUFFER_LEN (66u << 10) /* bytes: four records of 16 KiB; with each one OpenSSL moves what is left */
#define MESSAGES_MAX	1000	     /* of a handshake and behind it; ten are usual */

static enum tls_verdict judge(X509_STORE_CTX *store, struct tls_check *check)
{
	const struct tls_trust *trust = check->trust;
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	unsigned len = 0;
	if (!leaf || !X509_digest(leaf, EVP_sha256(), check->seen, &len) || len != DIGEST_SIZE)
		return TLS_NOT_SEEN;
	bool is_same = memcmp(check->seen, trust->fingerprint, DIGEST_SIZE) == 0;
	if (trust->is_pinned)
		return is_same ? TLS_TRUSTED : TLS_CHANGED;
	if (X509_verify_cert(store) == 1)
		return TLS_TRUSTED;
	if (trust->is_known)
		return is_same ? TLS_TRUSTED : TLS_CHANGED;
	return TLS_UNKNOWN;
}

static int verify(X509_STORE_CTX *store, void *user)
{
	struct tls_check *check = user;
	check->verdict = judge(store, check);
	bool is_good = check->verdict == TLS_TRUSTED;
	/* What curl looks at afterwards. */
	X509_STORE_CTX_set_error(store, is_good ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
	return is_good;
}

/*
 * The library goes on as long as there are messages it passes over, and looks at no clock: without an end to them the
 * deadline would never come.  For it this is the end of the connection.
 */
static void count_message(int is_ours, int version, int type, const void *data, size_t len, SSL *ssl, void *user)
{
	struct tls_check *check = user;
	if (!is_ours && type == SSL3_RT_HANDSHAKE && ++check->n_messages > MESSAGES_MAX)
		SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
}

static bool set_host(X509_VERIFY_PARAM *param, const char *host)
{
	char bare[64];
	size_t len = strlen(host);
	if (host[0] == '[' && len > 2 && len - 2 < sizeof bare) {
		memcpy(bare, host + 1, len - 2);
		bare[len - 2] = '\0';
		host = bare;
	}
	return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 ||
	       X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

int tls_check_install(void *ssl_ctx, const char *host, struct tls_check *check, struct err *err)
{
	SSL_CTX *ctx = ssl_ctx;
	check->verdict = TLS_NOT_SEEN;
	check->n_messages = 0;
	SSL_CTX_set_msg_callback(ctx, count_message);
	SSL_CTX_set_msg_callback_arg(ctx, check);
	SSL_CTX_set_cert_verify_callback(ctx, verify, check);
	if (!set_host(SSL_CTX_get0_param(ctx), host))
		return err_set(err, -EINVAL, "%s is no name a certificate could be for", host);
	if (!check->trust->is_pinned && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return err_set(err, -ENOMEM, "no memory for the certificates of this machine");
	return 0;
}

void tls_read_ahead(void *ssl_ctx)
{
	SSL_CTX_set_read_ahead(ssl_ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ssl_ctx, READ_BUFFER_LEN);
}
