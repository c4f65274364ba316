/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/json_scan.h"
#include "util/array.h"
#include "util/buf.h"

/*
 * {"data":[ROW,ROW,…]}, with or without more beside "data".  A value of the JSON library takes a hundred
 * bytes and more, a list of 20 000 snapshots has half a million of them: so every row is cut out and parsed
 * alone, and once what is left without them.
 */
#define ROW_MAX	   (4u << 20)  /* bytes: one snapshot with forty thousand files */
#define BESIDE_MAX (64u << 10) /* bytes of an answer without its rows */
#define TICKET_MAX 4096	       /* bytes of a ticket; 111 are usual */

/* -- rows ------------------------------------------------------------------------------------ */

struct reader {
	const char *what; /* the rows are: "snapshots" */
	int (*take)(struct reader *reader, const json_t *row, struct err *err);
	void *ret;
	size_t n; /* of PBS_LIST_MAX */
};

static int count(struct reader *reader, size_t n, struct err *err)
{
	if (n > PBS_LIST_MAX - reader->n)
		return err_set(err, -EMSGSIZE, "the server's list of %s is too long: more than %u entries",
			       reader->what, PBS_LIST_MAX);
	reader->n += n;
	return 0;
}

/* What the parser calls bad bytes is the server's breach of protocol here. */
static int parse(const char *text, size_t len, const char *what, json_t **ret, struct err *err)
{
	struct err why = ERR_NONE;
	int r = json_parse_object(text, len, what, ret, &why);
	return r < 0 ? err_set(err, r == -EBADMSG ? -EPROTO : r, "%s", why.msg) : 0;
}

static int read_row(struct reader *reader, struct json_text text, struct err *err)
{
	CLEANUP(json_freep) json_t *row = NULL;
	char what[64];
	(void) snprintf(what, sizeof what, "a row of the server's list of %s", reader->what);
	int r = count(reader, 1, err);
	if (r == 0 && text.len > ROW_MAX)
		r = err_set(err, -EPROTO, "a row of the server's list of %s is longer than %u bytes", reader->what,
			    ROW_MAX);
	if (r == 0)
		r = parse(text.at, text.len, what, &row, err);
	return r < 0 ? r : reader->take(reader, row, err);
}

