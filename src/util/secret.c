/* SPDX-License-Identifier: Apache-2.0 */
#include "util/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "util/bytes.h"

/*
 * Libraries that are given a secret keep copies of it, so of a process that has one there is no core dump.  With a limit
 * of 0 one would go into a pipe still, where core_pattern names a program; the kernel takes 1 as "nowhere".
 */
static void forbid_core_dumps(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_cur == 1 || limit.rlim_max < 1)
		return;
	limit.rlim_cur = 1; /* and not the other, which a child that is another program may want */
	(void) setrlimit(RLIMIT_CORE, &limit);
}

int secret_init(struct secret *s, size_t len, struct err *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t map_len = round_up(len + 1, page);
	void *map = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return err_set(err, -ENOMEM, "no memory for a secret");
	forbid_core_dumps();
	/* Both are the best that can be done, not conditions: RLIMIT_MEMLOCK may be 0. */
	(void) mlock(map, map_len);
	(void) madvise(map, map_len, MADV_DONTDUMP);
	*s = (struct secret){ .data = map, .len = len, .map_len = map_len };
	return 0;
}

int secret_init_copy(struct secret *s, const void *data, size_t len, struct err *err)
{
	int r = secret_init(s, len, err);
	if (r == 0 && len)
		memcpy(s->data, data, len);
	return r;
}

void secret_deinit(struct secret *s)
{
	if (s->data) {
		int saved = errno;
		secret_wipe(s->data, s->map_len);
		(void) munmap(s->data, s->map_len);
		errno = saved;
	}
	*s = SECRET_EMPTY;
}

void secret_wipe(void *data, size_t len)
{
	explicit_bzero(data, len);
}

void secret_wipe_and_free(void *data, size_t len)
{
	if (data)
		secret_wipe(data, len);
	free(data);
}

bool secret_is_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t differs = 0;
	for (size_t i = 0; i < len; i++)
		differs |= x[i] ^ y[i];
	return differs == 0;
}
