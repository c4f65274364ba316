/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "scratch.h"
#include "unit.h"
#include "util/file.h"

static const char golden[] = TESTS_DIR "/golden/";

void store_copy_file(const char *from, const char *to)
{
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len;
	if (read_file_at(AT_FDCWD, from, 0, 64u << 20, &data, &len, NULL) < 0)
		fail_msg("cannot read %s", from);
	scratch_write(to, data, len);
}

void golden_copy(const char *from, const char *to)
{
	char path[4096];
	(void) snprintf(path, sizeof path, "%s%s", golden, from);
	store_copy_file(path, to);
}

static int copy_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	char to[4096];
	(void) snprintf(to, sizeof to, "store%s", path + sizeof golden - 1 + strlen("datastore"));
	if (type == FTW_D)
		return mkdir(to, 0700) < 0 && errno != EEXIST;
	if (!strstr(path, "/.chunks/"))
		store_copy_file(path, to);
	return 0;
}

void store_copy(void)
{
	if (nftw(TESTS_DIR "/golden/datastore", copy_one, 16, FTW_PHYS) != 0)
		fail_msg("cannot copy the golden datastore");
}

static void note(void *user, const char *line)
{
	if (strv_add(user, line, NULL) < 0)
		fail_msg("no memory");
}

struct repository_options store_options(struct strv *said)
{
	static const char *const repositories[] = { "./store" };
	return (struct repository_options){
		.repositories = repositories,
		.n_repositories = 1,
		.say = note,
		.user = said,
	};
}

const char *joined(const struct strv *v)
{
	static char text[2048];
	size_t len = 0;
	text[0] = '\0';
	for (size_t i = 0; i < v->n && len < sizeof text; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i ? "|" : "", v->items[i]);
	return text;
}
