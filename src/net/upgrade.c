/* SPDX-License-Identifier: Apache-2.0 */
#include "net/upgrade.h"

#include <string.h>
#include <strings.h>

#include "util/bytes.h"

/*
 *   STATUS ──line──▶ HEADER ──blank──┬─ 101 ────────────────▶ accepted
 *      ▲                │            ├─ other 1xx ──▶ STATUS
 *      └────────────────┘            ├─ length, or none ──▶ BODY ────────────────────▶ refused
 *                                    └─ chunked ──▶ CHUNK_SIZE ⇄ CHUNK_DATA, CHUNK_END ──▶ refused
 *
 * Stricter than HTTP allows where the server never does it and a mistake would show in what follows: lines
 * end with CR LF, no control characters, no folded lines, no blank before a colon.
 */
enum { STATUS, HEADER, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END };

static const char version[] = "HTTP/1.";

static int not_http(struct err *err, const char *how)
{
	return err_set(err, -EPROTO, "the answer is not HTTP/1.1 (%s): is this the port of a backup server?", how);
}

/* -- lines ----------------------------------------------------------------------------------- */

static const char *line_text(struct upgrade_answer *a)
{
	a->line[min_size(a->line_len, sizeof a->line - 1)] = '\0';
	return a->line;
}

static int line_add(struct upgrade_answer *a, uint8_t c, struct err *err)
{
	if ((c < 0x20 && c != '\t') || c == 0x7f)
		return not_http(err, "a control character in its header");
	/* What is something else altogether shall not have to send a whole line of it. */
	if (a->state == STATUS && a->line_len < sizeof version - 1 && c != version[a->line_len])
		return not_http(err, "it begins otherwise");
	if (a->line_len < sizeof a->line - 1)
		a->line[a->line_len] = (char)c;
	a->line_len++;
	return 0;
}

