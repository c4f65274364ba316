/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/internal.h"

/*
 * A directory's table of members.  Read block by block: the first one has the upper seven levels of the
 * search tree.
 */
#define TABLE_BLOCK 170 /* slots; 4 KiB */

struct table {
	const struct tree *tree;
	uint64_t off; /* of the GOODBYE in the archive */
	uint32_t n;   /* members */
	struct deadline until;
	const uint8_t *all; /* all slots, when they are at hand; lent */
	uint32_t first, n_here; /* which slots are in the block */
	uint8_t block[TABLE_BLOCK * PXAR_SLOT_SIZE];
};

void table_init(struct table *table, const struct tree *tree, const struct node *dir, struct deadline until);

/* Slot @i of table->n. */
int table_slot(struct table *table, uint32_t i, struct pxar_slot *ret, struct err *err) MUST_CHECK;

/* Where a slot says its member is; 0, which is nowhere, when it says so of a place before the archive. */
struct member_place table_place(const struct table *table, const struct pxar_slot *slot);

/*
 * All slots of one hash, one after the other.  Where several are the same, the others are on either side of
 * it; so both ways are gone.
 */
struct table_search {
	uint64_t hash;
	uint32_t to_do[64]; /* slots whose subtrees are still to be searched */
	unsigned n;
};

void table_search_init(struct table_search *search, uint64_t hash);

/* 1 = one more in @ret, 0 = no more. */
int table_search_next(struct table_search *search, struct table *table, struct member_place *ret,
		      struct err *err) MUST_CHECK;
