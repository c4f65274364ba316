/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/buf.h"

/**
 * url_add_query - one parameter behind a path: "?NAME=VALUE", or "&NAME=VALUE" where one is there
 *
 * Encoded as a form: a space is "+", letters, digits and "*-._" stay, the rest is %HH.  Not for secrets:
 * what @b grows out of is not wiped.
 *
 * Errors:  -ENOMEM
 * Threads: pure
 */
int url_add_query(struct buf *b, const char *name, const char *value, struct err *err) MUST_CHECK;
