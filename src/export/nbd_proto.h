/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/err.h"

/*
 * The messages of the NBD protocol, as a read-only server needs them: bytes in, result out.  No sockets, no
 * clock, no state but what is handed in.
 *
 * A parser of a stream of bytes returns 1 = one message in @ret, 0 = need more bytes, -EPROTO = not NBD; then
 * the connection is of no use any more.
 *
 * Source: the NBD project's doc/proto.md; extended headers: the same in its branch extension-ext-header
 */

/* -- handshake ------------------------------------------------------------------------------- */

#define NBD_STRING_MAX	 4096u /* bytes of a name or a query */
#define NBD_GREETING_SIZE 18u
#define NBD_OPTION_HEADER_SIZE 16u

enum nbd_handshake_flag { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };

enum nbd_option_id {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
	NBD_OPT_EXTENDED_HEADERS = 11,
};

enum nbd_reply_id {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER = 2,
	NBD_REP_INFO = 3,
	NBD_REP_META_CONTEXT = 4,
	NBD_REP_ERR_UNSUP = 1 | 1u << 31,
	NBD_REP_ERR_POLICY = 2 | 1u << 31,
	NBD_REP_ERR_INVALID = 3 | 1u << 31,
	NBD_REP_ERR_TLS_REQD = 5 | 1u << 31,
	NBD_REP_ERR_UNKNOWN = 6 | 1u << 31,
	NBD_REP_ERR_SHUTDOWN = 7 | 1u << 31,
	NBD_REP_ERR_TOO_BIG = 9 | 1u << 31,
	NBD_REP_ERR_EXT_HEADER_REQD = 10 | 1u << 31,
};

enum nbd_info_id {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3,
};

enum nbd_transmission_flag {
	NBD_FLAG_HAS_FLAGS = 1,
	NBD_FLAG_READ_ONLY = 1 << 1,
	NBD_FLAG_SEND_DF = 1 << 7,
	NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
	NBD_FLAG_SEND_CACHE = 1 << 10,
};

/* What the server says first. */
void nbd_greeting_write(uint8_t ret[static NBD_GREETING_SIZE]);

/* 4 bytes; -EPROTO: a flag that was not offered. */
int nbd_client_flags_parse(const uint8_t *in, size_t len, uint32_t *ret, struct err *err) MUST_CHECK;

struct nbd_option {
	uint32_t id;
	uint32_t len; /* bytes of data behind the header, whatever the client says */
};

int nbd_option_parse(const uint8_t *in, size_t len, struct nbd_option *ret, struct err *err) MUST_CHECK;

/* Bytes inside an option's data; not NUL-terminated, may be anything. */
struct nbd_string {
	const char *data;
	size_t len;
};

bool nbd_string_is(struct nbd_string string, const char *text);

/* The data of INFO and GO. */
struct nbd_info_request {
	struct nbd_string name;
	bool wants_name, wants_description, wants_block_size;
};

/* The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
struct nbd_meta_request {
	struct nbd_string name;
	uint32_t n_queries;
	bool wants_base;       /* one of them is "base:" */
	bool wants_allocation; /* one of them is "base:allocation" */
};

/* The data of an option, whole.  -EINVAL: lengths do not agree, or a string too long. */
int nbd_info_request_parse(const uint8_t *in, size_t len, struct nbd_info_request *ret,
			   struct err *err) MUST_CHECK;
int nbd_meta_request_parse(const uint8_t *in, size_t len, struct nbd_meta_request *ret,
			   struct err *err) MUST_CHECK;

/*
 * Answers, put behind what @to has.  -ENOMEM is the only failure.
 *
 * @option:  which they answer
 * @text:    for people; NULL = none
 */
int nbd_add_reply(struct buf *to, uint32_t option, enum nbd_reply_id reply, const char *text,
		  struct err *err) MUST_CHECK;
int nbd_add_server(struct buf *to, const char *name, const char *description, struct err *err) MUST_CHECK;
int nbd_add_info_export(struct buf *to, uint32_t option, uint64_t size, uint16_t flags,
			struct err *err) MUST_CHECK;
