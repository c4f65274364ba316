/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_kernel.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nbd-netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "export/nbd_message.h"

/*
 * The few netlink messages that make and take away a kernel NBD device.
 *
 * CONNECT picks a free device, and only then is its number known.  With NBD_CFLAG_DISCONNECT_ON_CLOSE the first who
 * opens and closes it (udev does) would take it away, so it is given that flag by RECONFIGURE when we have it open.
 * From then on it goes with the last descriptor: ours is the one that keeps it.  Who is killed in between leaves a
 * device that goes with nobody; nbd_kernel_sweep() makes up for it.
 *
 * Source: linux/nbd-netlink.h
 */
#define NBD_MAJOR 43

/* The nbd family of generic netlink. */
struct link {
	struct nl_sock *socket;
	int family;
};

static void link_close(struct link *link)
{
	nl_socket_free(link->socket);
	link->socket = NULL;
}

/* Like a shell would; a system without modules has it built in, or not at all. */
static void load_module(void)
{
	pid_t child = fork();
	if (child == 0) {
		char *const argv[] = { (char *)(uintptr_t) "modprobe", (char *)(uintptr_t) "-q", (char *)(uintptr_t) "nbd",
				       NULL };
		char *const env[] = { NULL };
		(void) execve("/sbin/modprobe", argv, env);
		(void) execve("/usr/sbin/modprobe", argv, env);
		_exit(127);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static int find_family(struct link *link)
{
	link->family = genl_ctrl_resolve(link->socket, NBD_GENL_FAMILY_NAME);
	return errno_of_netlink(link->family);
}

static int link_open(struct link *ret, struct err *err)
{
	ret->socket = nl_socket_alloc();
	if (!ret->socket)
		return err_set(err, -ENOMEM, "no memory");
	int r = errno_of_netlink(genl_connect(ret->socket));
	if (r == 0)
		r = find_family(ret);
	if (r == -ENOENT) {
		load_module();
		r = find_family(ret);
	}
	/* No such family, or a kernel without generic netlink. */
	if (r == -ENOENT || r == -EPROTONOSUPPORT || r == -EAFNOSUPPORT)
		return err_set(err, -ENODEV, "this kernel has no NBD devices: use --via loop, or pbsmap serve");
	return r < 0 ? err_errno(err, r, "cannot speak with the kernel by netlink") : 0;
}

/* What came back. */
struct reply {
	int error; /* negative errno */
	bool has_number, is_over;
	uint32_t number;
};

static int take_answer(struct nl_msg *nl, void *user)
{
	struct reply *reply = user;
	if (nbd_message_number(nl, &reply->number))
		reply->has_number = true;
	return NL_OK;
}

static int take_ack(struct nl_msg *nl, void *user)
{
	((struct reply *)user)->is_over = true;
	return NL_STOP;
}

static int take_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *user)
{
	struct reply *reply = user;
	reply->error = error->error;
	reply->is_over = true;
	return NL_STOP;
}

static int ask_by(const struct link *link, struct nl_cb *cb, struct nl_msg *message, struct reply *ret)
{
	(void) nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, take_answer, ret);
	(void) nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, take_ack, ret);
	(void) nl_cb_err(cb, NL_CB_CUSTOM, take_error, ret);
	int r = nl_send_auto(link->socket, message);
	while (r >= 0 && !ret->is_over)
		r = nl_recvmsgs(link->socket, cb);
	return ret->is_over ? ret->error : errno_of_netlink(r);
}

/* The kernel's errno.  @take_message: NULL = there was no memory for it. */
static int ask(const struct link *link, struct nl_msg *take_message, struct reply *ret)
{
	*ret = (struct reply){ 0 };
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r = cb && take_message ? ask_by(link, cb, take_message, ret) : -ENOMEM;
	nl_cb_put(cb);
	nlmsg_free(take_message);
	return r;
}

/* -- a device -------------------------------------------------------------------------------- */

static int explain(const struct nbd_kernel_options *options, int r, struct err *err)
{
	if (r == -EPERM || r == -EACCES)
		return err_set(err, -EPERM, "a block device needs root; pbsmap serve works without");
	if (options->number == NBD_KERNEL_ANY)
		return err_errno(err, r, "cannot connect an NBD device");
	if (r == -EBUSY)
		return err_set(err, r, "/dev/nbd%u is in use", options->number);
	if (r == -EINVAL || r == -ENOENT || r == -ENODEV)
		return err_set(err, -ENOENT, "there is no /dev/nbd%u", options->number);
	return err_errno(err, r, "cannot connect /dev/nbd%u", options->number);
}

static int connect_device(const struct link *link, const struct nbd_kernel_options *options,
			  struct nbd_kernel *kernel, struct err *err)
{
	struct reply reply;
	int r = ask(link, nbd_message_connect(link->family, options, kernel->mark), &reply);
	if (r < 0)
		return explain(options, r, err);
	if (!reply.has_number)
		return err_set(err, -EPROTO, "the kernel does not say which NBD device it connected");
	kernel->number = reply.number;
	(void) snprintf(kernel->path, sizeof kernel->path, "/dev/nbd%u", kernel->number);
	return 0;
}

static int disconnect_on_close(const struct link *link, const struct nbd_kernel *kernel)
{
	struct reply reply;
	return ask(link, nbd_message_disconnect_on_close(link->family, kernel->number, kernel->mark), &reply);
}

