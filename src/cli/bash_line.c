/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bash_line.h"

#include <stdbool.h>
#include <string.h>

#define BLANKS " \t\n"

/* The word that is being read. */
struct reader {
	const char *at;
	struct buf word;
	size_t opened; /* length of the word at its last opening quote */
	size_t broken; /* and behind its last break */
	char quote;
};

static int add(struct reader *reader, struct err *err)
{
	return buf_add(&reader->word, reader->at++, 1, err);
}

/* A quote that begins or ends is nothing of the word itself. */
static bool read_quote(struct reader *reader)
{
	char c = *reader->at;
	bool is_quote = reader->quote ? c == reader->quote : c == '\'' || c == '"';
	if (is_quote) {
		reader->quote = reader->quote ? '\0' : c;
		reader->opened = reader->word.len;
		reader->at++;
	}
	return is_quote;
}

/* "\x", where the backslash means something. */
static bool is_escape(const struct reader *reader)
{
	char next = reader->at[0] == '\\' ? reader->at[1] : '\0';
	return next && reader->quote != '\'' && (!reader->quote || strchr("\"\\$`", next));
}

static int read_one(struct reader *reader, const char *breaks, struct err *err)
{
	if (read_quote(reader))
		return 0;
	if (is_escape(reader)) {
		reader->at++;
		return add(reader, err);
	}
	bool is_break = !reader->quote && strchr(breaks, *reader->at);
	int r = add(reader, err);
	if (is_break) /* of what bash replaces, the word begins anew */
		reader->broken = reader->word.len;
	return r;
}

/* From reader->at to the end of the word or the line. */
static int read_word(struct reader *reader, const char *breaks, struct err *err)
{
	reader->word.len = 0;
	reader->opened = reader->broken = 0;
	int r = buf_puts(&reader->word, "", err);
	while (r == 0 && *reader->at && (reader->quote || !strchr(BLANKS, *reader->at)))
		r = read_one(reader, breaks, err);
	return r;
}

static int split(struct reader *reader, const char *breaks, struct strv *ret, struct err *err)
{
	int r;
	do {
		reader->at += strspn(reader->at, BLANKS);
		r = read_word(reader, breaks, err);
		if (r == 0)
			r = strv_add(ret, reader->word.data, err);
	} while (r == 0 && *reader->at); /* a blank at the end: one more word, an empty one */
	return r;
}

int bash_line_split(const char *text, const char *breaks, struct bash_line *ret, struct err *err)
{
	struct strv words = STRV_EMPTY;
	struct reader reader = { .at = text };
	int r = split(&reader, breaks, &words, err);
	buf_deinit(&reader.word);
	if (r < 0) {
		strv_deinit(&words);
		return r;
	}
	*ret = (struct bash_line){
		.words = words,
		.skip = reader.quote ? reader.opened : reader.broken,
		.quote = reader.quote,
	};
	return 0;
}

void bash_line_deinit(struct bash_line *line)
{
	strv_deinit(&line->words);
	*line = BASH_LINE_EMPTY;
}

/* Bytes of UTF-8 mean nothing to a shell. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_./:=@%+,-", c)) || (unsigned char)c >= 0x80;
}

static bool can_stand(char quote, const char *word)
{
	if (quote == '\'')
		return !strchr(word, '\'');
	/* The history is looked up in double quotes as well, and a backslash before '!' would stay. */
	return quote != '"' || !strchr(word, '!');
}

static bool is_to_escape(char quote, char c)
{
	return quote == '\0' ? !is_plain(c) : quote == '"' && strchr("\"\\$`", c);
}

int bash_quote(char quote, const char *word, struct buf *ret, struct err *err)
{
	if (!can_stand(quote, word))
		return 0;
	int r = 0;
	for (; r == 0 && *word; word++) {
		if (is_to_escape(quote, *word))
			r = buf_puts(ret, "\\", err);
		if (r == 0)
			r = buf_add(ret, word, 1, err);
	}
	return r < 0 ? r : 1;
}
