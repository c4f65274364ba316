/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_refusal.h"

#include <stdbool.h>
#include <string.h>

#include "util/bytes.h"
#include "util/text.h"

/*
 * The server says 400 to nearly everything; what it means is in the text.  A text that is not known is
 * shown like the others, and costs only a better exit status.  The text of a 401 is never looked at for
 * what is wrong with the log-in: newer servers do not tell.
 */
#define TEXT_MAX 400 /* bytes of the first line; more says nothing more */

static const struct meaning {
	unsigned from, to; /* status */
	const char *start; /* of the text; NULL = any */
	const char *part;  /* somewhere behind it; NULL = any */
	int code;
	const char *words;
} meanings[] = {
	{ 200, 299, NULL, NULL, -EPROTO, "the server gave another answer than a backup server does" },
	{ 300, 399, NULL, NULL, -EPROTO, "the server sends elsewhere, as no backup server does" },
	/* inside a session: of an index that was not opened there */
	{ 401, 401, "download chunk ", NULL, -EACCES, "the server does not give this chunk" },
	{ 401, 401, NULL, NULL, -EACCES, "wrong password or token, or the ticket expired" },
	{ 403, 403, NULL, NULL, -EACCES, "the server refuses it" },
	{ 400, 400, "no permissions on ", NULL, -EACCES, "the server refuses it" },
	{ 400, 400, "permission check failed", NULL, -EACCES, "the server refuses it" },
	{ 400, 400, "backup owner check failed", NULL, -EACCES, "the backup belongs to somebody else" },
	/* the rest of this one is what an administrator wrote: before all that look for words anywhere */
	{ 400, 400, "datastore '", "' is ", -EAGAIN, "the server does not give the datastore out" },
	{ 400, 400, "no such datastore", NULL, -ENOENT, "it is not there" },
	{ 400, 400, "ENOENT", NULL, -ENOENT, "it is not there" },
	{ 400, 400, "snapshot ", " does not exist", -ENOENT, "it is not there" },
	{ 400, 400, NULL, "No such file or directory (os error 2)", -ENOENT, "it is not there" },
	{ 400, 400, "Unable to open fixed index", NULL, -EBADMSG, "the index is damaged" },
	{ 400, 400, "Unable to open dynamic index", NULL, -EBADMSG, "the index is damaged" },
	{ 400, 400, NULL, "locked by another operation", -EBUSY, "it is being removed or written" },
	{ 400, 400, NULL, "unable to acquire shared snapshot lock", -EBUSY, "it is being removed or written" },
	{ 400, 400, "parameter verification failed", NULL, -EINVAL, "the server does not take the request" },
	{ 404, 404, NULL, NULL, -ENOENT, "it is not there" },
	{ 400, 499, NULL, NULL, -EREMOTEIO, "the server cannot do it" },
	{ 500, 599, NULL, NULL, -EREMOTEIO, "the server has trouble of its own" },
	{ 0, ~0u, NULL, NULL, -EPROTO, "the server gave another answer than a backup server does" },
};

static bool is_meant(const struct meaning *m, unsigned status, const char *text)
{
	size_t start = m->start ? strlen(m->start) : 0;
	return status >= m->from && status <= m->to && (!start || strncmp(text, m->start, start) == 0) &&
	       (!m->part || strstr(text + start, m->part));
}

/* The first line that has something in it, without the blanks around it. */
static void first_line(const char *body, size_t len, char ret[static TEXT_MAX + 1])
{
	size_t n = 0;
	while (n < len && memchr(" \t\r\n", body[n], 4))
		n++;
	len = min_size(len - n, TEXT_MAX);
	memcpy(ret, body + n, len);
	ret[len] = '\0';
	len = strcspn(ret, "\r\n");
	while (len && memchr(" \t", ret[len - 1], 2))
		len--;
	ret[len] = '\0';
}

int pbs_refusal(unsigned status, const char *body, size_t len, struct err *err)
{
	char line[TEXT_MAX + 1] = "", text[320];
	const struct meaning *m = meanings;
	if (len)
		first_line(body, len, line);
	while (!is_meant(m, status, line))
		m++;
	if (!*line)
		return err_set(err, m->code, "%s (status %u)", m->words, status);
	return err_set(err, m->code, "%s: %s", m->words, text_escape(line, text, sizeof text));
}
