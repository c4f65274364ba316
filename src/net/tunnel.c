/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tunnel.h"

#include <stdlib.h>

#include "util/cleanup.h"

struct tunnel {
	CURLM *multi;
	CURL *easy;
	int fd; /* curl's */
};

void tunnel_close(struct tunnel *tunnel)
{
	if (!tunnel)
		return;
	if (tunnel->multi && tunnel->easy)
		(void) curl_multi_remove_handle(tunnel->multi, tunnel->easy);
	if (tunnel->easy)
		curl_easy_cleanup(tunnel->easy);
	if (tunnel->multi)
		(void) curl_multi_cleanup(tunnel->multi);
	free(tunnel);
}

static void tunnel_closep(struct tunnel **tunnel)
{
	tunnel_close(*tunnel);
}

int tunnel_open(struct link *link, struct deadline until, struct tunnel **ret, struct err *err)
{
	CLEANUP(tunnel_closep) struct tunnel *tunnel = calloc(1, sizeof *tunnel);
	if (!tunnel)
		return err_set(err, -ENOMEM, "no memory for a connection");
	tunnel->multi = curl_multi_init();
	tunnel->easy = link_handle(link, LINK_TUNNEL);
	if (!tunnel->multi || !tunnel->easy ||
	    curl_easy_setopt(tunnel->easy, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK)
		return err_set(err, -ENOMEM, "no memory for a connection");
	int r = link_perform(link, tunnel->multi, tunnel->easy, until, err);
	if (r < 0)
		return r;
	curl_socket_t fd = CURL_SOCKET_BAD;
	if (curl_easy_getinfo(tunnel->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD)
		return err_set(err, -ECONNRESET, "%s:%u closed the connection", link->host,
			       (unsigned)link->port);
	tunnel->fd = fd;
	*ret = STEAL(tunnel);
	return 0;
}

int tunnel_fd(const struct tunnel *tunnel)
{
	return tunnel->fd;
}

static ssize_t outcome(CURLcode code, size_t n)
{
	if (code == CURLE_OK)
		return (ssize_t)n;
	return code == CURLE_AGAIN ? -EAGAIN : -ECONNRESET;
}

ssize_t tunnel_send(struct tunnel *tunnel, const void *data, size_t len)
{
	size_t n = 0;
	CURLcode code = curl_easy_send(tunnel->easy, data, len, &n);
	return outcome(code, n);
}

ssize_t tunnel_receive(struct tunnel *tunnel, void *data, size_t len)
{
	size_t n = 0;
	CURLcode code = curl_easy_recv(tunnel->easy, data, len, &n);
	return outcome(code, n);
}
