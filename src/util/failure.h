/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/strv.h"

/* A failure with what helps to get out of it; for the functions a command calls directly. */
struct failure {
	struct err err;
	struct strv candidates; /* what there is instead */
	struct strv holders;	/* who uses it */
};

#define FAILURE_NONE ((struct failure){ 0 })

static inline void failure_deinit(struct failure *f)
{
	strv_deinit(&f->candidates);
	strv_deinit(&f->holders);
}
