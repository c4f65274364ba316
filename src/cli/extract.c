/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/unpack.h"
#include "cli/args.h"
#include "cli/inside.h"
#include "util/text.h"

#define SHOWN_SIZE 4096

static void tell(void *user, const char *path, const struct err *why)
{
	char shown[SHOWN_SIZE];
	repository_say(user, "%s: %s", *path ? text_escape(path, shown, sizeof shown) : ".", why->msg);
}

static void warn(void *user, const char *text)
{
	repository_say(user, "warning: %s", text);
}

static int run(const struct options *options, const struct opened_tree *opened, size_t paths, struct unpacker *u,
	       struct err *err)
{
	u->tree = opened->tree;
	u->timeout_ms = options->timeout_ms;
	u->tell = tell;
	u->warn = warn;
	u->user = (void *)(uintptr_t)&options->repository; /* only read */
	return unpack(u, options->args + paths, options->n_args - paths, err);
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

static int open_target(const char *path, int *ret, struct err *err)
{
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "cannot make the directory %s", path);
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open the directory %s", path);
	int r = check_empty(fd, path, err);
	if (r == 0)
		*ret = steal_fd(&fd);
	return r;
}

static int extract_to(const struct options *options, const struct opened_tree *opened, size_t paths,
		      struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	struct unpack_dir *dir = NULL;
	int r = open_target(options->to, &fd, err);
	if (r == 0)
		r = unpack_dir_open(fd, &dir, err);
	if (r < 0)
		return r;
	(void) umask(0); /* what is made gets the mode it had */
	r = run(options, opened, paths, unpack_dir_unpacker(dir), err);
	unpack_dir_close(dir);
	return r;
}

/* -- as a tar archive ------------------------------------------------------------------------ */

static int open_archive(const char *path, int *ret, struct err *err)
{
	bool is_stdout = strcmp(path, "-") == 0;
	if (is_stdout && isatty(STDOUT_FILENO))
		return err_set(err, -EINVAL, "a tar archive is nothing for a terminal");
	*ret = is_stdout ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
			 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return *ret < 0 ? err_errno(err, -errno, "cannot make the archive %s", path) : 0;
}

static int extract_tar(const struct options *options, const struct opened_tree *opened, size_t paths,
		       struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	struct unpack_tar *tar = NULL;
	struct err end = ERR_NONE;
	int r = open_archive(options->tar, &fd, err);
	if (r == 0)
		r = unpack_tar_open(fd, &tar, err);
	if (r < 0)
		return r;
	r = run(options, opened, paths, unpack_tar_unpacker(tar), err);
	/* Without a message all that failed was told: what is there is a whole archive. */
	if ((r == 0 || err->code == 0) && unpack_tar_finish(tar, &end) < 0) {
		*err = end;
		r = end.code;
	}
	unpack_tar_close(tar);
	return r;
}

/* -- both ------------------------------------------------------------------------------------ */

static int check_target(const struct options *options, struct err *err)
{
	if (!options->to == !options->tar)
		return err_set(err, -EINVAL, "extract needs --to DIR or --tar FILE");
	return 0;
}

int cmd_extract(const struct options *options, struct failure *why)
{
	CLEANUP(inside_close) struct inside inside = INSIDE_NONE;
	size_t paths;
	if (check_target(options, &why->err) < 0)
		return args_point_to_help("extract", &why->err);
	int r = inside_open(options, "extract", &inside, &paths, why);
	if (r == 0)
		r = options->to ? extract_to(options, &inside.opened, paths, &why->err)
				: extract_tar(options, &inside.opened, paths, &why->err);
	/* What was told for each file is not said again. */
	return r < 0 && why->err.code == 0 ? exit_status_of(r) : r;
}
