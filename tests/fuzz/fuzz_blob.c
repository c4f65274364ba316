/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <libdeflate.h>
#include <string.h>

#include "format/blob.h"
#include "util/bytes.h"

/*
 * The first byte says what is made of the rest, for no fuzzer guesses a crc32 or a tag:
 * bit 0 there is a key, 1 the crc32 is made to fit, 2 the body is sealed with the key.
 */
enum { HAS_KEY = 1, FIX_CRC = 2, SEAL = 4 };

/* bytes; a payload beyond this is refused, so that a bomb costs no memory here */
enum { MAX_PAYLOAD = 1u << 20 };

static void prepare(uint8_t *raw, size_t len, int how, const struct crypt_key *key)
{
	struct aes_gcm *gcm = NULL;
	if (how & SEAL && len >= BLOB_HEADER_ENCRYPTED) {
		MUST(aes_gcm_new(&gcm, NULL) == 0);
		MUST(aes_gcm_seal(gcm, crypt_key_enc(key), raw + 12, raw + 44, len - 44, raw + 44, raw + 28,
				  NULL) == 0);
		aes_gcm_free(gcm);
	}
	if (how & (FIX_CRC | SEAL) && len >= BLOB_HEADER_PLAIN) {
		size_t header = raw[0] == 0x7b || raw[0] == 0xe6 ? BLOB_HEADER_ENCRYPTED : BLOB_HEADER_PLAIN;
		if (len >= header)
			store_le32(raw + 8, libdeflate_crc32(0, raw + header, len - header));
	}
}

/* A chunk with this payload decodes to it, and to nothing else. */
static void check_chunk(struct blob_codec *codec, const uint8_t *raw, size_t len, const uint8_t *payload,
			struct chunk_want want)
{
	uint8_t *copy = malloc(len), *out = malloc(want.len + 1);
	const uint8_t *result = NULL;
	MUST(copy && out);
	MUST(blob_digest(codec, payload, want.len, want.key, want.digest, NULL) == 0);
	memcpy(copy, raw, len);
	int r = blob_decode_chunk(codec, copy, len, &want, out, &result, NULL);
	struct blob blob;
	MUST(blob_parse(raw, len, &blob, NULL) == 0);
	if (blob_is_encrypted(blob.kind) == (want.key != NULL))
		MUST(r == 0 && memcmp(result, payload, want.len) == 0);
	else
		MUST(r == -EBADMSG);
	want.digest[0] ^= 1;
	memcpy(copy, raw, len);
	MUST(blob_decode_chunk(codec, copy, len, &want, out, &result, NULL) == -EBADMSG);
	want.digest[0] ^= 1;
	want.len++;
	memcpy(copy, raw, len);
	MUST(blob_decode_chunk(codec, copy, len, &want, out, &result, NULL) == -EBADMSG);
	free(copy);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	struct crypt_key *key = fuzz_key();
	struct blob_codec *codec = NULL;
	MUST(blob_codec_new(&codec, NULL) == 0);
	uint8_t *raw = malloc(len - 1), *payload = NULL;
	size_t payload_len = 0;
	memcpy(raw, data + 1, len - 1);
	prepare(raw, len - 1, data[0], key);
	const struct crypt_key *used = data[0] & HAS_KEY ? key : NULL;
	int r = blob_decode_file(codec, raw, len - 1, used, MAX_PAYLOAD, &payload, &payload_len, NULL);
	MUST(r == 0 || r == -EBADMSG || r == -ENOKEY);
	if (r == 0) {
		MUST(payload_len <= MAX_PAYLOAD && payload[payload_len] == '\0');
		check_chunk(codec, raw, len - 1, payload,
			    (struct chunk_want){ .len = (uint32_t)payload_len, .key = used });
	}
	free(payload);
	free(raw);
	blob_codec_free(codec);
	crypt_key_free(key);
	return 0;
}