static void disconnect(const struct link *link, const struct nbd_kernel *kernel)
{
	struct reply reply;
	(void) ask(link, nbd_message_disconnect(link->family, kernel->number), &reply);
}

/* /sys/block/nbd12/dev: the number of partitions a device may have decides about its minor number. */
static int open_node(const struct nbd_kernel *kernel)
{
	char path[64];
	unsigned maj, min;
	int fd = open(kernel->path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	(void) snprintf(path, sizeof path, "/sys/block/nbd%u/dev", kernel->number);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	if (!file || fscanf(file, "%u:%u", &maj, &min) != 2 || maj != NBD_MAJOR ||
	    mknod(kernel->path, S_IFBLK | 0660, makedev(maj, min)) < 0)
		return -ENOENT;
	fd = open(kernel->path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int hold_device(const struct link *link, const struct nbd_kernel_options *options,
		       struct nbd_kernel *kernel, struct err *err)
{
	uint64_t size = 0;
	kernel->fd = open_node(kernel);
	if (kernel->fd < 0)
		return err_errno(err, kernel->fd, "cannot open %s", kernel->path);
	int r = disconnect_on_close(link, kernel);
	if (r < 0)
		return err_errno(err, r, "cannot set up %s", kernel->path);
	if (ioctl(kernel->fd, BLKGETSIZE64, &size) < 0 || size != options->size)
		return err_set(err, -EIO, "%s has not the size it was given", kernel->path);
	return 0;
}

int nbd_kernel_attach(const struct nbd_kernel_options *options, struct nbd_kernel *ret, struct err *err)
{
	CLEANUP(link_close) struct link link = { 0 };
	struct nbd_kernel kernel = NBD_KERNEL_NONE;
	(void) snprintf(kernel.mark, sizeof kernel.mark, "%s%s", NBD_MARK, options->mark);
	int r = link_open(&link, err);
	if (r == 0)
		r = connect_device(&link, options, &kernel, err);
	if (r < 0)
		return r;
	r = hold_device(&link, options, &kernel, err);
	if (r < 0) {
		disconnect(&link, &kernel);
		closep(&kernel.fd);
		return r;
	}
	*ret = kernel;
	return 0;
}

void nbd_kernel_detach(struct nbd_kernel *kernel)
{
	closep(&kernel->fd);
}

void nbd_kernel_disconnect(const struct nbd_kernel *kernel)
{
	CLEANUP(link_close) struct link link = { 0 };
	if (kernel->fd >= 0 && link_open(&link, NULL) == 0)
		disconnect(&link, kernel);
}

/* What /sys/block/nbdN says, in one line. */
static bool read_attribute(unsigned number, const char *name, char *ret, size_t len)
{
	char path[64];
	(void) snprintf(path, sizeof path, "/sys/block/nbd%u/%s", number, name);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	if (!file || !fgets(ret, (int)len, file))
		return false;
	ret[strcspn(ret, "\n")] = '\0';
	return true;
}

bool nbd_kernel_is_ours(unsigned number)
{
	char backend[64];
	return read_attribute(number, "backend", backend, sizeof backend) &&
	       strncmp(backend, NBD_MARK, strlen(NBD_MARK)) == 0;
}

/* -- without having it open ------------------------------------------------------------------ */

/* The kernel knows who connected it; 0 = it is not ours, or not connected. */
static pid_t who_connected(unsigned number)
{
	char pid[24];
	return nbd_kernel_is_ours(number) && read_attribute(number, "pid", pid, sizeof pid) ? (pid_t)atoi(pid) : 0;
}

static void visit_ours(void (*visit)(unsigned number, pid_t owner, pid_t wanted), pid_t wanted)
{
	CLEANUP(closedirp) DIR *dir = opendir("/sys/block");
	const struct dirent *entry;
	unsigned number;
	while (dir && (entry = readdir(dir))) {
		pid_t owner = sscanf(entry->d_name, "nbd%u", &number) == 1 ? who_connected(number) : 0;
		if (owner > 0)
			visit(number, owner, wanted);
	}
}

static void disconnect_if_of(unsigned number, pid_t owner, pid_t wanted)
{
	CLEANUP(link_close) struct link link = { 0 };
	const struct nbd_kernel kernel = { .fd = -EBADF, .number = number };
	if (owner == wanted && link_open(&link, NULL) == 0)
		disconnect(&link, &kernel);
}

void nbd_kernel_disconnect_of(pid_t pid)
{
	visit_ours(disconnect_if_of, pid);
}

/* Whoever holds it keeps it: in a container a live process only seems to be gone. */
static void let_go_of(unsigned number)
{
	CLEANUP(link_close) struct link link = { 0 };
	struct nbd_kernel kernel = { .fd = -EBADF, .number = number };
	(void) snprintf(kernel.path, sizeof kernel.path, "/dev/nbd%u", number);
	if (!read_attribute(number, "backend", kernel.mark, sizeof kernel.mark) || link_open(&link, NULL) < 0)
		return;
	kernel.fd = open_node(&kernel);
	if (kernel.fd >= 0)
		(void) disconnect_on_close(&link, &kernel);
	closep(&kernel.fd);
}

static void sweep(unsigned number, pid_t owner, pid_t wanted)
{
	if (kill(owner, 0) < 0 && errno == ESRCH)
		let_go_of(number);
}

void nbd_kernel_sweep(void)
{
	visit_ours(sweep, 0);
}
