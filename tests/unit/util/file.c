/* SPDX-License-Identifier: Apache-2.0 */
#include "util/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "unit.h"
#include "util/secret.h"

static int memory_file(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void reads_up_to_the_end_and_no_further_than_allowed(void **state)
{
	CLEANUP(closep) int fd = memory_file("0123456789");
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len = 0;
	assert_int_equal(read_fd(fd, 10, &data, &len, NULL), 0);
	assert_int_equal(len, 10);
	assert_string_equal((char *)data, "0123456789");

	uint8_t *none = NULL;
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(read_fd(fd, 9, &none, &len, NULL), -EFBIG);
	assert_null(none);
}

static void says_how_much_there_was(void **state)
{
	CLEANUP(closep) int fd = memory_file("0123456789");
	char text[8] = "";
	assert_int_equal(pread_full(fd, text, 4, 8), 2);
	assert_memory_equal(text, "89", 2);
	assert_int_equal(pread_full(fd, text, 4, 99), 0);
	assert_int_equal(pread_full(-1, text, 4, 0), -EBADF);
}

static void compares_secrets(void **state)
{
	struct secret s = SECRET_EMPTY;
	assert_int_equal(secret_init_copy(&s, "abc", 3, NULL), 0);
	assert_string_equal((char *)s.data, "abc");
	assert_true(secret_is_equal(s.data, "abc", 3));
	assert_false(secret_is_equal(s.data, "abd", 3));
	secret_deinit(&s);
	assert_null(s.data);
	secret_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_up_to_the_end_and_no_further_than_allowed),
		TEST(says_how_much_there_was),
		TEST(compares_secrets),
	};
	return RUN_TESTS(tests);
}
