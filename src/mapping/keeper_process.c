/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/keeper_process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "export/block_partitions.h"
#include "export/fuse_mount.h"
#include "export/loop.h"
#include "export/nbd_kernel.h"
#include "export/nbd_listen.h"
#include "format/json.h"
#include "mapping/control.h"
#include "mapping/environment.h"
#include "mapping/info.h"
#include "mapping/inherited.h"
#include "mapping/privileges.h"
#include "util/buf.h"
#include "util/mount_table.h"

/*
 *   server process                              keeper
 *     │ {"do": "mount", "target": …} ──────────▶│ fsopen(), or fusermount3
 *     │◀────────────── {} and the connection ───│
 *     │ serves                                  │
 *     │ {"do": "show", "mark": …} ─────────────▶│ opens the file, loop device, partitions, one read
 *     │◀─── {"device": …, "partitions": […]} ───│
 *     │ gives up rights                         │
 *     │   or {"do": "listen", "path": …} ──────▶│ a socket for NBD clients
 *     │◀──────────────────── {} and the socket ─│
 *     │   or {"do": "rest"} ───────────────────▶│ nothing: there are sockets
 *     │   or {"do": "link"}, as often as it likes, and then {"do": "connect", "size": …}: a kernel NBD device
 *     │ {"do": "end"} ─────────────────────────▶│ closes the device; unmounts the path, if nobody uses it;
 *     │                                         │ removes the socket
 *     │ gone ──────────────────────────────────▶│ the same, used or not
 *
 * Why a process of its own: whoever serves a file must never wait for it.  A process that is killed while
 * one of its threads sits in LOOP_CONFIGURE, or that holds the last descriptor of its own device, waits in its
 * own death for an answer that it alone could give: it can never end, and the device never goes.  Of the keeper
 * nobody waits for anything, and what it waits for fails at once when the server process is gone.
 *
 * It knows nothing of a backup, and after it was told to show it does nothing more than let go: a server process
 * that was taken over by what it read cannot use its rights.
 */
#define LINKS_MAX 16
#define SECTOR	  512

/* Only forward: each question is answered once. */
enum stage { NOTHING, MOUNTED, SHOWN };

struct kept {
	int control_fd; /* to the server process */
	enum stage stage;
	struct fuse_mount mount;
	struct loop loop;
	char *path;	     /* absolute, mounted on; NULL = not mounted on a path */
	dev_t path_dev;	     /* of what is mounted there */
	bool is_target_made; /* it was not there before, and goes with the mount */
	bool is_directory;   /* a file otherwise */
	struct nbd_path socket;
	int links[LINKS_MAX]; /* the kernel's ends of connections with the server process */
	size_t n_links;
	struct nbd_kernel nbd;
};

/* What the server process is told. */
struct reply {
	json_t *json;
	int fd; /* goes along; -EBADF = none */
};

static void reply_deinit(struct reply *reply)
{
	json_decref(reply->json);
	closep(&reply->fd);
}

static int refuse(struct err *err)
{
	return err_set(err, -EPROTO, "not a question a keeper answers");
}

/* What letting go takes, and no more, where we are root.  @capabilities: 1 << CAP_... */
static int keep_rights(uint64_t capabilities, struct err *err)
{
	return geteuid() == 0 ? privileges_keep(capabilities, err) : 0;
}

static json_t *device_to_json(const char *device, const struct strv *partitions)
{
	return json_pack("{s:o, s:o}", "device", text_to_json(device), "partitions", strv_to_json(partitions));
}

/* The absolute path; the directory is made where there is none. */
static int prepare_directory(const char *target, struct kept *kept, struct err *err)
{
	struct stat st;
	kept->is_target_made = mkdir(target, 0755) == 0;
	if (!kept->is_target_made && errno != EEXIST)
		return err_errno(err, -errno, "cannot make the directory %s", target);
	if (stat(target, &st) < 0)
		return err_errno(err, -errno, "cannot use %s", target);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%s is not a directory", target);
	kept->path = realpath(target, NULL);
	return kept->path ? 0 : err_errno(err, -errno, "cannot use %s", target);
}

