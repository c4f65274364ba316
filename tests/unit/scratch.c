/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"
#include "util/cleanup.h"
#include "util/file.h"

static char directory[PATH_MAX], search_path[4096], temporary[PATH_MAX];

static void keep(const char *name, char *ret, size_t len, const char *otherwise)
{
	const char *value = getenv(name);
	(void) snprintf(ret, len, "%s", value && *value ? value : otherwise);
}

int scratch_environment(void **state)
{
	return clearenv() != 0 || setenv("PATH", search_path, 1) < 0 || setenv("TMPDIR", temporary, 1) < 0 ||
	       setenv("HOME", "nowhere", 1) < 0 || setenv("XDG_CONFIG_DIRS", "nowhere", 1) < 0;
}

int scratch_begin(void **state)
{
	keep("PATH", search_path, sizeof search_path, "/usr/sbin:/usr/bin:/sbin:/bin");
	keep("TMPDIR", temporary, sizeof temporary - 32, "/tmp");
	(void) snprintf(directory, sizeof directory, "%.4000s/pbsmap-unit-XXXXXX", temporary);
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	return scratch_environment(state);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return remove(path);
}

int scratch_end(void **state)
{
	return chdir("/") < 0 || nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0;
}

const char *scratch_path(void)
{
	return directory;
}

void scratch_write(const char *path, const void *data, size_t len)
{
	CLEANUP(freep) char *copy = strdup(path);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void) mkdir(copy, 0700);
		*slash = '/';
	}
	CLEANUP(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write_full(fd, data, len) < 0)
		fail_msg("cannot write %s", path);
}

void scratch_puts(const char *path, const char *text)
{
	scratch_write(path, text, strlen(text));
}
