/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>

#include "util/cleanup.h"

/*
 * A thread with a small stack (nothing of ours recurses; a hundred mappings stay small) and all
 * signals blocked: they are the main thread's matter.  -EAGAIN = the system has none left.
 */
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *arg), void *arg) MUST_CHECK;
