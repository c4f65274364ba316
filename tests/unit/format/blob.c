/* SPDX-License-Identifier: Apache-2.0 */
#include "format/blob.h"

#include <libdeflate.h>
#include <stdio.h>
#include <string.h>

#include "data.h"
#include "unit.h"
#include "util/bytes.h"

static struct blob_codec *codec;
static struct crypt_key *k0;

static int set_up(void **state)
{
	k0 = key_k0();
	return blob_codec_new(&codec, NULL);
}

static int tear_down(void **state)
{
	blob_codec_free(codec);
	crypt_key_free(k0);
	return 0;
}

/* -- what the tests are made of -- */

#define PLAIN_HELLO "42ab3807be8370a185114a0d68656c6c6f20776f726c64"
#define ZSTD_1000A "31b958426fb6a37f19e21cc528b52ffd60e8024d00001041410100e32b8005"
#define ENC_HELLO "7b6785be222d4cf09acfe081000102030405060708090a0b0c0d0e0f" \
		  "a9ec4f75b28d75c1dfab55ba3413c59a0f09cc1a56c43d47ef93bf"
#define ENC_ZSTD_1000A "e6591bbf0bbfd80bbeda7837000102030405060708090a0b0c0d0e0f" \
		       "539c6b366616e8b22ddab528debbcc8b4fd98f8b590c48659dffcb6814a52c507f336e"
#define HELLO_DIGEST "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
#define HELLO_KEYED "29d6770e718a93cf4a7663ddc167cf40c128b67cc20d36bd49adec140981f9d5"
#define A1000_DIGEST "c2e686823489ced2017f6059b8b239318b6364f6dcd835d0a519105a1eadd6e4"
#define A1000_KEYED "e9744eb704e3bcef6f602c215bd3ba60e3986adeb06a00715dcf8e28980a98ab"

static const char hello[] = "hello world";
static char a1000[1001]; /* filled by main */

static const struct vector {
	const char *name, *raw;
	enum blob_kind kind;
	const char *data;
	uint32_t len;
	const char *digest;
} vectors[] = {
	{ "plain", PLAIN_HELLO, BLOB_PLAIN, hello, 11, HELLO_DIGEST },
	{ "zstd", ZSTD_1000A, BLOB_ZSTD, a1000, 1000, A1000_DIGEST },
	{ "encrypted", ENC_HELLO, BLOB_ENCRYPTED, hello, 11, HELLO_KEYED },
	{ "encrypted zstd", ENC_ZSTD_1000A, BLOB_ENCRYPTED_ZSTD, a1000, 1000, A1000_KEYED },
};

static struct chunk_want want_of(const char *digest, uint32_t len, const struct crypt_key *key)
{
	struct chunk_want want = { .len = len, .key = key };
	assert_true(hex_decode(digest, want.digest, DIGEST_SIZE));
	return want;
}

static struct chunk_want want_vector(const struct vector *v)
{
	return want_of(v->digest, v->len, blob_is_encrypted(v->kind) ? k0 : NULL);
}

/* Decode @raw, that stays as it is; @data (want->len bytes) is compared when given. */
static int decode(const uint8_t *raw, size_t raw_len, const struct chunk_want *want, const void *data,
		  struct err *err)
{
	static const uint8_t untouched[1];
	const uint8_t *result = untouched;
	CLEANUP(freep) uint8_t *copy = exact_copy(raw, raw_len);
	CLEANUP(freep) uint8_t *out = malloc(want->len);
	int r = blob_decode_chunk(codec, copy, raw_len, want, out, &result, err);
	if (r < 0)
		assert_ptr_equal(result, untouched);
	else if (data)
		assert_memory_equal(result, data, want->len);
	return r;
}

static void fix_crc(uint8_t *raw, size_t len)
{
	size_t header = raw[0] == 0x7b || raw[0] == 0xe6 ? BLOB_HEADER_ENCRYPTED : BLOB_HEADER_PLAIN;
	store_le32(raw + 8, libdeflate_crc32(0, raw + header, len - header));
}

