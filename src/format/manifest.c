/* SPDX-License-Identifier: Apache-2.0 */
#include "format/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "format/fingerprint.h"
#include "format/json.h"
#include "util/bytes.h"
#include "util/secret.h"

/*
 * The manifest is the root of trust of a snapshot: it names every file with size and csum, and is
 * what a key signs.  The part "unprotected" is not signed; what is taken from it is only shown, or
 * (the fingerprint) only makes a message better.
 */

/* files; each is compared with all others, and a manifest of 16 MiB could hold a hundred thousand */
enum { MAX_FILES = 10000 };

static const char *const mode_names[] = {
	[CRYPT_NONE] = "none", [CRYPT_ENCRYPT] = "encrypt", [CRYPT_SIGN_ONLY] = "sign-only",
};

const char *crypt_mode_name(enum crypt_mode mode)
{
	return mode_names[mode];
}

void manifest_free(struct manifest *manifest)
{
	if (!manifest)
		return;
	free(manifest->files);
	free(manifest->notes);
	free(manifest->verify_state);
	free(manifest->verify_upid);
	free(manifest->canonical_raw);
	free(manifest->canonical_known);
	free(manifest);
}

/* -- fields ---------------------------------------------------------------------------------- */

static int get_string(const json_t *object, const char *key, const char **ret, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
		return err_set(err, -EBADMSG, "manifest: '%s' is missing or no text", key);
	*ret = json_string_value(value);
	return 0;
}

static int get_integer(const json_t *object, const char *key, int64_t *ret, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value))
		return err_set(err, -EBADMSG, "manifest: '%s' is missing or no integer", key);
	*ret = json_integer_value(value);
	return 0;
}

static bool is_absent(const json_t *value)
{
	return !value || json_is_null(value);
}

static int parse_hex(const char *text, const char *key, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	if (strlen(text) != 2 * DIGEST_SIZE || !hex_decode(text, ret, DIGEST_SIZE))
		return err_set(err, -EBADMSG, "manifest: '%s' is not 64 hex digits", key);
	return 0;
}

static int get_mode(const json_t *object, enum crypt_mode *ret, struct err *err)
{
	const char *text;
	*ret = CRYPT_NONE; /* clients before 0.8 did not write it */
	if (!json_object_get(object, "crypt-mode"))
		return 0;
	int r = get_string(object, "crypt-mode", &text, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(mode_names); i++) {
		if (strcmp(mode_names[i], text) == 0) {
			*ret = (enum crypt_mode)i;
			return 0;
		}
	}
	return err_set(err, -EBADMSG, "manifest: unknown crypt-mode");
}

static int parse_snapshot(const json_t *json, struct snapshot *ret, struct err *err)
{
	const char *type, *id;
	int r = get_string(json, "backup-type", &type, err);
	if (r == 0)
		r = get_string(json, "backup-id", &id, err);
	if (r == 0)
		r = get_integer(json, "backup-time", &ret->time, err);
	if (r < 0)
		return r;
	if (!backup_type_parse(type, &ret->group.type) || !is_safe_id(id))
		return err_set(err, -EBADMSG, "manifest: backup-type or backup-id out of its grammar");
	memcpy(ret->group.id, id, strlen(id) + 1);
	return 0;
}

static int parse_file(const json_t *json, struct manifest_file *ret, struct err *err)
{
	const char *name, *csum;
	int64_t size = 0;
	int r = get_string(json, "filename", &name, err);
	if (r == 0)
		r = get_integer(json, "size", &size, err);
	if (r == 0)
		r = get_string(json, "csum", &csum, err);
	if (r == 0)
		r = parse_hex(csum, "csum", ret->csum, err);
	if (r == 0)
		r = get_mode(json, &ret->mode, err);
	if (r < 0)
		return r;
	if (!is_safe_id(name) || archive_kind_of(name) == ARCHIVE_OTHER)
		return err_set(err, -EBADMSG, "manifest: a file name out of its grammar");
	if (size < 0)
		return err_set(err, -EBADMSG, "manifest: impossible size of %s", name);
	ret->size = (uint64_t)size;
	memcpy(ret->name, name, strlen(name) + 1);
	return 0;
}

static int parse_files(const json_t *json, struct manifest *m, struct err *err)
{
	const json_t *files = json_object_get(json, "files");
	if (!json_is_array(files))
		return err_set(err, -EBADMSG, "manifest: 'files' is missing or no list");
	size_t n = json_array_size(files);
	if (n > MAX_FILES)
		return err_set(err, -EBADMSG, "manifest: names %zu files, at most %d are read", n, MAX_FILES);
	m->files = calloc(n + 1, sizeof *m->files);
	if (!m->files)
		return err_set(err, -ENOMEM, "no memory for a manifest of %zu files", n);
	for (size_t i = 0; i < n; i++) {
		int r = parse_file(json_array_get(files, i), &m->files[i], err);
		if (r < 0)
			return r;
		if (manifest_find(m, m->files[i].name))
			return err_set(err, -EBADMSG, "manifest: %s is there twice",
				       m->files[i].name);
		m->n_files++;
	}
	return 0;
}

