/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/journals.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/journal.h"
#include "format/partitions.h"
#include "util/bytes.h"
#include "util/cleanup.h"

/*
 * Each look is one read, and costs one chunk, of a partition that begins where partitions do; all are asked for at
 * once.  Meanwhile nobody is told of the device, and who asks for it by `list` has no answer; that takes two seconds to
 * be called silent.
 */
#define LOOKS_MAX 16
#define LOOK_MS	  1500

struct look {
	struct read read;
	const char *node; /* lent */
	uint8_t start[JOURNAL_START];
	bool is_there;
};

/* NULL: the kernel has no such partition. */
static const char *node_of(const char *device, unsigned number, const struct strv *nodes)
{
	char node[64];
	(void) snprintf(node, sizeof node, "%sp%u", device, number);
	for (size_t i = 0; i < nodes->n; i++)
		if (strcmp(nodes->items[i], node) == 0)
			return nodes->items[i];
	return NULL;
}

static void look_at(const char *node, uint64_t off, uint64_t len, struct look *ret)
{
	ret->node = node;
	ret->read.off = off;
	ret->read.len = min_u64(len, JOURNAL_START);
}

/* How many looks there are. */
static size_t choose(struct image *disk, const char *device, const struct strv *nodes, struct deadline until,
		     struct look looks[static LOOKS_MAX])
{
	struct partition_list list;
	size_t n = 0;
	if (nodes->n == 0) {
		look_at(device, 0, disk->size, &looks[0]);
		return 1;
	}
	if (image_find_partitions(disk, until, &list, NULL) < 0)
		return 0;
	for (size_t i = 0; i < list.n && n < LOOKS_MAX; i++) {
		const char *node = node_of(device, list.items[i].number, nodes);
		if (node)
			look_at(node, list.items[i].off, list.items[i].len, &looks[n++]);
	}
	return n;
}

/* The chunk goes at once: many of them would be more than the cache may hold. */
static void came(struct read *read)
{
	struct look *look = CONTAINER_OF(read, struct look, read);
	sem_t *all = read->user;
	look->is_there = read->result == 0;
	if (look->is_there)
		read_copy_out(read, look->start);
	read_release(read);
	(void) sem_post(all);
}

static void read_all(struct image *disk, struct deadline until, struct look *looks, size_t n)
{
	sem_t all;
	(void) sem_init(&all, 0, 0);
	for (size_t i = 0; i < n; i++) {
		looks[i].read.until = until;
		looks[i].read.done = came;
		looks[i].read.user = &all;
		image_submit(disk, &looks[i].read);
	}
	for (size_t i = 0; i < n; i++)
		while (sem_wait(&all) < 0)
			; /* interrupted; each read has an end */
	(void) sem_destroy(&all);
}

static int add(const struct look *look, const struct journal *journal, struct strv *ret)
{
	char what[64], options[64];
	(void) snprintf(what, sizeof what, "%s%s", journal->fs, journal->is_perhaps ? ", perhaps in use" : " that was in use");
	(void) snprintf(options, sizeof options, "ro,%s", journal->option);
	int r = strv_add(ret, look->node, NULL);
	if (r == 0)
		r = strv_add(ret, what, NULL);
	return r < 0 ? r : strv_add(ret, options, NULL);
}

void journals_find(struct image *disk, const char *device, const struct strv *nodes, struct strv *ret)
{
	struct deadline until = deadline_in_ms(LOOK_MS);
	CLEANUP(freep) struct look *looks = calloc(LOOKS_MAX, sizeof *looks);
	size_t n = looks ? choose(disk, device, nodes, until, looks) : 0;
	read_all(disk, until, looks, n);
	for (size_t i = 0; i < n; i++) {
		struct journal journal;
		const struct look *look = &looks[i];
		bool has_one = look->is_there && journal_find(look->start, look->read.len, &journal);
		if (has_one && add(look, &journal, ret) < 0)
			return;
	}
}
