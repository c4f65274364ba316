/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "util/deadline.h"
#include "util/err.h"

/*
 * What is said over a control socket, and between a starting server and the one who waits for it: one
 * JSON object a packet.
 *
 *   {"do": "status"}                 → mapping_info_to_json()
 *   {"do": "end", "force": BOOL}     → {}; the connection is closed when the server is gone
 */
#define CONTROL_PACKET_MAX (256u << 10) /* bytes */

/* Takes @json, NULL = no memory.  No SIGPIPE when the other side is gone: often that is its matter. */
int control_send(int fd, json_t *take_json, struct err *err);

/* The same with a descriptor, lent; -EBADF = none. */
int control_send_fd(int fd, json_t *take_json, int attached, struct err *err);

/* 1 = a packet, 0 = the other side has closed it.  -ETIMEDOUT, -EPROTO. */
int control_receive(int fd, struct deadline until, json_t **ret, struct err *err) MUST_CHECK;

/* The same with the descriptor that came along; -EBADF = none. */
int control_receive_fd(int fd, struct deadline until, json_t **ret, int *ret_attached,
		       struct err *err) MUST_CHECK;

/* A question and its answer; -ECONNRESET = none. */
int control_ask(int fd, json_t *take_json, struct deadline until, json_t **ret,
		struct err *err) MUST_CHECK;

/* Waits until the other side has closed it: -ETIMEDOUT. */
int control_wait_for_end(int fd, struct deadline until, struct err *err);
