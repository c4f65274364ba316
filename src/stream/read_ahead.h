/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define READ_AHEAD_SEQUENCES 8 /* readers of one mapping told apart */

/* One reader that goes forward. */
struct sequence {
	uint64_t next;	 /* where its last read ended */
	uint64_t ahead;	 /* up to here was asked for in advance */
	uint64_t run;	 /* bytes it went forward */
	uint64_t window; /* bytes in advance; 0 = not seen to go forward far enough */
	uint64_t used;	 /* clock of its last read; 0 = free */
};

/*
 * Who reads forward, and what to fetch for them before they ask.  Pure: reads in, ranges out.
 * A sequence starts when a reader went forward far enough; the window starts with one chunk,
 * doubles with every chunk that was read through, and is forgotten when its reader jumps away.
 */
struct read_ahead {
	uint64_t max;  /* bytes of a window */
	uint64_t unit; /* bytes of a chunk */
	uint64_t clock;
	struct sequence sequences[READ_AHEAD_SEQUENCES];
};

void read_ahead_init(struct read_ahead *ra, uint64_t max, uint64_t unit);

/**
 * read_ahead_note - a read was submitted
 *
 * @budget:  bytes that may be asked for now
 * @ret_from, @ret_to:  what to fetch in advance; written when there is something
 */
bool read_ahead_note(struct read_ahead *ra, uint64_t off, uint64_t len, uint64_t budget,
		     uint64_t *ret_from, uint64_t *ret_to);
