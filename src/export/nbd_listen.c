/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_listen.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/deadline.h"
#include "util/file.h"

#define HOST_SIZE 256 /* bytes; the longest name is of 253 */
#define BACKLOG 1024 /* as many as a server takes; what the kernel gives at most is up to it */
#define LOCK_MS 500 /* that a folder is locked; one of us needs it for a few system calls */

/* -- a path ---------------------------------------------------------------------------------- */

/* Where a path leads: the folder, open, and the name in it.  What it says is lent by the two copies. */
struct place {
	char *copies[2];
	const char *name;
	char *path; /* absolute */
	int dir_fd;
	struct sockaddr_un address; /* by the folder's descriptor: whatever becomes of its path, it is there */
	struct sockaddr_un shown;   /* what ss(8) and others show of it: the path, where that fits and leads there */
};

static void place_deinit(struct place *place)
{
	free(place->copies[0]);
	free(place->copies[1]);
	free(place->path);
	closep(&place->dir_fd);
}

static bool leads_to(const char *dir, int dir_fd)
{
	struct stat by_path, by_fd;
	return stat(dir, &by_path) == 0 && fstat(dir_fd, &by_fd) == 0 && by_path.st_dev == by_fd.st_dev &&
	       by_path.st_ino == by_fd.st_ino;
}

static int find_path(struct place *place, struct err *err)
{
	char link[32], dir[PATH_MAX];
	(void) snprintf(link, sizeof link, "/proc/self/fd/%d", place->dir_fd);
	ssize_t n = readlink(link, dir, sizeof dir - 1);
	if (n < 0)
		return err_errno(err, -errno, "cannot find the directory of %s", place->name);
	dir[n] = '\0';
	if (asprintf(&place->path, "%s/%s", n == 1 ? "" : dir, place->name) < 0) {
		place->path = NULL;
		return err_set(err, -ENOMEM, "no memory");
	}
	place->shown = place->address;
	if (strlen(place->path) <= NBD_SOCKET_PATH_MAX && leads_to(dir, place->dir_fd))
		(void) snprintf(place->shown.sun_path, sizeof place->shown.sun_path, "%s", place->path);
	return 0;
}

static int place_find(const char *path, struct place *ret, struct err *err)
{
	ret->copies[0] = strdup(path);
	ret->copies[1] = strdup(path);
	if (!ret->copies[0] || !ret->copies[1])
		return err_set(err, -ENOMEM, "no memory");
	const char *dir = dirname(ret->copies[0]);
	ret->name = basename(ret->copies[1]);
	ret->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->dir_fd < 0)
		return err_errno(err, -errno, "cannot use the directory %s", dir);
	ret->address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(ret->address.sun_path, sizeof ret->address.sun_path, "/proc/self/fd/%d/%s", ret->dir_fd,
			 ret->name);
	if (n >= (int)sizeof ret->address.sun_path) /* a long name; the path fits, for clients */
		(void) snprintf(ret->address.sun_path, sizeof ret->address.sun_path, "%s", path);
	return find_path(ret, err);
}

/*
 * Two of us that find what a killed server has left must not both replace it: the second one would remove the
 * first one's.  A folder that others lock, or that cannot be read, is used without: nobody is to be kept waiting.
 */
static int lock_folder(const struct place *place)
{
	int fd = openat(place->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && lock_until(fd, deadline_in_ms(LOCK_MS)) < 0)
		closep(&fd);
	return fd;
}

/*
 * Does anybody have it, though it may not listen yet?  Asked as a socket of another kind: that one is refused with
 * EPROTOTYPE, nobody's with ECONNREFUSED; connect(2).
 */
static bool is_in_use(const struct place *place)
{
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd < 0 || connect(fd, (const struct sockaddr *)&place->address, sizeof place->address) == 0 ||
	       errno != ECONNREFUSED;
}

