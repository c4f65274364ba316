/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "format/pxar.h"
#include "util/buf.h"

/*
 * Writes file archives for tests, in memory; larger ones are taken away piece by piece.  Straightforward, and able to write what no client would:
 * every item can be put down by hand.  A failure is the end of the program.
 *
 *   pxar_writer_begin(&w, true);
 *   pxar_writer_entry(&w, S_IFDIR | 0755);           the root
 *   pxar_writer_name(&w, "a.txt");
 *   pxar_writer_entry(&w, S_IFREG | 0644);
 *   pxar_writer_payload(&w, "hello", 5);
 *   pxar_writer_end_directory(&w);                   the root again
 */
struct pxar_written_slot {
	uint64_t hash, pos, size;
};

struct pxar_written_dir {
	uint64_t entry_pos;
	struct pxar_written_slot *slots;
	size_t n, cap;
};

#define PXAR_WRITER_DEPTH 6000

struct pxar_writer {
	bool is_split;
	struct buf meta;    /* all of it, or all but the files' data */
	struct buf payload; /* is_split */
	uint64_t meta_taken, payload_taken; /* bytes before those that are held: see pxar_writer_took_meta */
	uint32_t uid, gid;  /* of entries from now on */
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t extra;	    /* of the open member, in its directory's table: the quirk of split archives */
	struct pxar_written_dir *dirs;
	unsigned depth;
};

/* With FORMAT_VERSION 2 when it is split. */
void pxar_writer_begin(struct pxar_writer *w, bool is_split);
void pxar_writer_deinit(struct pxar_writer *w);

/* Any item; returns where it is. */
uint64_t pxar_writer_item(struct pxar_writer *w, uint64_t type, const void *content, size_t len);

/* The next member of the open directory.  Returns where it is. */
uint64_t pxar_writer_name(struct pxar_writer *w, const char *name);
/* Of a directory: opens it. */
void pxar_writer_entry(struct pxar_writer *w, uint32_t mode);
void pxar_writer_attr_id(struct pxar_writer *w, uint64_t type, uint64_t id, uint64_t permissions);
void pxar_writer_xattr(struct pxar_writer *w, const char *name, const void *value, size_t len);
void pxar_writer_payload(struct pxar_writer *w, const void *data, size_t len);
/* A payload whose @size bytes of data the caller puts behind what is held by now. */
void pxar_writer_payload_header(struct pxar_writer *w, uint64_t size);
void pxar_writer_symlink(struct pxar_writer *w, const char *target);
void pxar_writer_device(struct pxar_writer *w, uint64_t major, uint64_t minor);
/* A name more for the member at @target_pos. */
void pxar_writer_hardlink(struct pxar_writer *w, const char *name, uint64_t target_pos, const char *path);
/* Writes the table. */
void pxar_writer_end_directory(struct pxar_writer *w);

/* What is held of the two streams was written down, with @n_data bytes behind it that came from elsewhere. */
void pxar_writer_took_meta(struct pxar_writer *w, uint64_t n_data);
void pxar_writer_took_payload(struct pxar_writer *w, uint64_t n_data);

/* All of a file in one. */
uint64_t pxar_writer_file(struct pxar_writer *w, const char *name, uint32_t mode, const void *data, size_t len);
