/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/info.h"

#include <stdlib.h>
#include <string.h>

static const char *const via_names[] = {
	[VIA_LOOP] = "loop", [VIA_FILE] = "file", [VIA_SOCKET] = "socket", [VIA_NBD] = "nbd", [VIA_TREE] = "mount",
};

static const char *const state_names[] = {
	[MAPPING_READY] = "ready",
	[MAPPING_RECONNECTING] = "reconnecting",
	[MAPPING_ENDING] = "ending",
	[MAPPING_SILENT] = "silent",
	[MAPPING_DEAD] = "dead",
};

const char *mapping_via_name(enum mapping_via via)
{
	return via_names[via];
}

const char *mapping_state_name(enum mapping_state state)
{
	return state_names[state];
}

void mapping_info_deinit(struct mapping_info *info)
{
	free(info->name);
	free(info->device);
	free(info->uri);
	free(info->repository);
	free(info->ns);
	free(info->snapshot);
	free(info->archive);
	free(info->lost_why);
	strv_deinit(&info->partitions);
	strv_deinit(&info->journals);
	strv_deinit(&info->users);
	strv_deinit(&info->holders);
	*info = MAPPING_INFO_EMPTY;
}

void mapping_list_deinit(struct mapping_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		mapping_info_deinit(&list->items[i]);
	free(list->items);
	*list = MAPPING_LIST_EMPTY;
}

json_t *text_to_json(const char *text)
{
	json_t *json = json_string(text);
	if (json)
		return json;
	json = json_array();
	for (; json && *text; text++)
		if (json_array_append_new(json, json_integer((unsigned char)*text)) < 0) {
			json_decref(json);
			return NULL;
		}
	return json;
}

json_t *text_or_null_to_json(const char *text)
{
	return text ? text_to_json(text) : json_null();
}

char *text_from_json(const json_t *json)
{
	if (json_is_string(json))
		return strdup(json_string_value(json));
	if (!json_is_array(json))
		return NULL;
	size_t n = json_array_size(json);
	CLEANUP(freep) char *text = malloc(n + 1);
	for (size_t i = 0; text && i < n; i++) {
		json_int_t byte = json_integer_value(json_array_get(json, i)); /* 0 = no integer */
		if (byte < 1 || byte > 255)
			return NULL;
		text[i] = (char)byte;
	}
	if (text)
		text[n] = '\0';
	return STEAL(text);
}

json_t *strv_to_json(const struct strv *v)
{
	json_t *json = json_array();
	for (size_t i = 0; json && i < v->n; i++)
		if (json_array_append_new(json, text_to_json(v->items[i])) < 0) {
			json_decref(json);
			return NULL;
		}
	return json;
}

