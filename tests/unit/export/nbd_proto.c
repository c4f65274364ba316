/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_proto.h"

#include <string.h>

#include "unit.h"
#include "util/bytes.h"

/* What is expected is written as the protocol's description has it: hex digits, blanks between the fields. */
static size_t from_hex(const char *text, uint8_t *ret)
{
	size_t n = 0;
	for (; *text; text++) {
		if (*text == ' ')
			continue;
		assert_true(hex_decode(text++, ret + n++, 1));
	}
	return n;
}

static void expect_bytes(const void *got, size_t len, const char *want)
{
	uint8_t bytes[1024];
	size_t n = from_hex(want, bytes);
	if (n != len || memcmp(got, bytes, n) != 0) {
		char hex[2049];
		hex_encode(got, len, hex);
		fail_msg("%s and not %s", hex, want);
	}
}

static void expect_buf(struct buf *got, int r, const char *want)
{
	assert_int_equal(r, 0);
	expect_bytes(got->data, got->len, want);
	buf_deinit(got);
}

/* -- handshake -- */

static void greets_in_the_fixed_newstyle(void **state)
{
	uint8_t got[NBD_GREETING_SIZE];
	nbd_greeting_write(got);
	expect_bytes(got, sizeof got, "4e42444d41474943 49484156454f5054 0003");
}

