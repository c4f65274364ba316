/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"
#include "util/list.h"

/*
 * The client's half of HTTP/2 on a connection that speaks it already: bytes in, bytes out, no sockets,
 * no clock, no threads of its own.  One thread at a time.
 */
struct h2;

enum h2_end {
	H2_DONE,    /* the whole answer came, whatever its status */
	H2_REFUSED, /* the other end did not look at it: ask again */
	H2_BROKEN,  /* reset, by the other end or because it broke the rules, or body() refused it */
	H2_LOST,    /* the connection is gone */
};

/* One GET.  Embedded by the caller, untouched by it until done; then it can be used again. */
struct h2_request {
	/* set by the caller */
	/* Bytes of the body, in order; negative: no more of it, the request ends with H2_BROKEN now. */
	int (*body)(struct h2_request *request, const uint8_t *data, size_t len);
	void (*done)(struct h2_request *request, enum h2_end end);

	/* the answer, as far as it came */
	int status;	 /* 0 = nothing yet */
	uint64_t length; /* announced; UINT64_MAX = not */

	/* the h2's own */
	int32_t stream;
	bool has_ended; /* the other end said so */
	struct list node;
};

/**
 * h2_new
 *
 * @authority:  what requests say they are for: "localhost:8007"
 */
int h2_new(const char *authority, struct h2 **ret, struct err *err) MUST_CHECK;

/* Requests under way end with H2_LOST. */
void h2_free(struct h2 *h2);

/*
 * Bytes came.  Calls body() and done().  -EPROTO, -ENOMEM: the connection is of no use any more.  What is
 * wrong with them may be said by h2_pending() only, behind the bytes that tell the other end.
 */
int h2_feed(struct h2 *h2, const uint8_t *data, size_t len, struct err *err) MUST_CHECK;

/**
 * h2_pending - bytes to be sent
 *
 * @ret:  lent until the next call of this function or h2_free()
 *
 * Calls done().
 *
 * Returns: how many, 0 = nothing; h2_sent() takes them off.  -EPROTO, -ENOMEM as h2_feed()
 */
ssize_t h2_pending(struct h2 *h2, const uint8_t **ret, struct err *err) MUST_CHECK;
void h2_sent(struct h2 *h2, size_t len);

/* @target: "/chunk?digest=…", encoded.  done() is called exactly once if it returns 0. */
int h2_submit(struct h2 *h2, struct h2_request *request, const char *target,
	      struct err *err) MUST_CHECK;

/* The other end will answer, if it lives. */
int h2_ping(struct h2 *h2, struct err *err) MUST_CHECK;

/* How many requests the other end lets be under way. */
unsigned h2_max_requests(const struct h2 *h2);

/* Nothing is under way. */
bool h2_is_idle(const struct h2 *h2);

/* The other end takes no more requests. */
bool h2_is_going_away(const struct h2 *h2);
