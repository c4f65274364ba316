/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole chunks wait on a short list for a thread.  A thread puts the digest into the chunk's own
 * entry of the table, under the lock, because the table grows meanwhile.
 */
#include "stream_backup.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/blob.h"
#include "format/index.h"
#include "util/array.h"
#include "util/buf.h"
#include "util/bytes.h"
#include "util/list.h"
#include "util/lock.h"

#define MAX_WORKERS 64u

struct entry {
	uint8_t raw[8 + DIGEST_SIZE]; /* as in the index: end, digest */
};

struct job {
	struct list node;
	struct buf data;
	size_t entry;
};

struct stream_backup {
	const struct image_backup_options *options;
	struct buf open; /* the chunk that is not at its end */
	uint64_t size;	 /* of the chunks before it */
	unsigned n_workers;
	pthread_t workers[MAX_WORKERS];

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct list jobs;
	unsigned n_jobs;
	bool is_over; /* no more jobs come */
	int result;   /* 0, or the first failure */
	struct err err;
	struct entry *entries;
	size_t n_entries, cap;
	struct image_backup_stats stats;
};

static void job_free(struct job *job)
{
	buf_deinit(&job->data);
	free(job);
}

/* NULL = no more come. */
static struct job *next_job(struct stream_backup *s)
{
	HOLD(&s->lock);
	while (list_is_empty(&s->jobs) && !s->is_over)
		(void) pthread_cond_wait(&s->changed, &s->lock);
	struct list *node = list_pop(&s->jobs);
	if (!node)
		return NULL;
	s->n_jobs--;
	(void) pthread_cond_broadcast(&s->changed);
	return CONTAINER_OF(node, struct job, node);
}

static int put_job(const struct image_backup_options *o, struct blob_codec *codec, const struct job *job,
		   uint8_t ret_digest[static DIGEST_SIZE], size_t *ret_raw_len, struct err *err)
{
	const uint8_t *data = (const uint8_t *)job->data.data;
	int r = blob_digest(codec, data, job->data.len, o->key, ret_digest, err);
	return r < 0 ? r : image_backup_put_chunk(o, codec, ret_digest, data, job->data.len, ret_raw_len, err);
}

static int run_jobs(struct stream_backup *s, struct err *err)
{
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	int r = blob_codec_new(&codec, err);
	struct job *job;
	while (r == 0 && (job = next_job(s))) {
		uint8_t digest[DIGEST_SIZE];
		size_t raw_len = 0;
		r = put_job(s->options, codec, job, digest, &raw_len, err);
		if (r == 0) {
			HOLD(&s->lock);
			memcpy(s->entries[job->entry].raw + 8, digest, DIGEST_SIZE);
			s->stats.n_written += raw_len > 0;
			s->stats.written_bytes += raw_len;
		}
		job_free(job);
	}
	return r;
}

static void *worker_run(void *arg)
{
	struct stream_backup *s = arg;
	struct err err = ERR_NONE;
	int r = run_jobs(s, &err);
	if (r < 0) {
		HOLD(&s->lock);
		if (s->result == 0) {
			s->result = r;
			s->err = err;
		}
		(void) pthread_cond_broadcast(&s->changed);
	}
	return NULL;
}

int stream_backup_new(const struct image_backup_options *options, struct stream_backup **ret, struct err *err)
{
	struct stream_backup *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(err, -ENOMEM, "no memory for %s", options->name);
	s->options = options;
	(void) pthread_mutex_init(&s->lock, NULL);
	(void) pthread_cond_init(&s->changed, NULL);
	list_init(&s->jobs);
	long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = (unsigned)min_u64(n_processors < 1 ? 1 : (uint64_t)n_processors, MAX_WORKERS);
	while (s->n_workers < n) {
		int r = -pthread_create(&s->workers[s->n_workers], NULL, worker_run, s);
		if (r < 0) {
			stream_backup_free(s);
			return err_errno(err, r, "cannot start a thread");
		}
		s->n_workers++;
	}
	*ret = s;
	return 0;
}

static void join_workers(struct stream_backup *s)
{
	{
		HOLD(&s->lock);
		s->is_over = true;
		(void) pthread_cond_broadcast(&s->changed);
	}
	while (s->n_workers)
		(void) pthread_join(s->workers[--s->n_workers], NULL);
}

