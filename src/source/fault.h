/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/source.h"

/* What happens to the n-th fetch (counted from 0). */
enum fault_kind {
	FAULT_NONE,
	FAULT_FAIL,  /* answers with -errno @arg */
	FAULT_FLIP,  /* flips one bit of byte @arg of the blob */
	FAULT_CUT,   /* the blob ends after @arg bytes */
	FAULT_DELAY, /* answers @arg milliseconds later */
	FAULT_HANG,  /* answers when source_fault_release() or close is called */
};

struct fault {
	enum fault_kind kind;
	uint64_t nth;	/* UINT64_MAX = every one */
	int64_t arg;
};

/**
 * source_fault_open - an ordinary source that spoils what another gives
 *
 * @take_inner:  closed with it
 * @faults:      copied; the first that fits a fetch is used
 *
 * For tests and for failing every path on purpose; all else is passed through.
 */
int source_fault_open(struct source *take_inner, const struct fault *faults, size_t n_faults,
		      struct source **ret, struct err *err) MUST_CHECK;

/* Lets all hanging fetches go on. */
void source_fault_release(struct source *fault);

/* Fetches seen so far. */
uint64_t source_fault_count(struct source *fault);
