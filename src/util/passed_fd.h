/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* One descriptor along with a message over a unix socket.  Source: unix(7), SCM_RIGHTS; cmsg(3). */

/* Room for it, aligned as the kernel wants it. */
union passed_fd {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* @message, about to be received, has @room for one. */
static inline void passed_fd_expect(struct msghdr *message, union passed_fd *room)
{
	message->msg_control = room->bytes;
	message->msg_controllen = sizeof room->bytes;
}

/* @message, about to be sent, takes @fd along, lent. */
static inline void passed_fd_attach(struct msghdr *message, union passed_fd *room, int fd)
{
	passed_fd_expect(message, room);
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				    .cmsg_len = CMSG_LEN(sizeof fd) };
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

/* The one that came with @message; -EBADF = none did. */
static inline int passed_fd_take(struct msghdr *message)
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd = -EBADF;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}