int nbd_add_info_text(struct buf *to, uint32_t option, enum nbd_info_id id, const char *text,
		      struct err *err) MUST_CHECK;
int nbd_add_info_block_size(struct buf *to, uint32_t option, uint32_t preferred, uint32_t max,
			    struct err *err) MUST_CHECK;
int nbd_add_meta_context(struct buf *to, uint32_t option, struct err *err) MUST_CHECK;

/* To EXPORT_NAME, which has an answer of its own kind. */
int nbd_add_export(struct buf *to, uint64_t size, uint16_t flags, bool has_zeroes,
		   struct err *err) MUST_CHECK;

/* -- transmission ---------------------------------------------------------------------------- */

/* How requests and replies are written, as agreed in the handshake. */
enum nbd_style { NBD_SIMPLE, NBD_STRUCTURED, NBD_EXTENDED };

enum nbd_command {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

enum nbd_command_flag {
	NBD_CMD_FLAG_DF = 1 << 2,
	NBD_CMD_FLAG_REQ_ONE = 1 << 3,
	NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5,
};

#define NBD_REQUEST_MAX	 32u	    /* bytes of a request's header, of any style */
#define NBD_PAYLOAD_MAX	 (32u << 20) /* bytes of one READ or WRITE: what every client may use unasked */
#define NBD_CONTEXT_ID	 1u	    /* base:allocation, the only context there is */

struct nbd_request {
	uint16_t flags, command;
	uint64_t cookie, off, len; /* hostile until nbd_request_check() */
};

/* What requests are measured by. */
struct nbd_session {
	enum nbd_style style;
	uint64_t size;	  /* bytes of the export */
	bool has_context; /* base:allocation was chosen */
};

size_t nbd_request_size(enum nbd_style style);
int nbd_request_parse(enum nbd_style style, const uint8_t *in, size_t len, struct nbd_request *ret,
		      struct err *err) MUST_CHECK;

/* Bytes that follow the header, NBD_PAYLOAD_MAX at most; to be taken whatever becomes of the request. */
uint64_t nbd_request_payload(enum nbd_style style, const struct nbd_request *request);

/**
 * nbd_request_check - may it be answered; then it lies inside the export
 *
 * Errors:  -EPERM a request that changes something; -EINVAL unknown, outside, flags it does not have;
 *          -EOVERFLOW more than NBD_PAYLOAD_MAX to read
 */
int nbd_request_check(const struct nbd_session *session, const struct nbd_request *request,
		      struct err *err) MUST_CHECK;

/* The one place where a code becomes what NBD wants. */
uint32_t nbd_error_of(int code);

/*
 * Replies: the bytes before the data; returns how many.
 *
 * A read in the simple style is one nbd_data_write() over all of it.  In the others it is any number of chunks,
 * the last one with @is_last; so is the block status one chunk, with @n extents behind it.
 */
#define NBD_REPLY_MAX  48u
#define NBD_EXTENT_MAX 16u
#define NBD_ERROR_MAX  (NBD_REPLY_MAX + 512u)

size_t nbd_data_write(enum nbd_style style, const struct nbd_request *request, uint64_t off, uint32_t len,
		      bool is_last, uint8_t ret[static NBD_REPLY_MAX]);
/* Not in the simple style. */
size_t nbd_hole_write(enum nbd_style style, const struct nbd_request *request, uint64_t off, uint32_t len,
		      bool is_last, uint8_t ret[static NBD_REPLY_MAX]);
size_t nbd_done_write(enum nbd_style style, const struct nbd_request *request,
		      uint8_t ret[static NBD_REPLY_MAX]);
size_t nbd_status_write(enum nbd_style style, const struct nbd_request *request, uint32_t n,
			uint8_t ret[static NBD_REPLY_MAX]);
/* @len below 4 GiB where the style is not extended. */
size_t nbd_extent_write(enum nbd_style style, uint64_t len, bool is_zero, uint8_t ret[static NBD_EXTENT_MAX]);

/* @code: a negative errno.  @text is cut to fit. */
size_t nbd_error_write(enum nbd_style style, const struct nbd_request *request, int code, const char *text,
		       uint8_t ret[static NBD_ERROR_MAX]);
