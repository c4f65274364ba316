/* SPDX-License-Identifier: Apache-2.0 */
#include "net/link.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/crypt_key.h"
#include "util/cleanup.h"

#define CONNECT_MS   10000 /* name, TCP, proxy and TLS; a server gives up a handshake after as long */
#define KEEP_IDLE_S  120   /* as the server's own end has it */
#define KEEP_PROBE_S 15
#define HEAD_MAX     (64u << 10) /* bytes of the headers of an answer, its trailers too: the library keeps all */

/* Offers no protocol names: a backup server has none, and a proxy in front of one could choose wrong. */
static CURLcode prepare_tls(CURL *easy, void *ssl_ctx, void *user)
{
	struct link *link = user;
	struct err why = ERR_NONE;
	if (tls_check_install(ssl_ctx, link->host, &link->check, &why) == 0)
		return CURLE_OK;
	(void) snprintf(link->words, sizeof link->words, "%.*s", CURL_ERROR_SIZE - 1, why.msg);
	return CURLE_SSL_CERTPROBLEM;
}

static CURLcode prepare_tunnel(CURL *easy, void *ssl_ctx, void *user)
{
	tls_read_ahead(ssl_ctx);
	return prepare_tls(easy, ssl_ctx, user);
}

/* A short count makes curl fail with CURLE_WRITE_ERROR. */
static size_t take_header(char *line, size_t size, size_t n, void *user)
{
	struct link *link = user;
	size_t len = size * n;
	link->head_len += len;
	return link->head_len <= HEAD_MAX ? len : 0;
}

CURL *link_handle(struct link *link, enum link_use use)
{
	CURL *easy = curl_easy_init();
	char url[320];
	if (!easy)
		return NULL;
	(void) snprintf(url, sizeof url, "https://%s:%u/", link->host, (unsigned)link->port);
	CURLcode r = curl_easy_setopt(easy, CURLOPT_URL, url);
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS },
		{ CURLOPT_TCP_NODELAY, 1 },
		{ CURLOPT_TCP_KEEPALIVE, 1 },
		{ CURLOPT_TCP_KEEPIDLE, KEEP_IDLE_S },
		{ CURLOPT_TCP_KEEPINTVL, KEEP_PROBE_S },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_SSL_ENABLE_ALPN, 0 },
		{ CURLOPT_SSL_VERIFYPEER, 1 },
		{ CURLOPT_SSL_VERIFYHOST, 0 }, /* tls.c does it, where an authority vouches */
#if LIBCURL_VERSION_NUM >= 0x075700
		{ CURLOPT_QUICK_EXIT, 1 }, /* never wait for a name look-up that nobody wants any more */
#endif
	};
	for (size_t i = 0; r == CURLE_OK && i < ARRAY_LEN(numbers); i++)
		r = curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
	/* The authorities are looked up by tls.c, one at a time: reading all of them takes 10 ms. */
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION,
				     use == LINK_TUNNEL ? prepare_tunnel : prepare_tls);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, link);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_HEADERDATA, link);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, link->words);
	if (r == CURLE_OK)
		return easy;
	curl_easy_cleanup(easy);
	return NULL;
}

/* -- failures -------------------------------------------------------------------------------- */

static int refused_certificate(struct link *link, struct err *err)
{
	char seen[FINGERPRINT_TEXT_SIZE], expected[FINGERPRINT_TEXT_SIZE];
	switch (link->check.verdict) {
	case TLS_UNKNOWN:
		return err_set(err, -EACCES, "nothing vouches for the certificate of %s", link->host);
	case TLS_CHANGED:
		fingerprint_format(link->check.seen, DIGEST_SIZE, seen);
		fingerprint_format(link->check.trust->fingerprint, DIGEST_SIZE, expected);
		return err_set(err, -EACCES, "the certificate of %s has the fingerprint %s, expected is %s", link->host,
			       seen, expected);
	default:
		return err_set(err, -EPROTO, "%s:%u does not answer as a TLS server: %s", link->host,
			       (unsigned)link->port, link->words);
	}
}

/* curl does not tell which of them it tried; NO_PROXY may say that it was not the proxy. */
static const char *or_proxy(void)
{
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return ", or to the proxy that the environment names";
	}
	return "";
}

