/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfile - a loop device over bytes in memory, by the road a mapped image takes: the limit of
 * what any program could reach there.
 *
 *   memfile SIZE[:KIND]          over a FUSE file that is mounted nowhere, direct I/O on both sides
 *   memfile --file SIZE[:KIND]   that FUSE file itself, through the page cache, without a device
 *   memfile --plain SIZE[:KIND]  over a file in memory, without FUSE
 *
 * Prints the device or file; it exists until standard input ends, so that nothing is left whatever
 * happens to the program that started this one.
 */
#define FUSE_USE_VERSION 34
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/mount.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export/loop.h"
#include "synthetic.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/err.h"

enum road { OVER_FUSE, OVER_MEMORY, FUSE_FILE };

struct memory {
	uint8_t *data;
	uint64_t size;
	enum road road;
};

static void fill_attr(const struct memory *m, struct stat *ret)
{
	*ret = (struct stat){ .st_mode = S_IFREG | 0400, .st_ino = FUSE_ROOT_ID, .st_nlink = 1,
			      .st_size = (off_t)m->size, .st_blksize = 4096 };
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct stat attr;
	fill_attr(fuse_req_userdata(req), &attr);
	(void) fuse_reply_attr(req, &attr, 3600);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	const struct memory *m = fuse_req_userdata(req);
	file->direct_io = m->road != FUSE_FILE;
	file->keep_cache = 1;
	(void) fuse_reply_open(req, file);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off,
		    struct fuse_file_info *file)
{
	const struct memory *m = fuse_req_userdata(req);
	uint64_t begin = min_u64((uint64_t)off, m->size);
	(void) fuse_reply_buf(req, (const char *)m->data + begin, min_u64(len, m->size - begin));
}

static void on_init(void *user, struct fuse_conn_info *conn)
{
	conn->max_background = 64;
	conn->max_readahead = 1 << 20;
}

static const struct fuse_lowlevel_ops operations = {
	.init = on_init, .getattr = on_getattr, .open = on_open, .read = on_read,
};

/* A FUSE mount that is attached nowhere; its root is the file. */
static int mount_anonymous(int fuse_fd, int *ret_fd, struct err *err)
{
	char fd_text[16];
	(void) snprintf(fd_text, sizeof fd_text, "%d", fuse_fd);
	const char *const settings[][2] = {
		{ "source", "memfile" }, { "fd", fd_text },	{ "rootmode", "100400" },
		{ "user_id", "0" },	 { "group_id", "0" },	{ "max_read", "1048576" },
	};
	CLEANUP(closep) int fs = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
	if (fs < 0)
		return err_errno(err, -errno, "fsopen");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		const char *key = settings[i][0], *value = settings[i][1];
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) < 0)
			return err_errno(err, -errno, "fsconfig %s", key);
	}
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(err, -errno, "fsconfig create");
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	if (fd < 0)
		return err_errno(err, -errno, "fsmount");
	*ret_fd = fd;
	return 0;
}

static void *serve(void *arg)
{
	struct fuse_loop_config config = { .clone_fd = 0, .max_idle_threads = 10 };
	(void) fuse_session_loop_mt(arg, &config);
	return NULL;
}

static int start_session(struct memory *m, int fuse_fd, struct err *err)
{
	char program[] = "memfile", fd_path[32];
	char *argv[] = { program, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	(void) snprintf(fd_path, sizeof fd_path, "/dev/fd/%d", fuse_fd);
	struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, m);
	if (!session || fuse_session_mount(session, fd_path) != 0)
		return err_set(err, -EIO, "cannot start a FUSE session");
	pthread_t thread; /* ends with the process */
	int r = -pthread_create(&thread, NULL, serve, session);
	return r < 0 ? err_errno(err, r, "cannot start a thread") : 0;
}

/* The mount, whose root is the file, served from memory by threads of this process. */
static int mount_served(struct memory *m, int *ret_fd, struct err *err)
{
	CLEANUP(closep) int mount_fd = -EBADF;
	int fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC); /* the session keeps it */
	if (fuse_fd < 0)
		return err_errno(err, -errno, "/dev/fuse");
	int r = mount_anonymous(fuse_fd, &mount_fd, err);
	if (r == 0)
		r = start_session(m, fuse_fd, err);
	if (r == 0)
		*ret_fd = steal_fd(&mount_fd);
	return r;
}

static int open_served(int mount_fd, int *ret_fd, struct err *err)
{
	char path[32];
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", mount_fd);
	*ret_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	return *ret_fd < 0 ? err_errno(err, -errno, "cannot open the served file") : 0;
}

static int make_memory(const char *text, int *ret_fd, struct memory *ret, struct err *err)
{
	struct synthetic content;
	int r = synthetic_parse(text, &content, err);
	if (r < 0)
		return r;
	CLEANUP(closep) int fd = memfd_create("memfile", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)content.size) < 0)
		return err_errno(err, -errno, "no memory for %s", text);
	uint8_t *data = mmap(NULL, content.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return err_errno(err, -errno, "no memory for %s", text);
	synthetic_fill(content.kind, 0, data, content.size);
	ret->data = data;
	ret->size = content.size;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static void wait_for_end_of_input(void)
{
	char byte;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/*
 * The device over the file, which is closed at once: a process that ends while it has a file of
 * its own FUSE mount open waits for itself, in the flush of that file.
 */
static int attach_served(int mount_fd, struct loop *ret, struct err *err)
{
	CLEANUP(closep) int file_fd = -EBADF;
	int r = open_served(mount_fd, &file_fd, err);
	return r < 0 ? r : loop_attach(file_fd, "memfile", ret, err);
}

static int run(const char *content, enum road road, struct err *err)
{
	struct memory memory = { .road = road };
	struct loop loop = LOOP_NONE;
	CLEANUP(closep) int memory_fd = -EBADF;
	CLEANUP(closep) int mount_fd = -EBADF;
	int r = make_memory(content, &memory_fd, &memory, err);
	if (r == 0 && road != OVER_MEMORY)
		r = mount_served(&memory, &mount_fd, err);
	if (r == 0 && road == OVER_MEMORY)
		r = loop_attach(memory_fd, "memfile", &loop, err);
	else if (r == 0 && road == OVER_FUSE)
		r = attach_served(mount_fd, &loop, err);
	if (r < 0)
		return r;
	if (road == FUSE_FILE)
		(void) printf("/proc/%d/fd/%d\n", (int)getpid(), mount_fd);
	else
		(void) printf("%s\n", loop.path);
	(void) fflush(stdout);
	wait_for_end_of_input();
	loop_detach(&loop);
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_NONE;
	enum road road = OVER_FUSE;
	if (argc == 3 && strcmp(argv[1], "--plain") == 0)
		road = OVER_MEMORY;
	else if (argc == 3 && strcmp(argv[1], "--file") == 0)
		road = FUSE_FILE;
	else if (argc != 2) {
		(void) fputs("usage: memfile [--plain|--file] SIZE[:KIND]\n", stderr);
		return 2;
	}
	int r = run(argv[argc - 1], road, &err);
	if (r < 0)
		(void) fprintf(stderr, "memfile: %s\n", err.msg);
	return r < 0;
}
