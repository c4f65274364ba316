/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limit_download - how fast chunks come from a backup server when nothing is done with them: the limit
 * that reading a mapped image over the network is measured against.
 *
 *   limit_download REPOSITORY SNAPSHOT INDEX-FILE
 *
 * Prints seconds, and seconds of processor time of this program, for all chunks of the index once.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "mapping/backup.h"
#include "mapping/index_copy.h"
#include "source/source.h"
#include "util/deadline.h"

#define IN_FLIGHT 16 /* as many as a stream has of chunks of 4 MiB, and some more */
#define CHUNK_MAX (17u << 20)

struct place {
	struct fetch fetch;
	struct download *download;
};

struct download {
	struct place places[IN_FLIGHT];
	struct place *idle[IN_FLIGHT]; /* guarded by @lock */
	unsigned n_idle;
	pthread_mutex_t lock;
	sem_t is_idle;
	int result; /* 0, or the first failure */
	struct err err;
};

static void fetched(struct fetch *fetch)
{
	struct place *place = CONTAINER_OF(fetch, struct place, fetch);
	struct download *d = place->download;
	bufpool_put(fetch->pool, fetch->raw);
	(void) pthread_mutex_lock(&d->lock);
	if (fetch->result < 0 && d->result == 0) {
		d->result = fetch->result;
		d->err = fetch->err;
	}
	d->idle[d->n_idle++] = place;
	(void) pthread_mutex_unlock(&d->lock);
	(void) sem_post(&d->is_idle);
}

static struct place *take_idle(struct download *d)
{
	(void) sem_wait(&d->is_idle);
	(void) pthread_mutex_lock(&d->lock);
	struct place *place = d->idle[--d->n_idle];
	(void) pthread_mutex_unlock(&d->lock);
	return place;
}

static void download_all(struct download *d, struct source *source, const struct index *index,
			 struct bufpool *pool)
{
	for (uint32_t n = 0; n < index->n_chunks + IN_FLIGHT; n++) {
		struct place *place = take_idle(d); /* at the end all of them */
		struct fetch *fetch = &place->fetch;
		if (n >= index->n_chunks)
			continue;
		*fetch = (struct fetch){
			.max_len = CHUNK_MAX,
			.until = DEADLINE_NEVER,
			.pool = pool,
			.done = fetched,
		};
		memcpy(fetch->digest, index_chunk(index, n).digest, DIGEST_SIZE);
		list_init(&fetch->job.node);
		list_init(&fetch->node);
		source_fetch(source, fetch);
	}
}

static double processor_seconds(void)
{
	struct rusage usage;
	(void) getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int measure(struct source *source, const struct index *index, struct err *err)
{
	struct bufpool *pool = bufpool_new(index->max_chunk, IN_FLIGHT);
	struct download *d = calloc(1, sizeof *d);
	if (!pool || !d)
		return err_set(err, -ENOMEM, "no memory");
	(void) pthread_mutex_init(&d->lock, NULL);
	(void) sem_init(&d->is_idle, 0, IN_FLIGHT);
	for (; d->n_idle < IN_FLIGHT; d->n_idle++) {
		d->places[d->n_idle].download = d;
		d->idle[d->n_idle] = &d->places[d->n_idle];
	}
	double before = processor_seconds();
	int64_t begin = now_ns();
	download_all(d, source, index, pool);
	(void) printf("%.6f %.6f\n", (double)(now_ns() - begin) / 1e9, processor_seconds() - before);
	int r = d->result;
	if (r < 0)
		*err = d->err;
	bufpool_free(pool);
	free(d);
	return r;
}

static void say(void *user, const char *line)
{
	(void) fprintf(stderr, "limit_download: %s\n", line);
}

static int run(const char *repository, const char *snapshot_text, const char *file, struct failure *why)
{
	const struct repository_options options = {
		.repositories = &repository,
		.n_repositories = 1,
		.say = say,
	};
	CLEANUP(source_closep) struct source *source = NULL;
	struct snapshot snapshot;
	struct index index;
	uint8_t *map = NULL;
	size_t len = 0;
	int r = snapshot_parse(snapshot_text, &snapshot, &why->err);
	if (r == 0)
		r = repository_open(&options, &source, why);
	if (r == 0)
		r = source_open_snapshot(source, "", &snapshot, &why->err);
	if (r == 0)
		r = index_copy(source, file, &map, &len, &why->err);
	if (r == 0)
		r = index_parse(map, len, &index, &why->err);
	if (r == 0)
		r = measure(source, &index, &why->err);
	if (map)
		(void) munmap(map, len);
	return r;
}

int main(int argc, char **argv)
{
	struct failure why = FAILURE_NONE;
	if (argc != 4) {
		(void) fputs("usage: limit_download REPOSITORY SNAPSHOT INDEX-FILE\n", stderr);
		return 2;
	}
	int r = run(argv[1], argv[2], argv[3], &why);
	if (r < 0)
		(void) fprintf(stderr, "limit_download: %s\n", why.err.msg);
	failure_deinit(&why);
	return r < 0;
}