static int not_connected(struct link *link, CURL *easy, struct err *err)
{
	long code = 0;
	(void) curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &code);
	if (code <= 0)
		code = ECONNREFUSED;
	return err_errno(err, -(int)code, "cannot connect to %s:%u%s", link->host, (unsigned)link->port, or_proxy());
}

/* What the proxy said to the wish to go on; 0 = there is none, or it said nothing, or yes. */
static long proxy_refusal(CURL *easy)
{
	long status = 0;
	(void) curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
	return status / 100 == 2 ? 0 : status;
}

static int closed(struct link *link, CURL *easy, struct err *err)
{
	long status = proxy_refusal(easy);
	if (status)
		return err_set(err, -ECONNREFUSED, "the proxy that the environment names does not lead to %s:%u (status %ld)",
			       link->host, (unsigned)link->port, status);
	return err_set(err, -ECONNRESET, "%s:%u closed the connection", link->host, (unsigned)link->port);
}

static int failure(struct link *link, CURL *easy, CURLcode code, struct err *err)
{
	const char *host = link->host;
	unsigned port = link->port;
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(err, -EHOSTUNREACH, "there is no host %s: its name cannot be looked up", host);
	case CURLE_COULDNT_RESOLVE_PROXY:
		return err_set(err, -EHOSTUNREACH, "the name of the proxy cannot be looked up");
	case CURLE_COULDNT_CONNECT:
		return not_connected(link, easy, err);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(err, -ETIMEDOUT, "%s:%u does not answer in time", host, port);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
		return refused_certificate(link, err);
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
		return closed(link, easy, err);
	case CURLE_OUT_OF_MEMORY:
		return err_set(err, -ENOMEM, "no memory for the connection to %s", host);
	case CURLE_WRITE_ERROR:
	case CURLE_FILESIZE_EXCEEDED:
		return err_set(err, -EPROTO, "%s:%u answers more than it may", host, port);
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
		return err_set(err, -EPROTO, "%s:%u is no backup server: it does not speak HTTP", host, port);
	default:
		return err_set(err, -EPROTO, "%s:%u: %s", host, port,
			       *link->words ? link->words : curl_easy_strerror(code));
	}
}

/* -- waiting --------------------------------------------------------------------------------- */

/* What became of the one handle of @multi; CURLE_AGAIN = it is not done. */
static CURLcode outcome(CURLM *multi)
{
	int n_left;
	CURLMsg *msg;
	while ((msg = curl_multi_info_read(multi, &n_left)))
		if (msg->msg == CURLMSG_DONE)
			return msg->data.result;
	return CURLE_AGAIN;
}

static int run(struct link *link, CURLM *multi, CURL *easy, struct deadline until, struct err *err)
{
	for (;;) {
		int n_running;
		if (curl_multi_perform(multi, &n_running) != CURLM_OK)
			return err_set(err, -ENOMEM, "no memory for the connection to %s", link->host);
		CURLcode code = outcome(multi);
		if (code != CURLE_AGAIN)
			return failure(link, easy, code, err);
		if (deadline_is_over(until))
			return failure(link, easy, CURLE_OPERATION_TIMEDOUT, err);
		struct curl_waitfd stop = { .fd = link->stop_fd, .events = CURL_WAIT_POLLIN };
		int wait_ms = deadline_poll_ms(until), n;
		if (curl_multi_poll(multi, &stop, link->stop_fd >= 0, wait_ms < 0 ? 60000 : wait_ms, &n) !=
		    CURLM_OK)
			return err_set(err, -ENOMEM, "no memory to wait for %s", link->host);
		if (stop.revents)
			return err_set(err, -ECANCELED, "given up");
	}
}

int link_perform(struct link *link, CURLM *multi, CURL *easy, struct deadline until, struct err *err)
{
	link->words[0] = '\0';
	link->head_len = 0;
	link->check.verdict = TLS_NOT_SEEN;
	if (curl_multi_add_handle(multi, easy) != CURLM_OK)
		return err_set(err, -ENOMEM, "no memory for the connection to %s", link->host);
	return run(link, multi, easy, until, err);
}
