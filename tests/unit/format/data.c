/* SPDX-License-Identifier: Apache-2.0 */
#include "data.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "util/bytes.h"
#include "util/file.h"

void expect(const char *row, int r, const struct err *err, int want, const char *words)
{
	if (r != want)
		fail_msg("%s: %d (%s), not %d", row, r, err->msg, want);
	if (words && !strstr(err->msg, words))
		fail_msg("%s: '%s' does not say '%s'", row, err->msg, words);
}

uint8_t *exact_copy(const void *data, size_t len)
{
	uint8_t *copy = malloc(len);
	assert_true(copy || !len);
	if (len)
		memcpy(copy, data, len);
	return copy;
}

uint8_t *from_hex(const char *hex, size_t *ret_len)
{
	size_t len = strlen(hex) / 2;
	uint8_t *bytes = malloc(len);
	assert_true(bytes || !len);
	assert_true(hex_decode(hex, bytes, len));
	*ret_len = len;
	return bytes;
}

char *test_file(const char *name, size_t *ret_len)
{
	char path[4096];
	uint8_t *data = NULL;
	(void) snprintf(path, sizeof path, "%s/%s", TESTS_DIR, name);
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("cannot open %s", path);
	assert_int_equal(read_fd(fd, 64u << 20, &data, ret_len, NULL), 0);
	return (char *)data;
}

bool next_row(char **at, char **fields, size_t n)
{
	for (;;) {
		char *line = strsep(at, "\n");
		if (!line || (!*line && !*at))
			return false;
		if (*line == '#')
			continue;
		for (size_t i = 0; i < n; i++) {
			fields[i] = strsep(&line, "\t");
			assert_non_null(fields[i]);
		}
		assert_null(line);
		return true;
	}
}

void sha256_hex(const void *data, size_t len, char ret[static 2 * DIGEST_SIZE + 1])
{
	uint8_t digest[DIGEST_SIZE];
	assert_int_equal(sha256_once(data, len, digest, NULL), 0);
	hex_encode(digest, DIGEST_SIZE, ret);
}

struct crypt_key *key_k0(void)
{
	uint8_t bytes[GCM_KEY_SIZE];
	struct crypt_key *key = NULL;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crypt_key_new(bytes, &key, NULL), 0);
	return key;
}

void fill_noise(uint8_t *data, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = (uint8_t)(seed >> 24);
	}
}
