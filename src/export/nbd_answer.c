/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "export/nbd_internal.h"
#include "util/bytes.h"

/*
 * A request becomes reads, and their chunks become iovecs: nothing is copied on the way to the socket.  A read is
 * cut where zeros begin and end, so that zeros travel as a hole where the client understands that; in the
 * simple style, and where the client wants one piece, only where it is too long for the layers below.
 */
#define PARTS_MAX   24u  /* of one answer; behind the last hole among them all is data */
#define HOLE_MIN    4096u /* bytes; shorter ones are not worth a chunk of their own */
#define EXTENTS_MAX NBD_LOOKS_MAX /* of one block status: clients ask on behind them */

/* Zeros of known place, or bytes to be read. */
struct cut {
	uint64_t off;
	uint32_t len;
	bool is_hole;
};

static bool may_have_holes(const struct nbd_client *client, const struct nbd_request *request)
{
	return request->command == NBD_CMD_READ && client->session.style != NBD_SIMPLE &&
	       !(request->flags & NBD_CMD_FLAG_DF);
}

/* Zeros from @off to where; @off itself = none worth it. */
static uint64_t hole_at(const struct nbd_client *client, uint64_t off, uint64_t end, uint64_t *ret_data_end)
{
	uint64_t to;
	bool is_zero = image_next_extent(client->image, off, end, &to);
	*ret_data_end = to;
	return is_zero && to - off >= HOLE_MIN ? to : off;
}

static unsigned cut_up(const struct nbd_client *client, const struct nbd_request *request, struct cut *ret)
{
	uint64_t off = request->off, end = off + min_u64(request->len, NBD_PAYLOAD_MAX);
	unsigned n = 0;
	while (off < end) {
		/* what is left fits as data into what is left of the parts */
		bool looks = may_have_holes(client, request) && n + NBD_PAYLOAD_MAX / READ_MAX + 1 < PARTS_MAX;
		uint64_t data_end = end;
		uint64_t hole_end = looks ? hole_at(client, off, end, &data_end) : off;
		bool is_hole = hole_end > off;
		uint64_t to = is_hole ? hole_end : min_u64(data_end, off + READ_MAX);
		ret[n++] = (struct cut){ off, (uint32_t)(to - off), is_hole };
		off = to;
	}
	return n;
}

/* -- making ---------------------------------------------------------------------------------- */

static struct nbd_answer *answer_new(struct nbd_client *client, const struct nbd_request *request,
				     unsigned n_parts)
{
	struct nbd_answer *answer = malloc(sizeof *answer + n_parts * sizeof answer->parts[0]);
	if (!answer)
		return NULL;
	*answer = (struct nbd_answer){
		.client = client,
		.request = *request,
		.n_parts = n_parts,
	};
	list_init(&answer->node);
	list_init(&answer->done_node);
	for (unsigned i = 0; i < n_parts; i++) {
		struct nbd_part *part = &answer->parts[i];
		memset(part, 0, offsetof(struct nbd_part, read.inline_segments));
		part->read.waiters = NULL;
	}
	return answer;
}

void nbd_answer_free(struct nbd_answer *answer)
{
	for (unsigned i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].has_read)
			read_release(&answer->parts[i].read);
	free(answer->bytes);
	free(answer);
}

size_t nbd_answer_weight(const struct nbd_request *request)
{
	size_t weight = sizeof(struct nbd_answer) + 2 * sizeof(struct nbd_part);
	if (request->command == NBD_CMD_BLOCK_STATUS)
		return weight + EXTENTS_MAX * NBD_EXTENT_MAX;
	if (request->command == NBD_CMD_READ || request->command == NBD_CMD_CACHE)
		return weight + (size_t)min_u64(request->len, NBD_PAYLOAD_MAX);
	return weight;
}

/* A part without a read; the bytes behind its head are answer->bytes. */
static void set_only_part(struct nbd_answer *answer, size_t len)
{
	struct nbd_part *part = &answer->parts[0];
	answer->n_parts = 1;
	part->has_read = false;
	part->data = answer->bytes;
	part->len = len;
}

struct nbd_answer *nbd_answer_bytes(struct nbd_client *client, const void *bytes, size_t len)
{
	const struct nbd_request none = { 0 };
	struct nbd_answer *answer = answer_new(client, &none, 1);
	if (!answer)
		return NULL;
	answer->weight = sizeof *answer + len;
	answer->bytes = malloc(len ? len : 1);
	if (!answer->bytes) {
		nbd_answer_free(answer);
		return NULL;
	}
	memcpy(answer->bytes, bytes, len);
	set_only_part(answer, len);
	return answer;
}

struct nbd_answer *nbd_answer_error(struct nbd_client *client, const struct nbd_request *request,
				    const struct err *why)
{
	uint8_t bytes[NBD_ERROR_MAX];
	size_t len = nbd_error_write(client->session.style, request, why->code, why->msg, bytes);
	return nbd_answer_bytes(client, bytes, len);
}

