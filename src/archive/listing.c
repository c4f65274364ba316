/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/listing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/table.h"
#include "util/bytes.h"

/*
 * The table is in the order of its search tree, which is as good as random; entries are best read in the
 * order they are stored.  So a batch is the members that come next, chosen from the whole table: twice as
 * many are collected, sorted, and the nearer half is kept, until the table is through.
 *
 * A directory that lies inside one beside it is refused: forty of them, each in the one before, would be
 * found in 2^40 ways.
 *
 * A table that is one batch is kept as it is, to see whether a look-up would find what is listed.  A larger
 * one is believed.
 *
 * While one member is looked at, the chunks of those that come next are on their way: half of them is asked for
 * when the other half has been reached.
 */
#define PASSES_MAX   64u /* over a table that is very large */
#define AHEAD_CHUNKS 4u  /* asked for at a time, so twice as many at most are on their way */

struct listing {
	struct tree *tree;
	struct node dir;
	uint64_t after;	 /* the cursor of the last member given */
	uint64_t floor;	 /* the end of the last directory given: what lies in it is not beside it as well */
	bool is_over;
	uint32_t batch;	 /* members at most */
	struct member_place *places; /* NULL = to be read */
	uint8_t *raw;		     /* the whole table, when it is no longer than a batch */
	size_t room;		     /* bytes of both */
	size_t n, next;
	size_t ahead, ahead_from; /* places[ahead] is to be asked for, once next is at ahead_from */
	uint64_t ahead_end;	  /* of the last chunk that was asked for */
};

int listing_open(struct tree *tree, const struct node *dir, uint64_t after, struct listing **ret,
		 struct err *err)
{
	struct listing *listing = calloc(1, sizeof *listing);
	if (!listing)
		return err_set(err, -ENOMEM, "no memory for a directory");
	listing->tree = tree;
	listing->dir = *dir;
	listing->after = after;
	listing->batch = (uint32_t)max_u64(LISTING_BATCH, dir->n_members / PASSES_MAX + 1);
	*ret = listing;
	return 0;
}

void listing_rest(struct listing *listing)
{
	free(STEAL(listing->places));
	free(STEAL(listing->raw));
	listing->n = listing->next = listing->ahead = listing->ahead_from = 0;
	listing->ahead_end = 0;
	listing->room = 0;
}

size_t listing_room(const struct listing *listing)
{
	return sizeof *listing + listing->room;
}

void listing_close(struct listing *listing)
{
	if (!listing)
		return;
	listing_rest(listing);
	free(listing);
}

/* -- a batch --------------------------------------------------------------------------------- */

static int by_pos(const void *a, const void *b)
{
	const struct member_place *x = a, *y = b;
	return x->pos < y->pos ? -1 : x->pos > y->pos;
}

static void sort_places(struct listing *listing)
{
	qsort(listing->places, listing->n, sizeof *listing->places, by_pos);
}

/* All slots that are behind the cursor, the nearest ones in the end. */
static int choose(struct listing *listing, struct table *table, size_t cap, struct err *err)
{
	uint64_t limit = UINT64_MAX; /* those behind it are for a later batch */
	for (uint32_t i = 0; i < table->n; i++) {
		struct pxar_slot slot;
		int r = table_slot(table, i, &slot, err);
		if (r < 0)
			return r;
		struct member_place place = table_place(table, &slot);
		/* One that is nowhere comes first, to be told of. */
		if (place.pos < 3)
			place.pos = 3;
		if (place.pos <= listing->after || place.pos >= limit)
			continue;
		listing->places[listing->n++] = place;
		if (listing->n < cap)
			continue;
		sort_places(listing);
		listing->n = listing->batch;
		limit = listing->places[listing->n - 1].pos;
	}
	sort_places(listing);
	listing->n = min_size(listing->n, listing->batch);
	return 0;
}

static int read_whole_table(struct listing *listing, struct table *table, struct err *err)
{
	size_t len = (size_t)table->n * PXAR_SLOT_SIZE;
	listing->raw = malloc(len);
	if (!listing->raw)
		return err_set(err, -ENOMEM, "no memory for a directory");
	int r = input_pread(&listing->tree->meta, listing->raw, len, table->off + PXAR_HEADER_SIZE, table->until, err);
	if (r < 0)
		return err_while(err, r, "reading a table of members");
	table->all = listing->raw;
	listing->room += len;
	return 0;
}

