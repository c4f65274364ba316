/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_message.h"

#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <netlink/errno.h>
#include <netlink/genl/genl.h>

#include "unit.h"

#define FAMILY 0x1d

/* Read again by libnl's parser, with the types the kernel wants. */
static struct nla_policy policy[NBD_ATTR_MAX + 1] = {
	[NBD_ATTR_INDEX] = { .type = NLA_U32 },
	[NBD_ATTR_SIZE_BYTES] = { .type = NLA_U64 },
	[NBD_ATTR_BLOCK_SIZE_BYTES] = { .type = NLA_U64 },
	[NBD_ATTR_TIMEOUT] = { .type = NLA_U64 },
	[NBD_ATTR_SERVER_FLAGS] = { .type = NLA_U64 },
	[NBD_ATTR_CLIENT_FLAGS] = { .type = NLA_U64 },
	[NBD_ATTR_SOCKETS] = { .type = NLA_NESTED },
	[NBD_ATTR_BACKEND_IDENTIFIER] = { .type = NLA_STRING },
};

static void freep_message(struct nl_msg **message)
{
	nlmsg_free(*message);
}

/* Exactly @n attributes, and no others. */
static void parse(struct nl_msg *message, uint8_t command, size_t n, struct nlattr *ret[NBD_ATTR_MAX + 1])
{
	assert_non_null(message);
	struct nlmsghdr *header = nlmsg_hdr(message);
	assert_int_equal(header->nlmsg_type, FAMILY);
	assert_int_equal(genlmsg_hdr(header)->cmd, command);
	assert_int_equal(genlmsg_hdr(header)->version, NBD_GENL_VERSION);
	assert_int_equal(genlmsg_parse(header, 0, ret, NBD_ATTR_MAX, policy), 0);
	size_t found = 0;
	for (size_t i = 0; i <= NBD_ATTR_MAX; i++)
		found += ret[i] != NULL;
	assert_int_equal(found, n);
}

static size_t parse_sockets(struct nlattr *sockets, int *ret)
{
	struct nla_policy of_one[NBD_SOCK_MAX + 1] = { [NBD_SOCK_FD] = { .type = NLA_U32 } };
	struct nlattr *item;
	size_t n = 0;
	int left;
	nla_for_each_nested(item, sockets, left) {
		struct nlattr *attrs[NBD_SOCK_MAX + 1];
		assert_int_equal(nla_type(item), NBD_SOCK_ITEM);
		assert_int_equal(nla_parse_nested(attrs, NBD_SOCK_MAX, item, of_one), 0);
		assert_non_null(attrs[NBD_SOCK_FD]);
		ret[n++] = (int)nla_get_u32(attrs[NBD_SOCK_FD]);
	}
	assert_int_equal(left, 0);
	return n;
}

static const int fds[] = { 3, 1000, 70000, 5 };

static struct nbd_kernel_options options_of(uint32_t number, size_t n_fds)
{
	return (struct nbd_kernel_options){
		.size = 5ull << 40 | 512,
		.timeout_s = 86400,
		.number = number,
		.fds = fds,
		.n_fds = n_fds,
	};
}

static void connects_a_read_only_device_over_all_sockets(void **state)
{
	struct nlattr *attrs[NBD_ATTR_MAX + 1];
	for (size_t n = 1; n <= ARRAY_LEN(fds); n++) {
		int got[ARRAY_LEN(fds)];
		const struct nbd_kernel_options options = options_of(7, n);
		CLEANUP(freep_message) struct nl_msg *message = nbd_message_connect(FAMILY, &options, "pbsmap:vm/1/disk");
		parse(message, NBD_CMD_CONNECT, 8, attrs);
		assert_int_equal(nla_get_u32(attrs[NBD_ATTR_INDEX]), 7);
		assert_int_equal(nla_get_u64(attrs[NBD_ATTR_SIZE_BYTES]), options.size);
		assert_int_equal(nla_get_u64(attrs[NBD_ATTR_BLOCK_SIZE_BYTES]), 512);
		assert_int_equal(nla_get_u64(attrs[NBD_ATTR_TIMEOUT]), 86400);
		assert_int_equal(nla_get_u64(attrs[NBD_ATTR_SERVER_FLAGS]),
				 NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN);
		/* The first who opens and closes it must not take it away. */
		assert_int_equal(nla_get_u64(attrs[NBD_ATTR_CLIENT_FLAGS]), 0);
		assert_string_equal(nla_get_string(attrs[NBD_ATTR_BACKEND_IDENTIFIER]), "pbsmap:vm/1/disk");
		assert_int_equal(parse_sockets(attrs[NBD_ATTR_SOCKETS], got), n);
		assert_memory_equal(got, fds, n * sizeof *fds);
	}
}

static void lets_the_kernel_choose_a_free_device(void **state)
{
	struct nlattr *attrs[NBD_ATTR_MAX + 1];
	const struct nbd_kernel_options options = options_of(NBD_KERNEL_ANY, 1);
	CLEANUP(freep_message) struct nl_msg *message = nbd_message_connect(FAMILY, &options, "pbsmap:");
	parse(message, NBD_CMD_CONNECT, 7, attrs);
	assert_null(attrs[NBD_ATTR_INDEX]);
}