/* -- chunks -- */

static void parses_the_vectors(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		struct blob blob;
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		assert_int_equal(blob_parse(raw, len, &blob, NULL), 0);
		assert_int_equal(blob.kind, vectors[i].kind);
		bool is_encrypted = blob_is_encrypted(blob.kind);
		assert_ptr_equal(blob.iv, is_encrypted ? raw + 12 : NULL);
		assert_ptr_equal(blob.tag, is_encrypted ? raw + 28 : NULL);
		assert_ptr_equal(blob.body, raw + (is_encrypted ? 44 : 12));
		assert_int_equal(blob.body_len, len - (is_encrypted ? 44 : 12));
	}
}

static void decodes_the_vectors(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		struct err err = ERR_NONE;
		struct chunk_want want = want_vector(&vectors[i]);
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		expect(vectors[i].name, decode(raw, len, &want, vectors[i].data, &err), &err, 0, NULL);
	}
}

static void decodes_what_a_second_implementation_wrote(void **state)
{
	size_t len;
	CLEANUP(freep) char *text = test_file("vectors/blobs.tsv", &len);
	char *at = text, *row[6];
	int n = 0;
	for (; next_row(&at, row, ARRAY_LEN(row)); n++) {
		size_t raw_len, file_len = 0;
		struct err err = ERR_NONE;
		const uint8_t *data = NULL;
		char hex[2 * DIGEST_SIZE + 1];
		const struct crypt_key *key = strcmp(row[1], "encrypted") == 0 ? k0 : NULL;
		struct chunk_want want = want_of(row[4], (uint32_t)atoi(row[2]), key);
		CLEANUP(freep) uint8_t *raw = from_hex(row[5], &raw_len), *out = malloc(want.len);
		CLEANUP(freep) uint8_t *file = NULL;
		expect(row[0], blob_decode_file(codec, raw, raw_len, key, want.len, &file, &file_len, &err),
		       &err, 0, NULL);
		assert_int_equal(file_len, want.len);
		expect(row[0], blob_decode_chunk(codec, raw, raw_len, &want, out, &data, &err), &err, 0, NULL);
		assert_memory_equal(data, file, want.len);
		sha256_hex(data, want.len, hex);
		assert_string_equal(hex, row[3]);
	}
	assert_true(n >= 60);
}

/* Stored: where it was read or decrypted.  Compressed: where the caller wants it. */
static void copies_no_payload(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		uint8_t out[1000];
		const uint8_t *data = NULL;
		struct chunk_want want = want_vector(&vectors[i]);
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		assert_int_equal(blob_decode_chunk(codec, raw, len, &want, out, &data, NULL), 0);
		bool is_compressed = vectors[i].kind == BLOB_ZSTD || vectors[i].kind == BLOB_ENCRYPTED_ZSTD;
		assert_ptr_equal(data, is_compressed ? out : raw + (want.key ? 44 : 12));
	}
}

static void knows_the_digests_of_zeros(void **state)
{
	static const struct {
		size_t len;
		bool is_keyed;
		const char *digest;
	} rows[] = {
		{ 64u << 10, 0, "de2f256064a0af797747c2b97505dc0b9f3df0de4f489eac731c23ae9ca9cc31" },
		{ 128u << 10, 0, "fa43239bcee7b97ca62f007cc68487560a39e19f74f3dde7486db3f98df8e471" },
		{ 256u << 10, 0, "8a39d2abd3999ab73c34db2476849cddf303ce389b35826850f9a700589b4a90" },
		{ 512u << 10, 0, "07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541" },
		{ 1u << 20, 0, "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58" },
		{ 2u << 20, 0, "5647f05ec18958947d32874eeb788fa396a05d0bab7c1b71f112ceb7e9b31eee" },
		{ 4u << 20, 0, "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8" },
		{ 4u << 20, 1, "348571e12bbbedb529def1f1394316e338a01945d871df9ef792617ceb13d636" },
	};
	CLEANUP(freep) uint8_t *zeros = calloc(1, 4u << 20);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t digest[DIGEST_SIZE];
		struct chunk_want want = want_of(rows[i].digest, 1, NULL);
		assert_int_equal(blob_digest(codec, zeros, rows[i].len, rows[i].is_keyed ? k0 : NULL, digest,
					     NULL), 0);
		assert_memory_equal(digest, want.digest, DIGEST_SIZE);
	}
}