static int parse_signature(const json_t *json, struct manifest *m, struct err *err)
{
	const char *text;
	if (is_absent(json_object_get(json, "signature")))
		return 0;
	int r = get_string(json, "signature", &text, err);
	if (r == 0)
		r = parse_hex(text, "signature", m->signature, err);
	m->has_signature = r == 0;
	return r;
}

/* -- what is not signed: only for people, so a wrong type is as good as none ----------------- */

static char *optional_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? strdup(text) : NULL;
}

static void parse_unprotected(const json_t *json, struct manifest *m)
{
	const json_t *part = json_object_get(json, "unprotected");
	const json_t *verify = json_object_get(part, "verify_state");
	const char *fingerprint = json_string_value(json_object_get(part, "key-fingerprint"));
	m->has_fingerprint = fingerprint && fingerprint_parse(fingerprint, m->fingerprint);
	m->notes = optional_text(part, "notes");
	m->verify_state = optional_text(verify, "state");
	m->verify_upid = optional_text(verify, "upid");
}

/* -- what the signature is made over --------------------------------------------------------- */

static int set_copy(json_t *to, const char *key, const json_t *from)
{
	json_t *value = json_object_get(from, key);
	return !value || json_object_set(to, key, value) == 0 ? 0 : -ENOMEM;
}

/* A new object of some of @from's keys; NULL = no memory. */
static json_t *only_keys(const json_t *from, const char *const *keys, size_t n)
{
	json_t *to = json_object();
	int r = to ? 0 : -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = set_copy(to, keys[i], from);
	if (r < 0) {
		json_decref(to);
		return NULL;
	}
	return to;
}

/* Newer clients sign what they know of a manifest, whatever else is in it. */
static json_t *known_part(const json_t *json)
{
	static const char *const top_keys[] = { "backup-type", "backup-id", "backup-time" };
	static const char *const file_keys[] = { "filename", "size", "csum", "crypt-mode" };
	CLEANUP(json_freep) json_t *top = only_keys(json, top_keys, ARRAY_LEN(top_keys));
	CLEANUP(json_freep) json_t *files = json_array();
	const json_t *all = json_object_get(json, "files");
	for (size_t i = 0; i < json_array_size(all); i++) {
		json_t *file = only_keys(json_array_get(all, i), file_keys, ARRAY_LEN(file_keys));
		if (json_array_append_new(files, file) < 0)
			return NULL;
	}
	if (json_object_set(top, "files", files) < 0)
		return NULL;
	return STEAL(top);
}

static int make_canonical(json_t *json, struct manifest *m, struct err *err)
{
	CLEANUP(json_freep) json_t *raw = json_copy(json);
	CLEANUP(json_freep) json_t *known = known_part(json);
	if (!raw || !known)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	(void) json_object_del(raw, "unprotected");
	(void) json_object_del(raw, "signature");
	int r = json_canonical(known, &m->canonical_known, err);
	/* A strange extra key only spoils this form: the other one has what counts. */
	if (r == 0 && json_canonical(raw, &m->canonical_raw, NULL) == -ENOMEM)
		r = err_set(err, -ENOMEM, "no memory for a manifest");
	return r;
}

int manifest_parse(const char *text, size_t len, struct manifest **ret, struct err *err)
{
	CLEANUP(json_freep) json_t *json = NULL;
	CLEANUP(manifest_freep) struct manifest *m = calloc(1, sizeof *m);
	if (!m)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	int r = json_parse_object(text, len, "manifest", &json, err);
	if (r == 0)
		r = parse_snapshot(json, &m->snapshot, err);
	if (r == 0)
		r = parse_files(json, m, err);
	if (r == 0)
		r = parse_signature(json, m, err);
	if (r == 0)
		r = make_canonical(json, m, err);
	if (r < 0)
		return r;
	parse_unprotected(json, m);
	*ret = STEAL(m);
	return 0;
}

int manifest_decode(struct blob_codec *codec, const uint8_t *raw, size_t len, struct manifest **ret,
		    struct err *err)
{
	struct blob blob;
	int r = blob_parse(raw, len, &blob, err);
	if (r < 0)
		return r;
	if (blob_is_encrypted(blob.kind))
		return err_set(err, -EBADMSG, "manifest is encrypted, which it never is");
	CLEANUP(freep) uint8_t *text = NULL;
	size_t text_len = 0;
	r = blob_decode_file(codec, raw, len, NULL, MANIFEST_MAX, &text, &text_len, err);
	return r < 0 ? r : manifest_parse((const char *)text, text_len, ret, err);
}

