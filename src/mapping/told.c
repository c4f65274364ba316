/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/told.h"

#include <string.h>

#include "format/siphash.h"
#include "util/bytes.h"
#include "util/lock.h"

void told_init(struct told *told)
{
	*told = (struct told){ .n = 0 };
	(void) pthread_mutex_init(&told->lock, NULL);
}

bool told_is_new(struct told *told, const char *text)
{
	uint64_t hash = siphash24(0, 0, text, strlen(text));
	HOLD(&told->lock);
	for (size_t i = 0; i < min_size(told->n, TOLD_MAX); i++)
		if (told->hashes[i] == hash)
			return false;
	told->hashes[told->n++ % TOLD_MAX] = hash;
	return true;
}
