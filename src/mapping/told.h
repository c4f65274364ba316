/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What was said already, by the hashes of the words.  Of more than it holds the oldest are forgotten, and may be
 * said again.
 */
#define TOLD_MAX 256

struct told {
	pthread_mutex_t lock; /* guards all below */
	uint64_t hashes[TOLD_MAX];
	size_t n; /* so many were told; the latest at (n - 1) % TOLD_MAX */
};

void told_init(struct told *told);

/* True the first time; any thread. */
bool told_is_new(struct told *told, const char *text);
