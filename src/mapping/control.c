/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/control.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "format/json.h"
#include "util/passed_fd.h"

int control_send_fd(int fd, json_t *take_json, int attached, struct err *err)
{
	CLEANUP(freep) char *text = take_json ? json_dumps(take_json, JSON_COMPACT) : NULL;
	json_decref(take_json);
	if (!text)
		return err_set(err, -ENOMEM, "no memory for a message");
	struct iovec iov = { text, strlen(text) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	union passed_fd room = { { 0 } };
	if (attached >= 0)
		passed_fd_attach(&message, &room, attached);
	ssize_t n;
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_errno(err, -errno, "cannot send a message") : 0;
}

int control_send(int fd, json_t *take_json, struct err *err)
{
	return control_send_fd(fd, take_json, -EBADF, err);
}

static int wait_readable(int fd, struct deadline until, struct err *err)
{
	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		int n = poll(&wait, 1, deadline_poll_ms(until));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_errno(err, -errno, "cannot wait for a message");
		if (n == 0 && deadline_is_over(until))
			return err_set(err, -ETIMEDOUT, "no answer");
	}
}

int control_receive_fd(int fd, struct deadline until, json_t **ret, int *ret_attached, struct err *err)
{
	int r = wait_readable(fd, until, err);
	if (r < 0)
		return r;
	CLEANUP(freep) char *text = malloc(CONTROL_PACKET_MAX);
	if (!text)
		return err_set(err, -ENOMEM, "no memory for a message");
	struct iovec iov = { text, CONTROL_PACKET_MAX };
	union passed_fd room = { { 0 } };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	passed_fd_expect(&message, &room);
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return 0;
	if (n < 0)
		return err_errno(err, -errno, "cannot receive a message");
	CLEANUP(closep) int attached = passed_fd_take(&message);
	r = message.msg_flags & MSG_TRUNC ? -EPROTO : json_parse_object(text, (size_t)n, "message", ret, err);
	if (r < 0)
		return err_set(err, -EPROTO, "a message that is none");
	*ret_attached = steal_fd(&attached);
	return 1;
}

int control_receive(int fd, struct deadline until, json_t **ret, struct err *err)
{
	CLEANUP(closep) int nobody_wants_it = -EBADF;
	return control_receive_fd(fd, until, ret, &nobody_wants_it, err);
}

int control_ask(int fd, json_t *take_json, struct deadline until, json_t **ret, struct err *err)
{
	int r = control_send(fd, take_json, err);
	if (r == 0)
		r = control_receive(fd, until, ret, err);
	if (r == 0)
		return err_set(err, -ECONNRESET, "the server process went away");
	return r < 0 ? r : 0;
}

int control_wait_for_end(int fd, struct deadline until, struct err *err)
{
	int r;
	do {
		CLEANUP(json_freep) json_t *ignored = NULL;
		r = control_receive(fd, until, &ignored, err);
	} while (r > 0);
	return r;
}
