/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/read_ahead.h"

#include "util/bytes.h"

/*
 * Reads of one reader arrive out of order: the kernel keeps several in flight and several
 * threads take them.  So "adjoining" means near: within what the kernel keeps in flight.
 */
#define NEAR (2u << 20)

/* bytes; more than a look for partition tables or superblocks reads in one place */
#define RUN_MIN (256u << 10)

void read_ahead_init(struct read_ahead *ra, uint64_t max, uint64_t unit)
{
	*ra = (struct read_ahead){ .max = max, .unit = unit };
}

static bool is_near(uint64_t a, uint64_t b)
{
	return a > b ? a - b <= NEAR : b - a <= NEAR;
}

/* The reader this read belongs to; else the one not heard of for longest, started anew. */
static struct sequence *sequence_of(struct read_ahead *ra, uint64_t off, bool *ret_is_known)
{
	struct sequence *oldest = &ra->sequences[0];
	for (int i = 0; i < READ_AHEAD_SEQUENCES; i++) {
		struct sequence *s = &ra->sequences[i];
		if (s->used && is_near(off, s->next)) {
			*ret_is_known = true;
			return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	*ret_is_known = false;
	return oldest;
}

bool read_ahead_note(struct read_ahead *ra, uint64_t off, uint64_t len, uint64_t budget,
		     uint64_t *ret_from, uint64_t *ret_to)
{
	if (ra->max < ra->unit)
		return false;
	bool is_known;
	uint64_t end = off + len;
	struct sequence *s = sequence_of(ra, off, &is_known);
	if (!is_known) {
		*s = (struct sequence){ .next = end, .ahead = end, .run = len, .used = ++ra->clock };
		return false;
	}
	s->used = ++ra->clock;
	if (end <= s->next)
		return false; /* late, or the same place again */
	s->run += len; /* not the gap: two looks in one neighbourhood are no reader */
	if (s->run < RUN_MIN) {
		s->next = end;
		return false;
	}
	s->window = s->window ? s->window : ra->unit;
	if (end / ra->unit != s->next / ra->unit)
		s->window = min_u64(2 * s->window, ra->max);
	s->next = end;

	uint64_t from = max_u64(s->ahead, end);
	uint64_t to = min_u64(end + s->window, from + budget);
	/* Ask chunk by chunk, not for a few bytes more with every read. */
	if (to <= from || to / ra->unit == s->ahead / ra->unit)
		return false;
	s->ahead = to;
	*ret_from = from;
	*ret_to = to;
	return true;
}
