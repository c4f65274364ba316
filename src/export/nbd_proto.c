/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_proto.h"

#include <inttypes.h>
#include <string.h>

#include "util/bytes.h"

#define MAGIC		       0x4e42444d41474943ull /* "NBDMAGIC" */
#define OPTION_MAGIC	       0x49484156454f5054ull /* "IHAVEOPT" */
#define OPTION_REPLY_MAGIC     0x0003e889045565a9ull
#define REQUEST_MAGIC	       0x25609513u
#define EXTENDED_REQUEST_MAGIC 0x21e41c71u
#define SIMPLE_REPLY_MAGIC     0x67446698u
#define STRUCTURED_REPLY_MAGIC 0x668e33efu
#define EXTENDED_REPLY_MAGIC   0x6e8a278cu

enum chunk_flag { REPLY_FLAG_DONE = 1 };

enum chunk_type {
	CHUNK_NONE = 0,
	CHUNK_OFFSET_DATA = 1,
	CHUNK_OFFSET_HOLE = 2,
	CHUNK_BLOCK_STATUS = 5,
	CHUNK_BLOCK_STATUS_EXT = 6,
	CHUNK_ERROR = 1 << 15 | 1,
};

enum extent_flag { STATE_HOLE = 1, STATE_ZERO = 2 };

static const char context_name[] = "base:allocation";

/* -- handshake ------------------------------------------------------------------------------- */

