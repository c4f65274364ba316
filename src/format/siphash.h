/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * SipHash-2-4, 64 bits.  Here it tells names apart and is no secret.
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF"
 */
uint64_t siphash24(uint64_t k0, uint64_t k1, const void *data, size_t len);
