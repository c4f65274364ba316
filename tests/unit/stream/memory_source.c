/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_source.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"

static void fill(uint8_t *at, uint64_t len, uint64_t n)
{
	if (n % 3 == 1) {
		memset(at, 0, len);
		return;
	}
	uint64_t x = n * 0x9e3779b97f4a7c15u + 1;
	for (uint64_t i = 0; i < len; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		at[i] = n % 2 ? (uint8_t)x : (uint8_t)(x & 3); /* noise, or something to compress */
	}
}

static int find_chunk(struct memory_source *m, const uint8_t digest[static DIGEST_SIZE])
{
	for (size_t i = 0; i < m->n_chunks; i++)
		if (memcmp(index_chunk(&m->index, (uint32_t)i).digest, digest, DIGEST_SIZE) == 0)
			return (int)i;
	return -1;
}

static void answer(struct memory_source *m, struct fetch *fetch)
{
	int n = find_chunk(m, fetch->digest);
	unsigned origin = fetch->skip_origins & 1 ? 1 : 0;
	bool is_bad, is_gone;
	int fail_code;
	{
		HOLD(&m->lock);
		m->n_fetches++;
		m->n_fetched[n]++;
		is_bad = n == m->bad_chunk && origin == 0;
		is_gone = n == m->gone_chunk;
		fail_code = m->fail_code;
	}
	fetch->origin = origin;
	if (fail_code || is_gone) {
		fetch->result = err_set(&fetch->err, is_gone ? -ENOENT : fail_code, "made to fail");
	} else {
		fetch->raw = bufpool_get(fetch->pool, m->blob_lens[n]);
		assert_non_null(fetch->raw.data);
		assert_true(m->blob_lens[n] <= fetch->max_len);
		memcpy(fetch->raw.data, m->blobs[n], m->blob_lens[n]);
		fetch->raw_len = m->blob_lens[n];
		if (is_bad)
			fetch->raw.data[m->blob_lens[n] - 1] ^= 1;
		fetch->result = 0;
	}
	fetch->done(fetch);
}

static void memory_fetch(struct source *source, struct fetch *fetch)
{
	struct memory_source *m = CONTAINER_OF(source, struct memory_source, source);
	{
		HOLD(&m->lock);
		if (m->is_holding) {
			list_append(&m->held, &fetch->job.node);
			return;
		}
	}
	answer(m, fetch);
}

static void memory_raise(struct source *source, struct fetch *fetch, enum priority priority)
{
	if (priority < fetch->job.priority)
		fetch->job.priority = priority;
}

static void memory_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
	struct memory_source *m = CONTAINER_OF(source, struct memory_source, source);
	HOLD(&m->lock);
	*(is_good ? &m->n_good : &m->n_bad) += 1;
}

static const struct source_ops memory_ops = {
	.fetch = memory_fetch,
	.raise = memory_raise,
	.verdict = memory_verdict,
};

static void encode(struct memory_source *m, uint32_t chunk_size, const struct crypt_key *key)
{
	size_t index_len = INDEX_HEADER_SIZE + m->n_chunks * DIGEST_SIZE;
	m->index_file = calloc(1, index_len);
	struct blob_codec *codec;
	assert_int_equal(blob_codec_new(&codec, NULL), 0);
	for (size_t n = 0; n < m->n_chunks; n++) {
		uint64_t off = n * chunk_size, len = min_u64(chunk_size, m->size - off);
		m->blobs[n] = malloc(blob_encode_bound(len));
		assert_int_equal(blob_encode(codec, m->image + off, len, key, n % 2 ? 0 : 1,
					     m->blobs[n], &m->blob_lens[n], NULL), 0);
		assert_int_equal(blob_digest(codec, m->image + off, len, key,
					     m->index_file + INDEX_HEADER_SIZE + n * DIGEST_SIZE,
					     NULL), 0);
	}
	blob_codec_free(codec);
	const uint8_t none[DIGEST_SIZE] = { 0 };
	fidx_write_header(m->index_file, none, 0, none, m->size, chunk_size);
	assert_int_equal(index_parse(m->index_file, index_len, &m->index, NULL), 0);
}

static void make_room(struct memory_source *m, uint64_t size, uint32_t chunk_size)
{
	*m = (struct memory_source){ .source.ops = &memory_ops, .size = size, .bad_chunk = -1,
				     .gone_chunk = -1 };
	(void) pthread_mutex_init(&m->lock, NULL);
	list_init(&m->held);
	m->n_chunks = (size + chunk_size - 1) / chunk_size;
	m->image = malloc(size);
	m->blobs = calloc(m->n_chunks, sizeof *m->blobs);
	m->blob_lens = calloc(m->n_chunks, sizeof *m->blob_lens);
	m->n_fetched = calloc(m->n_chunks, sizeof *m->n_fetched);
}

void memory_source_init(struct memory_source *m, uint64_t size, uint32_t chunk_size,
			const struct crypt_key *key)
{
	make_room(m, size, chunk_size);
	for (size_t n = 0; n < m->n_chunks; n++)
		fill(m->image + n * chunk_size, min_u64(chunk_size, size - n * chunk_size), n);
	encode(m, chunk_size, key);
}

void memory_source_init_of(struct memory_source *m, const void *image, uint64_t size, uint32_t chunk_size)
{
	make_room(m, size, chunk_size);
	memcpy(m->image, image, size);
	encode(m, chunk_size, NULL);
}

void memory_source_deinit(struct memory_source *m)
{
	for (size_t n = 0; n < m->n_chunks; n++)
		free(m->blobs[n]);
	free(m->blobs);
	free(m->blob_lens);
	free(m->n_fetched);
	free(m->index_file);
	free(m->image);
	(void) pthread_mutex_destroy(&m->lock);
}

void memory_source_hold(struct memory_source *m)
{
	HOLD(&m->lock);
	m->is_holding = true;
}

void memory_source_release(struct memory_source *m)
{
	for (;;) {
		struct list *node;
		{
			HOLD(&m->lock);
			m->is_holding = false;
			node = list_pop(&m->held);
		}
		if (!node)
			return;
		answer(m, CONTAINER_OF(node, struct fetch, job.node));
	}
}

unsigned memory_source_n_held(struct memory_source *m)
{
	HOLD(&m->lock);
	unsigned n = 0;
	for (struct list *node = m->held.next; node != &m->held; node = node->next)
		n++;
	return n;
}

enum priority memory_source_priority(struct memory_source *m, unsigned n)
{
	HOLD(&m->lock);
	for (struct list *node = m->held.next; node != &m->held; node = node->next) {
		struct fetch *fetch = CONTAINER_OF(node, struct fetch, job.node);
		if (find_chunk(m, fetch->digest) == (int)n)
			return fetch->job.priority;
	}
	fail_msg("chunk %u is not held", n);
	return N_PRIORITIES;
}

void memory_source_give_up(struct memory_source *m)
{
	struct list given_up, *node;
	list_init(&given_up);
	{
		HOLD(&m->lock);
		list_take_all(&given_up, &m->held);
	}
	while ((node = list_pop(&given_up))) {
		struct fetch *fetch = CONTAINER_OF(node, struct fetch, job.node);
		fetch->result = err_set(&fetch->err, -ECANCELED, "nobody waited");
		fetch->done(fetch);
	}
}
