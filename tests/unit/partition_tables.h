/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Tables of all kinds, written as bytes, and what the kernel and libblkid find in them. */
#define SECTOR	  512u
#define N_SECTORS 16384u /* 8 MiB */

struct table_row {
	const char *name;
	void (*fill)(uint8_t *disk); /* a disk of N_SECTORS; its sectors are different ones */
	const char *partitions;	     /* "1:64+64 …": number, first sector, sectors of each */
	const char *without_extended; /* the same without those that only hold others; NULL = no difference */
	const char *by_kernel; /* what a kernel finds that takes a table less exactly than libblkid; NULL = the same */
};

extern const struct table_row table_rows[];
extern const size_t n_table_rows;

/* Which of the two is shown is up to who looks. */
void overlap_of_two(uint8_t *disk);
void a_logical_one_right_behind_its_record(uint8_t *disk);

/* Sectors that are not alike, then what @fill makes of them. */
void table_make(void (*fill)(uint8_t *disk), uint8_t *disk);
