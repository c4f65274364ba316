/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pbs_repository.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "util/bytes.h"
#include "util/text.h"

/*
 * The reference client has one regular expression for it.  The same strings are taken here part by part, from
 * the right, so that a message can say which part is wrong:
 *
 *   root@pam!token @ [fe80::1] : 8007 : store1
 *   auth id          host        port   store: behind the last ':'
 *
 * A host has no ':' outside of brackets, so one that is left over begins a port; "8007:store" is a host.
 */
#define DEFAULT_AUTH_ID "root@pam"
#define DEFAULT_HOST	"localhost"

struct span {
	const char *s;
	size_t len;
};

/* A part as it was typed, fit to be shown. */
#define SHOWN_SIZE 128
static const char *shown(struct span part, char ret[static SHOWN_SIZE])
{
	char copy[SHOWN_SIZE];
	size_t len = min_size(part.len, sizeof copy - 1);
	memcpy(copy, part.s, len);
	copy[len] = '\0';
	return text_escape(copy, ret, SHOWN_SIZE);
}

static struct span span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static struct span span_between(const char *from, const char *to)
{
	return (struct span){ from, (size_t)(to - from) };
}

static const char *find_last(struct span in, char c)
{
	for (size_t n = in.len; n > 0; n--)
		if (in.s[n - 1] == c)
			return in.s + n - 1;
	return NULL;
}

/* The caller knows that it fits. */
static void copy_span(struct span part, char *ret)
{
	memcpy(ret, part.s, part.len);
	ret[part.len] = '\0';
}

static bool is_safe_id_span(struct span part)
{
	char id[SAFE_ID_MAX + 1];
	if (part.len > SAFE_ID_MAX)
		return false;
	copy_span(part, id);
	return is_safe_id(id);
}

static bool is_alnum(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* -- the parts ------------------------------------------------------------------------------- */

static int take_store(struct span part, struct pbs_repository *ret, struct err *err)
{
	char text[SHOWN_SIZE];
	if (part.len == 0)
		return err_set(err, -EINVAL, "the name of the datastore is missing");
	if (!is_safe_id_span(part))
		return err_set(err, -EINVAL, "'%s' is no name of a datastore%s", shown(part, text),
			       memchr(part.s, '/', part.len) ? "; a directory is written /path or ./path" : "");
	copy_span(part, ret->store);
	return 0;
}

static int take_port(struct span part, struct pbs_repository *ret, struct err *err)
{
	char text[SHOWN_SIZE];
	unsigned long port = 0;
	bool is_number = part.len > 0 && part.len <= 5;
	for (size_t i = 0; is_number && i < part.len; i++) {
		is_number = part.s[i] >= '0' && part.s[i] <= '9';
		port = 10 * port + (unsigned long)(part.s[i] - '0');
	}
	if (!is_number || port == 0 || port > UINT16_MAX)
		return err_set(err, -EINVAL, "'%s' is no port: a number from 1 to 65535", shown(part, text));
	ret->port = (uint16_t)port;
	return 0;
}

/* Without the brackets; a zone ("%eth0") is none the server could be asked for. */
static bool is_ipv6(struct span part)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	if (part.len >= sizeof text)
		return false;
	copy_span(part, text);
	return inet_pton(AF_INET6, text, &address) == 1;
}

/* Labels with dots between them; RFC 1123, section 2.1.  An IPv4 address is such a one. */
static bool is_host_name(struct span part)
{
	for (size_t i = 0; i < part.len; i++) {
		bool is_first = i == 0 || part.s[i - 1] == '.';
		bool is_last = i + 1 == part.len || part.s[i + 1] == '.';
		if (!is_alnum(part.s[i]) && (is_first || is_last || (part.s[i] != '-' && part.s[i] != '.')))
			return false;
	}
	return part.len > 0;
}

static int take_host(struct span part, struct pbs_repository *ret, struct err *err)
{
	char text[SHOWN_SIZE];
	bool is_bracketed = part.len >= 2 && part.s[0] == '[' && part.s[part.len - 1] == ']';
	if (part.len == 0)
		return err_set(err, -EINVAL, "the name of the server is missing");
	if (part.len > PBS_REPOSITORY_MAX)
		return err_set(err, -EINVAL, "the name of the server is longer than %d bytes", PBS_REPOSITORY_MAX);
	if (is_bracketed ? !is_ipv6((struct span){ part.s + 1, part.len - 2 }) : !is_host_name(part))
		return err_set(err, -EINVAL, "'%s' is no name or address of a server%s", shown(part, text),
			       is_bracketed ? ": IPv6 addresses are in brackets, without a zone"
			       : memchr(part.s, ':', part.len) ? "; an IPv6 address is written [::1]" : "");
	copy_span(part, ret->host);
	ret->has_host = true;
	return 0;
}

static bool is_user_name(struct span part)
{
	for (size_t i = 0; i < part.len; i++) {
		unsigned char c = (unsigned char)part.s[i];
		if (c <= ' ' || c == 0x7f || c == '/' || c == ':')
			return false;
	}
	return part.len > 0 && text_is_utf8(part.s, part.len);
}