void stream_backup_free(struct stream_backup *s)
{
	if (!s)
		return;
	join_workers(s);
	struct list *node;
	while ((node = list_pop(&s->jobs)))
		job_free(CONTAINER_OF(node, struct job, node));
	buf_deinit(&s->open);
	free(s->entries);
	(void) pthread_cond_destroy(&s->changed);
	(void) pthread_mutex_destroy(&s->lock);
	free(s);
}

int stream_backup_add(struct stream_backup *s, const void *data, size_t len, struct err *err)
{
	if (len > STREAM_CHUNK_MAX - s->open.len)
		return err_set(err, -EFBIG, "a chunk of %s is longer than %u bytes", s->options->name,
			       STREAM_CHUNK_MAX);
	return len ? buf_add(&s->open, data, len, err) : 0;
}

size_t stream_backup_open_len(const struct stream_backup *s)
{
	return s->open.len;
}

static int submit_locked(struct stream_backup *s, struct job *job, struct err *err)
{
	while (s->n_jobs > s->n_workers && s->result == 0)
		(void) pthread_cond_wait(&s->changed, &s->lock);
	if (s->result < 0) {
		if (err)
			*err = s->err;
		return s->result;
	}
	int r = array_grow(&s->entries, s->n_entries, &s->cap, sizeof *s->entries, err);
	if (r < 0)
		return r;
	s->size += s->open.len;
	store_le64(s->entries[s->n_entries].raw, s->size);
	job->data = s->open;
	job->entry = s->n_entries++;
	s->open = BUF_EMPTY;
	list_append(&s->jobs, &job->node);
	s->n_jobs++;
	(void) pthread_cond_broadcast(&s->changed);
	return 0;
}

int stream_backup_cut(struct stream_backup *s, struct err *err)
{
	if (s->open.len == 0)
		return 0;
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return err_set(err, -ENOMEM, "no memory for a chunk");
	int r;
	{
		HOLD(&s->lock);
		r = submit_locked(s, job, err);
	}
	if (r < 0)
		free(job);
	return r;
}

/* Source: backup server manual, file formats, "Dynamic Index Format"; the uuid is made from the csum. */
static void write_header(const struct stream_backup *s, const uint8_t csum[static DIGEST_SIZE],
			 uint8_t ret[static INDEX_HEADER_SIZE])
{
	static const uint8_t magic[8] = { 0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd };
	memset(ret, 0, INDEX_HEADER_SIZE);
	memcpy(ret, magic, sizeof magic);
	memcpy(ret + 8, csum, 16);
	ret[14] = (ret[14] & 0x0f) | 0x40;
	ret[16] = (ret[16] & 0x3f) | 0x80;
	store_le64(ret + 24, (uint64_t)s->options->time);
	memcpy(ret + 32, csum, DIGEST_SIZE);
}

static int put_index(const struct stream_backup *s, uint8_t ret_csum[static DIGEST_SIZE], struct err *err)
{
	const struct image_backup_options *o = s->options;
	size_t table_len = s->n_entries * sizeof *s->entries;
	CLEANUP(freep) uint8_t *index = malloc(INDEX_HEADER_SIZE + table_len);
	if (!index)
		return err_set(err, -ENOMEM, "no memory for %s", o->name);
	memcpy(index + INDEX_HEADER_SIZE, s->entries, table_len);
	int r = sha256_once(index + INDEX_HEADER_SIZE, table_len, ret_csum, err);
	if (r < 0)
		return r;
	write_header(s, ret_csum, index);
	return store_put_file(o->store, o->snapshot_fd, o->name, index, INDEX_HEADER_SIZE + table_len, err);
}

int stream_backup_finish(struct stream_backup *s, uint64_t *ret_size, uint8_t ret_csum[static DIGEST_SIZE],
			 struct image_backup_stats *ret_stats, struct err *err)
{
	int r = stream_backup_cut(s, err);
	join_workers(s);
	if (r == 0 && s->result < 0) {
		if (err)
			*err = s->err;
		r = s->result;
	}
	if (r == 0)
		r = put_index(s, ret_csum, err);
	if (r < 0)
		return r;
	*ret_size = s->size;
	*ret_stats = s->stats;
	ret_stats->n_chunks = s->n_entries;
	return 0;
}
