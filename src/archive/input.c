/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/input.h"

#include <inttypes.h>
#include <string.h>

#include "util/bytes.h"

static int read_piece(const struct input *input, void *buf, size_t len, uint64_t off, struct deadline until,
		      struct err *err)
{
	if (!input->stream) {
		memcpy(buf, input->memory + off, len);
		return 0;
	}
	struct read read = { .off = off, .len = len, .is_kept = input->is_kept, .until = until };
	int r = stream_pread(input->stream, &read, buf, err);
	if (r == -ENOENT || r == -EIO) {
		if (err)
			err->code = -EBADMSG;
		r = -EBADMSG;
	}
	return r;
}

int input_pread(const struct input *input, void *buf, size_t len, uint64_t off, struct deadline until,
		struct err *err)
{
	uint8_t *to = buf;
	if (off > input->size || len > input->size - off)
		return err_set(err, -EBADMSG, "the archive ends at %" PRIu64 ", before what it should have at %"
			       PRIu64, input->size, off);
	while (len) {
		size_t piece = min_size(len, READ_MAX);
		int r = read_piece(input, to, piece, off, until, err);
		if (r < 0)
			return r;
		to += piece;
		off += piece;
		len -= piece;
	}
	return 0;
}

void input_submit(const struct input *input, struct read *read)
{
	if (input->stream) {
		stream_submit(input->stream, read);
		return;
	}
	read->segments = read->inline_segments;
	read->segments[0] = (struct segment){ .data = input->memory + read->off, .len = read->len };
	read->n_segments = 1;
	read->done(read);
}

void input_cancel(const struct input *input, struct read *read)
{
	if (input->stream)
		stream_cancel(input->stream, read);
}

uint64_t input_prefetch(const struct input *input, uint64_t off)
{
	return input->stream && off < input->size ? stream_prefetch(input->stream, off) : input->size;
}
