/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "net/h2.h"
#include "util/bytes.h"

/*
 * The first two bytes say how many requests are under way, how many bytes come at a time, and whether what is to
 * be sent is taken in between; the rest is what a server sends.
 */
enum { MOST = 4 };

struct asked {
	struct h2_request request;
	bool is_under_way;
	unsigned n_done;
	size_t have, most;
	size_t *n_fed;
};

/* Each byte is there, or the sanitizer says so. */
static void touch(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		(void) *(const volatile uint8_t *)&data[i];
}

static int take(struct h2_request *request, const uint8_t *data, size_t len)
{
	struct asked *a = CONTAINER_OF(request, struct asked, request);
	MUST(a->is_under_way && a->n_done == 0 && a->have <= a->most);
	MUST(request->status >= 100 && request->status <= 999);
	a->have += len;
	touch(data, len);
	MUST(a->have <= *a->n_fed);
	MUST(a->have <= request->length);
	return a->have <= a->most ? 0 : -EMSGSIZE;
}

static void done(struct h2_request *request, enum h2_end end)
{
	struct asked *a = CONTAINER_OF(request, struct asked, request);
	MUST(a->is_under_way && a->n_done == 0);
	a->n_done++;
	if (end != H2_DONE)
		return;
	MUST(request->status >= 200 && a->have <= a->most);
	MUST(request->length == UINT64_MAX || request->length == a->have || request->status == 304);
}

static int send_all(struct h2 *h2)
{
	const uint8_t *out;
	ssize_t n;
	while ((n = h2_pending(h2, &out, NULL)) > 0) {
		touch(out, (size_t)n);
		h2_sent(h2, n > 5 ? (size_t)n - 3 : (size_t)n);
	}
	return (int)n;
}

static int feed(struct h2 *h2, const uint8_t *data, size_t len, size_t step, bool is_sending, size_t *n_fed)
{
	int r = 0;
	for (size_t have = 0; r == 0 && have < len;) {
		size_t n = min_size(step, len - have);
		uint8_t *piece = malloc(n);
		memcpy(piece, data + have, n);
		have += n;
		*n_fed = have;
		r = h2_feed(h2, piece, n, NULL);
		free(piece);
		if (r == 0 && is_sending)
			r = send_all(h2);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct asked a[MOST];
	struct h2 *h2 = NULL;
	size_t n_fed = 0;
	if (len < 2)
		return 0;
	MUST(h2_new("localhost:8007", &h2, NULL) == 0);
	unsigned n = data[0] % (MOST + 1);
	for (unsigned i = 0; i < n; i++) {
		a[i] = (struct asked){ .request = { .body = take, .done = done }, .is_under_way = true,
				       .most = i == 1 ? 20 : SIZE_MAX, .n_fed = &n_fed };
		MUST(h2_submit(h2, &a[i].request, "/chunk?digest=00", NULL) == 0);
	}
	bool is_sending = data[0] & 0x80;
	size_t step = data[1] ? data[1] : SIZE_MAX;
	MUST(data[0] & 0x40 || send_all(h2) == 0); /* or they are not sent yet */
	int r = feed(h2, data + 2, len - 2, step, is_sending, &n_fed);
	if (r == 0)
		r = send_all(h2);
	MUST(r == 0 || r == -EPROTO);
	unsigned n_over = 0;
	for (unsigned i = 0; i < n; i++)
		n_over += a[i].n_done;
	MUST(h2_is_idle(h2) == (n_over == n));
	h2_free(h2);
	for (unsigned i = 0; i < n; i++)
		MUST(a[i].n_done == 1);
	return 0;
}