/* The absolute path; the file is made where there is none. */
static int prepare_target(const char *target, struct kept *kept, struct err *err)
{
	CLEANUP(closep) int fd = open(target, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	kept->is_target_made = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(target, O_PATH | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "cannot use %s", target);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s is not a regular file", target);
	if (st.st_size > 0)
		return err_set(err, -EEXIST, "%s has something in it: give a new name, or an empty file", target);
	kept->path = realpath(target, NULL);
	return kept->path ? 0 : err_errno(err, -errno, "cannot use %s", target);
}

/* Not a file that somebody has written into since it was unmounted. */
static void remove_file(const char *path)
{
	struct stat st;
	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
		(void) unlink(path);
}

static void forget_path(struct kept *kept)
{
	if (kept->path && kept->is_target_made && kept->is_directory)
		(void) rmdir(kept->path);
	else if (kept->path && kept->is_target_made)
		remove_file(kept->path);
	free(STEAL(kept->path));
}

/* Of files with owners everybody may see what their owners let them; only root can say so. */
static int format_options(const struct kept *kept, const char *options, struct buf *ret, struct err *err)
{
	bool is_for_all = kept->is_directory && geteuid() == 0;
	const char *between = is_for_all && options ? "," : "";
	return buf_printf(ret, err, "%s%s%s", is_for_all ? "allow_other" : "", between, options ? options : "");
}

struct top {
	const char *path;
	dev_t dev; /* 0 = nothing is mounted there */
};

static int note_top(void *user, const struct mount_row *row, struct err *err)
{
	struct top *top = user;
	if (strcmp(row->target, top->path) == 0)
		top->dev = row->dev;
	return 0;
}

/* Not by a look at the path, which would be one into what we serve. */
static dev_t top_mount(const char *path)
{
	struct top top = { .path = path };
	int r = mount_table_each("/proc/self/mountinfo", note_top, &top, NULL);
	return r < 0 ? 0 : top.dev;
}

static int mount_path(const char *target, const char *fs_name, const char *options, struct kept *kept,
		      struct err *err)
{
	CLEANUP(buf_deinit) struct buf more = BUF_EMPTY;
	int r = format_options(kept, options, &more, err);
	if (r == 0)
		r = kept->is_directory ? prepare_directory(target, kept, err) : prepare_target(target, kept, err);
	if (r < 0)
		return r;
	r = fuse_mount_on_path(kept->path, fs_name, more.data, &kept->mount, err);
	if (r < 0)
		forget_path(kept);
	else
		kept->path_dev = top_mount(kept->path);
	return r;
}

static int do_mount(struct kept *kept, const json_t *question, struct reply *ret, struct err *err)
{
	CLEANUP(freep) char *target = text_from_json(json_object_get(question, "target"));
	CLEANUP(freep) char *fs_name = text_from_json(json_object_get(question, "fs_name"));
	CLEANUP(freep) char *run_dir = text_from_json(json_object_get(question, "run_dir"));
	CLEANUP(freep) char *options = text_from_json(json_object_get(question, "options"));
	kept->is_directory = json_is_true(json_object_get(question, "is_directory"));
	if (!fs_name || !run_dir || kept->stage != NOTHING)
		return refuse(err);
	kept->stage = MOUNTED;
	int r = target ? mount_path(target, fs_name, options, kept, err)
		       : fuse_mount_nowhere(fs_name, run_dir, false, &kept->mount, err);
	if (r == 0)
		*ret = (struct reply){ json_object(), steal_fd(&kept->mount.fuse_fd) };
	return r;
}

/*
 * A look into the root.  What is damaged is no reason to hide the others; who may not list it may still know
 * what is below.
 */
static int check_directory(const char *path, struct err *err)
{
	CLEANUP(closedirp) DIR *dir = opendir(path);
	if (!dir)
		return errno == EIO || errno == EACCES ? 0 : err_errno(err, -errno, "cannot open %s", path);
	errno = 0;
	if (!readdir(dir) && errno && errno != EIO)
		return err_errno(err, -errno, "%s does not answer", path);
	return 0;
}

/* One read by the way all readers take.  A damaged chunk is no reason to hide the others. */
static int check_answers(const char *device, struct err *err)
{
	CLEANUP(closep) int fd = open(device, O_RDONLY | O_CLOEXEC);
	char sector[SECTOR];
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", device);
	ssize_t n = pread(fd, sector, sizeof sector, 0);
	if (n < 0 && errno != EIO)
		return err_errno(err, -errno, "%s does not answer", device);
	if (n == 0) /* no image is empty */
		return err_set(err, -ENODEV, "%s is there, but empty: the kernel did not take its size", device);
	return 0;
}

static int attach_loop(struct kept *kept, const char *mark, struct strv *partitions, struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	int r = fuse_mount_open(&kept->mount, &fd, err);
	if (r == 0)
		r = loop_attach(fd, mark, &kept->loop, err);
	return r < 0 ? r : block_add_partitions(kept->loop.fd, kept->loop.path, partitions, err);
}

static int do_show(struct kept *kept, const json_t *question, struct reply *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv partitions = STRV_EMPTY;
	const char *mark = json_string_value(json_object_get(question, "mark"));
	if (!mark || kept->stage != MOUNTED)
		return refuse(err);
	kept->stage = SHOWN;
	int r = kept->path ? 0 : attach_loop(kept, mark, &partitions, err);
	fuse_mount_finish(&kept->mount);
	const char *device = kept->path ? kept->path : kept->loop.path;
	/* Unmounting, and removing the file, wherever it is; a device only has to be closed. */
	if (r == 0)
		r = keep_rights(kept->path ? 1u << CAP_SYS_ADMIN | 1u << CAP_DAC_OVERRIDE : 0, err);
	if (r == 0)
		r = kept->is_directory ? check_directory(device, err) : check_answers(device, err);
	if (r == 0 && kept->path)
		fuse_path_read_ahead(kept->path);
	if (r == 0)
		ret->json = device_to_json(device, &partitions);
	return r;
}

static int do_listen(struct kept *kept, const json_t *question, struct reply *ret, struct err *err)
{
	CLEANUP(freep) char *path = text_from_json(json_object_get(question, "path"));
	CLEANUP(freep) char *address = text_from_json(json_object_get(question, "address"));
	if (!path == !address || kept->stage != NOTHING)
		return refuse(err);
	kept->stage = SHOWN;
	int r = path ? nbd_listen_path(path, &kept->socket, &ret->fd, err)
		     : nbd_listen_address(address, &ret->fd, err);
	/* Removing the socket, wherever it is. */
	if (r == 0)
		r = keep_rights(path ? 1u << CAP_DAC_OVERRIDE : 0, err);
	if (r == 0)
		ret->json = json_pack("{s:o}", "path", text_or_null_to_json(kept->socket.path));
	return r;
}

static int do_rest(struct kept *kept, const json_t *question, struct reply *ret, struct err *err)
{
	if (kept->stage != NOTHING)
		return refuse(err);
	kept->stage = SHOWN;
	int r = keep_rights(0, err);
	if (r == 0)
		ret->json = json_object();
	return r;
}

/* One connection more for the kernel; the server process gets the other end. */
static int do_link(struct kept *kept, const json_t *question, struct reply *ret, struct err *err)
{
	int fds[2];
	if (kept->stage != NOTHING || kept->n_links == LINKS_MAX)
		return refuse(err);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, -errno, "cannot make a socket");
	kept->links[kept->n_links++] = fds[0];
	*ret = (struct reply){ json_object(), fds[1] };
	return 0;
}

