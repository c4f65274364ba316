/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_handshake.h"

#define OPTIONS_MAX 1024u /* of one client: haggling has an end */
#define PREFERRED_BLOCK 4096u

/* An option with all that its answer may need. */
struct question {
	struct nbd_handshake *handshake;
	const struct nbd_option *option;
	const uint8_t *data;
	struct buf *to;
	struct err *err;
};

void nbd_handshake_init(struct nbd_handshake *handshake, const struct nbd_offer *offer)
{
	*handshake = (struct nbd_handshake){ .offer = offer };
}

void nbd_handshake_has_tls(struct nbd_handshake *handshake)
{
	handshake->has_tls = true;
	handshake->style = NBD_SIMPLE;
	handshake->context = NULL;
}

struct nbd_session nbd_handshake_session(const struct nbd_handshake *handshake)
{
	return (struct nbd_session){
		.style = handshake->style,
		.size = handshake->chosen->size,
		.has_context = handshake->context == handshake->chosen,
	};
}

static const struct nbd_export *find_export(const struct nbd_offer *offer, struct nbd_string name)
{
	if (name.len == 0 && offer->has_default && offer->n_exports)
		return &offer->exports[0];
	for (size_t i = 0; i < offer->n_exports; i++)
		if (nbd_string_is(name, offer->exports[i].name))
			return &offer->exports[i];
	return NULL;
}

static uint16_t flags_of(const struct nbd_handshake *handshake)
{
	uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE;
	return handshake->style == NBD_SIMPLE ? flags : flags | NBD_FLAG_SEND_DF;
}

/* -- one function per option: NBD_GO_ON and so on, or a negative errno ----------------------- */

static int answer(const struct question *q, enum nbd_reply_id reply, const char *text)
{
	int r = nbd_add_reply(q->to, q->option->id, reply, text, q->err);
	return r < 0 ? r : NBD_GO_ON;
}

static int ack(const struct question *q)
{
	return answer(q, NBD_REP_ACK, NULL);
}

static int refuse_data(const struct question *q)
{
	return answer(q, NBD_REP_ERR_INVALID, "this option has no data");
}

/* Has no way to say no. */
static int on_export_name(const struct question *q)
{
	struct nbd_handshake *handshake = q->handshake;
	struct nbd_string name = { (const char *)q->data, q->option->len };
	if (handshake->style == NBD_EXTENDED)
		return err_set(q->err, -EPROTO, "the client wants extended headers and an old option");
	handshake->chosen = find_export(handshake->offer, name);
	if (!handshake->chosen)
		return err_set(q->err, -EPROTO, "the client wants an export that is not there");
	bool has_zeroes = !(handshake->client_flags & NBD_FLAG_NO_ZEROES);
	int r = nbd_add_export(q->to, handshake->chosen->size, flags_of(handshake), has_zeroes, q->err);
	return r < 0 ? r : NBD_TRANSMIT;
}

static int on_list(const struct question *q)
{
	const struct nbd_offer *offer = q->handshake->offer;
	int r = 0;
	if (q->option->len)
		return refuse_data(q);
	for (size_t i = 0; r == 0 && i < offer->n_exports; i++)
		r = nbd_add_server(q->to, offer->exports[i].name, offer->exports[i].description, q->err);
	return r < 0 ? r : ack(q);
}

static int on_starttls(const struct question *q)
{
	if (q->option->len)
		return refuse_data(q);
	if (q->handshake->has_tls)
		return answer(q, NBD_REP_ERR_INVALID, "TLS is there already");
	if (!q->handshake->offer->needs_tls)
		return answer(q, NBD_REP_ERR_POLICY, "this server does without TLS");
	int r = ack(q);
	return r < 0 ? r : NBD_START_TLS;
}

static int describe(const struct question *q, const struct nbd_info_request *request,
		    const struct nbd_export *export)
{
	uint32_t id = q->option->id;
	int r = nbd_add_info_export(q->to, id, export->size, flags_of(q->handshake), q->err);
	if (r == 0 && request->wants_name)
		r = nbd_add_info_text(q->to, id, NBD_INFO_NAME, export->name, q->err);
	if (r == 0 && request->wants_description)
		r = nbd_add_info_text(q->to, id, NBD_INFO_DESCRIPTION, export->description, q->err);
	if (r == 0 && request->wants_block_size)
		r = nbd_add_info_block_size(q->to, id, PREFERRED_BLOCK, NBD_PAYLOAD_MAX, q->err);
	return r < 0 ? r : ack(q);
}

