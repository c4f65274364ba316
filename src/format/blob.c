/* SPDX-License-Identifier: Apache-2.0 */
#include "format/blob.h"

#include <inttypes.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "crypto/kdf.h"
#include "util/bytes.h"

/*
 * Decoding keeps to one rule: nothing is used before the check that vouches for it.  The crc32 finds
 * accidents, the tag vouches for what is decompressed, the digest for what is handed out.
 * Decryption happens in place and decompression straight into the result, so no byte is copied.
 */
enum { MAGIC_SIZE = 8 };

/* log2 of bytes; the largest window a compressor uses for 16 MiB of payload is the payload */
enum { WINDOW_LOG_MAX = 27 };

static const uint8_t magics[][MAGIC_SIZE] = {
	[BLOB_PLAIN] = { 0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1 },
	[BLOB_ZSTD] = { 0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f },
	[BLOB_ENCRYPTED] = { 0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0 },
	[BLOB_ENCRYPTED_ZSTD] = { 0xe6, 0x59, 0x1b, 0xbf, 0x0b, 0xbf, 0xd8, 0x0b },
};

struct blob_codec {
	ZSTD_DCtx *decompressor;
	ZSTD_CCtx *compressor; /* made when first needed: a reader never does */
	struct sha256 *hash;
	struct aes_gcm *gcm;
};

static bool is_zstd(enum blob_kind kind)
{
	return kind == BLOB_ZSTD || kind == BLOB_ENCRYPTED_ZSTD;
}

static size_t header_size(enum blob_kind kind)
{
	return blob_is_encrypted(kind) ? BLOB_HEADER_ENCRYPTED : BLOB_HEADER_PLAIN;
}

static bool find_kind(const uint8_t magic[static MAGIC_SIZE], enum blob_kind *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
		if (memcmp(magics[i], magic, MAGIC_SIZE) == 0) {
			*ret = (enum blob_kind)i;
			return true;
		}
	}
	return false;
}

int blob_parse(const uint8_t *raw, size_t len, struct blob *ret, struct err *err)
{
	enum blob_kind kind;
	if (len < BLOB_HEADER_PLAIN)
		return err_set(err, -EBADMSG, "blob of %zu bytes is too small", len);
	if (!find_kind(raw, &kind))
		return err_set(err, -EBADMSG, "unknown magic, not a blob");
	size_t header = header_size(kind);
	if (len < header)
		return err_set(err, -EBADMSG, "encrypted blob of %zu bytes is too small", len);
	uint32_t crc = libdeflate_crc32(0, raw + header, len - header);
	if (crc != load_le32(raw + MAGIC_SIZE))
		return err_set(err, -EBADMSG, "crc32 does not match");
	bool is_encrypted = blob_is_encrypted(kind);
	*ret = (struct blob){
		.kind = kind,
		.iv = is_encrypted ? raw + BLOB_HEADER_PLAIN : NULL,
		.tag = is_encrypted ? raw + BLOB_HEADER_PLAIN + GCM_IV_SIZE : NULL,
		.body = raw + header,
		.body_len = len - header,
	};
	return 0;
}

