/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/image.h"

/* What is to be read while a thread of nbdkit waits for it. */
struct wanted {
	uint64_t off;
	size_t len; /* off + len is inside the image */
	enum priority priority;
	int64_t timeout_ms; /* 0 = for ever */
	/* Asked twice a second: does nobody want it any more? */
	bool (*is_given_up)(void *user);
	void *user;
};

/**
 * waiting_read - read, sleep until it is answered
 *
 * @buf:  wanted->len bytes, undefined after a failure; NULL: the bytes are only to be in memory then
 *
 * Errors:  those of a read; -ECANCELED it was given up
 */
int waiting_read(struct image *image, const struct wanted *wanted, void *buf, struct err *err) MUST_CHECK;
