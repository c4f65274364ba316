/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/data.h"
#include "format/pbs_repository.h"
#include "mapping/backup.h"
#include "scratch.h"
#include "store.h"
#include "unit.h"

static int begin(void **state)
{
	if (scratch_begin(state))
		return -1;
	scratch_puts("store/.chunks/x", "");
	scratch_puts("no store/x", "");
	scratch_puts("file", "");
	scratch_puts("repository.txt", "./store\n");
	scratch_puts("credentials/proxmox-backup-client.repository", "./store\n");
	return mkdir("below", 0700);
}

static int open_string(const char *text, struct failure *why, char *ret_name, size_t len)
{
	const char *const list[] = { text };
	CLEANUP(source_closep) struct source *source = NULL;
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	struct repository_options options = store_options(&said);
	options.repositories = list;
	options.n_repositories = text ? 1 : 0;
	int r = repository_open(&options, &source, why);
	assert_int_equal(r == 0, source != NULL);
	if (r == 0)
		(void) snprintf(ret_name, len, "%s", source->name);
	return r;
}

static void an_absolute_or_dotted_path_is_a_datastore(void **state)
{
	static const struct {
		const char *from, *path;
	} rows[] = {
		{ ".", "./store" },	    { ".", "./store/" },	{ ".", "././below/../store" },
		{ "store", "." },	    { "store", "./" },		{ "store/.chunks", ".." },
		{ "store/.chunks", "../" }, { "below", "../store" },	{ ".", NULL /* absolute */ },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		char absolute[4200], name[4200] = "";
		(void) snprintf(absolute, sizeof absolute, "%s/store", scratch_path());
		assert_int_equal(chdir(rows[i].from), 0);
		int r = open_string(rows[i].path ? rows[i].path : absolute, &why, name, sizeof name);
		assert_int_equal(chdir(scratch_path()), 0);
		expect(rows[i].path ? rows[i].path : absolute, r, &why.err, 0, NULL);
	}
}

static void says_why_a_repository_cannot_be_opened(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *words;
	} rows[] = {
		{ "./nowhere", -ENOENT, "nowhere" },
		{ "/nowhere/at/all", -ENOENT, "/nowhere/at/all" },
		{ "./no store", -ENOENT, "no store" },
		{ "./file", -ENOTDIR, "file" },
		{ "s3://bucket/prefix", -EOPNOTSUPP, "repository s3://bucket/prefix: buckets are not supported yet" },
		{ ".store", -EINVAL, "'.store' is no name of a datastore" },
		{ "...", -EINVAL, "'...' is no name of a datastore" },
		{ "~/store", -EINVAL, "a directory is written /path or ./path" },
		{ "store/x", -EINVAL, "a directory is written /path or ./path" },
		{ "S3://bucket", -EINVAL, "a directory is written /path or ./path" },
		{ "", -EINVAL, "the name of the datastore is missing" },
		{ "a\x1b[31m", -EINVAL, "reading the repository 'a\\x1b[31m'" },
		{ "u@pam:store", -EINVAL, "'u' is no user" },
		{ NULL, -EINVAL, "set PBS_REPOSITORY (sudo drops it: sudo --preserve-env=PBS_REPOSITORY)" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		expect(rows[i].text ? rows[i].text : "none", open_string(rows[i].text, &why, NULL, 0), &why.err,
		       rows[i].r, rows[i].words);
	}
}