static int read_batch(struct listing *listing, struct deadline until, struct err *err)
{
	struct table table;
	table_init(&table, listing->tree, &listing->dir, until);
	listing_rest(listing);
	bool is_whole = table.n <= listing->batch;
	size_t cap = is_whole ? table.n + 1u : 2ul * listing->batch;
	listing->places = calloc(cap, sizeof *listing->places);
	if (!listing->places)
		return err_set(err, -ENOMEM, "no memory for a directory");
	listing->room = cap * sizeof *listing->places;
	int r = is_whole && table.n ? read_whole_table(listing, &table, err) : 0;
	if (r == 0)
		r = choose(listing, &table, cap, err);
	if (r < 0)
		listing_rest(listing);
	return r;
}

/* -- members --------------------------------------------------------------------------------- */

/* Another one of the same hash: is it of the same name, and before this one? */
static int is_hidden(struct listing *listing, const struct member_place *place, const struct member *member,
		     const struct member_place *other, struct deadline until, struct err *err)
{
	char name[MEMBER_NAME_SIZE];
	struct node node;
	if (other->pos >= place->pos)
		return 0;
	int r = tree_read_member(listing->tree, &listing->dir, other, until, name, &node, NULL, err);
	if (r < 0 && r != -EBADMSG)
		return r;
	if (r < 0 || strcmp(name, member->name) != 0)
		return 0;
	return err_set(err, -EBADMSG, "two members of one directory have the same name");
}

/* Would a look-up of this name find it? */
static int check_search(struct listing *listing, const struct member_place *place,
			const struct member *member, struct deadline until, struct err *err)
{
	struct table table;
	struct table_search search;
	struct member_place found;
	bool is_found = false;
	if (!listing->raw)
		return 0;
	table_init(&table, listing->tree, &listing->dir, until);
	table.all = listing->raw;
	table_search_init(&search, place->hash);
	int r;
	for (unsigned n = 0; (r = table_search_next(&search, &table, &found, err)) == 1; n++) {
		if (n == 64)
			return err_set(err, -EBADMSG, "a table has the same hash again and again");
		is_found |= found.pos == place->pos;
		r = is_hidden(listing, place, member, &found, until, err);
		if (r < 0)
			return r;
	}
	return is_found ? 0 : err_set(err, -EBADMSG, "a table has a member where nobody looks for it");
}

/* Of members whose entries are in one chunk, the first one asks for it.  Who does not wait begins nothing. */
static void look_ahead(struct listing *listing, struct deadline until)
{
	if (listing->next < listing->ahead_from || deadline_is_past(until))
		return;
	listing->ahead = listing->ahead_from = max_u64(listing->ahead, listing->next);
	for (unsigned n = 0; n < AHEAD_CHUNKS && listing->ahead < listing->n; listing->ahead++) {
		uint64_t pos = listing->places[listing->ahead].pos;
		if (pos < listing->ahead_end)
			continue;
		listing->ahead_end = input_prefetch(&listing->tree->meta, pos);
		if (listing->ahead_end == pos)
			return;
		n++;
	}
}

/* What says nothing about the archive says something about all of it. */
static bool is_fatal(int r)
{
	return r != -EBADMSG;
}

/* 1 = the next one in @ret, 0 = no more. */
static int next_place(struct listing *listing, struct deadline until, struct member_place *ret,
		      struct err *err)
{
	for (;;) {
		/* Two slots may say the same. */
		while (listing->next < listing->n && listing->places[listing->next].pos <= listing->after)
			listing->next++;
		if (listing->next < listing->n) {
			look_ahead(listing, until);
			*ret = listing->places[listing->next++];
			return 1;
		}
		if (listing->places && listing->n < listing->batch)
			return 0;
		int r = read_batch(listing, until, err);
		if (r < 0) {
			listing->is_over = true;
			return r;
		}
	}
}

int listing_next(struct listing *listing, struct deadline until, struct member *ret, struct err *err)
{
	struct member_place place;
	ret->cursor = 0;
	if (listing->is_over)
		return 0;
	int r = next_place(listing, until, &place, err);
	if (r != 1)
		return r;
	ret->cursor = listing->after = place.pos;
	ret->name[0] = '\0';
	if (place.pos < listing->floor)
		return err_set(err, -EBADMSG, "a member lies inside a directory that is beside it");
	r = tree_read_member(listing->tree, &listing->dir, &place, until, ret->name, &ret->node, &ret->link,
			     err);
	if (r == 0)
		r = check_search(listing, &place, ret, until, err);
	if (r < 0) {
		listing->is_over = is_fatal(r);
		return r;
	}
	if (S_ISDIR(ret->node.mode))
		listing->floor = ret->node.end;
	return 1;
}
