/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "export/nbd_handshake.h"

/*
 * What one client sends, from its flags on: options until it enters the transmission, then requests.  The
 * first byte says what the server is like.
 */
enum { HAS_DEFAULT = 1, NEEDS_TLS = 2, HAS_ROOM = 1 << 14 };

struct input {
	const uint8_t *data;
	size_t len;
};

static void skip(struct input *in, size_t n)
{
	in->data += n;
	in->len -= n;
}

/* What is accepted lies inside the export, and every reply to it fits where it is written. */
static void check_request(const struct nbd_session *session, const struct nbd_request *request)
{
	uint8_t reply[NBD_REPLY_MAX], extent[NBD_EXTENT_MAX], error[NBD_ERROR_MAX];
	struct err err = ERR_NONE;
	int r = nbd_request_check(session, request, &err);
	MUST((r < 0) == (err.code < 0));
	if (r < 0) {
		MUST(nbd_error_of(r) != 0);
		MUST(nbd_error_write(session->style, request, r, err.msg, error) <= sizeof error);
		return;
	}
	MUST(request->len > 0 && request->off < session->size && request->len <= session->size - request->off);
	MUST(request->command == NBD_CMD_CACHE || request->command == NBD_CMD_BLOCK_STATUS ||
	     (request->command == NBD_CMD_READ && request->len <= NBD_PAYLOAD_MAX));
	MUST(nbd_data_write(session->style, request, request->off, 1, true, reply) <= sizeof reply);
	MUST(nbd_hole_write(session->style, request, request->off, 1, true, reply) <= sizeof reply);
	MUST(nbd_done_write(session->style, request, reply) <= sizeof reply);
	MUST(nbd_status_write(session->style, request, 1, reply) <= sizeof reply);
	MUST(nbd_extent_write(session->style, request->len, true, extent) <= sizeof extent);
}

static void transmit(const struct nbd_handshake *handshake, struct input in)
{
	const struct nbd_session session = nbd_handshake_session(handshake);
	struct nbd_request request;
	MUST(handshake->offer->needs_tls == handshake->has_tls);
	while (nbd_request_parse(session.style, in.data, in.len, &request, NULL) == 1) {
		uint64_t payload = nbd_request_payload(session.style, &request);
		skip(&in, nbd_request_size(session.style));
		MUST(payload <= NBD_PAYLOAD_MAX);
		check_request(&session, &request);
		skip(&in, payload < in.len ? (size_t)payload : in.len);
	}
}

static void haggle(struct nbd_handshake *handshake, struct input in)
{
	struct nbd_option option;
	int step = NBD_GO_ON;
	while (step != NBD_HANG_UP && nbd_option_parse(in.data, in.len, &option, NULL) == 1) {
		struct buf answer = BUF_EMPTY;
		skip(&in, NBD_OPTION_HEADER_SIZE);
		if (option.len <= HAS_ROOM && option.len > in.len)
			break;
		step = nbd_handshake_answer(handshake, &option, option.len <= HAS_ROOM ? in.data : NULL, &answer,
					    NULL);
		MUST(step < 0 || answer.len > 0);
		buf_deinit(&answer);
		if (step < 0)
			return;
		skip(&in, option.len < in.len ? option.len : in.len);
		if (step == NBD_START_TLS)
			nbd_handshake_has_tls(handshake);
		if (step == NBD_TRANSMIT) {
			transmit(handshake, in);
			return;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct nbd_export exports[] = {
		{ "drive-scsi0.img", "a disk", 1ull << 40 },
		{ "drive-scsi0.img/p1", "", 777 },
	};
	struct input in = { data, len };
	if (len < 1)
		return 0;
	const struct nbd_offer offer = { exports, 2, data[0] & HAS_DEFAULT, data[0] & NEEDS_TLS };
	struct nbd_handshake handshake;
	nbd_handshake_init(&handshake, &offer);
	skip(&in, 1);
	if (nbd_client_flags_parse(in.data, in.len, &handshake.client_flags, NULL) != 1)
		return 0;
	skip(&in, 4);
	haggle(&handshake, in);
	return 0;
}
