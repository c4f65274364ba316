/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "crypto/crypt_key.h"
#include "format/blob.h"
#include "format/index.h"
#include "source/source.h"
#include "util/lock.h"

/*
 * A source that holds the blobs of one made-up image in memory and does what the test says: answer at
 * once, or hold the answers until told; spoil what one origin gives.
 */
struct memory_source {
	struct source source;
	size_t n_chunks;
	uint8_t **blobs;
	size_t *blob_lens;
	uint8_t *image;
	uint64_t size;
	uint8_t *index_file;
	struct index index;

	pthread_mutex_t lock; /* guards all below */
	bool is_holding;
	struct list held;     /* struct fetch at job.node */
	unsigned n_fetches;
	unsigned *n_fetched;  /* of each chunk */
	int fail_code;	      /* every fetch fails with it */
	int bad_chunk;	      /* its blob is spoiled by origin 0; -1 = none */
	int gone_chunk;	      /* -ENOENT; -1 = none */
	unsigned n_good, n_bad; /* verdicts */
};

/*
 * An image of @size bytes in chunks of @chunk_size: chunk 1, 4, 7 … are zeros, the others a pattern
 * of their own; every other one is stored uncompressed.
 */
void memory_source_init(struct memory_source *m, uint64_t size, uint32_t chunk_size,
			const struct crypt_key *key);
/* The same of these bytes. */
void memory_source_init_of(struct memory_source *m, const void *image, uint64_t size, uint32_t chunk_size);
void memory_source_deinit(struct memory_source *m);

void memory_source_hold(struct memory_source *m);
/* Answers what is held and no longer holds. */
void memory_source_release(struct memory_source *m);
unsigned memory_source_n_held(struct memory_source *m);
/* Of the fetch of chunk @n, which is held. */
enum priority memory_source_priority(struct memory_source *m, unsigned n);
/* What is held now fails with -ECANCELED, as of a source that lost its server; it goes on holding. */
void memory_source_give_up(struct memory_source *m);