int strv_from_json(const json_t *json, struct strv *ret, struct err *err)
{
	if (!json_is_array(json))
		return err_set(err, -EPROTO, "not a list of names");
	for (size_t i = 0; i < json_array_size(json); i++) {
		CLEANUP(freep) char *item = text_from_json(json_array_get(json, i));
		int r = item ? strv_add(ret, item, err) : err_set(err, -EPROTO, "not a list of names");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Which key is which text, and which number. */
struct text_field {
	const char *key;
	size_t off;
};

static const struct text_field text_fields[] = {
	{ "name", offsetof(struct mapping_info, name) },
	{ "device", offsetof(struct mapping_info, device) },
	{ "uri", offsetof(struct mapping_info, uri) },
	{ "repository", offsetof(struct mapping_info, repository) },
	{ "ns", offsetof(struct mapping_info, ns) },
	{ "snapshot", offsetof(struct mapping_info, snapshot) },
	{ "archive", offsetof(struct mapping_info, archive) },
	{ "lost_why", offsetof(struct mapping_info, lost_why) },
};

static const struct text_field u64_fields[] = {
	{ "size", offsetof(struct mapping_info, size) },
	{ "read_bytes", offsetof(struct mapping_info, stats.read_bytes) },
	{ "fetched_bytes", offsetof(struct mapping_info, stats.fetched_bytes) },
	{ "fetched_chunks", offsetof(struct mapping_info, stats.fetched_chunks) },
	{ "cache_hits", offsetof(struct mapping_info, stats.cache_hits) },
	{ "damaged_chunks", offsetof(struct mapping_info, stats.damaged_chunks) },
};

static char *const *text_at(const struct mapping_info *info, const struct text_field *field)
{
	return (char *const *)(const void *)((const char *)info + field->off);
}

static const uint64_t *u64_at(const struct mapping_info *info, const struct text_field *field)
{
	return (const uint64_t *)(const void *)((const char *)info + field->off);
}

/* As many as surely fit into a packet; nobody reads more of them. */
static json_t *some_to_json(const struct strv *v)
{
	enum { MOST = 400 }; /* names have up to 300 bytes */
	const struct strv some = { v->items, v->n < MOST ? v->n : MOST, 0 };
	return strv_to_json(&some);
}

json_t *mapping_info_to_json(const struct mapping_info *info)
{
	json_t *json = json_object();
	int bad = !json;
	for (size_t i = 0; i < ARRAY_LEN(text_fields); i++)
		bad |= json_object_set_new(json, text_fields[i].key,
					   text_to_json(*text_at(info, &text_fields[i])));
	for (size_t i = 0; i < ARRAY_LEN(u64_fields); i++)
		bad |= json_object_set_new(json, u64_fields[i].key,
					   json_integer((json_int_t)*u64_at(info, &u64_fields[i])));
	bad |= json_object_set_new(json, "via", json_integer(info->via));
	bad |= json_object_set_new(json, "pid", json_integer(info->pid));
	bad |= json_object_set_new(json, "keeper", json_integer(info->keeper_pid));
	bad |= json_object_set_new(json, "state", json_integer(info->state));
	bad |= json_object_set_new(json, "since", json_integer(info->since));
	bad |= json_object_set_new(json, "lost_since", json_integer(info->lost_since));
	bad |= json_object_set_new(json, "partitions", some_to_json(&info->partitions));
	bad |= json_object_set_new(json, "journals", some_to_json(&info->journals));
	bad |= json_object_set_new(json, "users", some_to_json(&info->users));
	if (!bad)
		return json;
	json_decref(json);
	return NULL;
}

static int take_number(const json_t *json, const char *key, json_int_t max, json_int_t *ret,
		       struct err *err)
{
	const json_t *number = json_object_get(json, key);
	json_int_t n = json_is_integer(number) ? json_integer_value(number) : -1;
	if (n < 0 || n > max)
		return err_set(err, -EPROTO, "a mapping does not say its %s", key);
	*ret = n;
	return 0;
}

static int fill_texts(const json_t *json, struct mapping_info *info, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(text_fields); i++) {
		char *text = text_from_json(json_object_get(json, text_fields[i].key));
		if (!text)
			return err_set(err, -EPROTO, "a mapping does not say its %s", text_fields[i].key);
		memcpy((char *)info + text_fields[i].off, &text, sizeof text);
	}
	int r = strv_from_json(json_object_get(json, "partitions"), &info->partitions, err);
	if (r == 0)
		r = strv_from_json(json_object_get(json, "journals"), &info->journals, err);
	if (r == 0)
		r = strv_from_json(json_object_get(json, "users"), &info->users, err);
	return r < 0 ? err_while(err, r, "reading the partitions, journals and users of a mapping") : 0;
}

static int fill_numbers(const json_t *json, struct mapping_info *info, struct err *err)
{
	json_int_t via = 0, state = 0, pid = 0, keeper = 0, since = 0, lost_since = 0;
	for (size_t i = 0; i < ARRAY_LEN(u64_fields); i++) {
		json_int_t n = 0;
		int r = take_number(json, u64_fields[i].key, INT64_MAX, &n, err);
		if (r < 0)
			return r;
		memcpy((char *)info + u64_fields[i].off, &(uint64_t){ (uint64_t)n }, sizeof(uint64_t));
	}
	int r = take_number(json, "via", VIA_TREE, &via, err);
	if (r == 0)
		r = take_number(json, "state", MAPPING_ENDING, &state, err);
	if (r == 0)
		r = take_number(json, "pid", INT32_MAX, &pid, err);
	if (r == 0)
		r = take_number(json, "keeper", INT32_MAX, &keeper, err);
	if (r == 0)
		r = take_number(json, "since", INT64_MAX, &since, err);
	if (r == 0)
		r = take_number(json, "lost_since", INT64_MAX, &lost_since, err);
	info->via = (enum mapping_via)via;
	info->state = (enum mapping_state)state;
	info->pid = (pid_t)pid;
	info->keeper_pid = (pid_t)keeper;
	info->since = since;
	info->lost_since = lost_since;
	return r;
}

int mapping_info_from_json(const json_t *json, struct mapping_info *ret, struct err *err)
{
	struct mapping_info info = MAPPING_INFO_EMPTY;
	int r = fill_texts(json, &info, err);
	if (r == 0)
		r = fill_numbers(json, &info, err);
	if (r < 0) {
		mapping_info_deinit(&info);
		return r;
	}
	*ret = info;
	return 0;
}

json_t *failure_to_json(const struct failure *why)
{
	json_t *json = json_object();
	int bad = !json;
	bad |= json_object_set_new(json, "code", json_integer(why->err.code));
	bad |= json_object_set_new(json, "message", text_to_json(why->err.msg));
	bad |= json_object_set_new(json, "candidates", some_to_json(&why->candidates));
	bad |= json_object_set_new(json, "holders", some_to_json(&why->holders));
	if (!bad)
		return json;
	json_decref(json);
	return NULL;
}

void failure_from_json(const json_t *json, struct failure *ret)
{
	json_int_t code = json_integer_value(json_object_get(json, "code"));
	CLEANUP(freep) char *message = text_from_json(json_object_get(json, "message"));
	(void) err_set(&ret->err, code < 0 && code > -4096 ? (int)code : -EPROTO, "%s",
		       message ? message : "the server process says nothing of use");
	(void) strv_from_json(json_object_get(json, "candidates"), &ret->candidates, NULL);
	(void) strv_from_json(json_object_get(json, "holders"), &ret->holders, NULL);
}