void nbd_greeting_write(uint8_t ret[static NBD_GREETING_SIZE])
{
	store_be64(ret, MAGIC);
	store_be64(ret + 8, OPTION_MAGIC);
	store_be16(ret + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

int nbd_client_flags_parse(const uint8_t *in, size_t len, uint32_t *ret, struct err *err)
{
	if (len < 4)
		return 0;
	uint32_t flags = load_be32(in);
	if (flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		return err_set(err, -EPROTO, "the client sets flags 0x%" PRIx32 ", which were not offered", flags);
	*ret = flags;
	return 1;
}

int nbd_option_parse(const uint8_t *in, size_t len, struct nbd_option *ret, struct err *err)
{
	if (len < NBD_OPTION_HEADER_SIZE)
		return 0;
	if (load_be64(in) != OPTION_MAGIC)
		return err_set(err, -EPROTO, "what the client sends is no option");
	*ret = (struct nbd_option){ .id = load_be32(in + 8), .len = load_be32(in + 12) };
	return 1;
}

bool nbd_string_is(struct nbd_string string, const char *text)
{
	return strlen(text) == string.len && memcmp(string.data, text, string.len) == 0;
}

/* What is left of an option's data. */
struct cursor {
	const uint8_t *in;
	size_t len;
};

static bool take_u16(struct cursor *c, uint16_t *ret)
{
	if (c->len < 2)
		return false;
	*ret = load_be16(c->in);
	c->in += 2;
	c->len -= 2;
	return true;
}

static bool take_u32(struct cursor *c, uint32_t *ret)
{
	if (c->len < 4)
		return false;
	*ret = load_be32(c->in);
	c->in += 4;
	c->len -= 4;
	return true;
}

static bool take_string(struct cursor *c, struct nbd_string *ret)
{
	uint32_t len;
	if (!take_u32(c, &len) || len > c->len || len > NBD_STRING_MAX)
		return false;
	*ret = (struct nbd_string){ (const char *)c->in, len };
	c->in += len;
	c->len -= len;
	return true;
}

static void note_info(struct nbd_info_request *request, uint16_t id)
{
	if (id == NBD_INFO_NAME)
		request->wants_name = true;
	else if (id == NBD_INFO_DESCRIPTION)
		request->wants_description = true;
	else if (id == NBD_INFO_BLOCK_SIZE)
		request->wants_block_size = true;
}

int nbd_info_request_parse(const uint8_t *in, size_t len, struct nbd_info_request *ret, struct err *err)
{
	struct cursor c = { in, len };
	struct nbd_info_request request = { 0 };
	uint16_t n, id;
	if (!take_string(&c, &request.name) || !take_u16(&c, &n) || c.len != 2u * n)
		return err_set(err, -EINVAL, "the lengths in the option do not agree");
	while (take_u16(&c, &id))
		note_info(&request, id);
	*ret = request;
	return 0;
}

int nbd_meta_request_parse(const uint8_t *in, size_t len, struct nbd_meta_request *ret, struct err *err)
{
	struct cursor c = { in, len };
	struct nbd_meta_request request = { 0 };
	bool is_good = take_string(&c, &request.name) && take_u32(&c, &request.n_queries);
	/* Each takes four bytes at least: a number too large ends the loop, too. */
	for (uint32_t i = 0; is_good && i < request.n_queries; i++) {
		struct nbd_string query = { NULL, 0 };
		is_good = take_string(&c, &query);
		request.wants_base |= nbd_string_is(query, "base:");
		request.wants_allocation |= nbd_string_is(query, context_name);
	}
	if (!is_good || c.len)
		return err_set(err, -EINVAL, "the lengths in the option do not agree");
	*ret = request;
	return 0;
}

/* -- answers of the handshake ---------------------------------------------------------------- */

/* The header of an answer with @len bytes of data, of which the first @head_len are @head. */
static int add_head(struct buf *to, uint32_t option, enum nbd_reply_id reply, size_t len, const uint8_t *head,
		    size_t head_len, struct err *err)
{
	uint8_t header[20];
	store_be64(header, OPTION_REPLY_MAGIC);
	store_be32(header + 8, option);
	store_be32(header + 12, (uint32_t)reply);
	store_be32(header + 16, (uint32_t)len);
	int r = buf_add(to, header, sizeof header, err);
	return r < 0 || !head_len ? r : buf_add(to, head, head_len, err);
}

int nbd_add_reply(struct buf *to, uint32_t option, enum nbd_reply_id reply, const char *text, struct err *err)
{
	size_t len = text ? strlen(text) : 0;
	int r = add_head(to, option, reply, len, NULL, 0, err);
	return r < 0 || !len ? r : buf_add(to, text, len, err);
}

int nbd_add_server(struct buf *to, const char *name, const char *description, struct err *err)
{
	uint8_t head[4];
	size_t name_len = strlen(name), len = sizeof head + name_len + strlen(description);
	store_be32(head, (uint32_t)name_len);
	int r = add_head(to, NBD_OPT_LIST, NBD_REP_SERVER, len, head, sizeof head, err);
	if (r == 0)
		r = buf_puts(to, name, err);
	return r < 0 ? r : buf_puts(to, description, err);
}

int nbd_add_info_export(struct buf *to, uint32_t option, uint64_t size, uint16_t flags, struct err *err)
{
	uint8_t head[12];
	store_be16(head, NBD_INFO_EXPORT);
	store_be64(head + 2, size);
	store_be16(head + 10, flags);
	return add_head(to, option, NBD_REP_INFO, sizeof head, head, sizeof head, err);
}

int nbd_add_info_text(struct buf *to, uint32_t option, enum nbd_info_id id, const char *text, struct err *err)
{
	uint8_t head[2];
	store_be16(head, (uint16_t)id);
	int r = add_head(to, option, NBD_REP_INFO, sizeof head + strlen(text), head, sizeof head, err);
	return r < 0 ? r : buf_puts(to, text, err);
}

int nbd_add_info_block_size(struct buf *to, uint32_t option, uint32_t preferred, uint32_t max,
			    struct err *err)
{
	uint8_t head[14];
	store_be16(head, NBD_INFO_BLOCK_SIZE);
	store_be32(head + 2, 1);
	store_be32(head + 6, preferred);
	store_be32(head + 10, max);
	return add_head(to, option, NBD_REP_INFO, sizeof head, head, sizeof head, err);
}

int nbd_add_meta_context(struct buf *to, uint32_t option, struct err *err)
{
	uint8_t head[4];
	store_be32(head, option == NBD_OPT_SET_META_CONTEXT ? NBD_CONTEXT_ID : 0);
	int r = add_head(to, option, NBD_REP_META_CONTEXT, sizeof head + strlen(context_name), head,
			 sizeof head, err);
	return r < 0 ? r : buf_puts(to, context_name, err);
}

int nbd_add_export(struct buf *to, uint64_t size, uint16_t flags, bool has_zeroes, struct err *err)
{
	uint8_t answer[10 + 124] = { 0 };
	store_be64(answer, size);
	store_be16(answer + 8, flags);
	return buf_add(to, answer, has_zeroes ? sizeof answer : 10, err);
}

/* -- requests -------------------------------------------------------------------------------- */

size_t nbd_request_size(enum nbd_style style)
{
	return style == NBD_EXTENDED ? 32 : 28;
}

int nbd_request_parse(enum nbd_style style, const uint8_t *in, size_t len, struct nbd_request *ret,
		      struct err *err)
{
	if (len < nbd_request_size(style))
		return 0;
	if (load_be32(in) != (style == NBD_EXTENDED ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC))
		return err_set(err, -EPROTO, "what the client sends is no request");
	struct nbd_request request = {
		.flags = load_be16(in + 4),
		.command = load_be16(in + 6),
		.cookie = load_be64(in + 8),
		.off = load_be64(in + 16),
		.len = style == NBD_EXTENDED ? load_be64(in + 24) : load_be32(in + 24),
	};
	if (nbd_request_payload(style, &request) > NBD_PAYLOAD_MAX)
		return err_set(err, -EPROTO, "the client sends %" PRIu64 " bytes at once", request.len);
	*ret = request;
	return 1;
}

uint64_t nbd_request_payload(enum nbd_style style, const struct nbd_request *request)
{
	bool has_payload = style == NBD_EXTENDED ? request->flags & NBD_CMD_FLAG_PAYLOAD_LEN
						 : request->command == NBD_CMD_WRITE;
	return has_payload ? request->len : 0;
}

/* The flags a command may have here. */
static uint16_t flags_of(const struct nbd_session *session, uint16_t command)
{
	if (command == NBD_CMD_READ && session->style != NBD_SIMPLE)
		return NBD_CMD_FLAG_DF;
	return command == NBD_CMD_BLOCK_STATUS ? NBD_CMD_FLAG_REQ_ONE : 0;
}

static int check_command(const struct nbd_session *session, const struct nbd_request *request,
			 struct err *err)
{
	switch (request->command) {
	case NBD_CMD_READ:
	case NBD_CMD_CACHE:
		return 0;
	case NBD_CMD_BLOCK_STATUS:
		if (session->style == NBD_SIMPLE || !session->has_context)
			return err_set(err, -EINVAL, "no metadata context was chosen");
		return 0;
	case NBD_CMD_WRITE:
	case NBD_CMD_FLUSH:
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		return err_set(err, -EPERM, "a backup is read-only");
	default:
		return err_set(err, -EINVAL, "there is no command %u", request->command);
	}
}

int nbd_request_check(const struct nbd_session *session, const struct nbd_request *request, struct err *err)
{
	int r = check_command(session, request, err);
	if (r < 0)
		return r;
	if (request->flags & ~flags_of(session, request->command))
		return err_set(err, -EINVAL, "command %u has no flags 0x%x", request->command, request->flags);
	if (request->len == 0)
		return err_set(err, -EINVAL, "a request for nothing");
	if (request->off > session->size || request->len > session->size - request->off)
		return err_set(err, -EINVAL, "%" PRIu64 " bytes at %" PRIu64 " are not inside the export", request->len,
			       request->off);
	if (request->command == NBD_CMD_READ && request->len > NBD_PAYLOAD_MAX)
		return err_set(err, -EOVERFLOW, "%" PRIu64 " bytes are too many for one read", request->len);
	return 0;
}

/* -- replies --------------------------------------------------------------------------------- */

uint32_t nbd_error_of(int code)
{
	switch (code) {
	case 0:
		return 0;
	case -EPERM:
		return 1;
	case -ENOMEM:
		return 12;
	case -EINVAL:
		return 22;
	case -EOVERFLOW:
		return 75;
	case -ESHUTDOWN:
		return 108;
	default:
		return 5; /* NBD_EIO */
	}
}

static size_t simple_write(const struct nbd_request *request, uint32_t error, uint8_t *ret)
{
	store_be32(ret, SIMPLE_REPLY_MAGIC);
	store_be32(ret + 4, error);
	store_be64(ret + 8, request->cookie);
	return 16;
}

/* The header of a chunk with @len bytes behind it. */
static size_t chunk_write(enum nbd_style style, const struct nbd_request *request, enum chunk_type type,
			  uint64_t len, bool is_last, uint8_t *ret)
{
	store_be32(ret, style == NBD_EXTENDED ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC);
	store_be16(ret + 4, is_last ? REPLY_FLAG_DONE : 0);
	store_be16(ret + 6, (uint16_t)type);
	store_be64(ret + 8, request->cookie);
	if (style != NBD_EXTENDED) {
		store_be32(ret + 16, (uint32_t)len);
		return 20;
	}
	store_be64(ret + 16, request->off);
	store_be64(ret + 24, len);
	return 32;
}

size_t nbd_data_write(enum nbd_style style, const struct nbd_request *request, uint64_t off, uint32_t len,
		      bool is_last, uint8_t ret[static NBD_REPLY_MAX])
{
	if (style == NBD_SIMPLE)
		return simple_write(request, 0, ret);
	size_t n = chunk_write(style, request, CHUNK_OFFSET_DATA, 8 + (uint64_t)len, is_last, ret);
	store_be64(ret + n, off);
	return n + 8;
}

size_t nbd_hole_write(enum nbd_style style, const struct nbd_request *request, uint64_t off, uint32_t len,
		      bool is_last, uint8_t ret[static NBD_REPLY_MAX])
{
	size_t n = chunk_write(style, request, CHUNK_OFFSET_HOLE, 12, is_last, ret);
	store_be64(ret + n, off);
	store_be32(ret + n + 8, len);
	return n + 12;
}

size_t nbd_done_write(enum nbd_style style, const struct nbd_request *request,
		      uint8_t ret[static NBD_REPLY_MAX])
{
	return style == NBD_SIMPLE ? simple_write(request, 0, ret)
				   : chunk_write(style, request, CHUNK_NONE, 0, true, ret);
}

size_t nbd_status_write(enum nbd_style style, const struct nbd_request *request, uint32_t n,
			uint8_t ret[static NBD_REPLY_MAX])
{
	size_t at;
	if (style == NBD_EXTENDED) {
		at = chunk_write(style, request, CHUNK_BLOCK_STATUS_EXT, 8 + 16 * (uint64_t)n, true, ret);
		store_be32(ret + at, NBD_CONTEXT_ID);
		store_be32(ret + at + 4, n);
		return at + 8;
	}
	at = chunk_write(style, request, CHUNK_BLOCK_STATUS, 4 + 8 * (uint64_t)n, true, ret);
	store_be32(ret + at, NBD_CONTEXT_ID);
	return at + 4;
}

size_t nbd_extent_write(enum nbd_style style, uint64_t len, bool is_zero, uint8_t ret[static NBD_EXTENT_MAX])
{
	uint32_t flags = is_zero ? STATE_HOLE | STATE_ZERO : 0;
	if (style == NBD_EXTENDED) {
		store_be64(ret, len);
		store_be64(ret + 8, flags);
		return 16;
	}
	store_be32(ret, (uint32_t)len);
	store_be32(ret + 4, flags);
	return 8;
}

size_t nbd_error_write(enum nbd_style style, const struct nbd_request *request, int code, const char *text,
		       uint8_t ret[static NBD_ERROR_MAX])
{
	uint32_t error = nbd_error_of(code);
	if (style == NBD_SIMPLE)
		return simple_write(request, error, ret);
	size_t text_len = strnlen(text, NBD_ERROR_MAX - NBD_REPLY_MAX);
	size_t n = chunk_write(style, request, CHUNK_ERROR, 6 + text_len, true, ret);
	store_be32(ret + n, error);
	store_be16(ret + n + 4, (uint16_t)text_len);
	memcpy(ret + n + 6, text, text_len);
	return n + 6 + text_len;
}
