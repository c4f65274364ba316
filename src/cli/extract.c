/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/unpack.h"
#include "cli/args.h"
#include "cli/inside.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "util/file.h"

struct extraction {
	struct options options; /* what is said goes through the progress */
	struct progress progress;
	struct inside inside;
	int failed;   /* of what was told, the first code */
};

static void tell(void *user, const char *path, const struct err *why)
{
	const struct extraction *x = user;
	char shown[MESSAGE_PATH_SIZE];
	repository_say(&x->options.repository, "%s: %s", message_path(*path ? path : ".", shown), why->msg);
}

static void warn(void *user, const char *text)
{
	const struct extraction *x = user;
	repository_say(&x->options.repository, "warning: %s", text);
}

static void moved(void *user, const struct unpack_progress *at)
{
	struct extraction *x = user;
	progress_moved(&x->progress, at);
}

/* A path leads nowhere: perhaps it was meant to lead to several. */
static int say_of_patterns(const struct extraction *x, struct err *err)
{
	const struct options *options = &x->options;
	for (size_t i = inside_first_path(options); i < options->n_args; i++) {
		struct err why = *err;
		if (strpbrk(options->args[i], "*?["))
			return err_set(err, why.code, "%s; a PATH is taken as it is, '*' and '?' stand for themselves", why.msg);
	}
	return err->code;
}

/* As unpack() has it. */
static int run(struct extraction *x, struct unpacker *u, struct err *err)
{
	const struct options *options = &x->options;
	u->tree = x->inside.opened.tree;
	u->timeout_ms = options->timeout_ms;
	u->tell = tell;
	u->warn = warn;
	u->moved = moved;
	u->user = x;
	progress_begin(&x->progress);
	size_t first = inside_first_path(options);
	int r = unpack(u, options->args + first, options->n_args - first, err);
	x->failed = u->failed;
	return r == -ENOENT ? say_of_patterns(x, err) : r;
}

/* -- into a directory ------------------------------------------------------------------------ */

static int check_empty(int fd, const char *path, struct err *err)
{
	CLEANUP(closep) int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	if (!dir)
		return err_errno(err, -errno, "cannot read the directory %s", path);
	(void) steal_fd(&own);
	const struct dirent *entry;
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return err_set(err, -EEXIST, "the directory %s is not empty", path);
	return 0;
}

/* Better now than for each file. */
static int check_writable(int fd, const char *path, struct err *err)
{
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return err_errno(err, -errno, "cannot write into the directory %s", path);
	return 0;
}

static int open_target(const char *path, bool *ret_is_new, int *ret, struct err *err)
{
	*ret_is_new = mkdir(path, 0777) == 0;
	if (!*ret_is_new && errno != EEXIST)
		return err_errno(err, -errno, "cannot make the directory %s", path);
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open the directory %s", path);
	int r = check_empty(fd, path, err);
	if (r == 0)
		r = check_writable(fd, path, err);
	if (r == 0)
		*ret = steal_fd(&fd);
	return r;
}

static int extract_to(struct extraction *x, struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	struct unpack_dir *dir = NULL;
	bool is_new = false;
	int r = open_target(x->options.to, &is_new, &fd, err);
	if (r == 0)
		r = unpack_dir_open(fd, &dir, err);
	if (r < 0)
		return r;
	(void) umask(0); /* what is made gets the mode it had */
	r = run(x, unpack_dir_unpacker(dir), err);
	unpack_dir_close(dir);
	if (r != 0 && is_new)
		(void) rmdir(x->options.to); /* if nothing came */
	return r;
}

/* -- as a tar archive ------------------------------------------------------------------------ */

/* A new file; or what is none: a pipe, /dev/null.  A disk is not overwritten for a typing error. */
static int open_new(const char *path)
{
	struct stat st;
	bool is_there = stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
	return open(path, O_WRONLY | O_CLOEXEC | (is_there ? O_NOCTTY : O_CREAT | O_EXCL), 0666);
}

static int open_archive(const char *path, int *ret, struct err *err)
{
	bool is_stdout = strcmp(path, "-") == 0;
	if (is_stdout && isatty(STDOUT_FILENO))
		return err_set(err, -EINVAL, "a tar archive is nothing for a terminal");
	*ret = is_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0) : open_new(path);
	return *ret < 0 ? err_errno(err, -errno, "cannot make the archive %s", path) : 0;
}

/* Of a path that leads nowhere an archive is not left, to be in the way of the next try. */
static void remove_empty(const char *path, int fd)
{
	struct stat st;
	if (strcmp(path, "-") != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
		(void) unlink(path);
}

static int finish_archive(struct unpack_tar *tar, int *fd, struct err *err)
{
	int r = unpack_tar_finish(tar, err);
	if (r < 0)
		return r;
	r = close_written(fd);
	return r < 0 ? err_errno(err, r, "cannot write the archive") : 0;
}

static int extract_tar(struct extraction *x, struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	struct unpack_tar *tar = NULL;
	int r = open_archive(x->options.tar, &fd, err);
	if (r == 0)
		r = unpack_tar_open(fd, &tar, err);
	if (r < 0)
		return r;
	r = run(x, unpack_tar_unpacker(tar), err);
	int end = r >= 0 ? finish_archive(tar, &fd, err) : 0;
	r = end < 0 ? end : r;
	unpack_tar_close(tar);
	if (r < 0)
		remove_empty(x->options.tar, fd);
	return r;
}

/* -- both ------------------------------------------------------------------------------------ */

static int check_target(const struct options *options, struct err *err)
{
	if (!options->to == !options->tar)
		return err_set(err, -EINVAL, "extract needs --to DIR or --tar FILE");
	return 0;
}

/* What a file system says of one file is nothing about the command line. */
static int status_of_told(int code)
{
	return code == -EBADMSG ? EXIT_DAMAGED : EXIT_FAILED;
}

static void extraction_end(struct extraction *x)
{
	inside_close(&x->inside);
	progress_end(&x->progress);
}

int cmd_extract(const struct options *options, struct failure *why)
{
	if (check_target(options, &why->err) < 0)
		return args_point_to_help("extract", &why->err);
	CLEANUP(extraction_end) struct extraction x = {
		.options = *options,
		.progress = PROGRESS_NONE(&options->repository),
		.inside = INSIDE_NONE,
	};
	x.options.repository.say = progress_say;
	x.options.repository.user = &x.progress;
	int r = inside_open(&x.options, "extract", &x.inside, why);
	if (r == 0)
		r = options->to ? extract_to(&x, &why->err) : extract_tar(&x, &why->err);
	/* What was told for each file is not said again. */
	return r == 1 ? status_of_told(x.failed) : r;
}