static void takes_the_flags_it_offered(void **state)
{
	const struct {
		const char *in;
		int r;
		uint32_t flags;
	} rows[] = {
		{ "00000000", 1, 0 },
		{ "00000001", 1, NBD_FLAG_FIXED_NEWSTYLE },
		{ "00000003", 1, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES },
		{ "000000", 0, 9 },
		{ "", 0, 9 },
		{ "00000004", -EPROTO, 9 },
		{ "80000001", -EPROTO, 9 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t in[8];
		uint32_t flags = 9;
		size_t n = from_hex(rows[i].in, in);
		assert_int_equal(nbd_client_flags_parse(in, n, &flags, NULL), rows[i].r);
		assert_int_equal(flags, rows[i].flags);
	}
}

static void an_option_begins_with_its_magic(void **state)
{
	uint8_t in[32];
	struct nbd_option option = { 0 };
	size_t n = from_hex("49484156454f5054 00000007 0000001a ff", in);
	assert_int_equal(nbd_option_parse(in, n, &option, NULL), 1);
	assert_int_equal(option.id, NBD_OPT_GO);
	assert_int_equal(option.len, 26);
	for (size_t len = 0; len < NBD_OPTION_HEADER_SIZE; len++)
		assert_int_equal(nbd_option_parse(in, len, &option, NULL), 0);
	in[7] ^= 1;
	assert_int_equal(nbd_option_parse(in, n, &option, NULL), -EPROTO);
}

static void knows_what_a_client_wants_to_know(void **state)
{
	struct nbd_info_request request;
	uint8_t in[64];
	/* name "ab", three pieces of information: block size, an unknown one, name */
	size_t n = from_hex("00000002 6162 0003 0003 00ff 0001", in);
	assert_int_equal(nbd_info_request_parse(in, n, &request, NULL), 0);
	assert_true(nbd_string_is(request.name, "ab"));
	assert_true(request.wants_block_size && request.wants_name && !request.wants_description);
	n = from_hex("00000000 0000", in);
	assert_int_equal(nbd_info_request_parse(in, n, &request, NULL), 0);
	assert_true(nbd_string_is(request.name, ""));
	assert_false(request.wants_block_size || request.wants_name || request.wants_description);
	n = from_hex("00000000 0001 0002", in);
	assert_int_equal(nbd_info_request_parse(in, n, &request, NULL), 0);
	assert_true(request.wants_description);
}

static void refuses_an_export_request_that_contradicts_itself(void **state)
{
	static const char *const rows[] = {
		"", "000000", "00000000", "00000000 00", /* too short */
		"00000001 0000",		 /* the name reaches into the number, which is cut */
		"00000002 6162 0001",		 /* one is missing */
		"00000002 6162 0001 00",	 /* half of one is missing */
		"00000002 6162 0000 00",	 /* one byte more */
		"00000002 6162 ffff 0003",
		"ffffffff 6162 0000", "fffffffe 6162 0000",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t in[64];
		struct nbd_info_request request;
		struct err err = ERR_NONE;
		size_t n = from_hex(rows[i], in);
		if (nbd_info_request_parse(in, n, &request, &err) != -EINVAL || err.code != -EINVAL)
			fail_msg("accepted: %s", rows[i]);
	}
}

static void knows_which_context_is_asked_for(void **state)
{
	const struct {
		const char *in;
		uint32_t n;
		bool base, allocation;
	} rows[] = {
		{ "00000001 61 00000000", 0, false, false },
		{ "00000000 00000001 00000005 626173653a", 1, true, false },
		{ "00000000 00000001 0000000f 626173653a616c6c6f636174696f6e", 1, false, true },
		{ "00000000 00000002 00000005 626173653a 0000000f 626173653a616c6c6f636174696f6e", 2, true, true },
		{ "00000000 00000002 00000003 713a78 00000000", 2, false, false },
		{ "00000000 00000001 0000000e 626173653a616c6c6f636174696f", 1, false, false },
		{ "00000000 00000001 00000010 626173653a616c6c6f636174696f6e00", 1, false, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t in[128];
		struct nbd_meta_request request;
		size_t n = from_hex(rows[i].in, in);
		assert_int_equal(nbd_meta_request_parse(in, n, &request, NULL), 0);
		assert_int_equal(request.n_queries, rows[i].n);
		assert_int_equal(request.wants_base, rows[i].base);
		assert_int_equal(request.wants_allocation, rows[i].allocation);
	}
}

static void refuses_queries_that_do_not_fit(void **state)
{
	static const char *const rows[] = {
		"", "00000000", "00000000 000000",
		"00000000 00000001",			 /* none there */
		"00000000 00000001 00000001",		 /* an empty one promises a byte */
		"00000000 00000001 00000001 6161",	 /* one byte more */
		"00000000 00000000 00",
		"00000000 ffffffff 00000000 00000000",	 /* far fewer than promised */
		"00000000 00000001 ffffffff 61",
		"00000009 00000001 00000000",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t in[64];
		struct nbd_meta_request request;
		size_t n = from_hex(rows[i], in);
		if (nbd_meta_request_parse(in, n, &request, NULL) != -EINVAL)
			fail_msg("accepted: %s", rows[i]);
	}
}

static void a_name_has_its_longest_length(void **state)
{
	for (uint32_t len = NBD_STRING_MAX; len <= NBD_STRING_MAX + 1; len++) {
		CLEANUP(freep) uint8_t *in = calloc(1, 4 + len + 6);
		struct nbd_info_request info;
		struct nbd_meta_request meta;
		int want = len <= NBD_STRING_MAX ? 0 : -EINVAL;
		store_be32(in, len);
		assert_int_equal(nbd_info_request_parse(in, 4 + len + 2, &info, NULL), want);
		assert_int_equal(nbd_meta_request_parse(in, 4 + len + 4, &meta, NULL), want);
	}
}

#define MAGIC "0003e889045565a9"

static void answers_to_options(void **state)
{
	struct buf b = BUF_EMPTY;
	expect_buf(&b, nbd_add_reply(&b, NBD_OPT_ABORT, NBD_REP_ACK, NULL, NULL),
		   MAGIC " 00000002 00000001 00000000");
	expect_buf(&b, nbd_add_reply(&b, 77, NBD_REP_ERR_UNSUP, "no", NULL), MAGIC " 0000004d 80000001 00000002 6e6f");
	expect_buf(&b, nbd_add_server(&b, "ab", "cde", NULL),
		   MAGIC " 00000003 00000002 00000009 00000002 6162 636465");
	expect_buf(&b, nbd_add_info_export(&b, NBD_OPT_GO, 0x123456789abcdef0, 0x0503, NULL),
		   MAGIC " 00000007 00000003 0000000c 0000 123456789abcdef0 0503");
	expect_buf(&b, nbd_add_info_text(&b, NBD_OPT_INFO, NBD_INFO_DESCRIPTION, "x", NULL),
		   MAGIC " 00000006 00000003 00000003 0002 78");
	expect_buf(&b, nbd_add_info_block_size(&b, NBD_OPT_GO, 4096, 1u << 25, NULL),
		   MAGIC " 00000007 00000003 0000000e 0003 00000001 00001000 02000000");
	expect_buf(&b, nbd_add_meta_context(&b, NBD_OPT_SET_META_CONTEXT, NULL),
		   MAGIC " 0000000a 00000004 00000013 00000001 626173653a616c6c6f636174696f6e");
	expect_buf(&b, nbd_add_meta_context(&b, NBD_OPT_LIST_META_CONTEXT, NULL),
		   MAGIC " 00000009 00000004 00000013 00000000 626173653a616c6c6f636174696f6e");
	expect_buf(&b, nbd_add_export(&b, 512, 3, false, NULL), "0000000000000200 0003");
	assert_int_equal(nbd_add_export(&b, 512, 3, true, NULL), 0);
	assert_int_equal(b.len, 134);
	for (size_t i = 10; i < b.len; i++)
		assert_int_equal(b.data[i], 0);
	buf_deinit(&b);
}

/* -- requests -- */

static void takes_requests_of_either_size(void **state)
{
	const char *simple = "25609513 0004 0000 1122334455667788 0000000000001000 00000200";
	const char *extended = "21e41c71 0008 0007 1122334455667788 0000000000001000 0000123400000000";
	struct nbd_request request;
	uint8_t in[40];
	size_t n = from_hex(simple, in);
	assert_int_equal(nbd_request_size(NBD_SIMPLE), n);
	assert_int_equal(nbd_request_parse(NBD_STRUCTURED, in, n, &request, NULL), 1);
	assert_int_equal(request.flags, NBD_CMD_FLAG_DF);
	assert_int_equal(request.command, NBD_CMD_READ);
	assert_true(request.cookie == 0x1122334455667788 && request.off == 4096 && request.len == 512);
	assert_int_equal(nbd_request_parse(NBD_SIMPLE, in, n - 1, &request, NULL), 0);
	assert_int_equal(nbd_request_parse(NBD_EXTENDED, in, n, &request, NULL), 0);
	in[n] = in[n + 1] = in[n + 2] = in[n + 3] = 0;
	assert_int_equal(nbd_request_parse(NBD_EXTENDED, in, n + 4, &request, NULL), -EPROTO);

	n = from_hex(extended, in);
	assert_int_equal(nbd_request_size(NBD_EXTENDED), n);
	assert_int_equal(nbd_request_parse(NBD_EXTENDED, in, n, &request, NULL), 1);
	assert_int_equal(request.command, NBD_CMD_BLOCK_STATUS);
	assert_true(request.len == 0x123400000000);
	assert_int_equal(nbd_request_parse(NBD_EXTENDED, in, n - 1, &request, NULL), 0);
	assert_int_equal(nbd_request_parse(NBD_STRUCTURED, in, n, &request, NULL), -EPROTO);
}

static void knows_what_follows_a_request(void **state)
{
	const struct {
		enum nbd_style style;
		uint16_t command, flags;
		uint64_t len, want;
	} rows[] = {
		{ NBD_SIMPLE, NBD_CMD_WRITE, 0, 512, 512 },
		{ NBD_SIMPLE, NBD_CMD_READ, 0, 512, 0 },
		{ NBD_STRUCTURED, NBD_CMD_WRITE, 1, 512, 512 },
		{ NBD_STRUCTURED, NBD_CMD_READ, NBD_CMD_FLAG_PAYLOAD_LEN, 512, 0 },
		{ NBD_EXTENDED, NBD_CMD_WRITE, NBD_CMD_FLAG_PAYLOAD_LEN, 512, 512 },
		{ NBD_EXTENDED, NBD_CMD_WRITE, 0, 512, 0 },
		{ NBD_EXTENDED, NBD_CMD_READ, NBD_CMD_FLAG_PAYLOAD_LEN, 512, 512 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct nbd_request request = { rows[i].flags, rows[i].command, 1, 0, rows[i].len };
		assert_true(nbd_request_payload(rows[i].style, &request) == rows[i].want);
	}
	uint8_t in[32];
	struct nbd_request request;
	size_t n = from_hex("25609513 0000 0001 0000000000000001 0000000000000000 02000000", in);
	assert_int_equal(nbd_request_parse(NBD_SIMPLE, in, n, &request, NULL), 1);
	in[n - 1] = 1; /* more than anybody may send */
	assert_int_equal(nbd_request_parse(NBD_SIMPLE, in, n, &request, NULL), -EPROTO);
}

static void checks_a_request_before_it_is_answered(void **state)
{
	enum { READ = NBD_CMD_READ, STATUS = NBD_CMD_BLOCK_STATUS, CACHE = NBD_CMD_CACHE,
	       DF = NBD_CMD_FLAG_DF, ONE = NBD_CMD_FLAG_REQ_ONE };
	const uint64_t size = 1ull << 40;
	const struct {
		enum nbd_style style;
		uint16_t command, flags;
		uint64_t off, len;
		int want;
	} rows[] = {
		{ NBD_SIMPLE, READ, 0, 0, 1, 0 },
		{ NBD_SIMPLE, READ, 0, size - 1, 1, 0 },
		{ NBD_SIMPLE, READ, 0, size - 1, 2, -EINVAL },
		{ NBD_SIMPLE, READ, 0, size, 1, -EINVAL },
		{ NBD_SIMPLE, READ, 0, UINT64_MAX, 2, -EINVAL },
		{ NBD_SIMPLE, READ, 0, 0, 0, -EINVAL },
		{ NBD_SIMPLE, READ, DF, 0, 1, -EINVAL },
		{ NBD_STRUCTURED, READ, DF, 0, 1, 0 },
		{ NBD_STRUCTURED, READ, 1, 0, 1, -EINVAL },	     /* FUA */
		{ NBD_STRUCTURED, READ, 1 << 15, 0, 1, -EINVAL },
		{ NBD_STRUCTURED, READ, ONE, 0, 1, -EINVAL },
		{ NBD_STRUCTURED, READ, 0, 0, NBD_PAYLOAD_MAX, 0 },
		{ NBD_STRUCTURED, READ, 0, 0, NBD_PAYLOAD_MAX + 1, -EOVERFLOW },
		{ NBD_EXTENDED, READ, 0, 0, UINT64_MAX, -EINVAL },
		{ NBD_EXTENDED, READ, NBD_CMD_FLAG_PAYLOAD_LEN, 0, 1, -EINVAL },
		{ NBD_SIMPLE, CACHE, 0, 0, UINT32_MAX, 0 },
		{ NBD_SIMPLE, CACHE, 0, size, 1, -EINVAL },
		{ NBD_STRUCTURED, CACHE, DF, 0, 1, -EINVAL },
		{ NBD_SIMPLE, STATUS, 0, 0, 1, -EINVAL },
		{ NBD_STRUCTURED, STATUS, ONE, 0, 1, 0 },
		{ NBD_STRUCTURED, STATUS, 0, size - 5, 5, 0 },
		{ NBD_STRUCTURED, STATUS, 0, size - 5, 6, -EINVAL },
		{ NBD_EXTENDED, STATUS, 0, 0, size, 0 },
		{ NBD_SIMPLE, NBD_CMD_WRITE, 0, 0, 512, -EPERM },
		{ NBD_SIMPLE, NBD_CMD_WRITE, 1, size, 512, -EPERM },
		{ NBD_SIMPLE, NBD_CMD_FLUSH, 0, 0, 0, -EPERM },
		{ NBD_SIMPLE, NBD_CMD_TRIM, 0, 0, 512, -EPERM },
		{ NBD_SIMPLE, NBD_CMD_WRITE_ZEROES, 0, 0, 512, -EPERM },
		{ NBD_SIMPLE, 8, 0, 0, 512, -EINVAL },
		{ NBD_SIMPLE, 0xffff, 0, 0, 512, -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct nbd_session session = { rows[i].style, size, true };
		const struct nbd_request request = { rows[i].flags, rows[i].command, 1, rows[i].off, rows[i].len };
		struct err err = ERR_NONE;
		int r = nbd_request_check(&session, &request, &err);
		if (r != rows[i].want || err.code != r)
			fail_msg("row %zu: %d", i, r);
	}
	const struct nbd_session without_context = { NBD_STRUCTURED, size, false };
	const struct nbd_request request = { 0, STATUS, 1, 0, 1 };
	assert_int_equal(nbd_request_check(&without_context, &request, NULL), -EINVAL);
}

/* -- replies -- */

static const struct nbd_request asked = { 0, NBD_CMD_READ, 0x1122334455667788, 0x2000, 0x400 };

static void replies_in_the_simple_style(void **state)
{
	uint8_t got[NBD_ERROR_MAX];
	expect_bytes(got, nbd_data_write(NBD_SIMPLE, &asked, 0x2000, 0x400, true, got),
		     "67446698 00000000 1122334455667788");
	expect_bytes(got, nbd_done_write(NBD_SIMPLE, &asked, got), "67446698 00000000 1122334455667788");
	expect_bytes(got, nbd_error_write(NBD_SIMPLE, &asked, -EIO, "text", got), "67446698 00000005 1122334455667788");
}

static void replies_in_chunks(void **state)
{
	uint8_t got[NBD_ERROR_MAX];
	expect_bytes(got, nbd_data_write(NBD_STRUCTURED, &asked, 0x2100, 0x300, false, got),
		     "668e33ef 0000 0001 1122334455667788 00000308 0000000000002100");
	expect_bytes(got, nbd_data_write(NBD_STRUCTURED, &asked, 0x2100, 0x300, true, got),
		     "668e33ef 0001 0001 1122334455667788 00000308 0000000000002100");
	expect_bytes(got, nbd_hole_write(NBD_STRUCTURED, &asked, 0x2100, 0x300, true, got),
		     "668e33ef 0001 0002 1122334455667788 0000000c 0000000000002100 00000300");
	expect_bytes(got, nbd_done_write(NBD_STRUCTURED, &asked, got),
		     "668e33ef 0001 0000 1122334455667788 00000000");
	expect_bytes(got, nbd_status_write(NBD_STRUCTURED, &asked, 3, got),
		     "668e33ef 0001 0005 1122334455667788 0000001c 00000001");
	expect_bytes(got, nbd_extent_write(NBD_STRUCTURED, 0xfffff000, true, got), "fffff000 00000003");
	expect_bytes(got, nbd_extent_write(NBD_STRUCTURED, 512, false, got), "00000200 00000000");
	expect_bytes(got, nbd_error_write(NBD_STRUCTURED, &asked, -EPERM, "no", got),
		     "668e33ef 0001 8001 1122334455667788 00000008 00000001 0002 6e6f");
}

static void replies_with_extended_headers(void **state)
{
	uint8_t got[NBD_ERROR_MAX];
	expect_bytes(got, nbd_data_write(NBD_EXTENDED, &asked, 0x2100, 0x300, true, got),
		     "6e8a278c 0001 0001 1122334455667788 0000000000002000 0000000000000308 0000000000002100");
	expect_bytes(got, nbd_hole_write(NBD_EXTENDED, &asked, 0x2100, 0x300, false, got),
		     "6e8a278c 0000 0002 1122334455667788 0000000000002000 000000000000000c 0000000000002100 00000300");
	expect_bytes(got, nbd_done_write(NBD_EXTENDED, &asked, got),
		     "6e8a278c 0001 0000 1122334455667788 0000000000002000 0000000000000000");
	expect_bytes(got, nbd_status_write(NBD_EXTENDED, &asked, 2, got),
		     "6e8a278c 0001 0006 1122334455667788 0000000000002000 0000000000000028 00000001 00000002");
	expect_bytes(got, nbd_extent_write(NBD_EXTENDED, 1ull << 40, true, got), "0000010000000000 0000000000000003");
	expect_bytes(got, nbd_error_write(NBD_EXTENDED, &asked, -EINVAL, "", got),
		     "6e8a278c 0001 8001 1122334455667788 0000000000002000 0000000000000006 00000016 0000");
}

static void an_error_text_is_cut_to_fit(void **state)
{
	CLEANUP(freep) char *text = calloc(1, 10001);
	CLEANUP(freep) uint8_t *got = calloc(1, NBD_ERROR_MAX);
	memset(text, 'x', 10000);
	const enum nbd_style styles[] = { NBD_STRUCTURED, NBD_EXTENDED };
	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		size_t n = nbd_error_write(styles[i], &asked, -EIO, text, got);
		assert_true(n <= NBD_ERROR_MAX && n > 500);
	}
}

static void a_code_becomes_what_a_client_understands(void **state)
{
	static const struct {
		int code;
		uint32_t want;
	} rows[] = {
		{ 0, 0 },	     { -EPERM, 1 },	     { -EIO, 5 },	   { -ENOMEM, 12 },
		{ -EINVAL, 22 },     { -EOVERFLOW, 75 },     { -ESHUTDOWN, 108 },  { -EBADMSG, 5 },
		{ -ENOENT, 5 },	     { -ENOKEY, 5 },	     { -EKEYREJECTED, 5 }, { -EACCES, 5 },
		{ -ETIMEDOUT, 5 },   { -ECONNRESET, 5 },     { -EPROTO, 5 },	   { -ECANCELED, 5 },
		{ -ESTALE, 5 },	     { -4096, 5 },	     { 1, 5 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(nbd_error_of(rows[i].code), rows[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(greets_in_the_fixed_newstyle),
		TEST(takes_the_flags_it_offered),
		TEST(an_option_begins_with_its_magic),
		TEST(knows_what_a_client_wants_to_know),
		TEST(refuses_an_export_request_that_contradicts_itself),
		TEST(knows_which_context_is_asked_for),
		TEST(refuses_queries_that_do_not_fit),
		TEST(a_name_has_its_longest_length),
		TEST(answers_to_options),
		TEST(takes_requests_of_either_size),
		TEST(knows_what_follows_a_request),
		TEST(checks_a_request_before_it_is_answered),
		TEST(replies_in_the_simple_style),
		TEST(replies_in_chunks),
		TEST(replies_with_extended_headers),
		TEST(an_error_text_is_cut_to_fit),
		TEST(a_code_becomes_what_a_client_understands),
	};
	return RUN_TESTS(tests);
}
