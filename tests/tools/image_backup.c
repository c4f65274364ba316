/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index is built in a mapped temporary file, renamed when it is whole, as on a server.  One
 * thread per processor takes the next chunk number, makes the chunk and writes its digest into
 * its own place of the table; nothing else is shared but the counters and the first failure.
 *
 * Chunks of zeros have a digest that is computed once.  A hole of the image is found by SEEK_DATA
 * and never read, so the size of a sparse image costs nothing but its digest table.
 */
#include "image_backup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/blob.h"
#include "format/index.h"
#include "util/bytes.h"
#include "util/file.h"
#include "util/lock.h"

#define MAX_WORKERS 64u

/* INPUT_INDEX_ONLY: the first chunks of each period are data, the others zeros. */
#define SPARSE_PERIOD 64u
#define SPARSE_DATA   4u

struct job_state {
	const struct image_backup_options *options;
	const struct image_input *input;
	uint8_t *table; /* n_chunks digests */
	uint64_t n_chunks;
	uint8_t zero_digest[DIGEST_SIZE]; /* of a whole chunk */
	atomic_bool is_zero_stored;
	atomic_bool is_over;
	atomic_uint_fast64_t next, n_zero, n_written, written_bytes;
	pthread_mutex_t lock; /* guards result, err */
	int result;
	struct err err;
};

/* What one thread works with. */
struct worker {
	struct job_state *state;
	struct blob_codec *codec;
	uint8_t *data;
	pthread_t thread;
};

static void fail(struct job_state *s, int r, const struct err *err)
{
	HOLD(&s->lock);
	if (s->result == 0) {
		s->result = r;
		s->err = *err;
	}
	atomic_store(&s->is_over, true);
}

static void worker_deinit(struct worker *w)
{
	blob_codec_free(w->codec);
	free(w->data);
}

static int worker_init(struct worker *w, struct job_state *s, struct err *err)
{
	size_t chunk_size = s->options->chunk_size;
	*w = (struct worker){ .state = s };
	w->data = malloc(chunk_size);
	int r = w->data ? 0 : err_set(err, -ENOMEM, "no memory for a chunk");
	if (r == 0)
		r = blob_codec_new(&w->codec, err);
	if (r < 0)
		worker_deinit(w);
	return r;
}

int image_backup_put_chunk(const struct image_backup_options *o, struct blob_codec *codec,
			   const uint8_t digest[static DIGEST_SIZE], const uint8_t *data, size_t len,
			   size_t *ret_raw_len, struct err *err)
{
	*ret_raw_len = 0;
	if (store_has_chunk(o->store, digest))
		return 0;
	CLEANUP(freep) uint8_t *raw = malloc(blob_encode_bound(len));
	if (!raw)
		return err_set(err, -ENOMEM, "no memory for a chunk");
	size_t raw_len = 0;
	int r = blob_encode(codec, data, len, o->key, o->level, raw, &raw_len, err);
	if (r == 0)
		r = store_put_chunk(o->store, digest, raw, raw_len, err);
	if (r == 0)
		*ret_raw_len = raw_len;
	return r < 0 ? r : 0;
}

static int put_data(struct worker *w, const uint8_t digest[static DIGEST_SIZE], size_t len,
		    struct err *err)
{
	struct job_state *s = w->state;
	size_t raw_len = 0;
	int r = image_backup_put_chunk(s->options, w->codec, digest, w->data, len, &raw_len, err);
	if (r == 0 && raw_len > 0) {
		atomic_fetch_add(&s->n_written, 1);
		atomic_fetch_add(&s->written_bytes, raw_len);
	}
	return r;
}

/* A whole chunk of zeros; the first one is stored, by whoever comes first. */
static int put_zeros(struct worker *w, uint64_t n, struct err *err)
{
	struct job_state *s = w->state;
	atomic_fetch_add(&s->n_zero, 1);
	memcpy(s->table + n * DIGEST_SIZE, s->zero_digest, DIGEST_SIZE);
	if (atomic_exchange(&s->is_zero_stored, true))
		return 0;
	memset(w->data, 0, s->options->chunk_size);
	return put_data(w, s->zero_digest, s->options->chunk_size, err);
}

