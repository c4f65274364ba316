/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How many names a file has, as far as they were met.  Bounded: when it holds so many that it would grow
 * beyond LINKS_MAX, further ones are not counted.
 */
#define LINKS_MAX (1u << 20) /* links, each 32 bytes at most */

struct link_slot {
	uint64_t key;	/* 0 = free */
	uint64_t count; /* names beside the first; of a link: 0 */
};

struct links {
	pthread_mutex_t lock; /* guards all below */
	struct link_slot *slots;
	size_t n, cap;
	bool is_exact;
};

void links_init(struct links *links);
void links_deinit(struct links *links);

/* The hard link at @link_pos leads to @ino; the second time this is said, nothing.  false = no memory. */
bool links_note(struct links *links, uint64_t link_pos, uint64_t ino);

/* Names of that file: at least 1. */
uint32_t links_count(struct links *links, uint64_t ino);

/* All were noted. */
void links_set_exact(struct links *links);
bool links_is_exact(struct links *links);
