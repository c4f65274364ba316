/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "format/pbs_repository.h"
#include "mapping/backup.h"

/**
 * pbs_login_open - a datastore of a backup server, with all the user knows to get in
 *
 *   password     PBS_PASSWORD in any of its forms; else a ticket of an earlier log-in (tickets.h); else, when the
 *                server wants one, a prompt on the terminal.  An API token's secret: the first only
 *   certificate  --fingerprint, else PBS_FINGERPRINT in any of its forms: it must be that one.  Else an authority,
 *                or the one that was confirmed once (fingerprints.h), or the user at the terminal, who is asked
 *
 * Set-up calls of the source may still ask; it keeps all it takes for that.
 *
 * Errors:  -EINVAL a fingerprint that is none; -EACCES no password to be had, or a form of it that cannot be
 *          read; those of source_pbs_open()
 */
int pbs_login_open(const struct repository_options *options, const struct pbs_repository *repository,
		   struct source **ret, struct err *err) MUST_CHECK;
