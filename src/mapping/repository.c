/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/snapshot.h"
#include "mapping/backup.h"
#include "mapping/environment.h"
#include "source/dir.h"
#include "util/text.h"

void repository_say(const struct repository_options *options, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	va_start(args, fmt);
	(void) vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	options->say(options->user, line);
}

int repository_namespace(const struct repository_options *options, const char **ret, struct err *err)
{
	const char *ns = options->ns ? options->ns : getenv("PBS_NAMESPACE");
	if (!ns)
		ns = "";
	int r = namespace_check(ns, err);
	if (r == 0)
		*ret = ns;
	return r;
}

static bool is_path(const char *text)
{
	return text[0] == '/' || strcmp(text, ".") == 0 || strcmp(text, "..") == 0 ||
	       strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0;
}

static int open_one(const char *text, struct source **ret, struct err *err)
{
	char shown[256];
	if (is_path(text))
		return source_dir_open(text, ret, err);
	if (strncmp(text, "s3://", 5) == 0)
		return err_set(err, -EOPNOTSUPP, "repository %s: buckets are not supported yet, only datastore "
			       "directories", text_escape(text, shown, sizeof shown));
	return err_set(err, -EOPNOTSUPP, "repository %s: servers are not supported yet, only datastore "
		       "directories; a directory is written /path or ./path",
		       text_escape(text, shown, sizeof shown));
}

static int open_from_environment(struct source **ret, struct err *err)
{
	struct secret value = SECRET_EMPTY;
	int r = environment_value("PBS_REPOSITORY", "repository", &value, err);
	if (r > 0 && value.len)
		r = open_one((const char *)value.data, ret, err);
	else if (r >= 0)
		r = err_set(err, -EINVAL, "no repository: give --repository, or set PBS_REPOSITORY "
			    "(sudo drops it: sudo --preserve-env=PBS_REPOSITORY)");
	secret_deinit(&value);
	return r;
}

int repository_open(const struct repository_options *options, struct source **ret,
		    struct failure *why)
{
	if (options->n_repositories == 0)
		return open_from_environment(ret, &why->err);
	if (options->n_repositories > 1)
		return err_set(&why->err, -EOPNOTSUPP, "more than one repository is not supported yet");
	return open_one(options->repositories[0], ret, &why->err);
}