static int read_rows(struct reader *reader, struct json_text list, struct err *err)
{
	struct json_text row;
	int r;
	while ((r = json_scan_item(&list, &row)) > 0) {
		r = read_row(reader, row, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? err_set(err, -EPROTO, "the server's list of %s is not valid JSON", reader->what) : 0;
}

/* The answer as it would be with an empty list: a list is what "data" has to be. */
static int check_beside(const struct reader *reader, struct json_text answer, struct json_text list,
			struct err *err)
{
	CLEANUP(buf_deinit) struct buf beside = BUF_EMPTY;
	CLEANUP(json_freep) json_t *json = NULL;
	size_t before = (size_t)(list.at - answer.at), behind = answer.len - before - list.len;
	if (before > BESIDE_MAX || behind > BESIDE_MAX)
		return err_set(err, -EPROTO, "the server's answer has more than %u bytes beside its list of %s",
			       BESIDE_MAX, reader->what);
	int r = buf_add(&beside, answer.at, before, err);
	if (r == 0)
		r = buf_puts(&beside, list.len ? "[]" : "", err);
	if (r == 0)
		r = buf_add(&beside, list.at + list.len, behind, err);
	if (r == 0)
		r = parse(beside.data, beside.len, "the server's answer", &json, err);
	if (r == 0 && !json_is_array(json_object_get(json, "data")))
		r = err_set(err, -EPROTO, "the server's answer has no list of %s", reader->what);
	return r;
}

static int read_list(struct reader *reader, const char *text, size_t len, struct err *err)
{
	struct json_text answer = { text, len }, list;
	if (!json_scan_member(answer, "data", &list) || list.len == 0 || *list.at != '[')
		list = (struct json_text){ text, 0 };
	int r = check_beside(reader, answer, list, err);
	return r < 0 ? r : read_rows(reader, list, err);
}

/* -- members --------------------------------------------------------------------------------- */

static bool is_absent(const json_t *value)
{
	return !value || json_is_null(value);
}

static int is_wrong(const struct reader *reader, const char *key, struct err *err)
{
	return err_set(err, -EPROTO, "the server's list of %s has a row whose '%s' is missing or makes no sense",
		       reader->what, key);
}

static int get_text(const struct reader *reader, const json_t *row, const char *key, const char **ret,
		    struct err *err)
{
	const json_t *value = json_object_get(row, key);
	if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
		return is_wrong(reader, key, err);
	*ret = json_string_value(value);
	return 0;
}

static int get_integer(const struct reader *reader, const json_t *row, const char *key, int64_t *ret,
		       struct err *err)
{
	const json_t *value = json_object_get(row, key);
	if (!json_is_integer(value))
		return is_wrong(reader, key, err);
	*ret = json_integer_value(value);
	return 0;
}

static int get_size(const struct reader *reader, const json_t *row, const char *key, uint64_t *ret,
		    struct err *err)
{
	int64_t value = 0;
	int r = get_integer(reader, row, key, &value, err);
	if (r == 0 && value < 0)
		r = is_wrong(reader, key, err);
	*ret = (uint64_t)value;
	return r;
}

/* 1 = a group, 0 = out of grammar. */
static int get_group(const struct reader *reader, const json_t *row, struct group *ret, struct err *err)
{
	const char *type, *id;
	int r = get_text(reader, row, "backup-type", &type, err);
	if (r == 0)
		r = get_text(reader, row, "backup-id", &id, err);
	if (r < 0)
		return r;
	if (!backup_type_parse(type, &ret->type) || !is_safe_id(id))
		return 0;
	memcpy(ret->id, id, strlen(id) + 1);
	return 1;
}

/* Is there a name of a snapshot for it? */
static bool is_time(int64_t time)
{
	char text[SNAPSHOT_TIME_SIZE];
	int64_t again;
	snapshot_time_format(time, text);
	return snapshot_time_parse(text, &again) && again == time;
}

/* -- namespaces ------------------------------------------------------------------------------ */

static int take_namespace(struct reader *reader, const json_t *row, struct err *err)
{
	const char *ns;
	int r = get_text(reader, row, "ns", &ns, err);
	if (r < 0 || !*ns || namespace_check(ns, NULL) < 0)
		return r;
	return strv_add(reader->ret, ns, err);
}

/* By components: "a/b" stands before "a-b". */
static int by_path(const void *a, const void *b)
{
	const char *s = *(char *const *)a, *t = *(char *const *)b;
	while (*s && *s == *t) {
		s++;
		t++;
	}
	if (*s == *t || !*s || !*t)
		return (*s != '\0') - (*t != '\0');
	return *s == '/' ? -1 : *t == '/' ? 1 : (uint8_t)*s - (uint8_t)*t;
}

static void drop_doubles(struct strv *list)
{
	size_t n = 0;
	for (size_t i = 0; i < list->n; i++) {
		if (n && strcmp(list->items[n - 1], list->items[i]) == 0)
			free(list->items[i]);
		else
			list->items[n++] = list->items[i];
	}
	list->n = n;
}

int pbs_answer_namespaces(const char *text, size_t len, struct strv *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv list = STRV_EMPTY;
	struct reader reader = { "namespaces", take_namespace, &list, 0 };
	int r = read_list(&reader, text, len, err);
	if (r < 0)
		return r;
	if (list.n)
		qsort(list.items, list.n, sizeof *list.items, by_path);
	drop_doubles(&list);
	*ret = list;
	list = STRV_EMPTY;
	return 0;
}

/* -- groups ---------------------------------------------------------------------------------- */

/* The names of the newest snapshot's files: is its manifest there? */
static int get_finished(const struct reader *reader, const json_t *row, bool *ret, struct err *err)
{
	const json_t *names = json_object_get(row, "files");
	*ret = false;
	if (!json_is_array(names))
		return is_wrong(reader, "files", err);
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (!name)
			return is_wrong(reader, "files", err);
		*ret = *ret || strcmp(name, MANIFEST_NAME) == 0;
	}
	return 0;
}

/* NULL = unknown */
static int get_owner(const struct reader *reader, const json_t *row, char **ret, struct err *err)
{
	const char *owner;
	if (is_absent(json_object_get(row, "owner")))
		return 0;
	int r = get_text(reader, row, "owner", &owner, err);
	if (r < 0 || !*owner)
		return r;
	*ret = strdup(owner);
	return *ret ? 0 : err_set(err, -ENOMEM, "no memory for a list");
}

static int get_snapshots(const struct reader *reader, const json_t *row, struct group_info *ret, struct err *err)
{
	uint64_t n = 0;
	int r = get_size(reader, row, "backup-count", &n, err);
	ret->n_snapshots = (size_t)n;
	if (r == 0)
		r = get_integer(reader, row, "last-backup", &ret->last_time, err);
	if (r == 0 && !is_time(ret->last_time))
		r = is_wrong(reader, "last-backup", err);
	return r < 0 ? r : get_finished(reader, row, &ret->has_finished, err);
}

static int take_group(struct reader *reader, const json_t *row, struct err *err)
{
	struct group_info info = { 0 };
	struct group_list *list = reader->ret;
	int r = get_group(reader, row, &info.group, err);
	if (r <= 0)
		return r;
	r = get_snapshots(reader, row, &info, err);
	if (r == 0)
		r = array_grow(&list->items, list->n, &list->cap, sizeof info, err);
	if (r == 0)
		r = get_owner(reader, row, &info.owner, err);
	if (r == 0)
		list->items[list->n++] = info;
	return r;
}

int pbs_answer_groups(const char *text, size_t len, struct group_list *ret, struct err *err)
{
	CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
	struct reader reader = { "groups", take_group, &list, 0 };
	int r = read_list(&reader, text, len, err);
	if (r < 0)
		return r;
	*ret = list;
	list = GROUP_LIST_EMPTY;
	return 0;
}

bool pbs_group_is_open(const struct group_info *info)
{
	return !info->has_finished && info->n_snapshots > 1;
}

void pbs_group_settle(struct group_info *info, const struct snapshot_list *snapshots)
{
	info->n_snapshots = snapshots->n;
	info->has_finished = false;
	info->last_time = 0;
	for (size_t i = 0; i < snapshots->n; i++) {
		const struct snapshot_info *it = &snapshots->items[i];
		bool is_better = it->is_finished != info->has_finished ? it->is_finished
								       : it->snapshot.time > info->last_time;
		if (i == 0 || is_better)
			info->last_time = it->snapshot.time;
		info->has_finished = info->has_finished || it->is_finished;
	}
}

/* -- snapshots ------------------------------------------------------------------------------- */

static bool is_archive_name(const char *name)
{
	return is_safe_id(name) && archive_kind_of(name) != ARCHIVE_OTHER;
}

static int take_file(const struct reader *reader, const json_t *row, struct snapshot_info *info,
		     struct err *err)
{
	const char *name;
	uint64_t size = 0;
	bool has_size = !is_absent(json_object_get(row, "size"));
	int r = get_text(reader, row, "filename", &name, err);
	if (r == 0 && has_size)
		r = get_size(reader, row, "size", &size, err);
	if (r < 0 || !is_archive_name(name))
		return r;
	struct snapshot_file *file = &info->files[info->n_files++];
	file->size = size;
	memcpy(file->name, name, strlen(name) + 1);
	info->is_finished = info->is_finished || (has_size && strcmp(name, MANIFEST_NAME) == 0);
	return 0;
}

/* Of the same name, the larger one first. */
static int by_name(const void *a, const void *b)
{
	const struct snapshot_file *f = a, *g = b;
	int order = strcmp(f->name, g->name);
	return order ? order : (f->size < g->size) - (f->size > g->size);
}

static void sort_files(struct snapshot_info *info)
{
	size_t n = 0;
	if (info->n_files)
		qsort(info->files, info->n_files, sizeof *info->files, by_name);
	for (size_t i = 0; i < info->n_files; i++)
		if (n == 0 || strcmp(info->files[n - 1].name, info->files[i].name) != 0)
			info->files[n++] = info->files[i];
	info->n_files = n;
}

static int get_files(struct reader *reader, const json_t *row, struct snapshot_info *info, struct err *err)
{
	const json_t *files = json_object_get(row, "files");
	size_t n = json_array_size(files);
	if (!json_is_array(files))
		return is_wrong(reader, "files", err);
	int r = count(reader, n, err);
	if (r < 0 || n == 0)
		return r;
	info->files = calloc(n, sizeof *info->files);
	if (!info->files)
		return err_set(err, -ENOMEM, "no memory for a list of files");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = take_file(reader, json_array_get(files, i), info, err);
	sort_files(info);
	return r;
}

static int get_protected(const struct reader *reader, const json_t *row, bool *ret, struct err *err)
{
	const json_t *value = json_object_get(row, "protected");
	if (!is_absent(value) && !json_is_boolean(value))
		return is_wrong(reader, "protected", err);
	*ret = json_is_true(value);
	return 0;
}

static int take_snapshot(struct reader *reader, const json_t *row, struct err *err)
{
	struct snapshot_info info = { 0 };
	struct snapshot_list *list = reader->ret;
	int is_named = get_group(reader, row, &info.snapshot.group, err);
	int r = is_named < 0 ? is_named : get_integer(reader, row, "backup-time", &info.snapshot.time, err);
	if (r < 0 || !is_named || !is_time(info.snapshot.time))
		return r;
	r = get_protected(reader, row, &info.is_protected, err);
	if (r == 0)
		r = array_grow(&list->items, list->n, &list->cap, sizeof info, err);
	if (r == 0)
		r = get_files(reader, row, &info, err);
	if (r < 0)
		free(info.files);
	else
		list->items[list->n++] = info;
	return r;
}

int pbs_answer_snapshots(const char *text, size_t len, struct snapshot_list *ret, struct err *err)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct reader reader = { "snapshots", take_snapshot, &list, 0 };
	int r = read_list(&reader, text, len, err);
	if (r < 0)
		return r;
	*ret = list;
	list = SNAPSHOT_LIST_EMPTY;
	return 0;
}

