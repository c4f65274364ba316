/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/pbs_repository.h"
#include "format/snapshot.h"
#include "util/secret.h"

/*
 * The one HTTP/1.1 exchange in front of a reader session: a request to change to the reader protocol,
 * and its answer.  Pure: bytes in, result out.
 */
#define UPGRADE_PROTOCOL "proxmox-backup-reader-protocol-v1"

#define UPGRADE_TEXT_MAX   400		/* bytes kept of what a refusal says; people read its first line */
#define UPGRADE_LINE_MAX   1024		/* bytes of a header line that is looked at */
#define UPGRADE_ANSWER_MAX (64u * 1024) /* bytes of all lines: headers, and those between the pieces of a body */

/**
 * upgrade_request_format - the request, whole, with the blank line behind it
 *
 * @repository:  host, port and store
 * @ns:          "" = root; then the parameter is left out, which servers before 2.2 do not know
 * @credential:  a line of net/credential.h
 * @ret:         the caller's; holds the credential
 *
 * Errors:  -ENOMEM
 */
int upgrade_request_format(const struct pbs_repository *repository, const char *ns,
			   const struct snapshot *snapshot, const struct secret *credential,
			   struct secret *ret, struct err *err) MUST_CHECK;

enum upgrade_outcome {
	UPGRADE_MORE,	  /* not complete yet */
	UPGRADE_ACCEPTED, /* the protocol has changed */
	UPGRADE_REFUSED,  /* @status and @text say why */
};

/* An answer on its way.  Starts as UPGRADE_ANSWER_NONE; holds nothing that has to be released. */
struct upgrade_answer {
	/* Of a refusal. */
	unsigned status;
	char text[UPGRADE_TEXT_MAX + 1]; /* as it came: any bytes, only cut; of a redirection where it leads */
	size_t text_len;

	/* The parser's own. */
	unsigned state;
	char line[UPGRADE_LINE_MAX];
	size_t line_len; /* of the line so far, even where @line has not all of it */
	size_t n_bytes;	 /* of all lines so far */
	uint64_t left;	 /* bytes of the body, or of its piece */
	bool has_cr;	 /* the line is to end with the next byte */
	bool has_length, is_chunked, is_old, is_right_protocol, is_wrong_protocol;
	bool is_coded;	 /* the body cannot be read: how it is sent, or how long it is, is not understood */
};

#define UPGRADE_ANSWER_NONE ((struct upgrade_answer){ 0 })

/**
 * upgrade_answer_feed - the next bytes of the answer
 *
 * @ret_used:  of @len bytes, how many belong to the answer; HTTP/2 begins with the next one
 *
 * A refusal is one as soon as enough of its text is there; the rest is nobody's.  Trouble in its body
 * only ends the text: the status is what counts.
 *
 * Returns: an outcome; nothing may be fed behind another one than UPGRADE_MORE
 * Errors:  -EPROTO  no HTTP/1 answer, one too long, or a change to another protocol
 * Threads: pure, allocates nothing
 * Source:  RFC 9112, sections 2 to 7; RFC 9110, 7.8 and 15.2
 */
int upgrade_answer_feed(struct upgrade_answer *answer, const uint8_t *in, size_t len, size_t *ret_used,
			struct err *err) MUST_CHECK;

/**
 * upgrade_answer_end - the server has closed the connection, and the answer was not complete
 *
 * Returns: UPGRADE_REFUSED, where the end of the connection is the end of the body
 * Errors:  -ECONNRESET  it ended in the headers, or before
 */
int upgrade_answer_end(struct upgrade_answer *answer, struct err *err) MUST_CHECK;