const struct manifest_file *manifest_find(const struct manifest *manifest, const char *server_name)
{
	for (size_t i = 0; i < manifest->n_files; i++)
		if (strcmp(manifest->files[i].name, server_name) == 0)
			return &manifest->files[i];
	return NULL;
}

/* -- signature ------------------------------------------------------------------------------- */

/* 1 = @text was signed with @key */
static int is_signed(const struct manifest *m, const char *text, const struct crypt_key *key,
		     struct err *err)
{
	uint8_t signature[DIGEST_SIZE];
	if (!text)
		return 0;
	int r = crypt_key_sign(key, text, strlen(text), signature, err);
	return r < 0 ? r : secret_is_equal(signature, m->signature, DIGEST_SIZE);
}

int manifest_check(const struct manifest *m, const struct crypt_key *key, struct err *err)
{
	if (!key)
		return m->has_signature ? MANIFEST_NOT_CHECKED : MANIFEST_UNSIGNED;
	if (m->has_fingerprint &&
	    memcmp(m->fingerprint, crypt_key_fingerprint(key), DIGEST_SIZE) != 0) {
		char theirs[FINGERPRINT_SHORT_SIZE], ours[FINGERPRINT_SHORT_SIZE];
		fingerprint_format(m->fingerprint, 8, theirs);
		fingerprint_format(crypt_key_fingerprint(key), 8, ours);
		return err_set(err, -EKEYREJECTED,
			       "wrong key - manifest's key %s does not match provided key %s", theirs,
			       ours);
	}
	if (!m->has_signature)
		return MANIFEST_UNSIGNED;
	int r = is_signed(m, m->canonical_raw, key, err);
	if (r == 0)
		r = is_signed(m, m->canonical_known, key, err);
	if (r < 0)
		return r;
	return r ? MANIFEST_SIGNED : err_set(err, -EKEYREJECTED, "wrong signature in manifest");
}

/* -- writing, for test data ------------------------------------------------------------------ */

static json_t *file_json(const struct manifest_file *file)
{
	char csum[2 * DIGEST_SIZE + 1];
	hex_encode(file->csum, DIGEST_SIZE, csum);
	return json_pack("{s:s,s:I,s:s,s:s}", "filename", file->name, "size", (json_int_t)file->size,
			 "csum", csum, "crypt-mode", mode_names[file->mode]);
}

static int add_signature(json_t *json, const struct crypt_key *key, struct err *err)
{
	CLEANUP(freep) char *text = NULL;
	uint8_t signature[DIGEST_SIZE];
	char hex[2 * DIGEST_SIZE + 1], fingerprint[FINGERPRINT_TEXT_SIZE];
	int r = json_canonical(json, &text, err);
	if (r == 0)
		r = crypt_key_sign(key, text, strlen(text), signature, err);
	if (r < 0)
		return r;
	hex_encode(signature, DIGEST_SIZE, hex);
	fingerprint_format(crypt_key_fingerprint(key), DIGEST_SIZE, fingerprint);
	json_t *unprotected = json_pack("{s:s}", "key-fingerprint", fingerprint);
	if (json_object_set_new(json, "signature", json_string(hex)) < 0 ||
	    json_object_set_new(json, "unprotected", unprotected) < 0)
		return err_set(err, -ENOMEM, "no memory for a manifest");
	return 0;
}

int manifest_write(const struct snapshot *snapshot, const struct manifest_file *files, size_t n_files,
		   const struct crypt_key *sign_with, char **ret, struct err *err)
{
	CLEANUP(json_freep) json_t *json = json_pack(
		"{s:s,s:s,s:I,s:[]}", "backup-type", backup_type_name(snapshot->group.type),
		"backup-id", snapshot->group.id, "backup-time", (json_int_t)snapshot->time, "files");
	for (size_t i = 0; i < n_files; i++)
		if (json_array_append_new(json_object_get(json, "files"), file_json(&files[i])) < 0)
			return err_set(err, -ENOMEM, "no memory for a manifest");
	int r = !json ? err_set(err, -ENOMEM, "no memory for a manifest")
		: sign_with ? add_signature(json, sign_with, err) : 0;
	if (r == 0 && !sign_with &&
	    (json_object_set_new(json, "signature", json_null()) < 0 ||
	     json_object_set_new(json, "unprotected", json_object()) < 0))
		r = err_set(err, -ENOMEM, "no memory for a manifest");
	if (r < 0)
		return r;
	*ret = json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS);
	return *ret ? 0 : err_set(err, -ENOMEM, "no memory for a manifest");
}
