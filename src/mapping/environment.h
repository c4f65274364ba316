/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/secret.h"

/**
 * environment_value - what the variable NAME says, in one of the forms the reference client knows
 *
 *   NAME       the value itself, its first line
 *   NAME_FD    a descriptor that is open already; its first line.  It stays open
 *   NAME_FILE  a file; its first line
 *   NAME_CMD   a command, words as a shell splits them, run without a shell; its first line
 *   a systemd credential "proxmox-backup-client.CREDENTIAL"; all of it
 *
 * The first that is set wins.  A NAME that was read is wiped and unset: no child and no reader of
 * /proc sees it again.
 *
 * Returns: 1 = there is one, 0 = none is set
 * Errors:  -EACCES a form is set, and cannot be read
 */
int environment_value(const char *name, const char *credential, struct secret *ret,
		      struct err *err) MUST_CHECK;

/* The same of a value that is no password: a credential's line end, too, is none of it. */
int environment_line(const char *name, const char *credential, struct secret *ret,
		     struct err *err) MUST_CHECK;

/* For a process that needs none of the variables that are a secret themselves: wiped and unset. */
void environment_forget_secrets(void);

/* Words of a command line: white space, quotes of both kinds, backslash.  -EINVAL: a quote is open. */
struct strv;
int command_split(const char *line, struct strv *ret, struct err *err) MUST_CHECK;
