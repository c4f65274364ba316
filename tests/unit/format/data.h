/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/crypt_key.h"
#include "util/err.h"

/* What the tests of formats share.  Nothing here returns on failure: the test has failed then. */

/* Fail, naming the row, unless @r is @want and the message has @words (NULL = any) in it. */
void expect(const char *row, int r, const struct err *err, int want, const char *words);

/* Memory of exactly this length, so that AddressSanitizer sees one byte too many. */
uint8_t *exact_copy(const void *data, size_t len);
uint8_t *from_hex(const char *hex, size_t *ret_len);

/* A file below tests/, as "vectors/blobs.tsv"; NUL behind it. */
char *test_file(const char *name, size_t *ret_len);

/* The next line's @n fields, skipping lines that start with '#'; false = no more.  Cuts up @*at. */
bool next_row(char **at, char **fields, size_t n);

void sha256_hex(const void *data, size_t len, char ret[static 2 * DIGEST_SIZE + 1]);

/* The key of the vectors: bytes 00 to 1f. */
struct crypt_key *key_k0(void);

/* Bytes that do not compress, always the same. */
void fill_noise(uint8_t *data, size_t len, uint32_t seed);
