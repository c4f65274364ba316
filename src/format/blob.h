/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/aes_gcm.h"
#include "crypto/crypt_key.h"
#include "crypto/sha256.h"
#include "util/err.h"

/*
 * The envelope around every chunk and every .blob file: magic, crc32, for encrypted kinds IV and
 * tag, then the body.  Source: backup server manual, file formats, "Data Blob Format".
 */
enum blob_kind {
	BLOB_PLAIN,
	BLOB_ZSTD,
	BLOB_ENCRYPTED,
	BLOB_ENCRYPTED_ZSTD,
};

#define BLOB_HEADER_PLAIN     12
#define BLOB_HEADER_ENCRYPTED 44
#define BLOB_MAX_CHUNK	      (16u << 20)  /* payload of a chunk a server accepts */
#define BLOB_MAX_FILE	      (128u << 20) /* payload of a .blob */
#define BLOB_FILE_MAX	      (BLOB_MAX_FILE + 4096u) /* bytes of a .blob with its envelope */

/* Parsed; points into the raw bytes. */
struct blob {
	enum blob_kind kind;
	const uint8_t *iv, *tag; /* encrypted kinds; else NULL */
	const uint8_t *body;
	size_t body_len;
};

static inline bool blob_is_encrypted(enum blob_kind kind)
{
	return kind == BLOB_ENCRYPTED || kind == BLOB_ENCRYPTED_ZSTD;
}

/**
 * blob_parse - length, magic and crc32
 *
 * Errors:  -EBADMSG  too small, unknown magic, crc32 does not match
 * Threads: pure; @ret points into @raw
 */
int blob_parse(const uint8_t *raw, size_t len, struct blob *ret, struct err *err) MUST_CHECK;

/* zstd, hash and cipher contexts; one thread at a time. */
struct blob_codec;

int blob_codec_new(struct blob_codec **ret, struct err *err) MUST_CHECK;
void blob_codec_free(struct blob_codec *codec);
static inline void blob_codec_freep(struct blob_codec **codec)
{
	blob_codec_free(*codec);
}

/* What an index says of a chunk. */
struct chunk_want {
	uint8_t digest[DIGEST_SIZE];
	uint32_t len;		     /* decoded bytes */
	const struct crypt_key *key; /* NULL: the manifest says that chunks are not encrypted */
};

/**
 * blob_decode_chunk - all checks a chunk must pass before one byte of it is used
 *
 * @raw:       the blob; decrypted in place, so its content is undefined afterwards
 * @out:       want->len bytes; used where the payload is compressed
 * @ret_data:  the payload, want->len bytes: in @out, or in @raw (stored uncompressed: no copy)
 *
 * Order:   length, magic, crc32, encrypted or not as the manifest says, tag, zstd (bounded),
 *          digest, length
 * Errors:  -EBADMSG for each of them; -ENOMEM
 */
int blob_decode_chunk(struct blob_codec *codec, uint8_t *raw, size_t raw_len,
		      const struct chunk_want *want, uint8_t *out, const uint8_t **ret_data,
		      struct err *err) MUST_CHECK;

/**
 * blob_decode_file - the payload of a .blob file (manifest, configuration, log)
 *
 * @key:  for encrypted kinds; NULL is -ENOKEY when one is needed
 * @max:  refuse a longer payload
 * @ret:  given, free(); NUL behind @ret_len
 */
int blob_decode_file(struct blob_codec *codec, const uint8_t *raw, size_t raw_len,
		     const struct crypt_key *key, size_t max, uint8_t **ret, size_t *ret_len,
		     struct err *err) MUST_CHECK;

/**
 * blob_encode - what a client would write: for test data and tools
 *
 * @key:       encrypt with it; NULL = not encrypted
 * @level:     zstd level; 0 = store.  Stored as well when zstd does not make it smaller
 * @out:       at least blob_encode_bound(len) bytes
 * @ret_len:   bytes used of @out
 */
size_t blob_encode_bound(size_t len);
int blob_encode(struct blob_codec *codec, const uint8_t *data, size_t len,
		const struct crypt_key *key, int level, uint8_t *out, size_t *ret_len,
		struct err *err) MUST_CHECK;

/* SHA-256 of the payload, followed by the id key when @key is given. */
int blob_digest(struct blob_codec *codec, const uint8_t *data, size_t len,
		const struct crypt_key *key, uint8_t ret[static DIGEST_SIZE],
		struct err *err) MUST_CHECK;