static int on_info_or_go(const struct question *q)
{
	struct nbd_info_request request;
	struct err why;
	if (nbd_info_request_parse(q->data, q->option->len, &request, &why) < 0)
		return answer(q, NBD_REP_ERR_INVALID, why.msg);
	const struct nbd_export *export = find_export(q->handshake->offer, request.name);
	if (!export)
		return answer(q, NBD_REP_ERR_UNKNOWN, "there is no such export");
	int r = describe(q, &request, export);
	if (r < 0 || q->option->id == NBD_OPT_INFO)
		return r;
	q->handshake->chosen = export;
	return NBD_TRANSMIT;
}

static int on_structured_reply(const struct question *q)
{
	if (q->option->len)
		return refuse_data(q);
	if (q->handshake->style == NBD_EXTENDED)
		return answer(q, NBD_REP_ERR_EXT_HEADER_REQD, "extended headers were agreed on");
	q->handshake->style = NBD_STRUCTURED;
	return ack(q);
}

static int on_extended_headers(const struct question *q)
{
	if (q->option->len)
		return refuse_data(q);
	q->handshake->style = NBD_EXTENDED;
	return ack(q);
}

static int on_meta_context(const struct question *q)
{
	struct nbd_handshake *handshake = q->handshake;
	struct nbd_meta_request request;
	struct err why;
	bool is_list = q->option->id == NBD_OPT_LIST_META_CONTEXT;
	if (handshake->style == NBD_SIMPLE)
		return answer(q, NBD_REP_ERR_INVALID, "structured replies come first");
	if (nbd_meta_request_parse(q->data, q->option->len, &request, &why) < 0)
		return answer(q, NBD_REP_ERR_INVALID, why.msg);
	const struct nbd_export *export = find_export(handshake->offer, request.name);
	if (!export)
		return answer(q, NBD_REP_ERR_UNKNOWN, "there is no such export");
	bool is_wanted = request.wants_allocation || (is_list && (request.wants_base || request.n_queries == 0));
	int r = is_wanted ? nbd_add_meta_context(q->to, q->option->id, q->err) : 0;
	if (r == 0 && is_wanted && !is_list)
		handshake->context = export;
	return r < 0 ? r : ack(q);
}

static int on_abort(const struct question *q)
{
	int r = ack(q);
	return r < 0 ? r : NBD_HANG_UP;
}

static int on_unknown(const struct question *q)
{
	return answer(q, NBD_REP_ERR_UNSUP, "this option is not known");
}

static int answer_known(const struct question *q)
{
	switch (q->option->id) {
	case NBD_OPT_EXPORT_NAME:
		return on_export_name(q);
	case NBD_OPT_LIST:
		return on_list(q);
	case NBD_OPT_STARTTLS:
		return on_starttls(q);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return on_info_or_go(q);
	case NBD_OPT_STRUCTURED_REPLY:
		return on_structured_reply(q);
	case NBD_OPT_EXTENDED_HEADERS:
		return on_extended_headers(q);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		return on_meta_context(q);
	default:
		return on_unknown(q);
	}
}

int nbd_handshake_answer(struct nbd_handshake *handshake, const struct nbd_option *option,
			 const uint8_t *data, struct buf *to, struct err *err)
{
	const struct question q = { handshake, option, data, to, err };
	bool is_open = handshake->offer->needs_tls && !handshake->has_tls;
	if (++handshake->n_options > OPTIONS_MAX)
		return err_set(err, -EPROTO, "the client never ends to haggle");
	if (option->id == NBD_OPT_ABORT)
		return on_abort(&q);
	if (option->id == NBD_OPT_EXPORT_NAME && (is_open || !data))
		return err_set(err, -EPROTO, "%s", is_open ? "the client does without TLS" : "no name is that long");
	if (is_open && option->id != NBD_OPT_STARTTLS)
		return answer(&q, NBD_REP_ERR_TLS_REQD, "this server wants TLS");
	if (option->id == NBD_OPT_SET_META_CONTEXT)
		handshake->context = NULL; /* also where what follows fails */
	if (!data)
		return answer(&q, NBD_REP_ERR_TOO_BIG, "too much data for an option");
	return answer_known(&q);
}
