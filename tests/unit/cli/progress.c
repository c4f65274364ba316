/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "unit.h"
#include "util/bytes.h"

#define SECOND INT64_C(1000000000)

static void formats_what_is_known(void **state)
{
	static const struct {
		struct unpack_progress at;
		struct progress_sample since;
		int64_t seconds;
		size_t width;
		const char *want;
	} rows[] = {
		{ { .n_files = 3, .n_bytes = 3u << 20 }, { 0 }, 2, 80, "3 MiB  3 files  1.5 MiB/s  0:02" },
		{ { .n_files = 1, .n_bytes = 512 }, { 0 }, 4000, 80, "512 B  1 file  0 B/s  1:06:40" },
		{ { 0 }, { 0 }, 0, 80, "0 B  0 files  0 B/s  0:00" },
		{ { .n_files = 9, .n_bytes = 8u << 20, .done = 25, .total = 100 }, { 0 }, 5, 80,
		  "[===>        ]  25 %  8 MiB  9 files  1.6 MiB/s  0:15 left" },
		{ { .n_bytes = 8u << 20, .done = 25, .total = 100 }, { 0 }, 5, 18, "[===>        ]  25" },
		/* What came before the last samples is no part of the rate. */
		{ { .n_files = 9, .n_bytes = 8u << 20, .done = 50, .total = 100 },
		  { .ns = 100 * SECOND, .n_bytes = 8u << 20, .done = 40 }, 110, 80,
		  "[======>     ]  50 %  8 MiB  9 files  0 B/s  0:50 left" },
		{ { .n_files = 9, .n_bytes = 8u << 20, .done = 40, .total = 100 },
		  { .ns = 100 * SECOND, .n_bytes = 7u << 20, .done = 40 }, 110, 80,
		  "[====>       ]  40 %  8 MiB  9 files  102.399 KiB/s" },
		{ { .n_files = 9, .n_bytes = 8u << 20, .done = 100, .total = 100 }, { 0 }, 1, 80,
		  "[============] 100 %  8 MiB  9 files  8 MiB/s  0:00 left" },
		/* At first, and at last, of the largest there are. */
		{ { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX }, { 0 }, 0, 1000,
		  "[============] 100 %  16 EiB  18446744073709551615 files  0 B/s" },
		{ { UINT64_MAX, UINT64_MAX, 1, UINT64_MAX }, { 0 }, 1, 1000,
		  "[>           ]   0 %  16 EiB  18446744073709551615 files  4 EiB/s  100000:00:00 left" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char got[PROGRESS_TEXT_SIZE];
		struct progress progress = { .samples = { rows[i].since }, .n_samples = 1 };
		progress_format(&progress, &rows[i].at, rows[i].seconds * SECOND, rows[i].width, got);
		assert_string_equal(got, rows[i].want);
	}
}

/* Of a ring that is full, the sample that goes next. */
static void takes_rates_from_the_oldest_sample(void **state)
{
	struct progress progress = { .n_samples = PROGRESS_RATES + 3 };
	const struct unpack_progress at = { .n_bytes = 10u << 20 };
	char got[PROGRESS_TEXT_SIZE];
	for (unsigned i = 0; i < PROGRESS_RATES; i++)
		progress.samples[i] = (struct progress_sample){ .ns = (i == 3 ? 0 : 9) * SECOND, .n_bytes = 0 };
	progress_format(&progress, &at, 10 * SECOND, 80, got);
	assert_string_equal(got, "10 MiB  0 files  1 MiB/s  0:10");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(formats_what_is_known),
		TEST(takes_rates_from_the_oldest_sample),
	};
	return RUN_TESTS(tests);
}