static void refuses_a_blob_cut_anywhere(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		struct chunk_want want = want_vector(&vectors[i]);
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		for (size_t cut = 0; cut < len; cut++) {
			struct err err = ERR_NONE;
			const char *words = cut < 12 ? " is too small" :
					    want.key && cut < 44 ? "encrypted blob of" : "crc32";
			expect(vectors[i].name, decode(raw, cut, &want, NULL, &err), &err, -EBADMSG, words);
		}
	}
}

/* With the crc32 made to fit, so that what comes after it has to notice. */
static void refuses_one_flipped_bit(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		struct chunk_want want = want_vector(&vectors[i]);
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		for (size_t bit = 0; bit < 8 * len; bit++) {
			size_t at = bit / 8, header = want.key ? 44 : 12;
			struct err err = ERR_NONE;
			raw[at] ^= (uint8_t)(1 << bit % 8);
			if (at >= header)
				expect(vectors[i].name, decode(raw, len, &want, NULL, &err), &err, -EBADMSG,
				       "crc32");
			if (at >= 12)
				fix_crc(raw, len);
			const char *words = at < 8 ? "unknown magic" : at < 12 ? "crc32" :
					    want.key ? "authentication tag" : NULL;
			/* A bit of a frame's header may mean nothing: then the payload is the same. */
			int r = decode(raw, len, &want, vectors[i].data, &err);
			if (r != 0 || vectors[i].kind != BLOB_ZSTD)
				expect(vectors[i].name, r, &err, -EBADMSG, words);
			raw[at] ^= (uint8_t)(1 << bit % 8);
			fix_crc(raw, len);
		}
		expect("whole again", decode(raw, len, &want, NULL, NULL), &ERR_NONE, 0, NULL);
	}
}

/* Each row has two faults; the one that comes first in the order of checks is named. */
static void checks_in_the_order_that_the_header_states(void **state)
{
	static const uint8_t no_frame[] = "this is not a zstd frame";
	size_t len;
	uint8_t *raw;
	struct err err = ERR_NONE;
	struct chunk_want plain = want_of(HELLO_DIGEST, 11, NULL), keyed = want_of(HELLO_KEYED, 11, k0);
	struct chunk_want other = want_of(A1000_DIGEST, 11, NULL), longer = want_of(A1000_DIGEST, 12, NULL);

	raw = from_hex(PLAIN_HELLO, &len);
	raw[0] ^= 1;
	raw[len - 1] ^= 1;
	expect("magic, then crc32", decode(raw, len, &plain, NULL, &err), &err, -EBADMSG, "magic");
	free(raw);

	raw = from_hex(PLAIN_HELLO, &len);
	raw[len - 1] ^= 1;
	expect("crc32, then crypt mode", decode(raw, len, &keyed, NULL, &err), &err, -EBADMSG, "crc32");
	fix_crc(raw, len);
	expect("crypt mode, then digest", decode(raw, len, &keyed, NULL, &err), &err, -EBADMSG,
	       "chunk is not encrypted");
	free(raw);

	raw = from_hex(ENC_HELLO, &len);
	raw[30] ^= 1;
	expect("crypt mode, then tag", decode(raw, len, &plain, NULL, &err), &err, -EBADMSG,
	       "chunk is encrypted");
	keyed.len = 12;
	expect("tag, then length", decode(raw, len, &keyed, NULL, &err), &err, -EBADMSG, "tag");
	free(raw);

	raw = from_hex(ENC_ZSTD_1000A, &len);
	raw[44] ^= 1;
	fix_crc(raw, len);
	expect("tag, then zstd", decode(raw, len, &keyed, NULL, &err), &err, -EBADMSG, "tag");
	free(raw);

	uint8_t blob[12 + sizeof no_frame] = { 0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f };
	memcpy(blob + 12, no_frame, sizeof no_frame);
	fix_crc(blob, sizeof blob);
	expect("zstd, then digest", decode(blob, sizeof blob, &other, NULL, &err), &err, -EBADMSG,
	       "cannot decompress");

	raw = from_hex(PLAIN_HELLO, &len);
	expect("digest", decode(raw, len, &other, NULL, &err), &err, -EBADMSG, "wrong digest");
	expect("length", decode(raw, len, &longer, NULL, &err), &err, -EBADMSG, "chunk holds 11 bytes");
	free(raw);
}

