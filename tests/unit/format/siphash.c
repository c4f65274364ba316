/* SPDX-License-Identifier: Apache-2.0 */
#include "format/siphash.h"

#include <string.h>

#include "unit.h"

/* The key 00 … 0f, and the input 00, 01, 02, …: what the paper's authors publish. */
#define K0 UINT64_C(0x0706050403020100)
#define K1 UINT64_C(0x0f0e0d0c0b0a0908)

static void gives_the_values_of_its_authors(void **state)
{
	static const struct {
		size_t len;
		uint64_t want;
	} rows[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) },
		{ 1, UINT64_C(0x74f839c593dc67fd) },
		{ 7, UINT64_C(0xab0200f58b01d137) },
		{ 8, UINT64_C(0x93f5f5799a932462) },
		{ 15, UINT64_C(0xa129ca6149be45e5) },
	};
	uint8_t in[16];
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(siphash24(K0, K1, in, rows[i].len), rows[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(gives_the_values_of_its_authors),
	};
	return RUN_TESTS(tests);
}
