/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "unit.h"
#include "util/cleanup.h"

/* A socket of a service manager, and NOTIFY_SOCKET that names it. */
static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, address_len), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
	return fd;
}

static void assert_told(const char *path)
{
	CLEANUP(closep) int fd = listen_at(path);
	char text[32];
	notify_ready();
	assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), strlen("READY=1"));
	assert_memory_equal(text, "READY=1", strlen("READY=1"));
}

static void tells_a_socket_in_the_file_system(void **state)
{
	char dir[] = "/tmp/pbsmap-notify-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	(void) snprintf(path, sizeof path, "%s/socket", dir);
	assert_told(path);
	(void) unlink(path);
	(void) rmdir(dir);
}

static void tells_an_abstract_socket(void **state)
{
	char path[64];
	(void) snprintf(path, sizeof path, "@pbsmap-notify-%d", (int)getpid());
	assert_told(path);
}

static void is_silent_where_nobody_listens(void **state)
{
	char long_path[200];
	memset(long_path, 'a', sizeof long_path);
	long_path[0] = '/';
	long_path[sizeof long_path - 1] = '\0';
	const char *const rows[] = { "", "vsock:2:1", "/nowhere/socket", long_path };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(setenv("NOTIFY_SOCKET", rows[i], 1), 0);
		notify_ready();
	}
	(void) unsetenv("NOTIFY_SOCKET");
	notify_ready();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tells_a_socket_in_the_file_system),
		TEST(tells_an_abstract_socket),
		TEST(is_silent_where_nobody_listens),
	};
	return RUN_TESTS(tests);
}
