/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

#include <string.h>

#include "util/lock.h"

void image_close(struct image *image)
{
	if (image)
		image->ops->close(image);
}

void image_submit(struct image *image, struct read *read)
{
	image->ops->submit(image, read);
}

void image_cancel(struct image *image, struct read *read)
{
	image->ops->cancel(image, read);
}

bool image_next_extent(struct image *image, uint64_t off, uint64_t *ret_end)
{
	return image->ops->next_extent(image, off, ret_end);
}

/* A read somebody sleeps on. */
struct waiting {
	struct read read;
	pthread_mutex_t lock;
	pthread_cond_t came;
	bool is_done;
};

static void wake(struct read *read)
{
	struct waiting *w = CONTAINER_OF(read, struct waiting, read);
	HOLD(&w->lock);
	w->is_done = true;
	(void) pthread_cond_signal(&w->came);
}

static void submit_and_wait(struct image *image, struct waiting *w)
{
	image_submit(image, &w->read);
	HOLD(&w->lock);
	while (!w->is_done)
		(void) pthread_cond_wait(&w->came, &w->lock);
}

static void copy_out(const struct read *read, uint8_t *to)
{
	for (unsigned i = 0; i < read->n_segments; i++) {
		memcpy(to, read->segments[i].data, read->segments[i].len);
		to += read->segments[i].len;
	}
}

int image_pread(struct image *image, void *buf, size_t len, uint64_t off, struct deadline until,
		struct err *err)
{
	struct waiting w = {
		.read = { .off = off, .len = len, .until = until, .done = wake },
	};
	(void) pthread_mutex_init(&w.lock, NULL);
	(void) pthread_cond_init(&w.came, NULL);
	submit_and_wait(image, &w);
	int r = w.read.result;
	if (r == 0)
		copy_out(&w.read, buf);
	else if (err)
		*err = w.read.err;
	read_release(&w.read);
	(void) pthread_cond_destroy(&w.came);
	(void) pthread_mutex_destroy(&w.lock);
	return r;
}
