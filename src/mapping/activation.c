/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/activation.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#define FIRST_FD  3
#define FDS_MAX	  64

static long number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long n = text && *text ? strtol(text, &end, 10) : 0;
	return n > 0 && !*end ? n : 0;
}

static bool is_option(int fd, int option, int want)
{
	int value = 0;
	socklen_t len = sizeof value;
	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == want;
}

static int take_one(struct activation *activation, int fd, struct err *err)
{
	if (!is_option(fd, SO_TYPE, SOCK_STREAM) || !is_option(fd, SO_ACCEPTCONN, 1))
		return err_set(err, -EINVAL, "descriptor %d of LISTEN_FDS is no stream socket that listens", fd);
	(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
	activation->fds[activation->n++] = fd;
	return 0;
}

int activation_take(struct activation *ret, struct err *err)
{
	long n = number_of("LISTEN_FDS"), pid = number_of("LISTEN_PID");
	struct activation activation = ACTIVATION_NONE;
	int r = 0;
	*ret = ACTIVATION_NONE;
	if (!n || pid != (long)getpid())
		return 0;
	(void) unsetenv("LISTEN_FDS");
	(void) unsetenv("LISTEN_PID");
	(void) unsetenv("LISTEN_FDNAMES");
	if (n > FDS_MAX)
		return err_set(err, -EINVAL, "LISTEN_FDS says that there are %ld sockets", n);
	activation.fds = calloc((size_t)n, sizeof *activation.fds);
	if (!activation.fds)
		return err_set(err, -ENOMEM, "no memory");
	for (int i = 0; r == 0 && i < n; i++)
		r = take_one(&activation, FIRST_FD + i, err);
	if (r < 0)
		activation_deinit(&activation);
	else
		*ret = activation;
	return r;
}

void activation_deinit(struct activation *activation)
{
	for (size_t i = 0; i < activation->n; i++)
		closep(&activation->fds[i]);
	free(activation->fds);
	*activation = ACTIVATION_NONE;
}
