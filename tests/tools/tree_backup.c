/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer holds headers and tables of one member at a time; they go to the stream before the data,
 * which goes there directly.
 */
#include "tree_backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "pxar_writer.h"
#include "stream_backup.h"
#include "synthetic.h"
#include "util/bytes.h"

#define FAN_OUT 10u /* directories in one; three levels of them */
#define N_DIRS	(FAN_OUT * FAN_OUT * FAN_OUT)
#define MAX_AVERAGE (2u << 20) /* bytes of a file: one more member always fits into a chunk */

struct tree_writer {
	const struct tree_shape *shape;
	size_t chunk_size;
	struct pxar_writer w;
	struct stream_backup *meta, *payload; /* payload: NULL = not split */
	uint64_t next_off;		      /* of data not used yet */
	uint8_t *data;			      /* chunk_size bytes */
};

static struct stream_backup *data_stream(const struct tree_writer *t)
{
	return t->payload ? t->payload : t->meta;
}

/* What the writer holds goes into the streams, in front of @n_data bytes of data. */
static int drain(struct tree_writer *t, uint64_t n_data, struct err *err)
{
	struct pxar_writer *w = &t->w;
	int r = stream_backup_add(t->meta, w->meta.data, w->meta.len, err);
	if (r == 0 && t->payload)
		r = stream_backup_add(t->payload, w->payload.data, w->payload.len, err);
	pxar_writer_took_meta(w, t->payload ? 0 : n_data);
	pxar_writer_took_payload(w, t->payload ? n_data : 0);
	return r;
}

static int cut_if_long(const struct tree_writer *t, struct stream_backup *s, struct err *err)
{
	return s && stream_backup_open_len(s) > t->chunk_size ? stream_backup_cut(s, err) : 0;
}

static int end_member(struct tree_writer *t, struct err *err)
{
	int r = drain(t, 0, err);
	if (r == 0)
		r = cut_if_long(t, t->meta, err);
	return r < 0 ? r : cut_if_long(t, t->payload, err);
}

/* @len up to chunk_size */
static int put_data(struct tree_writer *t, size_t len, struct err *err)
{
	synthetic_fill(SYNTHETIC_COMPRESSIBLE, t->next_off, t->data, len);
	t->next_off += (len + SYNTHETIC_BLOCK - 1) / SYNTHETIC_BLOCK * SYNTHETIC_BLOCK;
	return stream_backup_add(data_stream(t), t->data, len, err);
}

static int put_file(struct tree_writer *t, const char *name, uint64_t size, bool is_large, struct err *err)
{
	(void) pxar_writer_name(&t->w, name);
	pxar_writer_entry(&t->w, S_IFREG | 0644);
	pxar_writer_payload_header(&t->w, size);
	int r = drain(t, size, err);
	if (r == 0 && is_large)
		r = stream_backup_cut(data_stream(t), err);
	while (r == 0 && size > 0) {
		size_t len = (size_t)min_u64(size, t->chunk_size);
		r = put_data(t, len, err);
		if (r == 0 && is_large)
			r = stream_backup_cut(data_stream(t), err);
		size -= len;
	}
	return r < 0 ? r : end_member(t, err);
}

static uint64_t large_size(const struct tree_writer *t, unsigned part)
{
	return t->shape->size / part / t->chunk_size * t->chunk_size;
}

static uint64_t small_size(const struct tree_writer *t, uint64_t n)
{
	uint64_t average = (t->shape->size - large_size(t, 4) - large_size(t, 16)) / t->shape->n_files;
	return average / 2 + n * UINT64_C(2654435761) % (average + 1);
}

static int put_small_files(struct tree_writer *t, uint64_t n, uint64_t end, struct err *err)
{
	int r = 0;
	for (; r == 0 && n < end; n++) {
		char name[32];
		(void) snprintf(name, sizeof name, "file%08" PRIu64, n);
		r = put_file(t, name, small_size(t, n), false, err);
	}
	return r;
}

static int end_dir(struct tree_writer *t, struct err *err)
{
	pxar_writer_end_directory(&t->w);
	return end_member(t, err);
}

