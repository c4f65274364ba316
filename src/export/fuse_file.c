/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_file.h"

#include <stdlib.h>

#include "export/fuse_internal.h"

/* What programs decide by whether to look for holes at all. */
static blkcnt_t count_blocks(struct image *image)
{
	uint64_t off = 0, data = 0;
	while (off < image->size) {
		uint64_t end;
		if (!image_next_extent(image, off, image->size, &end))
			data += end - off;
		off = end;
	}
	return (blkcnt_t)((data + 511) / 512);
}

static void submit(void *image, struct read *read)
{
	image_submit(image, read);
}

static void cancel(void *image, struct read *read)
{
	image_cancel(image, read);
}

int fuse_file_open(const struct fuse_file_options *options, struct fuse_file **ret, struct err *err)
{
	struct fuse_file *file = calloc(1, sizeof *file);
	if (!file) {
		(void) close(options->take_fuse_fd);
		return err_set(err, -ENOMEM, "no memory");
	}
	file->image = options->image;
	file->n_blocks = options->is_on_path ? count_blocks(options->image) : 0;
	file->is_on_path = options->is_on_path;
	file->reads = (struct fuse_reads){
		.submit = submit, .cancel = cancel, .object = options->image, .timeout_ms = options->timeout_ms,
	};
	fuse_reads_init(&file->reads);
	*ret = file;
	return fuse_conn_open(&file->conn, &fuse_serve_ops, options->take_fuse_fd, err);
}

int fuse_file_event_fd(const struct fuse_file *file)
{
	return file->conn.event_fd;
}

bool fuse_file_has_ended(struct fuse_file *file)
{
	return fuse_conn_has_ended(&file->conn);
}

unsigned fuse_file_n_users(struct fuse_file *file)
{
	return fuse_conn_n_users(&file->conn);
}

void fuse_file_close(struct fuse_file *file)
{
	if (!file)
		return;
	fuse_conn_join(&file->conn);
	fuse_reads_deinit(&file->reads);
	fuse_conn_close(&file->conn);
	free(file);
}
