/* SPDX-License-Identifier: Apache-2.0 */
#include "net/credential.h"

#include <string.h>

/* As the server's own clients encode it, and '%' besides: without that "%41" of a secret arrives as "A". */
static bool is_plain(uint8_t c)
{
	return c > 0x20 && c < 0x7f && !strchr("\"#<>`?{}%", c);
}

static size_t encoded_len(const uint8_t *data, size_t len)
{
	size_t n = len;
	for (size_t i = 0; i < len; i++)
		n += is_plain(data[i]) ? 0 : 2;
	return n;
}

/* Returns where it ends. */
static uint8_t *put_encoded(uint8_t *at, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789ABCDEF";
	for (size_t i = 0; i < len; i++) {
		if (is_plain(data[i])) {
			*at++ = data[i];
			continue;
		}
		*at++ = '%';
		*at++ = (uint8_t)digits[data[i] >> 4];
		*at++ = (uint8_t)digits[data[i] & 15];
	}
	return at;
}

static uint8_t *put(uint8_t *at, const char *text)
{
	size_t len = strlen(text);
	memcpy(at, text, len);
	return at + len;
}

int credential_of_ticket(const struct secret *ticket, struct secret *ret, struct err *err)
{
	static const char name[] = "Cookie: PBSAuthCookie=";
	int r = secret_init(ret, sizeof name - 1 + encoded_len(ticket->data, ticket->len), err);
	if (r == 0)
		(void) put_encoded(put(ret->data, name), ticket->data, ticket->len);
	return r;
}

int credential_of_token(const char *auth_id, const struct secret *secret, struct secret *ret,
			struct err *err)
{
	static const char name[] = "Authorization: PBSAPIToken ";
	const uint8_t *id = (const uint8_t *)auth_id;
	size_t id_len = strlen(auth_id);
	int r = secret_init(ret, sizeof name - 1 + encoded_len(id, id_len) + 1 +
			    encoded_len(secret->data, secret->len), err);
	if (r < 0)
		return r;
	uint8_t *at = put_encoded(put(ret->data, name), id, id_len);
	(void) put_encoded(put(at, ":"), secret->data, secret->len);
	return 0;
}
