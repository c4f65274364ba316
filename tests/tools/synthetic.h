/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/* Bytes of an image that exists nowhere: the same offset always gives the same bytes. */
enum synthetic_kind {
	SYNTHETIC_ZERO,
	SYNTHETIC_RANDOM,	/* no compressor makes it smaller */
	SYNTHETIC_COMPRESSIBLE, /* words and numbers: zstd makes it less than half */
};

#define SYNTHETIC_BLOCK 4096u

struct synthetic {
	enum synthetic_kind kind;
	uint64_t size;
};

/**
 * synthetic_parse - "SIZE[:KIND]": "2G", "512M:random", "1T:zero"
 *
 * @text:  SIZE is a number of bytes with K, M, G or T behind it; without a KIND: compressible
 *
 * Errors:  -EINVAL
 */
int synthetic_parse(const char *text, struct synthetic *ret, struct err *err) MUST_CHECK;

/* A number of bytes: "4096", "64M", "16T".  -EINVAL */
int size_parse(const char *text, uint64_t *ret, struct err *err) MUST_CHECK;

/* @len bytes at @off, a multiple of SYNTHETIC_BLOCK. */
void synthetic_fill(enum synthetic_kind kind, uint64_t off, uint8_t *ret, size_t len);