static void refuses_a_payload_of_another_length_though_its_digest_fits(void **state)
{
	static const int off_by[] = { -1, 1 };
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		for (size_t j = 0; j < ARRAY_LEN(off_by); j++) {
			size_t len;
			struct err err = ERR_NONE;
			struct chunk_want want = want_vector(&vectors[i]);
			CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
			want.len += (uint32_t)off_by[j];
			expect(vectors[i].name, decode(raw, len, &want, NULL, &err), &err, -EBADMSG, NULL);
		}
	}
}

static void refuses_a_digest_of_only_the_beginning(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		struct err err = ERR_NONE;
		struct chunk_want want = want_vector(&vectors[i]);
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		want.len--;
		assert_int_equal(blob_digest(codec, (const uint8_t *)vectors[i].data, want.len, want.key, want.digest,
					     NULL), 0);
		expect(vectors[i].name, decode(raw, len, &want, NULL, &err), &err, -EBADMSG, NULL);
	}
}

static void compares_every_bit_of_the_digest(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		size_t len;
		struct chunk_want want = want_vector(&vectors[i]);
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		for (size_t bit = 0; bit < 8 * DIGEST_SIZE; bit++) {
			struct err err = ERR_NONE;
			want.digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
			expect(vectors[i].name, decode(raw, len, &want, NULL, &err), &err, -EBADMSG, "wrong digest");
			want.digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* What the body of a zstd blob may not be. */
static void refuses_what_is_not_exactly_the_frames_it_should_be(void **state)
{
	static const struct {
		const char *name, *body;
	} rows[] = {
		{ "nothing", "" },
		{ "half a magic", "28b5" },
		{ "a frame without its end", "28b52ffd60e8024d00001041410100e32b80" },
		{ "junk behind the frame", "28b52ffd60e8024d00001041410100e32b800500" },
		{ "another frame's beginning behind it", "28b52ffd60e8024d00001041410100e32b800528b52ffd" },
		{ "twice", "28b52ffd60e8024d00001041410100e32b800528b52ffd60e8024d00001041410100e32b8005" },
	};
	struct chunk_want want = want_of(A1000_DIGEST, 1000, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char hex[200];
		size_t len, file_len;
		uint8_t *file = NULL;
		struct err err = ERR_NONE;
		(void) snprintf(hex, sizeof hex, "31b958426fb6a37f00000000%s", rows[i].body);
		CLEANUP(freep) uint8_t *raw = from_hex(hex, &len);
		fix_crc(raw, len);
		expect(rows[i].name, decode(raw, len, &want, NULL, &err), &err, -EBADMSG, "compress");
		if (i == ARRAY_LEN(rows) - 1)
			continue; /* a fine file: nobody has said how long it is */
		expect(rows[i].name, blob_decode_file(codec, raw, len, NULL, 5000, &file, &file_len, &err),
		       &err, -EBADMSG, "compress");
		assert_null(file);
	}
}

/* AddressSanitizer would see a byte behind the end. */
static void stops_a_bomb_at_the_length_that_the_index_gives(void **state)
{
	enum { BOMB = 16u << 20 };
	CLEANUP(freep) uint8_t *zeros = calloc(1, BOMB);
	CLEANUP(freep) uint8_t *raw = malloc(blob_encode_bound(BOMB));
	size_t len = 0, file_len;
	uint8_t *file = NULL;
	assert_int_equal(blob_encode(codec, zeros, BOMB, NULL, 1, raw, &len, NULL), 0);
	assert_true(len < BOMB / 1000);
	struct chunk_want want = want_of(A1000_DIGEST, 4096, NULL);
	struct err err = ERR_NONE;
	expect("chunk", decode(raw, len, &want, NULL, &err), &err, -EBADMSG, "cannot decompress");
	expect("file", blob_decode_file(codec, raw, len, NULL, 4096, &file, &file_len, &err), &err,
	       -EBADMSG, "more than 4096 bytes");
	assert_null(file);
}

static void decodes_the_largest_chunk(void **state)
{
	enum { LEN = BLOB_MAX_CHUNK };
	CLEANUP(freep) uint8_t *data = malloc(LEN), *raw = malloc(blob_encode_bound(LEN));
	size_t len = 0;
	struct chunk_want want = { .len = LEN, .key = k0 };
	fill_noise(data, LEN, 5);
	assert_int_equal(blob_digest(codec, data, LEN, k0, want.digest, NULL), 0);
	assert_int_equal(blob_encode(codec, data, LEN, k0, 1, raw, &len, NULL), 0);
	assert_int_equal(len, LEN + BLOB_HEADER_ENCRYPTED);
	assert_int_equal(decode(raw, len, &want, data, NULL), 0);
}

/* -- files -- */

static void decodes_files_and_ends_them_with_a_nul(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const struct vector *v = &vectors[i];
		CLEANUP(freep) uint8_t *file = NULL;
		size_t len, file_len = 0;
		struct err err = ERR_NONE;
		CLEANUP(freep) uint8_t *raw = from_hex(v->raw, &len), *before = exact_copy(raw, len);
		expect(v->name, blob_decode_file(codec, raw, len, k0, v->len, &file, &file_len, &err), &err, 0,
		       NULL);
		assert_int_equal(file_len, v->len);
		assert_string_equal((char *)file, v->data);
		assert_memory_equal(raw, before, len);
	}
}

static void refuses_files_longer_than_allowed(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		uint8_t *file = NULL;
		size_t len, file_len;
		struct err err = ERR_NONE;
		CLEANUP(freep) uint8_t *raw = from_hex(vectors[i].raw, &len);
		expect(vectors[i].name, blob_decode_file(codec, raw, len, k0, vectors[i].len - 1, &file,
							 &file_len, &err), &err, -EBADMSG, "more than");
		assert_null(file);
	}
}