static void more_sockets_than_fit_are_no_message(void **state)
{
	static const int many[1000] = { 0 };
	struct nbd_kernel_options options = options_of(0, 1);
	options.fds = many;
	for (size_t n = 1; n <= ARRAY_LEN(many); n++) {
		int got[ARRAY_LEN(many)];
		struct nlattr *attrs[NBD_ATTR_MAX + 1];
		options.n_fds = n;
		CLEANUP(freep_message) struct nl_msg *message = nbd_message_connect(FAMILY, &options, "pbsmap:");
		/* 16 is what one mapping may have. */
		assert_true(message || n > 16);
		if (!message)
			continue;
		parse(message, NBD_CMD_CONNECT, 8, attrs);
		assert_int_equal(parse_sockets(attrs[NBD_ATTR_SOCKETS], got), n);
	}
	assert_null(nbd_message_connect(FAMILY, &options, "pbsmap:"));
}

static void a_device_goes_with_its_last_descriptor(void **state)
{
	struct nlattr *attrs[NBD_ATTR_MAX + 1];
	CLEANUP(freep_message) struct nl_msg *message = nbd_message_disconnect_on_close(FAMILY, 0, "pbsmap:x");
	parse(message, NBD_CMD_RECONFIGURE, 3, attrs);
	assert_int_equal(nla_get_u32(attrs[NBD_ATTR_INDEX]), 0);
	assert_int_equal(nla_get_u64(attrs[NBD_ATTR_CLIENT_FLAGS]), NBD_CFLAG_DISCONNECT_ON_CLOSE);
	assert_string_equal(nla_get_string(attrs[NBD_ATTR_BACKEND_IDENTIFIER]), "pbsmap:x");
}

static void a_device_goes_now(void **state)
{
	struct nlattr *attrs[NBD_ATTR_MAX + 1];
	CLEANUP(freep_message) struct nl_msg *message = nbd_message_disconnect(FAMILY, 255);
	parse(message, NBD_CMD_DISCONNECT, 1, attrs);
	assert_int_equal(nla_get_u32(attrs[NBD_ATTR_INDEX]), 255);
}

/* What CONNECT is answered with. */
static void an_answer_names_the_device(void **state)
{
	uint32_t number = 99;
	CLEANUP(freep_message) struct nl_msg *silent = nlmsg_alloc();
	CLEANUP(freep_message) struct nl_msg *answer = nlmsg_alloc();
	CLEANUP(freep_message) struct nl_msg *cut = nlmsg_alloc();
	assert_non_null(genlmsg_put(silent, 0, 0, FAMILY, 0, 0, NBD_CMD_CONNECT, 0));
	assert_false(nbd_message_number(silent, &number));
	assert_non_null(genlmsg_put(cut, 0, 0, FAMILY, 0, 0, NBD_CMD_CONNECT, 0));
	assert_int_equal(nla_put_u16(cut, NBD_ATTR_INDEX, 12), 0);
	assert_false(nbd_message_number(cut, &number));
	assert_int_equal(number, 99);
	assert_non_null(genlmsg_put(answer, 0, 0, FAMILY, 0, 0, NBD_CMD_CONNECT, 0));
	assert_int_equal(nla_put_u32(answer, NBD_ATTR_INDEX, 12), 0);
	assert_true(nbd_message_number(answer, &number));
	assert_int_equal(number, 12);
}

static void the_librarys_errors_become_the_systems(void **state)
{
	static const int lossless[] = { EINTR, EBADF, EAGAIN, ENOMEM, EEXIST, EINVAL, ERANGE, EOPNOTSUPP,
					EAFNOSUPPORT, ENOENT, EADDRNOTAVAIL, EBUSY, EPROTONOSUPPORT, EACCES, EPERM, ENODEV };
	for (size_t i = 0; i < ARRAY_LEN(lossless); i++)
		assert_int_equal(errno_of_netlink(-nl_syserr2nlerr(lossless[i])), -lossless[i]);
	assert_int_equal(errno_of_netlink(0), 0);
	assert_int_equal(errno_of_netlink(120), 0); /* bytes sent */
	/* Those without a number of their own. */
	assert_int_equal(errno_of_netlink(-nl_syserr2nlerr(EMFILE)), -EIO);
	for (int r = 1; r < 2 * NLE_MAX; r++)
		assert_true(errno_of_netlink(-r) < 0);
	assert_int_equal(errno_of_netlink(-NLE_MSG_TRUNC), -EPROTO);
	assert_int_equal(errno_of_netlink(-NLE_MAX - 1), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(connects_a_read_only_device_over_all_sockets),
		TEST(lets_the_kernel_choose_a_free_device),
		TEST(more_sockets_than_fit_are_no_message),
		TEST(a_device_goes_with_its_last_descriptor),
		TEST(a_device_goes_now),
		TEST(an_answer_names_the_device),
		TEST(the_librarys_errors_become_the_systems),
	};
	return RUN_TESTS(tests);
}
