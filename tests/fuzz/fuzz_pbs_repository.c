/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "format/pbs_repository.h"

static void check_parts(const struct pbs_repository *r)
{
	const char *at = strrchr(r->auth_id, '@');
	MUST(is_safe_id(r->store) && r->port != 0);
	MUST(at && at > r->auth_id && r->is_token == (strchr(at, '!') != NULL));
	MUST(*r->host && !strpbrk(r->host, "@/ \t\n") && (r->host[0] == '[' || !strchr(r->host, ':')));
}

/* The form people see is a repository, too, and names the same. */
static void check_format(const struct pbs_repository *r)
{
	char text[PBS_REPOSITORY_TEXT_SIZE], again[PBS_REPOSITORY_TEXT_SIZE];
	struct pbs_repository parsed;
	pbs_repository_format(r, text);
	if (strlen(text) > PBS_REPOSITORY_MAX)
		return; /* with the port that was not typed */
	MUST(pbs_repository_parse(text, &parsed, NULL) == 0);
	MUST(strcmp(parsed.auth_id, r->auth_id) == 0 && strcmp(parsed.host, r->host) == 0);
	MUST(strcmp(parsed.store, r->store) == 0 && parsed.port == r->port && parsed.is_token == r->is_token);
	pbs_repository_format(&parsed, again);
	MUST(strcmp(text, again) == 0);
}

/* The parts of one that was accepted are accepted one by one. */
static void check_join(const struct pbs_repository *r)
{
	struct pbs_repository joined;
	const struct pbs_repository_parts parts = { .auth_id = r->auth_id, .host = r->host, .store = r->store };
	MUST(pbs_repository_join(&parts, &joined, NULL) == 0);
	MUST(strcmp(joined.host, r->host) == 0 && joined.is_token == r->is_token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct pbs_repository repository;
	struct err err = ERR_NONE;
	char *text = malloc(len + 1);
	if (len)
		memcpy(text, data, len);
	text[len] = '\0';
	if (pbs_repository_parse(text, &repository, &err) == 0) {
		check_parts(&repository);
		check_format(&repository);
		check_join(&repository);
	} else {
		MUST(*err.msg && !strpbrk(err.msg, "\n\x1b"));
	}
	free(text);
	return 0;
}