/* -- block status ---------------------------------------------------------------------------- */

struct extent {
	uint64_t len;
	bool is_zero;
};

/* Neighbours of one kind are one; @most of them, up to the end of what was asked for, or of this turn's looks. */
static unsigned find_extents(struct nbd_client *client, const struct nbd_request *request, unsigned most,
			     struct extent *ret)
{
	uint64_t off = request->off, end = off + request->len;
	unsigned n = 0;
	while (off < end && client->looks_left) {
		uint64_t to;
		bool is_zero = image_next_extent(client->image, off, end, &to);
		client->looks_left--;
		if (n && ret[n - 1].is_zero == is_zero)
			ret[n - 1].len += to - off;
		else if (n == most)
			break;
		else
			ret[n++] = (struct extent){ to - off, is_zero };
		off = to;
	}
	return n;
}

static struct nbd_answer *answer_block_status(struct nbd_client *client, const struct nbd_request *request)
{
	enum nbd_style style = client->session.style;
	struct extent extents[EXTENTS_MAX];
	unsigned most = request->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
	unsigned n = find_extents(client, request, most, extents);
	struct nbd_answer *answer = answer_new(client, request, 1);
	if (!answer)
		return NULL;
	answer->weight = nbd_answer_weight(request);
	answer->bytes = malloc(n * NBD_EXTENT_MAX);
	if (!answer->bytes) {
		nbd_answer_free(answer);
		return NULL;
	}
	size_t len = 0;
	for (unsigned i = 0; i < n; i++)
		len += nbd_extent_write(style, extents[i].len, extents[i].is_zero, answer->bytes + len);
	set_only_part(answer, len);
	answer->parts[0].head_len = nbd_status_write(style, request, n, answer->parts[0].head);
	return answer;
}

/* -- reads ----------------------------------------------------------------------------------- */

static void read_is_done(struct read *read)
{
	struct nbd_answer *answer = read->user;
	if (atomic_fetch_sub(&answer->n_missing, 1) == 1)
		nbd_server_done(answer->client->server, answer);
}

/* One head for all of it where it is sent as one piece; else each part is a chunk. */
static void write_heads(struct nbd_answer *answer, const struct cut *cuts)
{
	const struct nbd_request *request = &answer->request;
	enum nbd_style style = answer->client->session.style;
	bool is_whole = !may_have_holes(answer->client, request);
	for (unsigned i = 0; i < answer->n_parts; i++) {
		struct nbd_part *part = &answer->parts[i];
		bool is_last = is_whole || i + 1 == answer->n_parts;
		if (cuts[i].is_hole)
			part->head_len = nbd_hole_write(style, request, cuts[i].off, cuts[i].len, is_last, part->head);
		else if (!is_whole)
			part->head_len = nbd_data_write(style, request, cuts[i].off, cuts[i].len, is_last, part->head);
		else if (i == 0)
			part->head_len = nbd_data_write(style, request, request->off, (uint32_t)request->len, is_last,
							part->head);
	}
}

static void begin_read(struct nbd_answer *answer, struct nbd_part *part, const struct cut *cut)
{
	int64_t timeout_ms = answer->client->server->options.timeout_ms;
	struct read *read = &part->read;
	part->has_read = true;
	part->len = cut->len;
	read->off = cut->off;
	read->len = cut->len;
	read->priority = answer->request.command == NBD_CMD_CACHE ? PRIORITY_PREFETCH : PRIORITY_DEMAND;
	read->until = deadline_of_timeout(timeout_ms);
	read->done = read_is_done;
	read->user = answer;
	atomic_fetch_add(&answer->n_missing, 1);
	image_submit(answer->client->image, read);
}

static struct nbd_answer *answer_read(struct nbd_client *client, const struct nbd_request *request)
{
	struct cut cuts[PARTS_MAX];
	unsigned n = cut_up(client, request, cuts);
	struct nbd_answer *answer = answer_new(client, request, n);
	if (!answer)
		return NULL;
	answer->weight = nbd_answer_weight(request);
	if (request->command == NBD_CMD_READ)
		write_heads(answer, cuts);
	atomic_init(&answer->n_missing, 1);
	for (unsigned i = 0; i < n; i++)
		if (!cuts[i].is_hole)
			begin_read(answer, &answer->parts[i], &cuts[i]);
	return answer;
}

struct nbd_answer *nbd_answer_request(struct nbd_client *client, const struct nbd_request *request)
{
	return request->command == NBD_CMD_BLOCK_STATUS ? answer_block_status(client, request)
							: answer_read(client, request);
}

static const struct err *first_failure(const struct nbd_answer *answer)
{
	for (unsigned i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].has_read && answer->parts[i].read.result < 0)
			return &answer->parts[i].read.err;
	return NULL;
}

