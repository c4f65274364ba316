/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "format/json.h"
#include "format/manifest.h"

/* Canonical text is JSON, and its own canonical form. */
static void check_canonical(const char *text)
{
	json_t *json = NULL;
	char *again = NULL;
	MUST(json_parse_object(text, strlen(text), "canonical text", &json, NULL) == 0);
	MUST(json_canonical(json, &again, NULL) == 0);
	MUST(strcmp(again, text) == 0);
	free(again);
	json_decref(json);
}

/* Written again and signed, it says the same. */
static void check_round_trip(const struct manifest *m, const struct crypt_key *key)
{
	char *text = NULL;
	struct manifest *again = NULL;
	MUST(manifest_write(&m->snapshot, m->files, m->n_files, key, &text, NULL) == 0);
	MUST(manifest_parse(text, strlen(text), &again, NULL) == 0);
	MUST(manifest_check(again, key, NULL) == MANIFEST_SIGNED);
	MUST(snapshot_compare(&again->snapshot, &m->snapshot) == 0 && again->n_files == m->n_files);
	for (size_t i = 0; i < m->n_files; i++) {
		const struct manifest_file *a = &m->files[i], *b = &again->files[i];
		MUST(strcmp(a->name, b->name) == 0 && a->size == b->size && a->mode == b->mode &&
		     memcmp(a->csum, b->csum, DIGEST_SIZE) == 0);
	}
	manifest_free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct crypt_key *key = fuzz_key();
	struct manifest *m = NULL;
	int r = manifest_parse((const char *)data, len, &m, NULL);
	MUST(r == 0 || r == -EBADMSG);
	if (r == 0) {
		for (size_t i = 0; i < m->n_files; i++) {
			MUST(is_safe_id(m->files[i].name) && archive_kind_of(m->files[i].name) != ARCHIVE_OTHER);
			MUST(manifest_find(m, m->files[i].name) == &m->files[i]);
		}
		int trust = manifest_check(m, key, NULL);
		MUST(trust == MANIFEST_SIGNED || trust == MANIFEST_UNSIGNED || trust == -EKEYREJECTED);
		check_canonical(m->canonical_known);
		if (m->canonical_raw)
			check_canonical(m->canonical_raw);
		check_round_trip(m, key);
	}
	manifest_free(m);
	crypt_key_free(key);
	return 0;
}
