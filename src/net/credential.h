/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/secret.h"

/*
 * Who asks: the one header line of a request that says so, without a line end.  What is secret is
 * percent-encoded, "%" included, so nothing in it can end the line; the server decodes it.  Made in place:
 * no copy stays in other memory.
 *
 * Errors:  -ENOMEM
 */

/* "Cookie: PBSAuthCookie=TICKET" */
int credential_of_ticket(const struct secret *ticket, struct secret *ret, struct err *err) MUST_CHECK;

/* "Authorization: PBSAPIToken USER@REALM!TOKEN:SECRET"; @auth_id is the part before the colon. */
int credential_of_token(const char *auth_id, const struct secret *secret, struct secret *ret,
			struct err *err) MUST_CHECK;
