/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_index(data, len, INDEX_FIXED, fidx_parse);
}
