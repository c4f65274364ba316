/* SPDX-License-Identifier: Apache-2.0 */
#include "format/key_file.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/kdf.h"
#include "format/base64.h"
#include "format/fingerprint.h"
#include "format/json.h"
#include "util/text.h"

enum {
	SALT_MAX = 1024,
	PASSWORD_MIN = 5,
	SEALED_SIZE = GCM_IV_SIZE + GCM_TAG_SIZE + GCM_KEY_SIZE, /* IV, tag, ciphertext */
};

void key_file_deinit(struct key_file *file)
{
	secret_deinit(&file->data);
	freep(&file->salt);
	freep(&file->hint);
	*file = (struct key_file){ 0 };
}

/* Without the lines around a key printed on paper. */
static void strip_paper_marks(const char **text, size_t *len)
{
	static const char begin[] = "-----BEGIN PROXMOX BACKUP KEY-----";
	static const char end[] = "-----END PROXMOX BACKUP KEY-----";
	const char *from = memmem(*text, *len, begin, sizeof begin - 1);
	if (!from)
		return;
	from += sizeof begin - 1;
	size_t left = *len - (size_t)(from - *text);
	const char *to = memmem(from, left, end, sizeof end - 1);
	*text = from;
	*len = to ? (size_t)(to - from) : left;
}

static int get_base64(const json_t *object, const char *key, size_t max, uint8_t **ret,
		      size_t *ret_len, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	size_t len = json_string_length(value);
	if (!json_is_string(value) || len > 2 * max + 8)
		return err_set(err, -EBADMSG, "key file: '%s' is missing, no text or too long", key);
	CLEANUP(freep) uint8_t *bytes = malloc(len + 1);
	if (!bytes)
		return err_set(err, -ENOMEM, "no memory for a key file");
	if (!base64_decode(json_string_value(value), len, bytes, ret_len) || *ret_len > max)
		return err_set(err, -EBADMSG, "key file: '%s' is not base64, or too long", key);
	*ret = STEAL(bytes);
	return 0;
}

static int get_count(const json_t *object, const char *key, uint64_t *ret, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return err_set(err, -EBADMSG, "key file: '%s' is missing or no count", key);
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

static int parse_scrypt(const json_t *kdf, struct key_file *file, struct err *err)
{
	file->kdf = KEY_KDF_SCRYPT;
	int r = get_count(kdf, "n", &file->n, err);
	if (r == 0)
		r = get_count(kdf, "r", &file->r, err);
	if (r == 0)
		r = get_count(kdf, "p", &file->p, err);
	return r == 0 ? get_base64(kdf, "salt", SALT_MAX, &file->salt, &file->salt_len, err) : r;
}

static int parse_pbkdf2(const json_t *kdf, struct key_file *file, struct err *err)
{
	file->kdf = KEY_KDF_PBKDF2;
	int r = get_count(kdf, "iter", &file->iterations, err);
	return r == 0 ? get_base64(kdf, "salt", SALT_MAX, &file->salt, &file->salt_len, err) : r;
}

static int parse_kdf(const json_t *json, struct key_file *file, struct err *err)
{
	const json_t *kdf = json_object_get(json, "kdf");
	if (!kdf || json_is_null(kdf))
		return 0;
	const json_t *scrypt = json_object_get(kdf, "Scrypt");
	const json_t *pbkdf2 = json_object_get(kdf, "PBKDF2");
	if (json_object_size(kdf) != 1 || (!scrypt && !pbkdf2))
		return err_set(err, -EBADMSG, "key file: unknown kdf, neither Scrypt nor PBKDF2 alone");
	return scrypt ? parse_scrypt(scrypt, file, err) : parse_pbkdf2(pbkdf2, file, err);
}

static int parse_data(const json_t *json, struct key_file *file, struct err *err)
{
	uint8_t *data = NULL;
	size_t len = 0, want = file->kdf == KEY_KDF_NONE ? GCM_KEY_SIZE : SEALED_SIZE;
	int r = get_base64(json, "data", SEALED_SIZE, &data, &len, err);
	if (r < 0)
		return r;
	r = len == want ? secret_init_copy(&file->data, data, len, err)
			: err_set(err, -EBADMSG, "key file: 'data' has %zu bytes, not %zu", len, want);
	secret_wipe_and_free(data, len);
	return r;
}

/* Nobody here wants to know when, but what has none of them was not written as a key file. */
static int check_times(const json_t *json, struct err *err)
{
	static const char *const keys[] = { "created", "modified" };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!json_is_string(json_object_get(json, keys[i])))
			return err_set(err, -EBADMSG, "key file: '%s' is missing or no text", keys[i]);
	return 0;
}

