/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>

#include "util/cleanup.h"

/*
 * Why something failed.  Owned by the caller; NULL where the words are not wanted.
 *
 * Functions return 0 = done, positive = an outcome their header documents, negative errno = could
 * not.  The code is exact until the border: -EBADMSG bytes do not verify, -ENOKEY key missing,
 * -EKEYREJECTED wrong key, -ENOENT store does not have it, -EACCES refused, -ETIMEDOUT deadline,
 * -ECONNRESET link lost, -EPROTO peer broke the protocol, -EBUSY in use, -EINVAL the request
 * itself is wrong.
 */
struct err {
	int code;      /* negative errno; 0 = nothing failed */
	char msg[508]; /* the cause first, then ", while ..." added on the way up; UTF-8, one line */
};

#define ERR_NONE ((struct err){ 0 })

/* Start a failure: the only way to do so.  Returns @code. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);

/* The same with ": <strerror(-code)>" behind the text. */
int err_errno(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);

/* Add ", while ..." to a failure on its way up.  Returns @code. */
int err_while(struct err *err, int code, const char *fmt, ...) PRINTF(3, 4);
