/* SPDX-License-Identifier: Apache-2.0 */
#include "failing.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static atomic_long n_until_failure; /* fails when it reaches 0 */

static bool fails_now(void)
{
	return atomic_fetch_sub(&n_until_failure, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
	return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails_now() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails_now() ? NULL : __real_strndup(s, n);
}

/* One run; *ret_has_failed: there was an n-th allocation. */
static int run_once(const struct failing *failing, long n, bool *ret_has_failed, struct err *err)
{
	*err = ERR_NONE;
	atomic_store(&n_until_failure, n);
	int r = failing->run(failing->user, err);
	*ret_has_failed = n && atomic_exchange(&n_until_failure, 0) <= 0;
	return r;
}

static bool is_good(const struct failing *failing, long n, int r, const struct err *err)
{
	if (r < 0 && (r != err->code || !err->msg[0])) {
		(void) fprintf(stderr, "allocation %ld fails: %d without words\n", n, r);
		return false;
	}
	if (!failing->is_right(failing->user, r)) {
		(void) fprintf(stderr, "allocation %ld fails: %s\n", n, r < 0 ? "something wrong is left" : "a wrong result");
		return false;
	}
	return true;
}

int failing_in_turn(const struct failing *failing)
{
	struct err err;
	bool has_failed;
	long n = 0, n_failed = 0;
	if (run_once(failing, 0, &has_failed, &err) < 0) {
		(void) fprintf(stderr, "without a failure: %s\n", err.msg);
		return 1;
	}
	if (!is_good(failing, 0, 0, &err))
		return 1;
	do {
		int r = run_once(failing, ++n, &has_failed, &err);
		n_failed += r < 0;
		if (!is_good(failing, n, r, &err))
			return 1;
	} while (has_failed);
	(void) printf("%ld allocations failed in turn, %ld runs said so, the others did without\n", n - 1, n_failed);
	return n_failed > 0 ? 0 : 1;
}