static void wants_the_key_of_an_encrypted_file(void **state)
{
	static const uint8_t zeros[GCM_KEY_SIZE];
	CLEANUP(crypt_key_freep) struct crypt_key *wrong = NULL;
	uint8_t *file = NULL;
	size_t len, file_len;
	struct err err = ERR_NONE;
	CLEANUP(freep) uint8_t *raw = from_hex(ENC_HELLO, &len);
	assert_int_equal(crypt_key_new(zeros, &wrong, NULL), 0);
	expect("none", blob_decode_file(codec, raw, len, NULL, 99, &file, &file_len, &err), &err, -ENOKEY,
	       "missing key");
	expect("wrong", blob_decode_file(codec, raw, len, wrong, 99, &file, &file_len, &err), &err, -EBADMSG,
	       "tag");
	assert_null(file);
}

static void decodes_an_empty_file(void **state)
{
	CLEANUP(freep) uint8_t *file = NULL;
	size_t len, file_len = 1;
	CLEANUP(freep) uint8_t *raw = from_hex("42ab3807be8370a100000000", &len);
	assert_int_equal(blob_decode_file(codec, raw, len, NULL, 0, &file, &file_len, NULL), 0);
	assert_int_equal(file_len, 0);
	assert_string_equal((char *)file, "");
}

