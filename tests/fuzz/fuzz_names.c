/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "format/base64.h"
#include "format/fingerprint.h"
#include "format/snapshot.h"

/* What is accepted is written back as it was. */
static void check_snapshots(const char *text)
{
	struct group group;
	struct snapshot snap;
	int64_t time;
	char again[SNAPSHOT_TEXT_SIZE];
	if (group_parse(text, &group, NULL) == 0) {
		group_format(&group, again);
		MUST(strcmp(again, text) == 0 && group_compare(&group, &group) == 0);
	}
	if (snapshot_parse(text, &snap, NULL) == 0) {
		snapshot_format(&snap, again);
		MUST(strcmp(again, text) == 0 && snapshot_compare(&snap, &snap) == 0);
	}
	if (snapshot_time_parse(text, &time)) {
		snapshot_time_format(time, again);
		MUST(strcmp(again, text) == 0);
	}
}

static void check_archive(const char *text)
{
	char name[ARCHIVE_NAME_SIZE], again[ARCHIVE_NAME_SIZE], user[ARCHIVE_NAME_SIZE];
	if (archive_server_name(text, name, NULL) < 0)
		return;
	MUST(is_safe_id(name) && archive_kind_of(name) != ARCHIVE_OTHER);
	MUST(archive_server_name(name, again, NULL) == 0 && strcmp(again, name) == 0);
	archive_user_name(name, user);
	MUST(strncmp(user, name, strlen(user)) == 0 && strlen(user) + 5 == strlen(name));
}

/* No component that leads elsewhere, whatever was accepted. */
static void check_namespace(const char *text)
{
	if (namespace_check(text, NULL) < 0)
		return;
	MUST(strlen(text) <= NAMESPACE_MAX && text[0] != '/' && !strstr(text, "//") && !strstr(text, "/."));
	MUST(text[0] != '.' && (!*text || text[strlen(text) - 1] != '/'));
}

static void check_encodings(const char *text, size_t len)
{
	uint8_t fingerprint[DIGEST_SIZE], *bytes = malloc(3 * len / 4);
	char again[FINGERPRINT_TEXT_SIZE];
	size_t n;
	if (fingerprint_parse(text, fingerprint)) {
		fingerprint_format(fingerprint, DIGEST_SIZE, again);
		MUST(strlen(text) <= strlen(again) && strlen(text) >= 2 * DIGEST_SIZE);
	}
	if (base64_decode(text, len, bytes, &n))
		MUST(n <= 3 * len / 4);
	free(bytes);
}

/* Two names, to be compared, with a line end between them. */
static void check_order(const char *text)
{
	struct snapshot a, b;
	char first[SNAPSHOT_TEXT_SIZE];
	const char *end = strchr(text, '\n');
	if (!end || (size_t)(end - text) >= sizeof first)
		return;
	memcpy(first, text, (size_t)(end - text));
	first[end - text] = '\0';
	if (snapshot_parse(first, &a, NULL) < 0 || snapshot_parse(end + 1, &b, NULL) < 0)
		return;
	int forth = snapshot_compare(&a, &b), back = snapshot_compare(&b, &a);
	MUST((forth > 0) == (back < 0) && (forth < 0) == (back > 0));
	MUST((forth == 0) == (strcmp(first, end + 1) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);
	if (len)
		memcpy(text, data, len);
	text[len] = '\0';
	check_namespace(text);
	check_snapshots(text);
	check_archive(text);
	check_encodings(text, len);
	check_order(text);
	free(text);
	return 0;
}
