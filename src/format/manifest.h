/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/crypt_key.h"
#include "format/blob.h"
#include "format/snapshot.h"
#include "util/err.h"

enum crypt_mode { CRYPT_NONE, CRYPT_ENCRYPT, CRYPT_SIGN_ONLY };

const char *crypt_mode_name(enum crypt_mode mode); /* "none", "encrypt", "sign-only" */

/* bytes of text: as long as a .blob that a server accepts; the parser takes many times more memory */
#define MANIFEST_MAX (16u << 20)

struct manifest_file {
	char name[ARCHIVE_NAME_SIZE]; /* with .fidx, .didx or .blob */
	uint64_t size;
	uint8_t csum[DIGEST_SIZE];
	enum crypt_mode mode;
};

/* index.json.blob, decoded: what belongs to a snapshot. */
struct manifest {
	struct snapshot snapshot;
	struct manifest_file *files;
	size_t n_files;
	bool has_signature, has_fingerprint;
	uint8_t signature[DIGEST_SIZE];
	uint8_t fingerprint[DIGEST_SIZE]; /* of the key; from the part that is not signed */
	char *notes;		/* not signed; NULL = none */
	char *verify_state;	/* "ok", "failed"; not signed; NULL = none */
	char *verify_upid;	/* not signed; NULL = none */
	/* what the signature may be over: the object as it is, and only its known keys */
	char *canonical_raw, *canonical_known;
};

/**
 * manifest_parse - the JSON text
 *
 * Errors:  -EBADMSG  not JSON, wrong types, duplicate keys, csum or names out of their grammar
 * Threads: pure
 */
int manifest_parse(const char *json, size_t len, struct manifest **ret, struct err *err) MUST_CHECK;

/* The same from the raw blob; refuses an encrypted one, and more than MANIFEST_MAX of text. */
int manifest_decode(struct blob_codec *codec, const uint8_t *raw, size_t len,
		    struct manifest **ret, struct err *err) MUST_CHECK;
void manifest_free(struct manifest *manifest);
static inline void manifest_freep(struct manifest **manifest)
{
	manifest_free(*manifest);
}

/* NULL = it has no such file. */
const struct manifest_file *manifest_find(const struct manifest *manifest, const char *server_name);

enum manifest_trust {
	MANIFEST_SIGNED = 0,	/* the signature was made with this key */
	MANIFEST_UNSIGNED,	/* it has no signature */
	MANIFEST_NOT_CHECKED,	/* it has one, and there is no key to check it with */
};

/**
 * manifest_check - compare fingerprint and signature with the key
 *
 * @key:  NULL = none at hand
 *
 * Returns: enum manifest_trust
 * Errors:  -EKEYREJECTED  made with another key (the message names both fingerprints), or the
 *                         signature is wrong (-EBADMSG)
 */
int manifest_check(const struct manifest *manifest, const struct crypt_key *key,
		   struct err *err) MUST_CHECK;

/* For test data and tools: the signed JSON text; @ret given, free(). */
int manifest_write(const struct snapshot *snapshot, const struct manifest_file *files,
		   size_t n_files, const struct crypt_key *sign_with, char **ret,
		   struct err *err) MUST_CHECK;
