/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit_decode - how fast this machine can decode and verify the chunks of an index, with nothing
 * around it: the limit that reading a mapped image is measured against.
 *
 *   limit_decode INDEX CHUNKS-DIR            bytes a second, all processors, blobs in memory
 *   limit_decode INDEX CHUNKS-DIR LIST       the same of some of its chunks: "0-17,20,33-40"
 *   limit_decode --fetch INDEX CHUNKS-DIR N  seconds to read one blob from its file and decode it,
 *                                            one thread, median of N chunks all over the image
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/blob.h"
#include "format/index.h"
#include "util/bytes.h"
#include "util/deadline.h"
#include "util/file.h"

#define MAX_THREADS   64u
#define MAX_INDEX     (256u << 20)
#define MAX_RAW_CHUNK (BLOB_MAX_CHUNK + BLOB_HEADER_ENCRYPTED)

#define CHUNK_PATH_SIZE (5 + 2 * DIGEST_SIZE + 1)

struct raw_chunk {
	uint8_t *data;
	size_t len;
};

struct decode_run {
	const struct index *index;
	uint32_t *numbers; /* of the chunks in the index */
	uint32_t n_chunks;
	struct raw_chunk *chunks;
	atomic_uint next;
	atomic_int result; /* 0, or the first failure */
};

struct decoder {
	struct decode_run *run;
	struct blob_codec *codec;
	uint8_t *out;
	pthread_t thread;
};

/* "05cd/05cda6...14" */
static void chunk_path(const struct index *index, uint32_t n, char ret[static CHUNK_PATH_SIZE])
{
	hex_encode(index_chunk(index, n).digest, DIGEST_SIZE, ret + 5);
	memcpy(ret, ret + 5, 4);
	ret[4] = '/';
}

static int read_raw(int chunks_fd, const struct index *index, uint32_t n, struct raw_chunk *ret,
		    struct err *err)
{
	char path[CHUNK_PATH_SIZE];
	chunk_path(index, n, path);
	return read_file_at(chunks_fd, path, 0, MAX_RAW_CHUNK, &ret->data, &ret->len, err);
}

static int decode(struct blob_codec *codec, const struct index *index, uint32_t n,
		  const struct raw_chunk *raw, uint8_t *out, struct err *err)
{
	struct index_chunk chunk = index_chunk(index, n);
	struct chunk_want want = { .len = chunk.len };
	memcpy(want.digest, chunk.digest, DIGEST_SIZE);
	const uint8_t *data = NULL;
	return blob_decode_chunk(codec, raw->data, raw->len, &want, out, &data, err);
}

/* Memory that has been touched: its page faults are not what is measured. */
static uint8_t *warm_buffer(size_t len)
{
	uint8_t *data = malloc(len);
	if (data)
		memset(data, 1, len);
	return data;
}

static void *decoder_run(void *arg)
{
	struct decoder *d = arg;
	struct decode_run *run = d->run;
	struct err err = ERR_NONE;
	for (;;) {
		uint32_t i = atomic_fetch_add(&run->next, 1);
		if (i >= run->n_chunks)
			return NULL;
		uint32_t n = run->numbers[i];
		int r = decode(d->codec, run->index, n, &run->chunks[i], d->out, &err);
		if (r < 0) {
			(void) fprintf(stderr, "limit_decode: chunk %" PRIu32 ": %s\n", n, err.msg);
			atomic_store(&run->result, r);
			return NULL;
		}
	}
}

static int decoder_init(struct decoder *d, struct decode_run *run, struct err *err)
{
	*d = (struct decoder){ .run = run, .out = warm_buffer(run->index->max_chunk) };
	if (!d->out)
		return err_set(err, -ENOMEM, "no memory for a chunk");
	return blob_codec_new(&d->codec, err);
}

static int start_and_join(struct decoder *decoders, unsigned n, struct err *err)
{
	int r = 0;
	unsigned started = 0;
	while (started < n && r == 0) {
		r = -pthread_create(&decoders[started].thread, NULL, decoder_run,
				    &decoders[started]);
		if (r == 0)
			started++;
		else
			err_errno(err, r, "cannot start a thread");
	}
	for (unsigned i = 0; i < started; i++)
		(void) pthread_join(decoders[i].thread, NULL);
	return r;
}

static uint64_t count_bytes(const struct decode_run *run)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < run->n_chunks; i++)
		sum += index_chunk(run->index, run->numbers[i]).len;
	return sum;
}

/* All chunks once, by one thread per processor; prints the rate. */
static int measure_rate(struct decode_run *run, struct err *err)
{
	struct decoder decoders[MAX_THREADS];
	long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = (unsigned)min_u64(n_processors < 1 ? 1 : (uint64_t)n_processors, MAX_THREADS);
	unsigned n_ready = 0;
	int r = 0;
	while (r == 0 && n_ready < n)
		r = decoder_init(&decoders[n_ready++], run, err);
	int64_t begin = now_ns();
	if (r == 0)
		r = start_and_join(decoders, n, err);
	int64_t end = now_ns();
	for (unsigned i = 0; i < n_ready; i++) {
		blob_codec_free(decoders[i].codec);
		free(decoders[i].out);
	}
	if (r == 0)
		r = atomic_load(&run->result);
	if (r == 0)
		(void) printf("%.0f\n", (double)count_bytes(run) * 1e9 / (double)(end - begin));
	return r;
}

