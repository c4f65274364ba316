/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "net/upgrade.h"
#include "util/bytes.h"

/* The whole answer in pieces of @step bytes at most, each in memory of its own. */
static int feed(struct upgrade_answer *answer, const uint8_t *in, size_t len, size_t step, size_t *ret_used)
{
	int r = UPGRADE_MORE;
	for (*ret_used = 0; r == UPGRADE_MORE && *ret_used < len;) {
		size_t n = min_size(step, len - *ret_used), used = SIZE_MAX;
		uint8_t *piece = malloc(n);
		memcpy(piece, in + *ret_used, n);
		r = upgrade_answer_feed(answer, piece, n, &used, NULL);
		free(piece);
		MUST(used <= n && (r != UPGRADE_MORE || used == n));
		*ret_used += used;
	}
	return r;
}

static int end(struct upgrade_answer *answer, int r)
{
	return r == UPGRADE_MORE ? upgrade_answer_end(answer, NULL) : r;
}

/* However it comes in, it is the same answer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	struct upgrade_answer whole = UPGRADE_ANSWER_NONE, pieces = UPGRADE_ANSWER_NONE;
	size_t used = 0, used_of_pieces = 0;
	int r = end(&whole, feed(&whole, data + 1, len - 1, SIZE_MAX, &used));
	int again = end(&pieces, feed(&pieces, data + 1, len - 1, 1 + data[0] % 16u, &used_of_pieces));
	MUST(r == UPGRADE_ACCEPTED || r == UPGRADE_REFUSED || r == -EPROTO || r == -ECONNRESET);
	MUST(again == r && used_of_pieces == used && pieces.status == whole.status);
	MUST(whole.text_len <= UPGRADE_TEXT_MAX && pieces.text_len == whole.text_len);
	MUST(memcmp(whole.text, pieces.text, whole.text_len + 1) == 0 && whole.text[whole.text_len] == '\0');
	if (r == UPGRADE_ACCEPTED)
		MUST(whole.status == 101 && used > strlen(UPGRADE_PROTOCOL) && memcmp(data + 1 + used - 4, "\r\n\r\n", 4) == 0);
	if (r == UPGRADE_REFUSED)
		MUST(whole.status >= 200 && whole.status <= 599);
	return 0;
}
