/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/damage_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/bytes.h"

void damage_describe(const struct damage *damage, const char *snapshot, const char *archive,
		     char ret[static DAMAGE_TEXT_SIZE])
{
	char digest[2 * DIGEST_SIZE + 1], chunk[sizeof digest + 16] = "";
	hex_encode(damage->digest, DIGEST_SIZE, digest);
	if (!strstr(damage->err->msg, digest))
		(void) snprintf(chunk, sizeof chunk, " (chunk %s)", digest);
	(void) snprintf(ret, DAMAGE_TEXT_SIZE, "%s%s%s: bytes %" PRIu64 " to %" PRIu64 " cannot be read: %s%s", snapshot,
			*snapshot ? "/" : "", archive, damage->off, damage->off + damage->len - 1, damage->err->msg, chunk);
}