/* -- log-in ---------------------------------------------------------------------------------- */

void pbs_ticket_deinit(struct pbs_ticket *ticket)
{
	secret_deinit(&ticket->ticket);
	secret_deinit(&ticket->csrf);
	ticket->since = 0;
}

/* A text that is written as it is, without escapes, and fit for a header. */
static bool is_token(struct json_text text)
{
	if (text.len < 3 || text.len > TICKET_MAX || text.at[0] != '"')
		return false;
	for (size_t i = 1; i < text.len - 1; i++)
		if (text.at[i] <= ' ' || text.at[i] > '~' || text.at[i] == '\\')
			return false;
	return text.at[text.len - 1] == '"';
}

/* Take the text of a member into @ret, and put as many letters in its place. */
static int cut_out(struct secret *answer, const char *key, struct secret *ret, struct err *err)
{
	struct json_text data, value = { NULL, 0 };
	const struct json_text whole = { (char *)answer->data, answer->len };
	if (!json_scan_member(whole, "data", &data) || !json_scan_member(data, key, &value) || !is_token(value))
		return err_set(err, -EPROTO, "the server's answer to the log-in has no '%s', or none that makes sense", key);
	int r = secret_init_copy(ret, value.at + 1, value.len - 2, err);
	if (r == 0)
		memset(answer->data + (value.at + 1 - whole.at), 'x', value.len - 2);
	return r;
}