/* "0-17,20": ascending, inside the index; NULL = all of it. */
static int choose_chunks(struct decode_run *run, const char *list, struct err *err)
{
	uint64_t n_all = run->index->n_chunks, next = 0;
	run->numbers = calloc(n_all, sizeof *run->numbers);
	if (!run->numbers)
		return err_set(err, -ENOMEM, "no memory for %" PRIu64 " chunks", n_all);
	while (!list || *list) {
		char *end = NULL;
		uint64_t first = list ? strtoull(list, &end, 10) : 0, last = list ? first : n_all - 1;
		if (list && *end == '-')
			last = strtoull(end + 1, &end, 10);
		if (first < next || last < first || last >= n_all || (list && *end && *end != ','))
			return err_set(err, -EINVAL, "not an ascending list of chunks: %s", list);
		for (next = first; next <= last; next++)
			run->numbers[run->n_chunks++] = (uint32_t)next;
		if (!list)
			break;
		list = end + (*end == ',');
	}
	return run->n_chunks ? 0 : err_set(err, -EINVAL, "no chunks were chosen");
}

static int measure_decode(const struct index *index, int chunks_fd, const char *list, struct err *err)
{
	struct decode_run run = { .index = index };
	int r = choose_chunks(&run, list, err);
	if (r == 0 && !(run.chunks = calloc(run.n_chunks, sizeof *run.chunks)))
		r = err_set(err, -ENOMEM, "no memory for %" PRIu32 " chunks", run.n_chunks);
	for (uint32_t i = 0; r == 0 && i < run.n_chunks; i++)
		r = read_raw(chunks_fd, index, run.numbers[i], &run.chunks[i], err);
	if (r == 0)
		r = measure_rate(&run, err);
	for (uint32_t i = 0; run.chunks && i < run.n_chunks; i++)
		free(run.chunks[i].data);
	free(run.chunks);
	free(run.numbers);
	return r;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Into one warm buffer: a program that does this again and again would not do it differently. */
static int fetch_and_decode(struct decoder *d, const struct index *index, int chunks_fd, uint32_t n,
			    uint8_t *raw_buffer, struct err *err)
{
	char path[CHUNK_PATH_SIZE];
	chunk_path(index, n, path);
	CLEANUP(closep) int fd = openat(chunks_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	ssize_t len = pread_full(fd, raw_buffer, MAX_RAW_CHUNK, 0);
	if (len < 0)
		return err_errno(err, (int)len, "cannot read %s", path);
	struct raw_chunk raw = { .data = raw_buffer, .len = (size_t)len };
	return decode(d->codec, index, n, &raw, d->out, err);
}

static int measure_fetch(const struct index *index, int chunks_fd, unsigned n_samples,
			 struct err *err)
{
	struct decode_run run = { .index = index };
	struct decoder d;
	CLEANUP(freep) double *seconds = calloc(n_samples, sizeof *seconds);
	CLEANUP(freep) uint8_t *raw = warm_buffer(MAX_RAW_CHUNK);
	int r = seconds && raw ? 0 : err_set(err, -ENOMEM, "no memory for a chunk");
	if (r < 0)
		return r;
	r = decoder_init(&d, &run, err);
	for (unsigned i = 0; i < n_samples && r == 0; i++) {
		uint32_t n = (uint32_t)((uint64_t)i * index->n_chunks / n_samples);
		int64_t begin = now_ns();
		r = fetch_and_decode(&d, index, chunks_fd, n, raw, err);
		seconds[i] = (double)(now_ns() - begin) / 1e9;
	}
	blob_codec_free(d.codec);
	free(d.out);
	if (r < 0)
		return r;
	qsort(seconds, n_samples, sizeof *seconds, compare_doubles);
	(void) printf("%.6f\n", seconds[n_samples / 2]);
	return 0;
}

static int run(const char *index_path, const char *chunks_dir, unsigned n_samples, const char *list,
	       struct err *err)
{
	CLEANUP(freep) uint8_t *map = NULL;
	size_t len = 0;
	int r = read_file_at(AT_FDCWD, index_path, 0, MAX_INDEX, &map, &len, err);
	if (r < 0)
		return r;
	struct index index;
	r = index_parse(map, len, &index, err);
	if (r < 0)
		return err_while(err, r, "reading %s", index_path);
	CLEANUP(closep) int fd = open(chunks_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", chunks_dir);
	return n_samples ? measure_fetch(&index, fd, n_samples, err)
			 : measure_decode(&index, fd, list, err);
}

int main(int argc, char **argv)
{
	struct err err = ERR_NONE;
	bool is_fetch = argc == 5 && strcmp(argv[1], "--fetch") == 0;
	if (argc != 3 && argc != 4 && !is_fetch) {
		(void) fputs("usage: limit_decode INDEX CHUNKS-DIR [LIST] or --fetch INDEX CHUNKS-DIR N\n", stderr);
		return 2;
	}
	char **args = argv + 1 + is_fetch;
	unsigned n_samples = is_fetch ? (unsigned)max_u64(strtoul(args[2], NULL, 10), 1) : 0;
	int r = run(args[0], args[1], n_samples, is_fetch || argc == 3 ? NULL : args[2], &err);
	if (r < 0 && err.code)
		(void) fprintf(stderr, "limit_decode: %s\n", err.msg);
	return r < 0;
}