static int parse_rest(const json_t *json, struct key_file *file, struct err *err)
{
	const json_t *fingerprint = json_object_get(json, "fingerprint");
	if (fingerprint && !json_is_null(fingerprint)) {
		const char *text = json_string_value(fingerprint);
		if (!text || !fingerprint_parse(text, file->fingerprint))
			return err_set(err, -EBADMSG, "key file: 'fingerprint' is not 64 hex digits");
		file->has_fingerprint = true;
	}
	const char *hint = json_string_value(json_object_get(json, "hint"));
	file->hint = hint ? strdup(hint) : NULL;
	return !hint || file->hint ? 0 : err_set(err, -ENOMEM, "no memory for a key file");
}

int key_file_parse(const char *text, size_t len, struct key_file *ret, struct err *err)
{
	CLEANUP(json_freep) json_t *json = NULL;
	struct key_file file = { 0 };
	if (len > KEY_FILE_MAX)
		return err_set(err, -EBADMSG, "key file is longer than %u bytes", KEY_FILE_MAX);
	strip_paper_marks(&text, &len);
	int r = json_parse_object(text, len, "key file", &json, err);
	if (r == 0)
		r = parse_kdf(json, &file, err);
	if (r == 0)
		r = parse_data(json, &file, err);
	if (r == 0)
		r = parse_rest(json, &file, err);
	if (r == 0)
		r = check_times(json, err);
	if (r < 0) {
		key_file_deinit(&file);
		return r;
	}
	*ret = file;
	return 0;
}

/* -- opening --------------------------------------------------------------------------------- */

static int derive(const struct key_file *file, const struct secret *password, uint8_t *ret,
		  struct err *err)
{
	if (!password || password->len < PASSWORD_MIN)
		return err_set(err, -EINVAL, "encryption key password is too short: at least %d bytes",
			       PASSWORD_MIN);
	if (file->kdf == KEY_KDF_SCRYPT)
		return kdf_scrypt(password->data, password->len, file->salt, file->salt_len, file->n,
				  file->r, file->p, ret, err);
	return kdf_pbkdf2(password->data, password->len, file->salt, file->salt_len,
			  file->iterations, ret, err);
}

static int wrong_password(const struct key_file *file, struct err *err)
{
	char hint[256];
	if (!file->hint)
		return err_set(err, -EKEYREJECTED, "unable to decrypt key (wrong password?)");
	return err_set(err, -EKEYREJECTED, "unable to decrypt key (wrong password? hint: %s)",
		       text_escape(file->hint, hint, sizeof hint));
}

/* The key itself into @ret; with the derived key between @ret and its end. */
static int unseal(const struct key_file *file, const struct secret *password, uint8_t *derived,
		  uint8_t *ret, struct err *err)
{
	struct aes_gcm *gcm = NULL;
	int r = derive(file, password, derived, err);
	if (r == 0)
		r = aes_gcm_new(&gcm, err);
	if (r < 0)
		return r;
	const uint8_t *iv = file->data.data, *tag = iv + GCM_IV_SIZE;
	r = aes_gcm_open(gcm, derived, iv, tag, tag + GCM_TAG_SIZE, GCM_KEY_SIZE, ret, err);
	aes_gcm_free(gcm);
	return r == -EBADMSG ? wrong_password(file, err) : r;
}

static int check_fingerprint(const struct key_file *file, const struct crypt_key *key,
			     struct err *err)
{
	if (!file->has_fingerprint ||
	    memcmp(file->fingerprint, crypt_key_fingerprint(key), DIGEST_SIZE) == 0)
		return 0;
	char says[FINGERPRINT_SHORT_SIZE], is[FINGERPRINT_SHORT_SIZE];
	fingerprint_format(file->fingerprint, 8, says);
	fingerprint_format(crypt_key_fingerprint(key), 8, is);
	return err_set(err, -EKEYREJECTED, "key file says its key is %s, but it is %s", says, is);
}

int key_file_open(const struct key_file *file, const struct secret *password,
		  struct crypt_key **ret, struct err *err)
{
	CLEANUP(crypt_key_freep) struct crypt_key *key = NULL;
	struct secret work = SECRET_EMPTY; /* the key, then the one derived from the password */
	int r = secret_init(&work, 2 * GCM_KEY_SIZE, err);
	if (r < 0)
		return r;
	if (file->kdf == KEY_KDF_NONE)
		memcpy(work.data, file->data.data, GCM_KEY_SIZE);
	else
		r = unseal(file, password, work.data + GCM_KEY_SIZE, work.data, err);
	if (r == 0)
		r = crypt_key_new(work.data, &key, err);
	secret_deinit(&work);
	if (r == 0)
		r = check_fingerprint(file, key, err);
	if (r == 0)
		*ret = STEAL(key);
	return r;
}