static int take_auth_id(struct span part, struct pbs_repository *ret, struct err *err)
{
	char text[SHOWN_SIZE];
	const char *end = part.s + part.len, *at = find_last(part, '@');
	if (part.len > PBS_AUTH_ID_MAX)
		return err_set(err, -EINVAL, "user '%s' is longer than %d bytes", shown(part, text), PBS_AUTH_ID_MAX);
	const char *mark = at ? memchr(at, '!', (size_t)(end - at)) : NULL;
	if (!at || !is_user_name(span_between(part.s, at)) || !is_safe_id_span(span_between(at + 1, mark ? mark : end)))
		return err_set(err, -EINVAL, "'%s' is no user: USER@REALM, or USER@REALM!TOKEN", shown(part, text));
	if (mark && !is_safe_id_span(span_between(mark + 1, end)))
		return err_set(err, -EINVAL, "'%s' has no name of a token behind the '!'", shown(part, text));
	copy_span(part, ret->auth_id);
	ret->is_token = mark;
	ret->has_auth_id = true;
	return 0;
}

/* -- all of them ----------------------------------------------------------------------------- */

static struct pbs_repository defaults(void)
{
	return (struct pbs_repository){
		.auth_id = DEFAULT_AUTH_ID, .host = DEFAULT_HOST, .port = PBS_PORT_DEFAULT,
	};
}

/* Where a port begins in "HOST[:PORT]"; NULL = there is none. */
static const char *find_port(struct span server)
{
	const char *bracket = server.len && server.s[0] == '[' ? find_last(server, ']') : NULL;
	const char *from = bracket ? bracket : server.s;
	return find_last(span_between(from, server.s + server.len), ':');
}

/* "[AUTHID@]HOST[:PORT]" */
static int take_server(struct span part, struct pbs_repository *ret, struct err *err)
{
	const char *end = part.s + part.len, *at = find_last(part, '@');
	const struct span server = span_between(at ? at + 1 : part.s, end);
	const char *colon = find_port(server);
	int r = 0;
	if (at)
		r = take_auth_id(span_between(part.s, at), ret, err);
	if (r == 0 && colon)
		r = take_port(span_between(colon + 1, end), ret, err);
	return r < 0 ? r : take_host(span_between(server.s, colon ? colon : end), ret, err);
}

int pbs_repository_parse(const char *text, struct pbs_repository *ret, struct err *err)
{
	char buf[SHOWN_SIZE];
	struct pbs_repository repository = defaults();
	const char *end = text + strlen(text), *colon = strrchr(text, ':');
	if (end - text > PBS_REPOSITORY_MAX)
		return err_set(err, -EINVAL, "repository '%s' is longer than %d bytes", shown(span_of(text), buf),
			       PBS_REPOSITORY_MAX);
	int r = take_store(span_between(colon ? colon + 1 : text, end), &repository, err);
	if (r == 0 && colon)
		r = take_server(span_between(text, colon), &repository, err);
	if (r < 0)
		return err_while(err, r, "reading the repository '%s'", shown(span_of(text), buf));
	*ret = repository;
	return 0;
}

/* A name of a server may be an IPv6 address without its brackets here. */
static int take_bare_host(struct span part, struct pbs_repository *ret, struct err *err)
{
	char bracketed[INET6_ADDRSTRLEN + 2];
	if (!is_ipv6(part))
		return take_host(part, ret, err);
	int n = snprintf(bracketed, sizeof bracketed, "[%.*s]", (int)part.len, part.s);
	return take_host((struct span){ bracketed, (size_t)n }, ret, err);
}

int pbs_repository_join(const struct pbs_repository_parts *parts, struct pbs_repository *ret, struct err *err)
{
	struct pbs_repository repository = defaults();
	int r = take_store(span_of(parts->store), &repository, err);
	if (r == 0 && parts->port)
		r = take_port(span_of(parts->port), &repository, err);
	if (r == 0 && parts->host)
		r = take_bare_host(span_of(parts->host), &repository, err);
	if (r == 0 && parts->auth_id)
		r = take_auth_id(span_of(parts->auth_id), &repository, err);
	if (r == 0)
		*ret = repository;
	return r;
}

void pbs_repository_format(const struct pbs_repository *repository, char ret[static PBS_REPOSITORY_TEXT_SIZE])
{
	const struct pbs_repository *r = repository;
	bool has_port = r->has_auth_id || r->port != PBS_PORT_DEFAULT;
	char port[8] = "";
	if (has_port)
		(void) snprintf(port, sizeof port, "%u:", (unsigned)r->port);
	(void) snprintf(ret, PBS_REPOSITORY_TEXT_SIZE, "%s%s%s%s%s%s", r->has_auth_id ? r->auth_id : "",
			r->has_auth_id ? "@" : "", has_port || r->has_host ? r->host : "",
			has_port || r->has_host ? ":" : "", port, r->store);
}