/* The name of the source is the repository as it was understood. */
static void anything_else_is_a_datastore_of_a_server(void **state)
{
	static const struct {
		const char *text, *name;
	} rows[] = {
		{ "store", "store" },
		{ "pbs.example.com:store1", "pbs.example.com:store1" },
		{ "root@pam@pbs.example.com:store1", "root@pam@pbs.example.com:8007:store1" },
		{ "[fe80::1]:8008:store1", "[fe80::1]:8008:store1" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		char name[PBS_REPOSITORY_TEXT_SIZE];
		expect(rows[i].text, open_string(rows[i].text, &why, name, sizeof name), &why.err, 0, NULL);
		assert_string_equal(name, rows[i].name);
	}
}

static void takes_one_repository_only(void **state)
{
	static const char *const two[] = { "./store", "./store" };
	CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
	CLEANUP(strv_deinit) struct strv said = STRV_EMPTY;
	struct repository_options options = store_options(&said);
	struct source *source = NULL;
	options.repositories = two;
	options.n_repositories = 2;
	expect("two", repository_open(&options, &source, &why), &why.err, -EOPNOTSUPP, "more than one repository");
	assert_null(source);
}

static void takes_the_repository_from_the_environment(void **state)
{
	static const struct {
		const char *name, *value, *option;
		int r;
		const char *words;
	} rows[] = {
		{ "PBS_REPOSITORY", "./store", NULL, 0, NULL },
		{ "PBS_REPOSITORY_FILE", "repository.txt", NULL, 0, NULL },
		{ "PBS_REPOSITORY_CMD", "echo ./store", NULL, 0, NULL },
		{ "PBS_REPOSITORY", "./nowhere", "./store", 0, NULL },
		{ "PBS_REPOSITORY", "./nowhere", NULL, -ENOENT, "nowhere" },
		{ "PBS_REPOSITORY", "", NULL, -EINVAL, "no repository" },
		{ "CREDENTIALS_DIRECTORY", "credentials", NULL, 0, NULL },
		{ "PBS_REPOSITORY_FILE", "nowhere.txt", NULL, -EACCES, "PBS_REPOSITORY_FILE: cannot open nowhere.txt" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		char name[4200];
		scratch_environment(state);
		assert_int_equal(setenv(rows[i].name, rows[i].value, 1), 0);
		expect(rows[i].value, open_string(rows[i].option, &why, name, sizeof name), &why.err, rows[i].r,
		       rows[i].words);
	}
}

static void takes_a_repository_in_parts_where_there_is_no_other(void **state)
{
	static const struct {
		const char *repository, *option, *auth_id, *server, *port, *datastore;
		int r;
		const char *words; /* the name of the source, or those of the failure */
	} rows[] = {
		{ NULL, NULL, NULL, NULL, NULL, "s", 0, "s" },
		{ NULL, NULL, "u@pam!t", "h", "9", "s", 0, "u@pam!t@h:9:s" },
		{ NULL, NULL, NULL, "::1", NULL, "s", 0, "[::1]:s" },
		{ NULL, NULL, "", "", "", "s", 0, "s" },
		{ "", NULL, NULL, "h", NULL, "s", 0, "h:s" },
		{ "i:t", NULL, NULL, "h", "x", "s", 0, "i:t" },
		{ "i:t", "k:v", NULL, "h", "x", "s", 0, "k:v" },
		{ NULL, "k:v", NULL, "h", "x", NULL, 0, "k:v" },
		{ NULL, NULL, NULL, "h", NULL, NULL, -EINVAL, "PBS_SERVER is set, but not PBS_DATASTORE" },
		{ NULL, NULL, NULL, NULL, "1", "", -EINVAL, "PBS_PORT is set, but not PBS_DATASTORE" },
		{ NULL, NULL, "u@pam", NULL, NULL, NULL, -EINVAL, "PBS_AUTH_ID is set, but not PBS_DATASTORE" },
		{ NULL, NULL, NULL, NULL, "x", "s", -EINVAL, "'x' is no port: a number from 1" },
		{ NULL, NULL, NULL, NULL, NULL, "/s", -EINVAL, "while reading PBS_SERVER, PBS_PORT, PBS_DATASTORE" },
		{ NULL, NULL, "", "", "", "", -EINVAL, "no repository" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		const char *const values[][2] = {
			{ "PBS_REPOSITORY", rows[i].repository }, { "PBS_AUTH_ID", rows[i].auth_id },
			{ "PBS_SERVER", rows[i].server },	  { "PBS_PORT", rows[i].port },
			{ "PBS_DATASTORE", rows[i].datastore },	  { "PBS_PASSWORD", "secret" },
		};
		char name[PBS_REPOSITORY_TEXT_SIZE] = "";
		scratch_environment(state);
		for (size_t k = 0; k < ARRAY_LEN(values); k++)
			if (values[k][1])
				assert_int_equal(setenv(values[k][0], values[k][1], 1), 0);
		expect(rows[i].words, open_string(rows[i].option, &why, name, sizeof name), &why.err, rows[i].r,
		       rows[i].r ? rows[i].words : NULL);
		if (rows[i].r == 0)
			assert_string_equal(name, rows[i].words);
	}
}

static void the_namespace_is_the_option_else_the_environment_else_the_root(void **state)
{
	static const struct {
		const char *option, *variable, *ns;
		int r;
	} rows[] = {
		{ NULL, NULL, "", 0 },	     { NULL, "a/b", "a/b", 0 },	   { "c", "a/b", "c", 0 },
		{ "", "a/b", "", 0 },	     { NULL, "", "", 0 },	   { "a", NULL, "a", 0 },
		{ "a//b", NULL, "", -EINVAL }, { NULL, "/a", "", -EINVAL }, { "a/", "b", "", -EINVAL },
		{ "a", "//", "a", 0 },	     { "..", NULL, "", -EINVAL },  { "1/2/3/4/5/6/7/8", NULL, "", -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct repository_options options = { .ns = rows[i].option };
		const char *ns = "";
		scratch_environment(state);
		if (rows[i].variable)
			assert_int_equal(setenv("PBS_NAMESPACE", rows[i].variable, 1), 0);
		assert_int_equal(repository_namespace(&options, &ns, NULL), rows[i].r);
		assert_string_equal(ns, rows[i].ns);
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, scratch_environment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(an_absolute_or_dotted_path_is_a_datastore),
		TEST_HERE(says_why_a_repository_cannot_be_opened),
		TEST_HERE(anything_else_is_a_datastore_of_a_server),
		TEST_HERE(takes_one_repository_only),
		TEST_HERE(takes_the_repository_from_the_environment),
		TEST_HERE(takes_a_repository_in_parts_where_there_is_no_other),
		TEST_HERE(the_namespace_is_the_option_else_the_environment_else_the_root),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