static void close_links(struct kept *kept)
{
	while (kept->n_links)
		closep(&kept->links[--kept->n_links]);
}

/*
 * The first open of a device waits for what the server process answers, and cannot be told that it is gone: until it is
 * open, a child waits for that.
 */
static pid_t guard_start(int control_fd)
{
	pid_t keeper = getpid(), child = fork();
	if (child != 0)
		return child;
	struct pollfd until_gone = { .fd = control_fd };
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == keeper && poll(&until_gone, 1, -1) > 0)
		nbd_kernel_disconnect_of(keeper);
	_exit(0);
}

static void guard_end(pid_t guard)
{
	if (guard <= 0)
		return;
	(void) kill(guard, SIGKILL);
	while (waitpid(guard, NULL, 0) < 0 && errno == EINTR)
		;
}

static int attach_nbd(struct kept *kept, const json_t *question, struct strv *partitions, struct err *err)
{
	const char *mark = json_string_value(json_object_get(question, "mark"));
	const struct nbd_kernel_options options = {
		.size = (uint64_t)json_integer_value(json_object_get(question, "size")),
		.timeout_s = (uint32_t)json_integer_value(json_object_get(question, "timeout")),
		.number = (uint32_t)json_integer_value(json_object_get(question, "number")),
		.mark = mark,
		.fds = kept->links,
		.n_fds = kept->n_links,
	};
	if (!mark || kept->stage != NOTHING || !kept->n_links)
		return refuse(err);
	kept->stage = SHOWN;
	nbd_kernel_sweep(); /* it may be the one that is asked for */
	pid_t guard = guard_start(kept->control_fd);
	int r = nbd_kernel_attach(&options, &kept->nbd, err);
	guard_end(guard);
	close_links(kept); /* the kernel has its own */
	return r < 0 ? r : block_add_partitions(kept->nbd.fd, kept->nbd.path, partitions, err);
}

