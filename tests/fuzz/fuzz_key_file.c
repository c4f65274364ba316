/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "format/key_file.h"

/* Deriving a key is slow on purpose: only where it is quick. */
static bool is_quick(const struct key_file *file)
{
	return file->kdf == KEY_KDF_NONE || (file->kdf == KEY_KDF_PBKDF2 && file->iterations <= 100) ||
	       (file->kdf == KEY_KDF_SCRYPT && file->n <= 64 && file->r <= 8 && file->p <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct key_file file;
	int r = key_file_parse((const char *)data, len, &file, NULL);
	MUST(r == 0 || r == -EBADMSG);
	if (r < 0)
		return 0;
	MUST(file.data.len == (file.kdf == KEY_KDF_NONE ? GCM_KEY_SIZE : 64));
	if (is_quick(&file)) {
		struct secret password = SECRET_EMPTY;
		struct crypt_key *key = NULL;
		MUST(secret_init_copy(&password, "12345", 5, NULL) == 0);
		r = key_file_open(&file, &password, &key, NULL);
		MUST(r == 0 || r == -EKEYREJECTED || r == -EINVAL);
		if (r == 0 && file.has_fingerprint)
			MUST(memcmp(crypt_key_fingerprint(key), file.fingerprint, DIGEST_SIZE) == 0);
		crypt_key_free(key);
		secret_deinit(&password);
	}
	key_file_deinit(&file);
	return 0;
}
