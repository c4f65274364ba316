/* SPDX-License-Identifier: Apache-2.0 */
#include "util/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "unit.h"
#include "util/bufpool.h"
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

static void hands_a_buffer_out_again(void **state)
{
	struct bufpool *pool = bufpool_new(100000, 1);
	struct mem a = bufpool_get(pool, 10), b = bufpool_get(pool, 200000);
	assert_true(a.cap >= 100000 && b.cap >= 200000);
	memset(b.data, 1, b.cap);
	bufpool_put(pool, a);
	bufpool_put(pool, b); /* one too many: given back to the system */
	struct mem c = bufpool_get(pool, 100000);
	assert_ptr_equal(c.data, a.data);
	struct mem d = bufpool_get(pool, 100000);
	assert_ptr_not_equal(d.data, c.data);
	bufpool_put(pool, c);
	bufpool_put(pool, d);
	bufpool_put(pool, MEM_NONE);
	bufpool_free(pool);
}

static void hands_out_large_buffers_whole(void **state)
{
	struct bufpool *pool = bufpool_new((4u << 20) + 44, 2);
	for (int i = 0; i < 8; i++) {
		struct mem a = bufpool_get(pool, 1), b = bufpool_get(pool, 16u << 20);
		memset(a.data, 1, a.cap);
		memset(b.data, 1, b.cap);
		bufpool_put(pool, a);
		bufpool_put(pool, b);
	}
	bufpool_free(pool);
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
		TEST(hands_a_buffer_out_again),
		TEST(hands_out_large_buffers_whole),
		TEST(compares_secrets),
	};
	return RUN_TESTS(tests);
}
