/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdio.h>

#include "cli/command.h"

/* Of one command; NULL = the list of all. */
int help_print(FILE *to, const struct command *command, struct err *err);
int help_version(struct err *err) MUST_CHECK;
