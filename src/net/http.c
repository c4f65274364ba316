/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include <stdlib.h>
#include <string.h>

#include "util/secret.h"

#define FIRST_LEN 4096 /* bytes; the answer to a log-in is shorter, so it is never moved */

struct http {
	struct link *link;
	CURLM *multi;
	CURL *easy;
};

/* The answer as it comes. */
struct incoming {
	struct buf *body;
	size_t max_len;
};

void http_answer_deinit(struct http_answer *answer)
{
	if (answer->body.data)
		secret_wipe(answer->body.data, answer->body.cap);
	buf_deinit(&answer->body);
}

void http_free(struct http *http)
{
	if (!http)
		return;
	if (http->easy)
		curl_easy_cleanup(http->easy);
	if (http->multi)
		(void) curl_multi_cleanup(http->multi);
	free(http);
}

static void http_freep(struct http **http)
{
	http_free(*http);
}

int http_new(struct link *link, struct http **ret, struct err *err)
{
	CLEANUP(http_freep) struct http *http = calloc(1, sizeof *http);
	if (!http)
		return err_set(err, -ENOMEM, "no memory for a connection");
	http->link = link;
	http->multi = curl_multi_init();
	http->easy = link_handle(link, LINK_HTTP);
	if (!http->multi || !http->easy)
		return err_set(err, -ENOMEM, "no memory for a connection");
	*ret = STEAL(http);
	return 0;
}

/* A short count makes curl fail with CURLE_WRITE_ERROR. */
static size_t take_body(char *data, size_t size, size_t n, void *user)
{
	struct incoming *incoming = user;
	size_t len = size * n;
	if (len > incoming->max_len - incoming->body->len)
		return 0;
	return buf_add(incoming->body, data, len, NULL) == 0 ? len : 0;
}

static int make_room(struct buf *body, struct err *err)
{
	char room[FIRST_LEN] = { 0 };
	int r = buf_add(body, room, sizeof room, err);
	body->len = 0;
	return r;
}

static CURLcode set_request(CURL *easy, const struct http_request *request, struct curl_slist *headers,
			    struct incoming *incoming)
{
	CURLcode r = curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, request->target);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_WRITEDATA, incoming);
	if (r == CURLE_OK && !request->body)
		return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_POST, 1L);
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(request->body));
	if (r == CURLE_OK)
		r = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	return r;
}

/* Nothing that belongs to this call is looked at again. */
static void forget_request(CURL *easy)
{
	(void) curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	(void) curl_easy_setopt(easy, CURLOPT_WRITEDATA, NULL);
	(void) curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
}

static int call(struct http *http, const struct http_request *request, struct http_answer *answer,
		struct err *err)
{
	/* By hand: curl_slist_append() would copy the credential. */
	char agent[] = "User-Agent: pbsmap", json[] = "Content-Type: application/json";
	struct curl_slist credential = { .data = (char *)(uintptr_t)request->header };
	struct curl_slist type = { .data = json, .next = request->header ? &credential : NULL };
	struct curl_slist headers = { .data = agent, .next = request->body ? &type : type.next };
	struct incoming incoming = { .body = &answer->body, .max_len = request->max_len };
	int r = make_room(&answer->body, err);
	if (r < 0)
		return r;
	if (set_request(http->easy, request, &headers, &incoming) != CURLE_OK)
		r = err_set(err, -ENOMEM, "no memory for a request");
	else
		r = link_perform(http->link, http->multi, http->easy, request->until, err);
	(void) curl_multi_remove_handle(http->multi, http->easy);
	forget_request(http->easy);
	long status = 0;
	(void) curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
	answer->status = (int)status;
	return r;
}

int http_call(struct http *http, const struct http_request *request, struct http_answer *ret,
	      struct err *err)
{
	struct http_answer answer = HTTP_ANSWER_EMPTY;
	int r = call(http, request, &answer, err);
	if (r < 0)
		http_answer_deinit(&answer);
	else
		*ret = answer;
	return r;
}
