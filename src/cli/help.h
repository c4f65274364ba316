/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"
#include "util/buf.h"

/* Of one command; NULL = the list of all. */
int help_format(const struct command *command, struct buf *ret, struct err *err) MUST_CHECK;
int help_version(struct buf *ret, struct err *err) MUST_CHECK;
