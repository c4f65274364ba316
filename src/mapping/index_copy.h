/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "source/source.h"

/**
 * index_copy - an index file of the open snapshot as memory that nobody else can change
 *
 * Mapped from an unlinked file that is not on tmpfs, where there is a place for one: so the kernel can
 * drop its pages.  munmap() by the caller.
 */
int index_copy(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
	       struct err *err) MUST_CHECK;
