/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "format/json.h"
#include "source/pbs_answers.h"
#include "source/pbs_refusal.h"
#include "util/text.h"

#define WHOLE_MAX 2000 /* bytes: no deeper than what can be parsed at once */

/* What was read row by row is right as a whole, too.  Returns the number of rows. */
static size_t check_whole(const char *text, size_t len)
{
	json_t *json = NULL;
	if (len > WHOLE_MAX)
		return SIZE_MAX;
	MUST(json_parse_object(text, len, "answer", &json, NULL) == 0);
	MUST(json_is_array(json_object_get(json, "data")));
	size_t n = json_array_size(json_object_get(json, "data"));
	json_decref(json);
	return n;
}

static void check_failure(int r)
{
	MUST(r == -EPROTO || r == -EMSGSIZE);
}

static bool is_at_or_below(const char *ns, const char *parent)
{
	size_t len = strlen(parent);
	return strncmp(ns, parent, len) == 0 && (ns[len] == '/' || ns[len] == '\0');
}

static void fuzz_namespaces(const char *text, size_t len)
{
	struct strv list = STRV_EMPTY;
	int r = pbs_answer_namespaces(text, len, &list, NULL);
	if (r < 0) {
		check_failure(r);
		return;
	}
	MUST(list.n <= check_whole(text, len));
	for (size_t i = 0; i < list.n; i++) {
		MUST(*list.items[i] && namespace_check(list.items[i], NULL) == 0);
		for (size_t k = 0; k < i; k++)
			MUST(!is_at_or_below(list.items[k], list.items[i]));
	}
	strv_deinit(&list);
}

static void fuzz_groups(const char *text, size_t len)
{
	struct group_list list = GROUP_LIST_EMPTY;
	struct snapshot_list none = SNAPSHOT_LIST_EMPTY;
	int r = pbs_answer_groups(text, len, &list, NULL);
	if (r < 0) {
		check_failure(r);
		return;
	}
	MUST(list.n <= check_whole(text, len));
	for (size_t i = 0; i < list.n; i++) {
		MUST(is_safe_id(list.items[i].group.id));
		pbs_group_settle(&list.items[i], &none);
		MUST(!pbs_group_is_open(&list.items[i]));
	}
	group_list_deinit(&list);
}

static void check_snapshot(const struct snapshot_info *info)
{
	char text[SNAPSHOT_TEXT_SIZE];
	struct snapshot again;
	snapshot_format(&info->snapshot, text);
	MUST(snapshot_parse(text, &again, NULL) == 0 && snapshot_compare(&again, &info->snapshot) == 0);
	for (size_t i = 0; i < info->n_files; i++) {
		MUST(is_safe_id(info->files[i].name) && archive_kind_of(info->files[i].name) != ARCHIVE_OTHER);
		MUST(info->files[i].size <= INT64_MAX);
		MUST(i == 0 || strcmp(info->files[i - 1].name, info->files[i].name) < 0);
	}
}

static void fuzz_snapshots(const char *text, size_t len)
{
	struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	int r = pbs_answer_snapshots(text, len, &list, NULL);
	if (r < 0) {
		check_failure(r);
		return;
	}
	MUST(list.n <= check_whole(text, len));
	for (size_t i = 0; i < list.n; i++)
		check_snapshot(&list.items[i]);
	snapshot_list_deinit(&list);
}

/* The one a JSON parser finds in it. */
static void check_secret(const json_t *data, const char *key, const struct secret *secret)
{
	const json_t *value = json_object_get(data, key);
	MUST(json_is_string(value) && json_string_length(value) == secret->len);
	MUST(memcmp(json_string_value(value), secret->data, secret->len) == 0);
}

static void fuzz_ticket(const char *text, size_t len)
{
	struct pbs_ticket ticket = PBS_TICKET_NONE;
	json_t *json = NULL;
	int r = pbs_answer_ticket(text, len, 1, &ticket, NULL);
	MUST(r == 0 || r == -EPROTO || r == -EACCES);
	if (r < 0)
		return;
	MUST(json_parse_object(text, len, "answer", &json, NULL) == 0);
	check_secret(json_object_get(json, "data"), "ticket", &ticket.ticket);
	check_secret(json_object_get(json, "data"), "CSRFPreventionToken", &ticket.csrf);
	json_decref(json);
	pbs_ticket_deinit(&ticket);
}

static void fuzz_refusal(const char *text, size_t len)
{
	struct err err = ERR_NONE;
	unsigned status = len < 2 ? 400 : 100 * (unsigned)(text[0] & 7) + (unsigned)(text[1] & 7);
	MUST(pbs_refusal(status, text, len, &err) == err.code && err.code < 0);
	MUST(text_is_utf8(err.msg, strlen(err.msg)) && strlen(err.msg) < 450);
	for (const char *c = err.msg; *c; c++)
		MUST((uint8_t)*c >= 0x20 && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const targets[])(const char *text, size_t len) = {
		fuzz_namespaces, fuzz_groups, fuzz_snapshots, fuzz_ticket, fuzz_refusal,
	};
	if (len)
		targets[data[0] % ARRAY_LEN(targets)]((const char *)data + 1, len - 1);
	return 0;
}