static int do_connect(struct kept *kept, const json_t *question, struct reply *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv partitions = STRV_EMPTY;
	int r = attach_nbd(kept, question, &partitions, err);
	/* Ending a device whose server process was killed. */
	if (r == 0)
		r = keep_rights(1u << CAP_SYS_ADMIN, err);
	if (r == 0)
		r = check_answers(kept->nbd.path, err);
	if (r == 0)
		ret->json = device_to_json(kept->nbd.path, &partitions);
	return r;
}

static void let_go_of_path(struct kept *kept, bool is_used_or_not)
{
	/* What somebody else has mounted over it is not ours to unmount, and keeps ours where it is. */
	dev_t top = top_mount(kept->path);
	if (top && top != kept->path_dev)
		return;
	/* Somebody else may have unmounted it; what is mounted still cannot be removed. */
	if (fuse_path_unmount(kept->path, is_used_or_not, NULL) != -EBUSY)
		forget_path(kept);
}

static void let_go(struct kept *kept, bool is_used_or_not)
{
	loop_detach(&kept->loop);
	if (is_used_or_not)
		nbd_kernel_disconnect(&kept->nbd);
	nbd_kernel_detach(&kept->nbd);
	nbd_path_remove(&kept->socket);
	if (kept->path)
		let_go_of_path(kept, is_used_or_not);
}

static int answer_question(struct kept *kept, const char *what, const json_t *question, struct reply *ret,
			   struct err *err)
{
	static const struct {
		const char *what;
		int (*answer)(struct kept *kept, const json_t *question, struct reply *ret, struct err *err);
	} questions[] = {
		{ "mount", do_mount }, { "show", do_show },
		{ "listen", do_listen }, { "rest", do_rest },
		{ "link", do_link }, { "connect", do_connect },
	};
	for (size_t i = 0; i < ARRAY_LEN(questions); i++)
		if (strcmp(what, questions[i].what) == 0)
			return questions[i].answer(kept, question, ret, err);
	return refuse(err);
}

static int answer(struct kept *kept, const json_t *question)
{
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	CLEANUP(reply_deinit) struct reply reply = { .fd = -EBADF };
	const char *what = json_string_value(json_object_get(question, "do"));
	if (what && strcmp(what, "end") == 0) {
		let_go(kept, false);
		return 0;
	}
	if (answer_question(kept, what ? what : "", question, &reply, &why.err) < 0)
		return control_send(kept->control_fd, json_pack("{s:o}", "failed", failure_to_json(&why)), NULL);
	return control_send_fd(kept->control_fd, STEAL(reply.json), reply.fd, NULL);
}

void keeper_process(int take_control_fd)
{
	struct kept kept = {
		.control_fd = take_control_fd,
		.mount = FUSE_MOUNT_NONE,
		.loop = LOOP_NONE,
		.socket = NBD_PATH_NONE,
		.nbd = NBD_KERNEL_NONE,
	};
	struct inherited inherited = INHERITED_NONE;
	(void) prctl(PR_SET_NAME, "pbsmap-keeper");
	environment_forget_secrets();
	/* Ctrl-C and a service manager mean the server process: this one follows it. */
	const int ignored[] = { SIGINT, SIGTERM, SIGHUP };
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void) signal(ignored[i], SIG_IGN);
	(void) setsid();
	int r = inherited_list(kept.control_fd, &inherited, NULL);
	for (bool is_away = false; r >= 0; is_away = true) {
		CLEANUP(json_freep) json_t *question = NULL;
		r = control_receive(kept.control_fd, DEADLINE_NEVER, &question, NULL);
		if (r <= 0)
			break;
		r = answer(&kept, question);
		/* The first question may have a path relative to the caller's directory. */
		if (!is_away && r >= 0)
			r = inherited_let_go(&inherited, NULL);
	}
	let_go(&kept, true);
	fuse_mount_finish(&kept.mount);
	_exit(0);
}
