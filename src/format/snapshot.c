/* SPDX-License-Identifier: Apache-2.0 */
#include "format/snapshot.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/text.h"

static const char *const type_names[] = {
	[BACKUP_CT] = "ct", [BACKUP_HOST] = "host", [BACKUP_VM] = "vm",
};

static bool is_id_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || c == '-';
}

static bool is_safe_id_len(const char *s, size_t len)
{
	if (len == 0 || len > SAFE_ID_MAX || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_id_char(s[i]))
			return false;
	return true;
}

bool is_safe_id(const char *s)
{
	return is_safe_id_len(s, strlen(s));
}

const char *backup_type_name(enum backup_type type)
{
	return type_names[type];
}

static bool type_parse_len(const char *name, size_t len, enum backup_type *ret)
{
	for (int i = 0; i < N_BACKUP_TYPES; i++) {
		if (strlen(type_names[i]) == len && memcmp(type_names[i], name, len) == 0) {
			*ret = (enum backup_type)i;
			return true;
		}
	}
	return false;
}

bool backup_type_parse(const char *name, enum backup_type *ret)
{
	return type_parse_len(name, strlen(name), ret);
}

/* What a user typed, fit to be shown. */
#define SHOWN_SIZE 160
static const char *shown(const char *text, char buf[static SHOWN_SIZE])
{
	return text_escape(text, buf, SHOWN_SIZE);
}

int namespace_check(const char *ns, struct err *err)
{
	char text[SHOWN_SIZE];
	if (!*ns)
		return 0;
	if (strlen(ns) > NAMESPACE_MAX)
		return err_set(err, -EINVAL, "namespace is longer than %d bytes", NAMESPACE_MAX);
	int depth = 0;
	for (const char *at = ns;; at++) {
		size_t len = strcspn(at, "/");
		if (!is_safe_id_len(at, len))
			return err_set(err, -EINVAL, "'%s' is no namespace: names like a or a/b",
				       shown(ns, text));
		if (++depth > NAMESPACE_MAX_DEPTH)
			return err_set(err, -EINVAL, "namespace '%s' is deeper than %d", shown(ns, text),
				       NAMESPACE_MAX_DEPTH);
		at += len;
		if (!*at)
			return 0;
	}
}

/* "type/id", @len bytes. */
static bool group_parse_len(const char *text, size_t len, struct group *ret)
{
	const char *slash = memchr(text, '/', len);
	if (!slash)
		return false;
	size_t type_len = (size_t)(slash - text), id_len = len - type_len - 1;
	if (!type_parse_len(text, type_len, &ret->type) || !is_safe_id_len(slash + 1, id_len))
		return false;
	memcpy(ret->id, slash + 1, id_len);
	ret->id[id_len] = '\0';
	return true;
}

int group_parse(const char *text, struct group *ret, struct err *err)
{
	char buf[SHOWN_SIZE];
	struct group group = { 0 };
	if (!group_parse_len(text, strlen(text), &group))
		return err_set(err, -EINVAL, "'%s' is no backup group: vm/100, ct/101 or host/NAME",
			       shown(text, buf));
	*ret = group;
	return 0;
}

int snapshot_parse(const char *text, struct snapshot *ret, struct err *err)
{
	char buf[SHOWN_SIZE];
	struct snapshot snap = { 0 };
	const char *slash = strrchr(text, '/');
	if (!slash || !group_parse_len(text, (size_t)(slash - text), &snap.group) ||
	    !snapshot_time_parse(slash + 1, &snap.time))
		return err_set(err, -EINVAL,
			       "'%s' is no snapshot: vm/100/2026-01-02T03:04:05Z, or vm/100 for the newest",
			       shown(text, buf));
	*ret = snap;
	return 0;
}

/* Years 0 … 9999, so that four digits always do. */
#define TIME_MIN (-62167219200)
#define TIME_MAX 253402300799

void snapshot_time_format(int64_t time, char ret[static SNAPSHOT_TIME_SIZE])
{
	time_t t = time < TIME_MIN ? TIME_MIN : time > TIME_MAX ? TIME_MAX : time;
	struct tm tm;
	(void) gmtime_r(&t, &tm);
	char text[80];
	(void) snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(ret, text, SNAPSHOT_TIME_SIZE - 1);
	ret[SNAPSHOT_TIME_SIZE - 1] = '\0';
}

