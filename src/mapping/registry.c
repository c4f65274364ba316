/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Of the variables only a caller that did not gain rights by running us may choose. */
static int choose_path(char *ret, size_t len, struct err *err)
{
	const char *chosen = secure_getenv("PBSMAP_RUN_DIR"), *runtime = secure_getenv("XDG_RUNTIME_DIR");
	int n;
	if (chosen && *chosen)
		n = snprintf(ret, len, "%s", chosen);
	else if (geteuid() == 0)
		n = snprintf(ret, len, "/run/pbsmap");
	else if (runtime && *runtime)
		n = snprintf(ret, len, "%s/pbsmap", runtime);
	else
		n = snprintf(ret, len, "/tmp/pbsmap-%u", (unsigned)geteuid());
	if (n >= (int)len)
		return err_set(err, -ENAMETOOLONG, "the path of the run directory is too long");
	return 0;
}

int registry_open_existing(struct registry *ret, struct err *err)
{
	struct registry registry = REGISTRY_NONE;
	int r = choose_path(registry.path, sizeof registry.path, err);
	if (r < 0)
		return r;
	registry.fd = open(registry.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (registry.fd < 0)
		return err_errno(err, -errno, "cannot open the run directory %s", registry.path);
	struct stat st;
	if (fstat(registry.fd, &st) < 0 || (st.st_uid != geteuid() && geteuid() != 0)) {
		registry_close(&registry);
		return err_set(err, -EPERM, "the run directory %s belongs to somebody else", registry.path);
	}
	*ret = registry;
	return 0;
}

int registry_open(struct registry *ret, struct err *err)
{
	char path[sizeof ret->path];
	int r = choose_path(path, sizeof path, err);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "cannot make the run directory %s", path);
	return registry_open_existing(ret, err);
}

void registry_close(struct registry *registry)
{
	closep(&registry->fd);
}

int registry_lock(const struct registry *registry, int *ret_fd, struct err *err)
{
	CLEANUP(closep) int fd = openat(registry->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s/lock", registry->path);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(err, -errno, "cannot lock %s/lock", registry->path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static bool is_socket_name(const char *name)
{
	size_t len = strlen(name);
	return len > 5 && len < SOCKET_NAME_SIZE && strcmp(name + len - 5, ".sock") == 0;
}

int registry_sockets(const struct registry *registry, struct strv *ret, struct err *err)
{
	int fd = openat(registry->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int r = err_errno(err, -errno, "cannot list %s", registry->path);
		if (fd >= 0)
			(void) close(fd);
		return r;
	}
	struct dirent *entry;
	int r = 0;
	while (r == 0 && (entry = readdir(dir)))
		if (is_socket_name(entry->d_name))
			r = strv_add(ret, entry->d_name, err);
	(void) closedir(dir);
	strv_sort(ret);
	return r;
}

/* Through the directory's descriptor: a path of any length fits into the 108 bytes of an address. */
static struct sockaddr_un address_of(const struct registry *registry, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void) snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", registry->fd, name);
	return address;
}

int registry_listen(const struct registry *registry, char ret_name[static SOCKET_NAME_SIZE],
		    int *ret_fd, struct err *err)
{
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make a control socket");
	for (int tries = 0; tries < 100; tries++) {
		uint64_t random;
		if (getrandom(&random, sizeof random, 0) != sizeof random)
			return err_errno(err, -errno, "no random numbers");
		(void) snprintf(ret_name, SOCKET_NAME_SIZE, "%016llx.sock", (unsigned long long)random);
		struct sockaddr_un address = address_of(registry, ret_name);
		if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
			if (listen(fd, 64) < 0)
				break;
			*ret_fd = steal_fd(&fd);
			return 0;
		}
		if (errno != EADDRINUSE)
			break;
	}
	return err_errno(err, -errno, "cannot make a control socket in %s", registry->path);
}

int registry_connect(const struct registry *registry, const char *name, int *ret_fd, struct err *err)
{
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make a socket");
	/* A server that is stuck with a full backlog must not hold us. */
	const struct timeval patience = { .tv_sec = 2 };
	(void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	struct sockaddr_un address = address_of(registry, name);
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return err_errno(err, -errno, "cannot reach %s/%s", registry->path, name);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static const char *const notes[] = { "name", "device", "keeper", "via" };

/* "0123456789abcdef.device" beside "0123456789abcdef.sock" */
static void note_path(const char *socket_name, const char *what, char ret[static SOCKET_NAME_SIZE])
{
	(void) snprintf(ret, SOCKET_NAME_SIZE, "%.16s.%s", socket_name, what);
}

/* A symbolic link: it holds any text and comes into being at once or not at all. */
int registry_note(const struct registry *registry, const char *socket_name, const char *what,
		  const char *text, struct err *err)
{
	char path[SOCKET_NAME_SIZE];
	note_path(socket_name, what, path);
	if (symlinkat(text, registry->fd, path) < 0)
		return err_errno(err, -errno, "cannot note the %s %s in %s", what, text, registry->path);
	return 0;
}

char *registry_noted(const struct registry *registry, const char *socket_name, const char *what)
{
	char path[SOCKET_NAME_SIZE], text[4096];
	note_path(socket_name, what, path);
	ssize_t n = readlinkat(registry->fd, path, text, sizeof text);
	return n < 0 ? NULL : strndup(text, (size_t)n);
}

void registry_remove(const struct registry *registry, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
		char path[SOCKET_NAME_SIZE];
		note_path(name, notes[i], path);
		(void) unlinkat(registry->fd, path, 0);
	}
	(void) unlinkat(registry->fd, name, 0);
}

static bool is_dead(const struct registry *registry, const char *name)
{
	CLEANUP(closep) int fd = -EBADF;
	return registry_connect(registry, name, &fd, NULL) == -ECONNREFUSED;
}

int registry_sweep(const struct registry *registry, struct err *err)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	CLEANUP(closep) int lock = -EBADF;
	int r = registry_sockets(registry, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		if (!is_dead(registry, names.items[i]))
			continue;
		/* Between bind() and listen() a new one looks dead; with the lock there is no new one. */
		if (lock < 0)
			r = registry_lock(registry, &lock, err);
		if (r == 0 && is_dead(registry, names.items[i]))
			registry_remove(registry, names.items[i]);
	}
	return r;
}
