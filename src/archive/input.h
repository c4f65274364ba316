/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream/stream.h"
#include "util/deadline.h"
#include "util/err.h"

/* Where the bytes of an archive come from: a stream, or (in tests) memory.  Lent. */
struct input {
	uint64_t size;
	struct stream *stream; /* NULL: */
	const uint8_t *memory;
	bool is_kept; /* what is read here stays in the cache before other chunks do */
};

#define INPUT_NONE ((struct input){ 0 })

static inline struct input input_of_stream(struct stream *stream)
{
	return (struct input){ .size = stream_size(stream), .stream = stream };
}

/*
 * Exactly @len bytes; waits.  -EBADMSG: there are no such bytes, or they cannot be had (a chunk that is
 * missing is said so, too: -ENOENT is left to names); others as stream_pread().
 */
int input_pread(const struct input *input, void *buf, size_t len, uint64_t off, struct deadline until,
		struct err *err) MUST_CHECK;

/* As stream_submit() and stream_cancel(); of memory answered at once. */
void input_submit(const struct input *input, struct read *read);
void input_cancel(const struct input *input, struct read *read);

/* As stream_prefetch(); for an @off that may be anywhere. */
uint64_t input_prefetch(const struct input *input, uint64_t off);