bool snapshot_time_parse(const char *text, int64_t *ret)
{
	struct tm tm = { 0 };
	if (strlen(text) != SNAPSHOT_TIME_SIZE - 1 ||
	    sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int64_t time = timegm(&tm);
	/* 31 February and second 60 are times too, but not written like that. */
	char again[SNAPSHOT_TIME_SIZE];
	snapshot_time_format(time, again);
	if (strcmp(again, text) != 0)
		return false;
	*ret = time;
	return true;
}

void group_format(const struct group *group, char ret[static GROUP_TEXT_SIZE])
{
	(void) snprintf(ret, GROUP_TEXT_SIZE, "%s/%s", type_names[group->type], group->id);
}

void snapshot_format(const struct snapshot *snap, char ret[static SNAPSHOT_TEXT_SIZE])
{
	char time[SNAPSHOT_TIME_SIZE];
	snapshot_time_format(snap->time, time);
	(void) snprintf(ret, SNAPSHOT_TEXT_SIZE, "%s/%s/%s", type_names[snap->group.type],
			snap->group.id, time);
}

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

/* Of any length: leading zeros aside, the longer one is larger. */
static int compare_numbers(const char *a, const char *b)
{
	a += strspn(a, "0");
	b += strspn(b, "0");
	size_t len_a = strlen(a), len_b = strlen(b);
	if (len_a != len_b)
		return len_a < len_b ? -1 : 1;
	return strcmp(a, b);
}

static int compare_ids(const char *a, const char *b)
{
	bool a_is_number = is_number(a), b_is_number = is_number(b);
	if (a_is_number != b_is_number)
		return a_is_number ? -1 : 1;
	int c = a_is_number ? compare_numbers(a, b) : 0;
	return c ? c : strcmp(a, b);
}

int group_compare(const struct group *a, const struct group *b)
{
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return compare_ids(a->id, b->id);
}

int snapshot_compare(const struct snapshot *a, const struct snapshot *b)
{
	int c = group_compare(&a->group, &b->group);
	if (c)
		return c;
	return a->time < b->time ? -1 : a->time > b->time;
}

/* -- archives -------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), end_len = strlen(end);
	return len > end_len && strcmp(s + len - end_len, end) == 0;
}

/* What a user's ending becomes on the server. */
static const struct {
	const char *ending, *added;
} endings[] = {
	{ ".fidx", "" }, { ".didx", "" }, { ".blob", "" },
	{ ".img", ".fidx" },
	{ ".pxar", ".didx" }, { ".mpxar", ".didx" }, { ".ppxar", ".didx" }, { ".pcat1", ".didx" },
	{ ".conf", ".blob" }, { ".json", ".blob" }, { ".key", ".blob" }, { ".log", ".blob" },
};

int archive_server_name(const char *name, char ret[static ARCHIVE_NAME_SIZE], struct err *err)
{
	char text[SHOWN_SIZE];
	if (!is_safe_id(name))
		return err_set(err, -EINVAL, "'%s' is no archive name", shown(name, text));
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		if (!ends_with(name, endings[i].ending))
			continue;
		size_t len = strlen(name), added = strlen(endings[i].added);
		if (len + added > SAFE_ID_MAX)
			break;
		memcpy(ret, name, len);
		memcpy(ret + len, endings[i].added, added + 1);
		return 0;
	}
	return err_set(err, -EINVAL, "'%s' is no archive name: they end in .img, .pxar, .conf or .log",
		       shown(name, text));
}

enum archive_kind archive_kind_of(const char *server_name)
{
	if (ends_with(server_name, ".img.fidx"))
		return ARCHIVE_IMAGE;
	if (ends_with(server_name, ".fidx"))
		return ARCHIVE_FIXED;
	if (ends_with(server_name, ".pxar.didx") || ends_with(server_name, ".mpxar.didx") ||
	    ends_with(server_name, ".ppxar.didx"))
		return ARCHIVE_PXAR;
	if (ends_with(server_name, ".didx"))
		return ARCHIVE_DYNAMIC;
	return ends_with(server_name, ".blob") ? ARCHIVE_BLOB : ARCHIVE_OTHER;
}

int archive_pxar_name(const char *server_name, const char *kind, char ret[static ARCHIVE_NAME_SIZE],
		      struct err *err)
{
	static const char didx[] = ".didx";
	size_t stem = strlen(server_name) - strlen(didx);
	while (server_name[stem - 1] != '.') /* ".pxar", ".mpxar" or ".ppxar" */
		stem--;
	if (stem + strlen(kind) + strlen(didx) > SAFE_ID_MAX)
		return err_set(err, -EINVAL, "a name of more than %d bytes", SAFE_ID_MAX);
	(void) snprintf(ret, ARCHIVE_NAME_SIZE, "%.*s%s%s", (int)stem, server_name, kind, didx);
	return 0;
}

void archive_user_name(const char *server_name, char ret[static ARCHIVE_NAME_SIZE])
{
	(void) snprintf(ret, ARCHIVE_NAME_SIZE, "%s", server_name);
	if (ends_with(ret, ".fidx") || ends_with(ret, ".didx") || ends_with(ret, ".blob"))
		ret[strlen(ret) - 5] = '\0';
}
