/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "export/nbd_kernel.h"

/*
 * What is said to the kernel about its NBD devices, and what it answers: messages of generic netlink, in libnl's
 * buffers.  Pure.
 *
 * Source: linux/nbd-netlink.h, linux/nbd.h
 */
struct nl_msg;

/*
 * @family: the number this kernel gave to NBD_GENL_FAMILY_NAME
 * Given, nlmsg_free(); NULL = no memory, or more sockets than fit into a message.
 */
struct nl_msg *nbd_message_connect(int family, const struct nbd_kernel_options *options, const char *mark);
/* From now on it goes with its last descriptor.  The kernel compares @mark with the one that it was connected with. */
struct nl_msg *nbd_message_disconnect_on_close(int family, uint32_t number, const char *mark);
struct nl_msg *nbd_message_disconnect(int family, uint32_t number);

/* Does the answer name a device? */
bool nbd_message_number(struct nl_msg *answer, uint32_t *ret);

/* A negative errno of what libnl returns, which has numbers of its own (NLE_…). */
int errno_of_netlink(int r);