/* 1 = @c ends the line, 0 = it goes on. */
static int line_feed(struct upgrade_answer *a, uint8_t c, struct err *err)
{
	if (++a->n_bytes > UPGRADE_ANSWER_MAX)
		return err_set(err, -EPROTO, "the header of the answer is longer than %u bytes", UPGRADE_ANSWER_MAX);
	if ((c == '\n') != a->has_cr)
		return not_http(err, "a line that does not end with CR LF");
	a->has_cr = c == '\r';
	if (c == '\n')
		return 1;
	return a->has_cr ? 0 : line_add(a, c, err);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int take_status(struct upgrade_answer *a, struct err *err)
{
	const char *s = line_text(a);
	if (a->line_len < strlen("HTTP/1.1 101") || !is_digit(s[7]) || s[8] != ' ' || !is_digit(s[9]) ||
	    !is_digit(s[10]) || !is_digit(s[11]) || (s[12] && s[12] != ' '))
		return not_http(err, "no status in its first line");
	a->is_old = s[7] == '0';
	a->status = (unsigned)(s[9] - '0') * 100 + (unsigned)(s[10] - '0') * 10 + (unsigned)(s[11] - '0');
	a->state = HEADER;
	return a->status >= 100 && a->status <= 599 ? 0 : not_http(err, "no status in its first line");
}

/* -- headers --------------------------------------------------------------------------------- */

static void keep(struct upgrade_answer *a, const void *data, size_t len)
{
	size_t n = min_size(len, UPGRADE_TEXT_MAX - a->text_len);
	memcpy(a->text + a->text_len, data, n);
	a->text_len += n;
	a->text[a->text_len] = '\0';
}

static void take_upgrade(struct upgrade_answer *a, const char *value)
{
	if (strcmp(value, UPGRADE_PROTOCOL) == 0)
		a->is_right_protocol = true;
	else
		a->is_wrong_protocol = true;
}

/* One that is no number, or another one than the one before, says nothing of where the body ends. */
static void take_length(struct upgrade_answer *a, const char *value)
{
	uint64_t length = 0;
	size_t n = strspn(value, "0123456789");
	for (size_t i = 0; i < n && n <= 18; i++)
		length = 10 * length + (uint64_t)(value[i] - '0');
	if (n == 0 || n > 18 || value[n] || (a->has_length && length != a->left))
		a->is_coded = true;
	a->has_length = true;
	a->left = length;
}

static void take_transfer_encoding(struct upgrade_answer *a, const char *value)
{
	if (strcasecmp(value, "chunked") != 0 || a->is_chunked || a->is_old)
		a->is_coded = true;
	a->is_chunked = true;
}

/* It was not asked for. */
static void take_content_encoding(struct upgrade_answer *a, const char *value)
{
	if (strcasecmp(value, "identity") != 0)
		a->is_coded = true;
}

static void take_location(struct upgrade_answer *a, const char *value)
{
	if (a->status / 100 == 3)
		keep(a, value, strlen(value));
}

static const struct {
	const char *name;
	void (*take)(struct upgrade_answer *a, const char *value);
} headers[] = {
	{ "upgrade", take_upgrade },
	{ "content-length", take_length },
	{ "transfer-encoding", take_transfer_encoding },
	{ "content-encoding", take_content_encoding },
	{ "location", take_location },
};

static int take_header(struct upgrade_answer *a, struct err *err)
{
	const char *s = line_text(a);
	size_t name_len = strcspn(s, ":");
	if (s[name_len] != ':' || name_len == 0 || strcspn(s, " \t") < name_len)
		return not_http(err, "a header line without a name");
	char *value = a->line + name_len + 1;
	value += strspn(value, " \t");
	for (size_t len = strlen(value); len && strchr(" \t", value[len - 1]); len--)
		value[len - 1] = '\0';
	if (a->line_len >= sizeof a->line)
		*value = '\0'; /* cut: what is left of it is not what was said */
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		if (strlen(headers[i].name) == name_len && strncasecmp(s, headers[i].name, name_len) == 0)
			headers[i].take(a, value);
	return 0;
}

/* What came before the real answer is forgotten, but for its length. */
static int forget_interim(struct upgrade_answer *a)
{
	*a = (struct upgrade_answer){ .n_bytes = a->n_bytes };
	return UPGRADE_MORE;
}

static int take_101(const struct upgrade_answer *a, struct err *err)
{
	if (a->is_old || !a->is_right_protocol || a->is_wrong_protocol)
		return err_set(err, -EPROTO, "the server changes to another protocol than " UPGRADE_PROTOCOL);
	return UPGRADE_ACCEPTED;
}

static int begin_body(struct upgrade_answer *a)
{
	if (a->is_coded || a->status == 204 || a->status / 100 == 3)
		return UPGRADE_REFUSED;
	a->state = a->is_chunked ? CHUNK_SIZE : BODY;
	if (!a->is_chunked && !a->has_length)
		a->left = UINT64_MAX;
	return a->is_chunked || a->left ? UPGRADE_MORE : UPGRADE_REFUSED;
}

/* An outcome; the line is complete. */
static int take_line(struct upgrade_answer *a, struct err *err)
{
	size_t len = a->line_len;
	int r;
	if (a->state == STATUS)
		r = take_status(a, err);
	else if (len)
		r = take_header(a, err);
	else if (a->status == 101)
		r = take_101(a, err);
	else
		r = a->status < 200 ? forget_interim(a) : begin_body(a);
	a->line_len = 0;
	a->has_cr = false;
	return r;
}

static int feed_head(struct upgrade_answer *a, const uint8_t *in, size_t len, size_t *ret_used, struct err *err)
{
	int r = UPGRADE_MORE;
	size_t used = 0;
	while (r == UPGRADE_MORE && used < len && a->state <= HEADER) {
		r = line_feed(a, in[used++], err);
		if (r > 0)
			r = take_line(a, err);
	}
	*ret_used = used;
	return r;
}

/* -- the body of a refusal ------------------------------------------------------------------- */

/* The line of a piece of the body: its length. */
static int take_chunk_size(struct upgrade_answer *a)
{
	const char *s = line_text(a);
	size_t n = strspn(s, "0123456789abcdefABCDEF");
	a->left = n && n <= 8 ? strtoul(s, NULL, 16) : 0;
	bool is_number = !s[n] || strchr("; \t", s[n]);
	a->state = CHUNK_DATA;
	return is_number && a->left ? UPGRADE_MORE : UPGRADE_REFUSED;
}

static int take_chunk_line(struct upgrade_answer *a)
{
	int r = UPGRADE_MORE;
	if (a->state == CHUNK_SIZE)
		r = take_chunk_size(a);
	else if (a->line_len)
		r = UPGRADE_REFUSED;
	else
		a->state = CHUNK_SIZE;
	a->line_len = 0;
	a->has_cr = false;
	return r;
}

/* Some of @in, as much as is of one kind. */
static int feed_body(struct upgrade_answer *a, const uint8_t *in, size_t len, size_t *ret_used)
{
	if (a->state == CHUNK_SIZE || a->state == CHUNK_END) {
		*ret_used = 1;
		int r = line_feed(a, *in, NULL);
		if (r > 0)
			return take_chunk_line(a);
		return r < 0 ? UPGRADE_REFUSED : UPGRADE_MORE;
	}
	size_t n = (size_t)min_u64(min_size(len, UPGRADE_TEXT_MAX - a->text_len), a->left);
	keep(a, in, n);
	*ret_used = n;
	a->left -= n;
	if (a->text_len == UPGRADE_TEXT_MAX || (a->left == 0 && a->state == BODY))
		return UPGRADE_REFUSED;
	if (a->left == 0)
		a->state = CHUNK_END;
	return UPGRADE_MORE;
}

/* -------------------------------------------------------------------------------------------- */

int upgrade_answer_feed(struct upgrade_answer *answer, const uint8_t *in, size_t len, size_t *ret_used,
			struct err *err)
{
	size_t used = 0;
	int r = feed_head(answer, in, len, &used, err);
	while (r == UPGRADE_MORE && used < len) {
		size_t n = 0;
		r = feed_body(answer, in + used, len - used, &n);
		used += n;
	}
	*ret_used = used;
	return r;
}

int upgrade_answer_end(struct upgrade_answer *answer, struct err *err)
{
	if (answer->state > HEADER)
		return UPGRADE_REFUSED;
	bool is_empty = answer->state == STATUS && answer->n_bytes == 0;
	return err_set(err, -ECONNRESET, "the server closed the connection %s",
		       is_empty ? "without an answer" : "in the middle of its answer");
}
