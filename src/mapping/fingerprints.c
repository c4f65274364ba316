/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/fingerprints.h"

#include <string.h>
#include <strings.h>

#include "crypto/crypt_key.h"
#include "format/fingerprint.h"
#include "mapping/client_files.h"
#include "util/buf.h"

static const char file_name[] = "fingerprints";

/* A run of the file up to its line end. */
struct line {
	const char *at;
	size_t len; /* with the line end */
};

/* The next line behind @line within @len bytes of @text; at first from .at == NULL. */
static bool next_line(const char *text, size_t len, struct line *line)
{
	const char *from = line->at ? line->at + line->len : text, *end = text + len;
	if (from == end)
		return false;
	const char *newline = memchr(from, '\n', (size_t)(end - from));
	*line = (struct line){ from, (size_t)((newline ? newline + 1 : end) - from) };
	return true;
}

#define BLANKS " \t\r\n\v\f"

/* The two words of a line; more, or less, and it is none of ours. */
static bool split(const struct line *line, char *copy, size_t size, const char **ret_host, const char **ret_text)
{
	char *rest;
	if (line->len >= size || memchr(line->at, '\0', line->len))
		return false;
	memcpy(copy, line->at, line->len);
	copy[line->len] = '\0';
	*ret_host = strtok_r(copy, BLANKS, &rest);
	*ret_text = strtok_r(NULL, BLANKS, &rest);
	return *ret_text && !strtok_r(NULL, BLANKS, &rest);
}

/* Names of hosts know no case. */
static bool is_of(const struct line *line, const char *host, const char **ret_text, char *copy, size_t size)
{
	const char *name;
	return split(line, copy, size, &name, ret_text) && strcasecmp(name, host) == 0;
}

#define LINE_SIZE 1024 /* bytes; a host has at most 256, a fingerprint 95 */

int fingerprints_find(const char *host, uint8_t ret[static DIGEST_SIZE], struct err *err)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	CLEANUP(freep) uint8_t *text = NULL;
	struct line line = { 0 };
	size_t len;
	int r = client_dir_open(CLIENT_CONFIG, false, &dir, err);
	if (r > 0)
		r = client_file_read(&dir, file_name, &text, &len, err);
	while (r > 0 && next_line((char *)text, len, &line)) {
		char copy[LINE_SIZE];
		const char *words;
		uint8_t found[DIGEST_SIZE];
		if (!is_of(&line, host, &words, copy, sizeof copy) || !fingerprint_parse(words, found))
			continue;
		memcpy(ret, found, DIGEST_SIZE);
		return 1;
	}
	return r < 0 ? r : 0;
}

/* All lines but those of @host, and the last one ended. */
static int keep_others(const char *text, size_t len, const char *host, struct buf *ret, struct err *err)
{
	struct line line = { 0 };
	int r = 0;
	while (r == 0 && next_line(text, len, &line)) {
		char copy[LINE_SIZE];
		const char *ignored;
		if (!is_of(&line, host, &ignored, copy, sizeof copy))
			r = buf_add(ret, line.at, line.len, err);
	}
	if (r == 0 && ret->len && ret->data[ret->len - 1] != '\n')
		r = buf_puts(ret, "\n", err);
	return r;
}

int fingerprints_remember(const char *host, const uint8_t fingerprint[static DIGEST_SIZE], struct err *err)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	CLEANUP(freep) uint8_t *text = NULL;
	CLEANUP(buf_deinit) struct buf lines = BUF_EMPTY;
	char shown[FINGERPRINT_TEXT_SIZE];
	size_t len = 0;
	int r = client_dir_open(CLIENT_CONFIG, true, &dir, err);
	if (r == 0)
		return err_set(err, -ENOENT, "neither XDG_CONFIG_HOME nor HOME says where");
	if (r > 0)
		r = client_dir_lock(&dir, err);
	if (r == 0)
		r = client_file_read(&dir, file_name, &text, &len, err);
	if (r > 0)
		r = keep_others((char *)text, len, host, &lines, err);
	fingerprint_format(fingerprint, DIGEST_SIZE, shown);
	if (r == 0)
		r = buf_printf(&lines, err, "%s %s\n", host, shown);
	return r < 0 ? r : client_file_replace(&dir, file_name, lines.data, lines.len, err);
}