/* -- writing -- */

static void reads_back_what_it_writes(void **state)
{
	static const size_t sizes[] = { 1, 2, 100, 4096, 65536, 100001 };
	for (size_t i = 0; i < 4 * ARRAY_LEN(sizes); i++) {
		size_t size = sizes[i / 4], len = 0;
		const struct crypt_key *key = i & 1 ? k0 : NULL;
		bool is_noise = i & 2;
		struct blob blob;
		struct chunk_want want = { .len = (uint32_t)size, .key = key };
		CLEANUP(freep) uint8_t *data = calloc(1, size), *raw = malloc(blob_encode_bound(size));
		if (is_noise)
			fill_noise(data, size, (uint32_t)i);
		assert_int_equal(blob_digest(codec, data, size, key, want.digest, NULL), 0);
		assert_int_equal(blob_encode(codec, data, size, key, 3, raw, &len, NULL), 0);
		assert_true(len <= size + BLOB_HEADER_ENCRYPTED);
		assert_int_equal(blob_parse(raw, len, &blob, NULL), 0);
		assert_int_equal(blob_is_encrypted(blob.kind), key != NULL);
		assert_int_equal(blob.body_len < size, !is_noise && size >= 100);
		assert_int_equal(decode(raw, len, &want, data, NULL), 0);
	}
}

static void stores_when_told_not_to_compress(void **state)
{
	uint8_t raw[64];
	size_t len = 0, expected;
	CLEANUP(freep) uint8_t *vector = from_hex(PLAIN_HELLO, &expected);
	assert_int_equal(blob_encode(codec, (const uint8_t *)hello, 11, NULL, 0, raw, &len, NULL), 0);
	assert_int_equal(len, expected);
	assert_memory_equal(raw, vector, len);
}

static void never_uses_an_iv_twice(void **state)
{
	uint8_t one[64], other[64];
	size_t len = 0;
	assert_int_equal(blob_encode(codec, (const uint8_t *)hello, 11, k0, 0, one, &len, NULL), 0);
	assert_int_equal(blob_encode(codec, (const uint8_t *)hello, 11, k0, 0, other, &len, NULL), 0);
	assert_memory_not_equal(one + 12, other + 12, GCM_IV_SIZE);
}

int main(void)
{
	memset(a1000, 'A', 1000);
	const struct CMUnitTest tests[] = {
		TEST(parses_the_vectors),
		TEST(decodes_the_vectors),
		TEST(decodes_what_a_second_implementation_wrote),
		TEST(copies_no_payload),
		TEST(knows_the_digests_of_zeros),
		TEST(refuses_a_blob_cut_anywhere),
		TEST(refuses_one_flipped_bit),
		TEST(checks_in_the_order_that_the_header_states),
		TEST(refuses_a_payload_of_another_length_though_its_digest_fits),
		TEST(refuses_a_digest_of_only_the_beginning),
		TEST(compares_every_bit_of_the_digest),
		TEST(refuses_what_is_not_exactly_the_frames_it_should_be),
		TEST(stops_a_bomb_at_the_length_that_the_index_gives),
		TEST(decodes_the_largest_chunk),
		TEST(decodes_files_and_ends_them_with_a_nul),
		TEST(refuses_files_longer_than_allowed),
		TEST(wants_the_key_of_an_encrypted_file),
		TEST(decodes_an_empty_file),
		TEST(reads_back_what_it_writes),
		TEST(stores_when_told_not_to_compress),
		TEST(never_uses_an_iv_twice),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
