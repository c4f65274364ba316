/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/table.h"

#include "util/bytes.h"

void table_init(struct table *table, const struct tree *tree, const struct node *dir, struct deadline until)
{
	table->tree = tree;
	table->off = dir->table_off;
	table->n = dir->n_members;
	table->until = until;
	table->all = NULL;
	table->first = table->n_here = 0;
}

static int read_block(struct table *table, uint32_t i, struct err *err)
{
	uint32_t first = i - i % TABLE_BLOCK;
	uint32_t n = (uint32_t)min_u64(TABLE_BLOCK, table->n - first);
	table->n_here = 0;
	int r = input_pread(&table->tree->meta, table->block, n * PXAR_SLOT_SIZE,
			    table->off + PXAR_HEADER_SIZE + (uint64_t)first * PXAR_SLOT_SIZE, table->until, err);
	if (r < 0)
		return err_while(err, r, "reading a table of members");
	table->first = first;
	table->n_here = n;
	return 0;
}

int table_slot(struct table *table, uint32_t i, struct pxar_slot *ret, struct err *err)
{
	if (table->all) {
		*ret = pxar_slot_parse(table->all + (size_t)i * PXAR_SLOT_SIZE);
		return 0;
	}
	bool is_here = i >= table->first && i - table->first < table->n_here;
	int r = is_here ? 0 : read_block(table, i, err);
	if (r == 0)
		*ret = pxar_slot_parse(table->block + (size_t)(i - table->first) * PXAR_SLOT_SIZE);
	return r;
}

struct member_place table_place(const struct table *table, const struct pxar_slot *slot)
{
	return (struct member_place){
		.pos = slot->distance <= table->off ? table->off - slot->distance : 0,
		.size = slot->size,
		.hash = slot->hash,
	};
}

void table_search_init(struct table_search *search, uint64_t hash)
{
	search->hash = hash;
	search->to_do[0] = 0;
	search->n = 1;
}

/* Never more than one for each of the 25 levels, and one. */
static void push(struct table_search *search, uint32_t slot)
{
	search->to_do[search->n++] = slot;
}

int table_search_next(struct table_search *search, struct table *table, struct member_place *ret,
		      struct err *err)
{
	while (search->n) {
		uint32_t i = search->to_do[--search->n];
		struct pxar_slot slot;
		if (i >= table->n)
			continue;
		int r = table_slot(table, i, &slot, err);
		if (r < 0)
			return r;
		if (search->hash >= slot.hash)
			push(search, 2 * i + 2);
		if (search->hash <= slot.hash)
			push(search, 2 * i + 1);
		if (search->hash == slot.hash) {
			*ret = table_place(table, &slot);
			return 1;
		}
	}
	return 0;
}