static bool is_all_zero(const uint8_t *data, size_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* Does the file have no data at all in this range? */
static bool is_hole(int fd, uint64_t off, size_t len)
{
	off_t data = lseek(fd, (off_t)off, SEEK_DATA);
	return data < 0 ? errno == ENXIO : (uint64_t)data >= off + len;
}

/* The bytes of a chunk into w->data; 1 = it is all zeros, and w->data was not filled. */
static int read_input(struct worker *w, uint64_t off, size_t len, struct err *err)
{
	const struct image_input *in = w->state->input;
	if (in->kind == INPUT_FILE) {
		if (is_hole(in->fd, off, len))
			return 1;
		ssize_t n = pread_full(in->fd, w->data, len, off);
		if (n < 0)
			return err_errno(err, (int)n, "cannot read the image at %" PRIu64, off);
		if ((size_t)n < len)
			return err_set(err, -EIO, "the image became shorter: it ends at %" PRIu64,
				       off + (uint64_t)n);
		return is_all_zero(w->data, len);
	}
	if (in->synthetic.kind == SYNTHETIC_ZERO)
		return 1;
	synthetic_fill(in->synthetic.kind, off, w->data, len);
	return 0;
}

static int make_chunk(struct worker *w, uint64_t n, struct err *err)
{
	struct job_state *s = w->state;
	uint64_t chunk_size = s->options->chunk_size, off = n * chunk_size;
	size_t len = min_u64(chunk_size, s->input->size - off);
	int r = read_input(w, off, len, err);
	if (r < 0)
		return r;
	if (r == 1 && len == chunk_size)
		return put_zeros(w, n, err);
	if (r == 1) {
		atomic_fetch_add(&s->n_zero, 1);
		memset(w->data, 0, len);
	}
	uint8_t *digest = s->table + n * DIGEST_SIZE;
	r = blob_digest(w->codec, w->data, len, s->options->key, digest, err);
	return r < 0 ? r : put_data(w, digest, len, err);
}

static int make_sparse_chunk(struct worker *w, uint64_t n, struct err *err)
{
	struct job_state *s = w->state;
	uint64_t place = n % SPARSE_PERIOD;
	if (place >= SPARSE_DATA)
		return put_zeros(w, n, err);
	uint64_t chunk_size = s->options->chunk_size;
	uint8_t *digest = s->table + n * DIGEST_SIZE;
	synthetic_fill(SYNTHETIC_COMPRESSIBLE, place * chunk_size, w->data, chunk_size);
	int r = blob_digest(w->codec, w->data, chunk_size, s->options->key, digest, err);
	return r < 0 ? r : put_data(w, digest, chunk_size, err);
}

/* One period is made, the others are copies of its digests. */
static int fill_sparse(struct worker *w, struct err *err)
{
	struct job_state *s = w->state;
	for (uint64_t n = 0; n < s->n_chunks; n++) {
		if (n < SPARSE_PERIOD) {
			int r = make_sparse_chunk(w, n, err);
			if (r < 0)
				return r;
			continue;
		}
		memcpy(s->table + n * DIGEST_SIZE, s->table + (n - SPARSE_PERIOD) * DIGEST_SIZE,
		       DIGEST_SIZE);
		if (n % SPARSE_PERIOD >= SPARSE_DATA)
			atomic_fetch_add(&s->n_zero, 1);
	}
	return 0;
}

static int fill_from_input(struct worker *w, struct err *err)
{
	struct job_state *s = w->state;
	while (!atomic_load(&s->is_over)) {
		uint64_t n = atomic_fetch_add(&s->next, 1);
		if (n >= s->n_chunks)
			return 0;
		int r = make_chunk(w, n, err);
		if (r < 0)
			return err_while(err, r, "making chunk %" PRIu64, n);
	}
	return 0;
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct err err = ERR_NONE;
	int r = fill_from_input(w, &err);
	if (r < 0)
		fail(w->state, r, &err);
	return NULL;
}

static unsigned count_workers(const struct job_state *s)
{
	long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t n = n_processors < 1 ? 1 : (uint64_t)n_processors;
	return (unsigned)min_u64(min_u64(n, MAX_WORKERS), s->n_chunks);
}

/* Fills the table; fewer threads than wanted is fine, none is not. */
static int run_workers(struct job_state *s, struct err *err)
{
	struct worker workers[MAX_WORKERS];
	unsigned n_wanted = count_workers(s), n = 0;
	int r = 0;
	while (n < n_wanted && r == 0) {
		r = worker_init(&workers[n], s, err);
		if (r < 0)
			break;
		r = -pthread_create(&workers[n].thread, NULL, worker_run, &workers[n]);
		if (r < 0) {
			worker_deinit(&workers[n]);
			err_errno(err, r, "cannot start a thread");
			break;
		}
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		(void) pthread_join(workers[i].thread, NULL);
		worker_deinit(&workers[i]);
	}
	if (n == 0)
		return r;
	if (s->result < 0 && err)
		*err = s->err;
	return s->result;
}

static int run_sparse(struct job_state *s, struct err *err)
{
	struct worker w;
	int r = worker_init(&w, s, err);
	if (r < 0)
		return r;
	r = fill_sparse(&w, err);
	worker_deinit(&w);
	return r;
}

static int digest_of_zeros(struct job_state *s, struct err *err)
{
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	size_t len = s->options->chunk_size;
	CLEANUP(freep) uint8_t *zeros = calloc(1, len);
	if (!zeros)
		return err_set(err, -ENOMEM, "no memory for a chunk");
	int r = blob_codec_new(&codec, err);
	if (r < 0)
		return r;
	return blob_digest(codec, zeros, len, s->options->key, s->zero_digest, err);
}

static int fill_table(const struct image_backup_options *options, const struct image_input *input,
		      uint8_t *table, uint64_t n_chunks, struct image_backup_stats *ret_stats,
		      struct err *err)
{
	struct job_state s = { .options = options, .input = input, .table = table,
			       .n_chunks = n_chunks, .lock = PTHREAD_MUTEX_INITIALIZER };
	int r = digest_of_zeros(&s, err);
	if (r == 0)
		r = input->kind == INPUT_INDEX_ONLY ? run_sparse(&s, err) : run_workers(&s, err);
	if (r < 0)
		return r;
	*ret_stats = (struct image_backup_stats){
		.n_chunks = n_chunks,
		.n_zero = atomic_load(&s.n_zero),
		.n_written = atomic_load(&s.n_written),
		.written_bytes = atomic_load(&s.written_bytes),
	};
	return 0;
}

/* The same image gives the same index: its uuid is made from the csum, as a version 4 one. */
static void write_header(const struct image_backup_options *options, uint64_t size,
			 const uint8_t csum[static DIGEST_SIZE], uint8_t *ret)
{
	uint8_t uuid[16];
	memcpy(uuid, csum, sizeof uuid);
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	fidx_write_header(ret, uuid, options->time, csum, size, options->chunk_size);
}

/* All of the index in the open file @fd, which is as long as @len already. */
static int write_index(const struct image_backup_options *options, const struct image_input *input,
		       int fd, size_t len, uint8_t ret_csum[static DIGEST_SIZE],
		       struct image_backup_stats *ret_stats, struct err *err)
{
	uint8_t *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_errno(err, -errno, "cannot map the index");
	size_t table_len = len - INDEX_HEADER_SIZE;
	int r = fill_table(options, input, map + INDEX_HEADER_SIZE, table_len / DIGEST_SIZE,
			   ret_stats, err);
	if (r == 0)
		r = sha256_once(map + INDEX_HEADER_SIZE, table_len, ret_csum, err);
	if (r == 0)
		write_header(options, input->size, ret_csum, map);
	(void) munmap(map, len);
	return r;
}

static int make_index(const struct image_backup_options *options, const struct image_input *input,
		      const char *tmp, uint8_t ret_csum[static DIGEST_SIZE],
		      struct image_backup_stats *ret_stats, struct err *err)
{
	uint64_t n_chunks = (input->size - 1) / options->chunk_size + 1;
	size_t len = INDEX_HEADER_SIZE + n_chunks * DIGEST_SIZE;
	CLEANUP(closep) int fd = openat(options->snapshot_fd, tmp,
					O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_errno(err, -errno, "cannot create %s", tmp);
	int r = store_settle_file(options->store, fd, tmp, err);
	if (r < 0)
		return r;
	/* allocated, so that a full disk is an error here and not a signal in the mapping */
	r = -posix_fallocate(fd, 0, (off_t)len);
	if (r < 0)
		return err_errno(err, r, "cannot write %s", tmp);
	return write_index(options, input, fd, len, ret_csum, ret_stats, err);
}

int image_backup(const struct image_backup_options *options, const struct image_input *input,
		 uint8_t ret_csum[static DIGEST_SIZE], struct image_backup_stats *ret_stats,
		 struct err *err)
{
	if (input->size == 0)
		return err_set(err, -EINVAL, "an image needs at least one byte");
	if (input->size / options->chunk_size >= INDEX_MAX_CHUNKS)
		return err_set(err, -EINVAL, "too many chunks for an index");
	if (input->kind == INPUT_INDEX_ONLY && input->size % options->chunk_size)
		return err_set(err, -EINVAL, "--index-only needs a multiple of the chunk size");

	/* "drive.img.fidx" is "drive.img.tmp_fidx" while it is written */
	char tmp[ARCHIVE_NAME_SIZE + 8];
	int stem = (int)(strlen(options->name) - strlen("fidx"));
	(void) snprintf(tmp, sizeof tmp, "%.*stmp_fidx", stem, options->name);
	int r = make_index(options, input, tmp, ret_csum, ret_stats, err);
	if (r == 0 && renameat(options->snapshot_fd, tmp, options->snapshot_fd, options->name) < 0)
		r = err_errno(err, -errno, "cannot rename %s", tmp);
	if (r < 0)
		(void) unlinkat(options->snapshot_fd, tmp, 0);
	return r;
}
