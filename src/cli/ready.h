/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* What the options say of a mapping; the command adds what its arguments say.  Lends from @options. */
struct mapping_options mapping_options_of(const struct options *options);

/*
 * What `map` and `serve` say when the image is there: the device, or the URI, on stdout; in the foreground the
 * service manager is told.  @user: the struct options.  For mapping_start().
 */
int ready_print(void *user, const struct mapping_info *info, struct err *err) MUST_CHECK;