int blob_codec_new(struct blob_codec **ret, struct err *err)
{
	CLEANUP(blob_codec_freep) struct blob_codec *codec = calloc(1, sizeof *codec);
	if (!codec)
		return err_set(err, -ENOMEM, "no memory to decode blobs");
	codec->decompressor = ZSTD_createDCtx();
	if (!codec->decompressor)
		return err_set(err, -ENOMEM, "no memory to decompress");
	(void) ZSTD_DCtx_setParameter(codec->decompressor, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	int r = sha256_new(&codec->hash, err);
	if (r == 0)
		r = aes_gcm_new(&codec->gcm, err);
	if (r < 0)
		return r;
	*ret = STEAL(codec);
	return 0;
}

void blob_codec_free(struct blob_codec *codec)
{
	if (!codec)
		return;
	ZSTD_freeDCtx(codec->decompressor);
	ZSTD_freeCCtx(codec->compressor);
	sha256_free(codec->hash);
	aes_gcm_free(codec->gcm);
	free(codec);
}

/* All frames of @in into exactly @len bytes of @out. */
static int decompress(struct blob_codec *codec, const uint8_t *in, size_t in_len, uint8_t *out,
		      size_t len, struct err *err)
{
	size_t n = ZSTD_decompressDCtx(codec->decompressor, out, len, in, in_len);
	if (ZSTD_isError(n))
		return err_set(err, -EBADMSG, "cannot decompress %zu bytes into %zu: %s", in_len, len,
			       ZSTD_getErrorName(n));
	if (n != len)
		return err_set(err, -EBADMSG, "decompressed to %zu bytes, not %zu", n, len);
	return 0;
}

int blob_digest(struct blob_codec *codec, const uint8_t *data, size_t len,
		const struct crypt_key *key, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	int r = sha256_begin(codec->hash, err);
	if (r == 0)
		r = sha256_add(codec->hash, data, len, err);
	if (r == 0 && key)
		r = sha256_add(codec->hash, crypt_key_id(key), DIGEST_SIZE, err);
	return r == 0 ? sha256_end(codec->hash, ret, err) : r;
}

static int check_digest(struct blob_codec *codec, const uint8_t *data, const struct chunk_want *want,
			struct err *err)
{
	uint8_t digest[DIGEST_SIZE];
	int r = blob_digest(codec, data, want->len, want->key, digest, err);
	if (r < 0)
		return r;
	if (memcmp(digest, want->digest, DIGEST_SIZE) != 0)
		return err_set(err, -EBADMSG, "wrong digest: the content is not what the index names");
	return 0;
}

int blob_decode_chunk(struct blob_codec *codec, uint8_t *raw, size_t raw_len,
		      const struct chunk_want *want, uint8_t *out, const uint8_t **ret_data,
		      struct err *err)
{
	struct blob blob;
	int r = blob_parse(raw, raw_len, &blob, err);
	if (r < 0)
		return r;
	if (blob_is_encrypted(blob.kind) != (want->key != NULL))
		return err_set(err, -EBADMSG, "chunk is %s, and the manifest says it is not",
			       want->key ? "not encrypted" : "encrypted");
	uint8_t *body = raw + (blob.body - raw);
	if (want->key) {
		r = aes_gcm_open(codec->gcm, crypt_key_enc(want->key), blob.iv, blob.tag, body,
				 blob.body_len, body, err);
		if (r < 0)
			return r;
	}
	const uint8_t *data = body;
	if (is_zstd(blob.kind)) {
		r = decompress(codec, body, blob.body_len, out, want->len, err);
		if (r < 0)
			return r;
		data = out;
	} else if (blob.body_len != want->len) {
		return err_set(err, -EBADMSG, "chunk holds %zu bytes, the index needs %" PRIu32,
			       blob.body_len, want->len);
	}
	r = check_digest(codec, data, want, err);
	if (r < 0)
		return r;
	*ret_data = data;
	return 0;
}

/* A payload whose length nobody has told: grows up to @max. */
static int decompress_unknown(struct blob_codec *codec, const uint8_t *in, size_t in_len, size_t max,
			      uint8_t **ret, size_t *ret_len, struct err *err)
{
	CLEANUP(freep) uint8_t *data = NULL;
	size_t have = 0, cap = 0, more = 1;
	ZSTD_inBuffer input = { in, in_len, 0 };
	(void) ZSTD_DCtx_reset(codec->decompressor, ZSTD_reset_session_only);
	while (input.pos < input.size || more > 0) {
		if (have == cap) {
			if (cap > max)
				return err_set(err, -EBADMSG, "decompresses to more than %zu bytes", max);
			cap = min_size(cap ? 2 * cap : 64u << 10, max + 1);
			uint8_t *larger = realloc(data, cap + 1);
			if (!larger)
				return err_set(err, -ENOMEM, "no memory to decompress");
			data = larger;
		}
		ZSTD_outBuffer output = { data, cap, have };
		size_t pos = input.pos;
		more = ZSTD_decompressStream(codec->decompressor, &output, &input);
		if (ZSTD_isError(more))
			return err_set(err, -EBADMSG, "cannot decompress: %s", ZSTD_getErrorName(more));
		if (more > 0 && input.pos == pos && output.pos == have)
			return err_set(err, -EBADMSG, "compressed data ends in the middle");
		have = output.pos;
	}
	if (have > max)
		return err_set(err, -EBADMSG, "decompresses to more than %zu bytes", max);
	data[have] = '\0';
	*ret = STEAL(data);
	*ret_len = have;
	return 0;
}

static int copy_of(const uint8_t *data, size_t len, uint8_t **ret, struct err *err)
{
	uint8_t *copy = malloc(len + 1);
	if (!copy)
		return err_set(err, -ENOMEM, "no memory for a blob");
	memcpy(copy, data, len);
	copy[len] = '\0';
	*ret = copy;
	return 0;
}

int blob_decode_file(struct blob_codec *codec, const uint8_t *raw, size_t raw_len,
		     const struct crypt_key *key, size_t max, uint8_t **ret, size_t *ret_len,
		     struct err *err)
{
	struct blob blob;
	int r = blob_parse(raw, raw_len, &blob, err);
	if (r < 0)
		return r;
	bool is_encrypted = blob_is_encrypted(blob.kind);
	if (is_encrypted && !key)
		return err_set(err, -ENOKEY, "missing key: the blob is encrypted");
	CLEANUP(freep) uint8_t *clear = NULL;
	if (is_encrypted) {
		r = copy_of(blob.body, blob.body_len, &clear, err);
		if (r == 0)
			r = aes_gcm_open(codec->gcm, crypt_key_enc(key), blob.iv, blob.tag, clear,
					 blob.body_len, clear, err);
		if (r < 0)
			return r;
		blob.body = clear;
	}
	if (is_zstd(blob.kind))
		return decompress_unknown(codec, blob.body, blob.body_len, max, ret, ret_len, err);
	if (blob.body_len > max)
		return err_set(err, -EBADMSG, "blob holds more than %zu bytes", max);
	r = copy_of(blob.body, blob.body_len, ret, err);
	if (r == 0)
		*ret_len = blob.body_len;
	return r;
}

size_t blob_encode_bound(size_t len)
{
	return BLOB_HEADER_ENCRYPTED + ZSTD_compressBound(len);
}

/* The body before encryption: 1 = compressed, 0 = stored, because that is not longer. */
static int encode_body(struct blob_codec *codec, const uint8_t *data, size_t len, int level,
		       uint8_t *out, size_t *ret_len, struct err *err)
{
	if (level > 0) {
		if (!codec->compressor)
			codec->compressor = ZSTD_createCCtx();
		if (!codec->compressor)
			return err_set(err, -ENOMEM, "no memory to compress");
		size_t n = ZSTD_compressCCtx(codec->compressor, out, ZSTD_compressBound(len), data, len,
					     level);
		if (!ZSTD_isError(n) && n < len) {
			*ret_len = n;
			return 1;
		}
	}
	memcpy(out, data, len);
	*ret_len = len;
	return 0;
}

int blob_encode(struct blob_codec *codec, const uint8_t *data, size_t len,
		const struct crypt_key *key, int level, uint8_t *out, size_t *ret_len,
		struct err *err)
{
	size_t header = key ? BLOB_HEADER_ENCRYPTED : BLOB_HEADER_PLAIN, body_len = 0;
	uint8_t *body = out + header;
	int compressed = encode_body(codec, data, len, level, body, &body_len, err);
	if (compressed < 0)
		return compressed;
	enum blob_kind kind = key ? compressed ? BLOB_ENCRYPTED_ZSTD : BLOB_ENCRYPTED
				  : compressed ? BLOB_ZSTD : BLOB_PLAIN;
	if (key) {
		uint8_t *iv = out + BLOB_HEADER_PLAIN;
		int r = random_bytes(iv, GCM_IV_SIZE, err);
		if (r == 0)
			r = aes_gcm_seal(codec->gcm, crypt_key_enc(key), iv, body, body_len, body,
					 iv + GCM_IV_SIZE, err);
		if (r < 0)
			return r;
	}
	memcpy(out, magics[kind], MAGIC_SIZE);
	store_le32(out + MAGIC_SIZE, libdeflate_crc32(0, body, body_len));
	*ret_len = header + body_len;
	return 0;
}
