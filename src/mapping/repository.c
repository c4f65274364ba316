/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/pbs_repository.h"
#include "format/snapshot.h"
#include "mapping/backup.h"
#include "mapping/environment.h"
#include "mapping/pbs_login.h"
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

static int open_one(const struct repository_options *options, const char *text, struct source **ret,
		    struct err *err)
{
	char shown[256];
	struct pbs_repository repository;
	if (is_path(text))
		return source_dir_open(text, ret, err);
	if (strncmp(text, "s3://", 5) == 0)
		return err_set(err, -EOPNOTSUPP, "repository %s: buckets are not supported yet",
			       text_escape(text, shown, sizeof shown));
	int r = pbs_repository_parse(text, &repository, err);
	return r < 0 ? r : pbs_login_open(options, &repository, ret, err);
}

/* -- the environment ------------------------------------------------------------------------- */

/* NULL = not set, or empty */
static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

/* PBS_SERVER and its like, which count where PBS_REPOSITORY says nothing.  0 = none of them is set. */
static int repository_from_parts(struct pbs_repository *ret, struct err *err)
{
	const struct pbs_repository_parts parts = {
		.auth_id = variable("PBS_AUTH_ID"),
		.host = variable("PBS_SERVER"),
		.port = variable("PBS_PORT"),
		.store = variable("PBS_DATASTORE"),
	};
	if (!parts.auth_id && !parts.host && !parts.port && !parts.store)
		return 0;
	if (!parts.store)
		return err_set(err, -EINVAL, "%s is set, but not PBS_DATASTORE: set it, or PBS_REPOSITORY, or give "
			       "--repository", parts.host ? "PBS_SERVER" : parts.port ? "PBS_PORT" : "PBS_AUTH_ID");
	int r = pbs_repository_join(&parts, ret, err);
	return r < 0 ? err_while(err, r, "reading PBS_SERVER, PBS_PORT, PBS_DATASTORE and PBS_AUTH_ID") : 1;
}

static int open_from_parts(const struct repository_options *options, struct source **ret, struct err *err)
{
	struct pbs_repository repository;
	int r = repository_from_parts(&repository, err);
	if (r == 0)
		return err_set(err, -EINVAL, "no repository: give --repository, or set PBS_REPOSITORY "
			       "(sudo drops it: sudo --preserve-env=PBS_REPOSITORY)");
	return r < 0 ? r : pbs_login_open(options, &repository, ret, err);
}

static int open_from_environment(const struct repository_options *options, struct source **ret,
				 struct err *err)
{
	struct secret value = SECRET_EMPTY;
	int r = environment_line("PBS_REPOSITORY", "repository", &value, err);
	if (r >= 0)
		r = value.len ? open_one(options, (const char *)value.data, ret, err)
			      : open_from_parts(options, ret, err);
	secret_deinit(&value);
	return r;
}

int repository_open(const struct repository_options *options, struct source **ret,
		    struct failure *why)
{
	if (options->n_repositories == 0)
		return open_from_environment(options, ret, &why->err);
	if (options->n_repositories > 1)
		return err_set(&why->err, -EOPNOTSUPP, "more than one repository is not supported yet");
	return open_one(options, options->repositories[0], ret, &why->err);
}
