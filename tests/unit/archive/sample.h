/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "archive/tree.h"
#include "pxar_writer.h"

/*
 * An archive in memory with one of everything, and the tree over it.
 *
 *   a.txt "hello" · hard → a.txt · fifo · null 1:3 · sock · dir/ (deep/ (leaf "leaf")) · empty/ · void ""
 *   link → dir/deep · absolute → /a.txt · loop → loop · out → ../../a.txt · attrs (with user.k, a list, a
 *   capability) · big, 100000 bytes
 */
struct sample {
	struct pxar_writer w;
	uint64_t a_pos, hard_pos, dir_pos; /* of their FILENAMEs */
	struct tree *tree;
};

void sample_write(struct sample *s, bool is_split);
/* What there is of it now.  0 or what tree_open() says. */
int sample_open(struct sample *s, struct err *err);
/* Both. */
void sample_begin(struct sample *s, bool is_split);
void sample_end(struct sample *s);

/* The root, "x", as a directory of a hostile archive begins: members follow. */
void sample_begin_empty(struct sample *s, bool is_split);
/* Ends it and opens the tree. */
void sample_finish(struct sample *s);

/* Byte @i of big. */
uint8_t sample_byte(uint64_t i);

/* By its path, no links followed. */
struct node sample_node(struct sample *s, const char *path);
int sample_try(struct sample *s, const char *path, enum tree_follow follow, struct err *err);