/* What is left of it is right, and the members are where they were found. */
static int check_rest(const struct secret *answer, struct err *err)
{
	CLEANUP(json_freep) json_t *json = NULL;
	int r = parse((char *)answer->data, answer->len, "the server's answer to the log-in", &json, err);
	const json_t *data = json_object_get(json, "data");
	if (r == 0 && (!json_is_string(json_object_get(data, "ticket")) ||
		       !json_is_string(json_object_get(data, "CSRFPreventionToken"))))
		r = err_set(err, -EPROTO, "the server's answer to the log-in has no ticket");
	return r;
}

static bool is_challenge(const struct secret *ticket)
{
	static const char start[] = "PBS:!tfa!";
	return ticket->len >= sizeof start - 1 && memcmp(ticket->data, start, sizeof start - 1) == 0;
}

int pbs_answer_ticket(const char *text, size_t len, int64_t now, struct pbs_ticket *ret, struct err *err)
{
	CLEANUP(secret_deinit) struct secret answer = SECRET_EMPTY;
	CLEANUP(pbs_ticket_deinit) struct pbs_ticket ticket = PBS_TICKET_NONE;
	if (len > BESIDE_MAX)
		return err_set(err, -EPROTO, "the server's answer to the log-in is longer than %u bytes", BESIDE_MAX);
	int r = secret_init_copy(&answer, text, len, err);
	if (r == 0)
		r = cut_out(&answer, "ticket", &ticket.ticket, err);
	if (r == 0 && is_challenge(&ticket.ticket))
		return err_set(err, -EACCES, "the account has a second factor: two-factor accounts need an API token");
	if (r == 0)
		r = cut_out(&answer, "CSRFPreventionToken", &ticket.csrf, err);
	if (r == 0)
		r = check_rest(&answer, err);
	if (r < 0)
		return r;
	ticket.since = now;
	*ret = ticket;
	ticket = PBS_TICKET_NONE;
	return 0;
}