/* Only what a server that was killed has left, and only ours. */
static int make_way(const char *path, const struct place *place, struct err *err)
{
	struct stat st;
	if (fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, -errno, "cannot use %s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "%s is there already, and is no socket", path);
	if (st.st_uid != geteuid())
		return err_set(err, -EEXIST, "%s is there already, and belongs to another user", path);
	if (is_in_use(place))
		return err_set(err, -EEXIST, "somebody listens at %s already", path);
	if (unlinkat(place->dir_fd, place->name, 0) < 0)
		return err_errno(err, -errno, "cannot replace %s", path);
	return 0;
}

/* Nobody else can open it in any moment: it comes into being like that. */
static int bind_private(const char *path, const struct place *place, int fd, struct err *err)
{
	mode_t mask = umask(0177);
	int r = bind(fd, (const struct sockaddr *)&place->shown, sizeof place->shown) < 0 ? -errno : 0;
	(void) umask(mask);
	if (r == -EADDRINUSE)
		return err_set(err, -EEXIST, "%s is there already", path);
	return r < 0 ? err_errno(err, r, "cannot make the socket %s", path) : 0;
}

static int note_path(const char *path, const struct place *place, struct nbd_path *ret, struct err *err)
{
	struct stat st;
	if (fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, -errno, "cannot use %s", path);
	ret->path = strdup(place->path);
	if (!ret->path)
		return err_set(err, -ENOMEM, "no memory");
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return 0;
}

static_assert(NBD_SOCKET_PATH_MAX == sizeof ((struct sockaddr_un *)NULL)->sun_path - 1, "and a zero behind it");

int nbd_path_check(const char *path, struct err *err)
{
	if (!*path)
		return err_set(err, -EINVAL, "a unix socket needs a path");
	if (strlen(path) > NBD_SOCKET_PATH_MAX)
		return err_set(err, -EINVAL, "a unix socket has a path of at most %u bytes, longer ones no client can "
			       "name; of %zu is %s", NBD_SOCKET_PATH_MAX, strlen(path), path);
	return 0;
}

int nbd_listen_path(const char *path, struct nbd_path *ret, int *ret_fd, struct err *err)
{
	CLEANUP(place_deinit) struct place place = { .dir_fd = -EBADF };
	CLEANUP(closep) int lock = -EBADF;
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, -errno, "cannot make a socket");
	int r = nbd_path_check(path, err);
	if (r == 0)
		r = place_find(path, &place, err);
	if (r == 0)
		lock = lock_folder(&place);
	if (r == 0)
		r = make_way(path, &place, err);
	if (r == 0)
		r = bind_private(path, &place, fd, err);
	if (r < 0)
		return r;
	r = note_path(path, &place, ret, err);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = err_errno(err, -errno, "cannot listen at %s", path);
	if (r < 0) {
		(void) unlinkat(place.dir_fd, place.name, 0);
		freep(&ret->path);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

void nbd_path_remove(struct nbd_path *path)
{
	struct stat st;
	if (path->path && lstat(path->path, &st) == 0 && st.st_dev == path->dev && st.st_ino == path->ino)
		(void) unlink(path->path);
	free(path->path);
	*path = NBD_PATH_NONE;
}

int nbd_path_clean(const char *path, struct err *err)
{
	CLEANUP(place_deinit) struct place place = { .dir_fd = -EBADF };
	CLEANUP(closep) int lock = -EBADF;
	int r = place_find(path, &place, err);
	if (r < 0)
		return r;
	lock = lock_folder(&place);
	return make_way(path, &place, err);
}

/* -- an address ------------------------------------------------------------------------------ */

static int split_address(const char *text, char *host, size_t len, const char **ret_port, struct err *err)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	size_t host_len = colon ? (size_t)(colon - text) : 0;
	bool is_bracketed = host_len > 2 && text[0] == '[' && text[host_len - 1] == ']';
	bool is_port = *port && strspn(port, "0123456789") == strlen(port) && strlen(port) <= 5 &&
		       atoi(port) <= 65535;
	const char *begin = is_bracketed ? text + 1 : text;
	if (is_bracketed)
		host_len -= 2;
	if (!is_port || host_len >= len || (colon && !host_len) ||
	    (!is_bracketed && memchr(begin, ':', host_len)))
		return err_set(err, -EINVAL, "'%s' is no address to listen at: it is written PORT, HOST:PORT or "
			       "[IPV6]:PORT", text);
	memcpy(host, begin, host_len);
	host[host_len] = '\0';
	*ret_port = port;
	return 0;
}

static int listen_at(const struct addrinfo *info)
{
	const int on = 1, off = 0;
	CLEANUP(closep) int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
	if (fd < 0)
		return -errno;
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (info->ai_family == AF_INET6)
		(void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return steal_fd(&fd);
}

static bool is_not_here(int error)
{
	return error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

/*
 * One socket is for all addresses of both kinds, where the system has both.  One that is in use is not passed over: who
 * was told that name would reach somebody else there.
 */
static int listen_at_first(const struct addrinfo *infos)
{
	int fd = -EADDRNOTAVAIL;
	for (int family = AF_INET6; is_not_here(fd) && family; family = family == AF_INET6 ? AF_INET : 0)
		for (const struct addrinfo *info = infos; info && is_not_here(fd); info = info->ai_next)
			if (info->ai_family == family)
				fd = listen_at(info);
	return fd;
}

int nbd_address_check(const char *address, struct err *err)
{
	char host[HOST_SIZE];
	const char *port;
	return split_address(address, host, sizeof host, &port, err);
}

int nbd_listen_address(const char *address, int *ret_fd, struct err *err)
{
	char host[HOST_SIZE];
	const char *port = NULL;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *infos = NULL;
	int r = split_address(address, host, sizeof host, &port, err);
	if (r < 0)
		return r;
	bool is_any = strcmp(host, "*") == 0, is_local = !*host || strcmp(host, "localhost") == 0;
	if (is_any)
		hints.ai_flags |= AI_PASSIVE;
	r = getaddrinfo(is_any ? NULL : is_local ? "127.0.0.1" : host, port, &hints, &infos);
	if (r != 0)
		return err_set(err, -EINVAL, "%s: %s", address, gai_strerror(r));
	int fd = listen_at_first(infos);
	freeaddrinfo(infos);
	if (fd < 0)
		return err_errno(err, fd, "cannot listen at %s", address);
	*ret_fd = fd;
	return 0;
}

/* -- how it is named ------------------------------------------------------------------------- */

static int add_escaped(struct buf *to, const char *text, struct err *err)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@";
	int r = 0;
	for (; r == 0 && *text; text++)
		r = strchr(plain, *text) ? buf_add(to, text, 1, err)
					 : buf_printf(to, err, "%%%02X", (unsigned char)*text);
	return r;
}

union any_address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static bool is_loopback(const union any_address *address)
{
	const struct in6_addr *v6 = &address->v6.sin6_addr;
	if (address->any.sa_family == AF_INET)
		return ntohl(address->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
}

bool nbd_is_for_others(int fd)
{
	union any_address address = { 0 };
	socklen_t len = sizeof address;
	if (getsockname(fd, &address.any, &len) < 0)
		return false;
	return (address.any.sa_family == AF_INET || address.any.sa_family == AF_INET6) && !is_loopback(&address);
}

/* A name for "all addresses" that works from here. */
static int add_host(struct buf *to, const union any_address *address, struct err *err)
{
	char host[INET6_ADDRSTRLEN];
	bool is_v6 = address->any.sa_family == AF_INET6;
	unsigned port = ntohs(is_v6 ? address->v6.sin6_port : address->v4.sin_port);
	bool is_any = is_v6 ? IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr)
			    : address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	const void *binary = is_v6 ? (const void *)&address->v6.sin6_addr : &address->v4.sin_addr;
	if (!inet_ntop(address->any.sa_family, binary, host, sizeof host))
		return err_errno(err, -errno, "cannot name an address");
	if (is_any)
		return buf_printf(to, err, "://localhost:%u/", port);
	return buf_printf(to, err, is_v6 ? "://[%s]:%u/" : "://%s:%u/", host, port);
}

static int add_path_uri(struct buf *to, const union any_address *address, const char *path, bool has_tls,
			const char *export, struct err *err)
{
	char own[sizeof address->un.sun_path + 1] = "";
	memcpy(own, address->un.sun_path, sizeof address->un.sun_path);
	int r = buf_printf(to, err, "nbd%s+unix:///", has_tls ? "s" : "");
	if (r == 0)
		r = add_escaped(to, export, err);
	if (r == 0)
		r = buf_puts(to, "?socket=", err);
	return r < 0 ? r : add_escaped(to, path ? path : own, err);
}

int nbd_uri_add(struct buf *to, int fd, const char *path, bool has_tls, const char *export, struct err *err)
{
	union any_address address = { 0 };
	socklen_t len = sizeof address;
	if (getsockname(fd, &address.any, &len) < 0)
		return err_errno(err, -errno, "cannot name a socket");
	if (address.any.sa_family == AF_UNIX)
		return add_path_uri(to, &address, path, has_tls, export, err);
	if (address.any.sa_family != AF_INET && address.any.sa_family != AF_INET6)
		return err_set(err, -EINVAL, "a socket of a kind that NBD clients do not know");
	int r = buf_puts(to, has_tls ? "nbds" : "nbd", err);
	if (r == 0)
		r = add_host(to, &address, err);
	return r < 0 ? r : add_escaped(to, export, err);
}
