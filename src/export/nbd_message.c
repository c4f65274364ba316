/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_message.h"

#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <netlink/errno.h>
#include <netlink/genl/genl.h>

#define BLOCK_SIZE_BYTES 512

struct message {
	struct nl_msg *nl;
	bool is_bad; /* there was no room, or no memory */
};

static struct message message_begin(int family, uint8_t command)
{
	struct message message = { .nl = nlmsg_alloc() };
	message.is_bad = !message.nl || !genlmsg_put(message.nl, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command,
						     NBD_GENL_VERSION);
	return message;
}

static struct nl_msg *message_end(struct message *message)
{
	if (!message->is_bad)
		return message->nl;
	nlmsg_free(message->nl);
	return NULL;
}

static void put_u32(struct message *message, int id, uint32_t value)
{
	message->is_bad = message->is_bad || nla_put_u32(message->nl, id, value) < 0;
}

static void put_u64(struct message *message, int id, uint64_t value)
{
	message->is_bad = message->is_bad || nla_put_u64(message->nl, id, value) < 0;
}

static void put_text(struct message *message, int id, const char *value)
{
	message->is_bad = message->is_bad || nla_put_string(message->nl, id, value) < 0;
}

static void put_sockets(struct message *message, const int *fds, size_t n)
{
	struct nlattr *all = message->is_bad ? NULL : nla_nest_start(message->nl, NBD_ATTR_SOCKETS);
	message->is_bad = !all;
	for (size_t i = 0; i < n && !message->is_bad; i++) {
		struct nlattr *one = nla_nest_start(message->nl, NBD_SOCK_ITEM);
		message->is_bad = !one || nla_put_u32(message->nl, NBD_SOCK_FD, (uint32_t)fds[i]) < 0;
		if (one)
			(void) nla_nest_end(message->nl, one);
	}
	if (all)
		(void) nla_nest_end(message->nl, all);
}

struct nl_msg *nbd_message_connect(int family, const struct nbd_kernel_options *options, const char *mark)
{
	struct message message = message_begin(family, NBD_CMD_CONNECT);
	if (options->number != NBD_KERNEL_ANY)
		put_u32(&message, NBD_ATTR_INDEX, options->number);
	put_u64(&message, NBD_ATTR_SIZE_BYTES, options->size);
	put_u64(&message, NBD_ATTR_BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES);
	put_u64(&message, NBD_ATTR_TIMEOUT, options->timeout_s);
	put_u64(&message, NBD_ATTR_SERVER_FLAGS,
		(uint64_t)NBD_FLAG_HAS_FLAGS | (uint64_t)NBD_FLAG_READ_ONLY | (uint64_t)NBD_FLAG_CAN_MULTI_CONN);
	put_u64(&message, NBD_ATTR_CLIENT_FLAGS, 0);
	put_text(&message, NBD_ATTR_BACKEND_IDENTIFIER, mark);
	put_sockets(&message, options->fds, options->n_fds);
	return message_end(&message);
}

struct nl_msg *nbd_message_disconnect_on_close(int family, uint32_t number, const char *mark)
{
	struct message message = message_begin(family, NBD_CMD_RECONFIGURE);
	put_u32(&message, NBD_ATTR_INDEX, number);
	put_u64(&message, NBD_ATTR_CLIENT_FLAGS, NBD_CFLAG_DISCONNECT_ON_CLOSE);
	put_text(&message, NBD_ATTR_BACKEND_IDENTIFIER, mark);
	return message_end(&message);
}

struct nl_msg *nbd_message_disconnect(int family, uint32_t number)
{
	struct message message = message_begin(family, NBD_CMD_DISCONNECT);
	put_u32(&message, NBD_ATTR_INDEX, number);
	return message_end(&message);
}

bool nbd_message_number(struct nl_msg *answer, uint32_t *ret)
{
	struct nlattr *attrs[NBD_ATTR_MAX + 1];
	/* Without a policy libnl lets an attribute of any length through. */
	if (genlmsg_parse(nlmsg_hdr(answer), 0, attrs, NBD_ATTR_MAX, NULL) < 0 || !attrs[NBD_ATTR_INDEX] ||
	    nla_len(attrs[NBD_ATTR_INDEX]) != sizeof *ret)
		return false;
	*ret = nla_get_u32(attrs[NBD_ATTR_INDEX]);
	return true;
}

int errno_of_netlink(int r)
{
	static const int numbers[] = {
		[NLE_INTR] = EINTR,
		[NLE_BAD_SOCK] = EBADF,
		[NLE_AGAIN] = EAGAIN,
		[NLE_NOMEM] = ENOMEM,
		[NLE_EXIST] = EEXIST,
		[NLE_INVAL] = EINVAL,
		[NLE_RANGE] = ERANGE,
		[NLE_OPNOTSUPP] = EOPNOTSUPP,
		[NLE_AF_NOSUPPORT] = EAFNOSUPPORT,
		[NLE_OBJ_NOTFOUND] = ENOENT,
		[NLE_NOADDR] = EADDRNOTAVAIL,
		[NLE_BUSY] = EBUSY,
		[NLE_PROTO_MISMATCH] = EPROTONOSUPPORT,
		[NLE_NOACCESS] = EACCES,
		[NLE_PERM] = EPERM,
		[NLE_NODEV] = ENODEV,
	};
	if (r >= 0)
		return 0;
	if (r == -NLE_FAILURE)
		return -EIO; /* one it has no number for */
	/* The others say that what came is not understood. */
	size_t number = (size_t)-r;
	return number < ARRAY_LEN(numbers) && numbers[number] ? -numbers[number] : -EPROTO;
}
