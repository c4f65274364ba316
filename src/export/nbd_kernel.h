/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"

#define NBD_MARK "pbsmap:" /* how the backend of our devices begins: /sys/block/nbdN/backend */

/* A read-only /dev/nbdN over sockets at whose other ends somebody serves. */
struct nbd_kernel {
	int fd;	     /* the device, O_RDONLY; -EBADF = none */
	unsigned number;
	char path[32]; /* "/dev/nbd12" */
	char mark[64];
};

#define NBD_KERNEL_NONE ((struct nbd_kernel){ .fd = -EBADF })

#define NBD_KERNEL_ANY UINT32_MAX

struct nbd_kernel_options {
	uint64_t size;	    /* bytes, whole sectors */
	uint32_t timeout_s; /* on each socket in turn, until a request fails: longer than a read may take */
	uint32_t number;    /* of the device; NBD_KERNEL_ANY: a free one */
	const char *mark;   /* behind NBD_MARK, cut to fit in 64 bytes with the NUL */
	const int *fds;	    /* lent; the kernel has them afterwards */
	size_t n_fds;
};

/**
 * nbd_kernel_attach - a device that goes at its last close, also after kill -9
 *
 * The module is loaded where it is missing.  Where the kernel knows the kind of table, the partitions are there.
 *
 * Errors:  -EPERM not root; -ENODEV no nbd in this kernel (the message says what else there is); -EBUSY the
 *          device that was asked for is in use; -ENOENT there is none of that number
 */
int nbd_kernel_attach(const struct nbd_kernel_options *options, struct nbd_kernel *ret,
		      struct err *err) MUST_CHECK;

/* Let go: who still has it open keeps it until the last close. */
void nbd_kernel_detach(struct nbd_kernel *kernel);

/* Nobody serves it any more: readers get errors now, and nothing hangs. */
void nbd_kernel_disconnect(const struct nbd_kernel *kernel);

/* Is /dev/nbd@number ours, and connected? */
bool nbd_kernel_is_ours(unsigned number);

/* The same for what process @pid has connected, which may not know it yet. */
void nbd_kernel_disconnect_of(pid_t pid);

/* Takes away our devices that nobody holds: who connected them was killed at once. */
void nbd_kernel_sweep(void);
