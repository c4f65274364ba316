/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "net/link.h"
#include "util/buf.h"

/* Calls of a REST interface over one link, one at a time, the connection kept in between. */
struct http;

struct http_request {
	const char *target;	/* path and query, encoded: "/api2/json/version" */
	const char *header;	/* one line, a credential; NULL = none.  Not copied */
	const char *body;	/* JSON of a POST; NULL = a GET.  Not copied */
	size_t max_len;		/* bytes of an answer at most */
	struct deadline until;
};

struct http_answer {
	int status;
	struct buf body; /* may hold a secret: http_answer_deinit() wipes it */
};

#define HTTP_ANSWER_EMPTY ((struct http_answer){ .body = BUF_EMPTY })
void http_answer_deinit(struct http_answer *answer);

/* @link is lent. */
int http_new(struct link *link, struct http **ret, struct err *err) MUST_CHECK;
void http_free(struct http *http);

/**
 * http_call - ask, and wait for the answer
 *
 * Returns 0 with any status, an error of the server's included; redirections are not followed.
 * Errors:  as link_perform()
 */
int http_call(struct http *http, const struct http_request *request, struct http_answer *ret,
	      struct err *err) MUST_CHECK;
