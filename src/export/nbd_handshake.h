/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/nbd_proto.h"

/*
 * What a client and the server agree on before there are requests: one answer to each option.  Pure; the
 * connection is somebody else's.
 */
struct image;

struct nbd_export {
	const char *name;	 /* at most NBD_STRING_MAX bytes of UTF-8; no two alike */
	const char *description; /* for people */
	uint64_t size;		 /* bytes */
	struct image *image;	 /* whose bytes they are; of no concern here */
};

struct nbd_offer {
	const struct nbd_export *exports;
	size_t n_exports;
	bool has_default; /* the first export answers to the empty name as well */
	bool needs_tls;	  /* nothing is said without */
};

struct nbd_handshake {
	const struct nbd_offer *offer; /* lent */
	uint32_t client_flags;
	bool has_tls;
	unsigned n_options;

	/* agreed on until now */
	enum nbd_style style;
	const struct nbd_export *context; /* whose base:allocation was chosen; NULL = nobody's */
	const struct nbd_export *chosen;  /* after NBD_TRANSMIT */
};

/* What a connection is for after an answer. */
enum nbd_step {
	NBD_GO_ON,	/* the next option */
	NBD_START_TLS,	/* when the answer was sent; then the next option */
	NBD_TRANSMIT,	/* when the answer was sent: requests */
	NBD_HANG_UP,	/* when the answer was sent */
};

void nbd_handshake_init(struct nbd_handshake *handshake, const struct nbd_offer *offer);

/**
 * nbd_handshake_answer - what is said to one option
 *
 * @data:  option->len bytes; NULL = it was too long to be kept, and is answered so
 * @to:    the answer is put behind what it has
 *
 * Returns: an enum nbd_step.  -EPROTO: no answer can be given; -ENOMEM
 */
int nbd_handshake_answer(struct nbd_handshake *handshake, const struct nbd_option *option,
			 const uint8_t *data, struct buf *to, struct err *err) MUST_CHECK;

/* TLS has begun: what was agreed on in the open is void. */
void nbd_handshake_has_tls(struct nbd_handshake *handshake);

/* What requests are measured by, after NBD_TRANSMIT. */
struct nbd_session nbd_handshake_session(const struct nbd_handshake *handshake);