/* The directories number @first to @first + @n; with one of them it is that one's own files. */
static int put_dirs(struct tree_writer *t, unsigned first, unsigned n, struct err *err)
{
	uint64_t n_files = t->shape->n_files;
	if (n == 1)
		return put_small_files(t, n_files * first / N_DIRS, n_files * (first + 1) / N_DIRS, err);
	int r = 0;
	for (unsigned i = 0; r == 0 && i < FAN_OUT; i++) {
		char name[] = { 'd', (char)('0' + i), '\0' };
		(void) pxar_writer_name(&t->w, name);
		pxar_writer_entry(&t->w, S_IFDIR | 0755);
		r = put_dirs(t, first + i * (n / FAN_OUT), n / FAN_OUT, err);
		if (r == 0)
			r = end_dir(t, err);
	}
	return r;
}

static int put_large(struct tree_writer *t, struct err *err)
{
	(void) pxar_writer_name(&t->w, "large");
	pxar_writer_entry(&t->w, S_IFDIR | 0755);
	int r = put_file(t, "one", large_size(t, 4), true, err);
	if (r == 0)
		r = put_file(t, "two", large_size(t, 16), true, err);
	return r < 0 ? r : end_dir(t, err);
}

static int put_tree(struct tree_writer *t, struct err *err)
{
	pxar_writer_begin(&t->w, t->payload != NULL);
	pxar_writer_entry(&t->w, S_IFDIR | t->shape->root_mode);
	int r = put_dirs(t, 0, N_DIRS, err);
	if (r == 0)
		r = put_large(t, err);
	if (r == 0)
		r = end_dir(t, err);
	pxar_writer_deinit(&t->w);
	return r;
}

static int finish(struct stream_backup *s, struct tree_part *ret, struct err *err)
{
	return stream_backup_finish(s, &ret->size, ret->csum, &ret->stats, err);
}

int tree_backup(const struct image_backup_options *options, const char *payload_name,
		const struct tree_shape *shape, struct tree_part *ret_meta, struct tree_part *ret_payload,
		struct err *err)
{
	struct image_backup_options payload_options = *options;
	payload_options.name = payload_name;
	CLEANUP(freep) uint8_t *data = malloc(options->chunk_size);
	if (!data)
		return err_set(err, -ENOMEM, "no memory for a chunk");
	CLEANUP(stream_backup_freep) struct stream_backup *meta = NULL;
	CLEANUP(stream_backup_freep) struct stream_backup *payload = NULL;
	int r = stream_backup_new(options, &meta, err);
	if (r == 0 && payload_name)
		r = stream_backup_new(&payload_options, &payload, err);
	struct tree_writer t = { .shape = shape, .chunk_size = options->chunk_size, .meta = meta,
				 .payload = payload, .data = data };
	if (r == 0)
		r = put_tree(&t, err);
	if (r == 0)
		r = finish(meta, ret_meta, err);
	if (r == 0 && payload)
		r = finish(payload, ret_payload, err);
	return r;
}

/* "4G:0700"; without the mode it is 0755. */
static int size_and_mode_parse(const char *text, uint64_t *ret_size, uint32_t *ret_mode)
{
	const char *colon = strchrnul(text, ':');
	CLEANUP(freep) char *size = strndup(text, (size_t)(colon - text));
	char *end = NULL;
	unsigned long mode = *colon ? strtoul(colon + 1, &end, 8) : 0755;
	if (!size || (*colon && (colon[1] < '0' || colon[1] > '7' || *end || mode > 07777)))
		return -EINVAL;
	*ret_mode = (uint32_t)mode;
	return size_parse(size, ret_size, NULL);
}

int tree_shape_parse(const char *text, struct tree_shape *ret, struct err *err)
{
	char *end = NULL;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	uint64_t size = 0;
	uint32_t mode = 0;
	if (errno || end == text || *text < '0' || *text > '9' || *end != ':' || n == 0 || n > 100000000 ||
	    size_and_mode_parse(end + 1, &size, &mode) < 0 || size / n > MAX_AVERAGE)
		return err_set(err, -EINVAL, "not FILES:SIZE[:MODE], or more than 2 MiB a file: %s", text);
	*ret = (struct tree_shape){ .n_files = n, .size = size, .root_mode = mode };
	return 0;
}
