/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "net/link.h"

/* A connection for bytes of our own, TLS done. */
struct tunnel;

/* @link is lent.  Errors: as link_perform() */
int tunnel_open(struct link *link, struct deadline until, struct tunnel **ret,
		struct err *err) MUST_CHECK;
void tunnel_close(struct tunnel *tunnel);

/* To be polled.  Readable only tells of bytes that tunnel_receive() has not taken yet. */
int tunnel_fd(const struct tunnel *tunnel);

/**
 * tunnel_send, tunnel_receive - what can be done at once
 *
 * tunnel_send() that could not send all wants the same bytes again.
 * Returns: bytes, 0 only for tunnel_receive(): the other end closed it
 * Errors:  -EAGAIN; -ECONNRESET
 */
ssize_t tunnel_send(struct tunnel *tunnel, const void *data, size_t len) MUST_CHECK;
ssize_t tunnel_receive(struct tunnel *tunnel, void *data, size_t len) MUST_CHECK;