static void release_reads(struct nbd_answer *answer)
{
	for (unsigned i = 0; i < answer->n_parts; i++) {
		if (answer->parts[i].has_read)
			read_release(&answer->parts[i].read);
		answer->parts[i].has_read = false;
	}
}

/* Without memory for the words, an error has none. */
static void become_error(struct nbd_answer *answer, const struct err *why)
{
	enum nbd_style style = answer->client->session.style;
	struct err copy = *why;
	release_reads(answer);
	answer->bytes = malloc(NBD_ERROR_MAX);
	size_t len = 0;
	uint8_t *head = answer->parts[0].head;
	if (answer->bytes)
		len = nbd_error_write(style, &answer->request, copy.code, copy.msg, answer->bytes);
	set_only_part(answer, len);
	answer->parts[0].head_len = 0;
	if (!answer->bytes) {
		uint8_t bytes[NBD_ERROR_MAX];
		answer->parts[0].head_len = nbd_error_write(style, &answer->request, copy.code, "", bytes);
		memcpy(head, bytes, answer->parts[0].head_len);
	}
}

void nbd_answer_finish(struct nbd_answer *answer)
{
	const struct err *why = first_failure(answer);
	if (why) {
		become_error(answer, why);
	} else if (answer->request.command == NBD_CMD_CACHE) {
		release_reads(answer);
		set_only_part(answer, 0);
		answer->parts[0].head_len = nbd_done_write(answer->client->session.style, &answer->request,
							   answer->parts[0].head);
	}
}

void nbd_answer_cancel(struct nbd_answer *answer)
{
	for (unsigned i = 0; i < answer->n_parts; i++)
		if (answer->parts[i].has_read)
			image_cancel(answer->client->image, &answer->parts[i].read);
}

/* -- sending --------------------------------------------------------------------------------- */

/* Pieces being put together; the first @skip bytes of them are sent already. */
struct filling {
	struct iovec *iov;
	int n, most;
	size_t skip;
};

static void add_piece(struct filling *f, const uint8_t *data, size_t len)
{
	size_t skip = min_size(f->skip, len);
	f->skip -= skip;
	if (len == skip || f->n == f->most)
		return;
	const uint8_t *from = data + skip;
	/* sendmsg() takes what it may not change as void * */
	memcpy(&f->iov[f->n].iov_base, &from, sizeof from);
	f->iov[f->n++].iov_len = len - skip;
}

int nbd_answer_fill(const struct nbd_answer *answer, struct iovec *iov, int most)
{
	struct filling f = { iov, 0, most, answer->at_byte };
	for (unsigned i = answer->at_part; i < answer->n_parts && f.n < most; i++) {
		const struct nbd_part *part = &answer->parts[i];
		add_piece(&f, part->head, part->head_len);
		if (!part->has_read)
			add_piece(&f, part->data, part->len);
		for (unsigned s = 0; part->has_read && s < part->read.n_segments; s++)
			add_piece(&f, part->read.segments[s].data, part->read.segments[s].len);
	}
	return f.n;
}

bool nbd_answer_sent(struct nbd_answer *answer, size_t *len)
{
	while (answer->at_part < answer->n_parts) {
		const struct nbd_part *part = &answer->parts[answer->at_part];
		size_t left = part->head_len + part->len - answer->at_byte;
		if (*len < left) {
			answer->at_byte += *len;
			*len = 0;
			return false;
		}
		*len -= left;
		answer->at_part++;
		answer->at_byte = 0;
	}
	return true;
}

size_t nbd_answer_held(const struct nbd_answer *answer, const struct chunk **last)
{
	size_t n = 0;
	for (unsigned i = 0; i < answer->n_parts; i++) {
		const struct read *read = &answer->parts[i].read;
		for (unsigned s = 0; answer->parts[i].has_read && s < read->n_segments; s++) {
			const struct chunk *chunk = read->segments[s].chunk;
			n += chunk && chunk != *last ? chunk->len : 0;
			*last = chunk ? chunk : *last;
		}
	}
	return n;
}

void nbd_answer_keep_less(struct nbd_answer *answer)
{
	const struct chunk *last = NULL;
	size_t needed = 0;
	for (unsigned i = 0; i < answer->n_parts; i++)
		needed += answer->parts[i].has_read ? answer->parts[i].len : 0;
	if (nbd_answer_held(answer, &last) <= 2 * needed)
		return;
	uint8_t *bytes = malloc(needed);
	if (!bytes)
		return;
	size_t at = 0;
	for (unsigned i = 0; i < answer->n_parts; i++) {
		struct nbd_part *part = &answer->parts[i];
		if (!part->has_read)
			continue;
		part->data = bytes + at;
		read_copy_out(&part->read, bytes + at); /* one that failed has become an error, without reads */
		at += part->len;
	}
	release_reads(answer);
	answer->bytes = bytes;
}
