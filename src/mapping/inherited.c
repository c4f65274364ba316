/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/inherited.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

#include "util/array.h"

int inherited_list(int except, struct inherited *ret, struct err *err)
{
	CLEANUP(closedirp) DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return err_errno(err, -errno, "cannot list /proc/self/fd");
	struct dirent *entry;
	int r = 0;
	while (r == 0 && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		if (fd <= STDERR_FILENO || fd == except || fd == dirfd(dir))
			continue;
		r = array_grow(&ret->items, ret->n, &ret->cap, sizeof fd, err);
		if (r == 0)
			ret->items[ret->n++] = fd;
	}
	return r;
}

void inherited_deinit(struct inherited *inherited)
{
	free(inherited->items);
	*inherited = INHERITED_NONE;
}

int inherited_close(struct inherited *inherited, struct err *err)
{
	for (size_t i = 0; i < inherited->n; i++)
		(void) close(inherited->items[i]);
	inherited_deinit(inherited);
	CLEANUP(closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_errno(err, -errno, "cannot open /dev/null");
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return err_errno(err, -errno, "cannot let go of standard input and output");
	return 0;
}

int inherited_let_go(struct inherited *inherited, struct err *err)
{
	int r = inherited_close(inherited, err);
	if (r == 0 && chdir("/") < 0)
		r = err_errno(err, -errno, "cannot work in /");
	return r;
}
