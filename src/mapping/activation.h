/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "util/err.h"

/* Sockets that a service manager has opened for us: sd_listen_fds(3). */
struct activation {
	int *fds;
	size_t n;
};

#define ACTIVATION_NONE ((struct activation){ 0 })

/*
 * Takes them; none = nobody has passed any.  No child gets them, nor the variables that say so.
 *
 * Errors:  -EINVAL one is no stream socket that listens
 */
int activation_take(struct activation *ret, struct err *err) MUST_CHECK;

/* Closes those that are still in it. */
void activation_deinit(struct activation *activation);
