/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "util/err.h"

/**
 * pbs_refusal - what a backup server means by an answer that is not the one asked for
 *
 * @status:  of HTTP: of the API, of the upgrade, or inside a reader session
 * @body:    plain text, whatever the headers say; of a redirection, where it leads.  Its first line is shown.
 *
 * Returns:  always a failure:
 *          -EACCES     wrong password, token, ticket; no right to it
 *          -ENOENT     store, namespace, snapshot or file is not there
 *          -EBADMSG    an index that the server cannot read either
 *          -EBUSY      the snapshot is being removed or written
 *          -EAGAIN     the datastore is in maintenance
 *          -EINVAL     the server does not take what was asked for
 *          -EREMOTEIO  the server's own trouble
 *          -EPROTO     not what a backup server answers
 * Threads: pure
 */
int pbs_refusal(unsigned status, const char *body, size_t len, struct err *err);
