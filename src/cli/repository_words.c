/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/repository_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/candidates.h"
#include "cli/words_cache.h"
#include "mapping/choose.h"
#include "util/buf.h"

/* What is asked of a repository; what it answers depends on nothing else. */
struct look {
	enum { LOOK_NAMESPACES, LOOK_GROUPS, LOOK_GROUPS_AND_ON, LOOK_SNAPSHOTS, LOOK_IMAGES, LOOK_TREES } at;
	const char *ns;
	char of[SNAPSHOT_TEXT_SIZE]; /* the group of snapshots, the snapshot of archives */
};

/* -- what is there --------------------------------------------------------------------------- */

static int list_namespaces(struct source *source, struct strv *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = source_list_namespaces(source, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = candidate_add(ret, names.items[i], NULL, err);
	return r;
}

/* "vm/100/" leads on to its snapshots. */
static int add_group(const struct group_info *info, bool leads_on, struct strv *ret, struct err *err)
{
	char group[GROUP_TEXT_SIZE + 1], time[SNAPSHOT_TIME_SIZE], words[128];
	group_format(&info->group, group);
	snapshot_time_format(info->last_time, time);
	if (info->is_unread)
		(void) snprintf(words, sizeof words, "not readable");
	else
		(void) snprintf(words, sizeof words, info->has_finished ? "newest: %s" : "none finished", time);
	int r = candidate_add(ret, group, words, err);
	if (r < 0 || !leads_on)
		return r;
	if (!info->is_unread)
		(void) snprintf(words, sizeof words, "its snapshots: %zu", info->n_snapshots);
	(void) strcat(group, "/");
	return candidate_add(ret, group, words, err);
}

static int list_groups(struct source *source, const char *ns, bool leads_on, struct strv *ret,
		       struct err *err)
{
	CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
	int r = source_list_groups(source, ns, &list, err);
	for (size_t i = 0; r == 0 && i < list.n; i++)
		r = add_group(&list.items[i], leads_on, ret, err);
	return r;
}

/* The newest first. */
static int list_snapshots(struct source *source, const char *ns, const char *group_text,
			  struct strv *ret, struct err *err)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct group group;
	int r = group_parse(group_text, &group, err);
	if (r == 0)
		r = source_list_snapshots(source, ns, &group, &list, err);
	for (size_t i = list.n; r == 0 && i-- > 0;) {
		char text[SNAPSHOT_TEXT_SIZE];
		snapshot_format(&list.items[i].snapshot, text);
		if (list.items[i].is_finished)
			r = candidate_add(ret, text, list.items[i].is_protected ? "protected" : NULL,
					  err);
	}
	return r;
}

/*
 * The one that is meant: @snapshot, or the newest finished one of its group.  NULL = there is none, or it cannot
 * be told which.
 */
static const struct snapshot_info *find_snapshot(const struct snapshot_list *list,
						 const struct snapshot *snapshot, bool is_newest)
{
	for (size_t i = is_newest && list->is_cut ? 0 : list->n; i-- > 0;) {
		const struct snapshot_info *info = &list->items[i];
		if (is_newest && info->is_unread)
			return NULL;
		if (info->is_finished && (is_newest || snapshot_compare(&info->snapshot, snapshot) == 0))
			return info;
	}
	return NULL;
}

/* By the names of the files alone: what is in the snapshot is not looked at, and no lock taken. */
static int list_archives(struct source *source, const struct look *look, struct strv *ret, struct err *err)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	struct snapshot snapshot;
	bool is_group = group_parse(look->of, &snapshot.group, NULL) == 0;
	int r = is_group ? 0 : snapshot_parse(look->of, &snapshot, err);
	if (r == 0)
		r = source_list_snapshots(source, look->ns, &snapshot.group, &list, err);
	const struct snapshot_info *info = r == 0 ? find_snapshot(&list, &snapshot, is_group) : NULL;
	for (size_t i = 0; info && r == 0 && i < info->n_files; i++) {
		char name[ARCHIVE_NAME_SIZE];
		const char *file = info->files[i].name;
		if (look->at == LOOK_IMAGES ? choose_image_name(file, name) : choose_tree_name(file, name))
			r = candidate_add(ret, name, NULL, err);
	}
	return r;
}

static int list(struct source *source, const struct look *look, struct strv *ret, struct err *err)
{
	switch (look->at) {
	case LOOK_NAMESPACES:
		return list_namespaces(source, ret, err);
	case LOOK_GROUPS:
		return list_groups(source, look->ns, false, ret, err);
	case LOOK_GROUPS_AND_ON:
		return list_groups(source, look->ns, true, ret, err);
	case LOOK_SNAPSHOTS:
		return list_snapshots(source, look->ns, look->of, ret, err);
	default:
		return list_archives(source, look, ret, err);
	}
}

/* -- what is asked --------------------------------------------------------------------------- */

/* "vm/100/2026-...": with the second slash the group is typed, and its snapshots are asked for. */
static void look_at_snapshots(struct look *look, const char *typed)
{
	const char *slash = strchr(typed, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;
	look->at = end ? LOOK_SNAPSHOTS : LOOK_GROUPS_AND_ON;
	if (end)
		(void) snprintf(look->of, sizeof look->of, "%.*s", (int)(end - typed), typed);
}

static int look_init(struct look *look, const struct question *question, struct err *err)
{
	const struct options *options = &question->line.options;
	*look = (struct look){ .at = LOOK_GROUPS };
	if (question->kind == WORD_NAMESPACE) {
		look->at = LOOK_NAMESPACES;
		look->ns = "";
		return 0;
	}
	if (question->kind == WORD_SNAPSHOT)
		look_at_snapshots(look, question_typed(question));
	if (question->kind == WORD_IMAGE || question->kind == WORD_TREE) {
		look->at = question->kind == WORD_IMAGE ? LOOK_IMAGES : LOOK_TREES;
		(void) snprintf(look->of, sizeof look->of, "%s", options->args[0]);
	}
	return repository_namespace(&options->repository, &look->ns, err);
}

static void say_nothing(void *user, const char *line)
{
}

/* What the shell will do when the line is whole: "~/store". */
static int expand_home(const char *text, struct buf *ret, struct err *err)
{
	const char *home = getenv("HOME");
	bool is_home = home && text[0] == '~' && (!text[1] || text[1] == '/');
	return buf_printf(ret, err, "%s%s", is_home ? home : "", is_home ? text + 1 : text);
}

/* What the environment says of the repository; "" = nothing, or what it names may change meanwhile. */
static int describe_environment(struct buf *ret, struct err *err)
{
	static const char *const names[] = { "PBS_REPOSITORY", "PBS_SERVER", "PBS_PORT", "PBS_DATASTORE" };
	bool is_elsewhere = getenv("PBS_REPOSITORY_FILE") || getenv("CREDENTIALS_DIRECTORY");
	int r = buf_puts(ret, "", err);
	for (size_t i = 0; !is_elsewhere && r == 0 && i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			r = buf_printf(ret, err, "%s=%s\n", names[i], value);
	}
	return r;
}

/* All the answer depends on; "" = it is not to be kept. */
static int describe(const struct look *look, const char *repository, struct buf *ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf name = BUF_EMPTY;
	CLEANUP(freep) char *directory = getcwd(NULL, 0); /* for "./store" */
	const char *user = getenv("PBS_AUTH_ID");
	int r = repository ? buf_puts(&name, repository, err) : describe_environment(&name, err);
	if (r < 0 || !name.len || !directory)
		return r < 0 ? r : buf_puts(ret, "", err);
	return buf_printf(ret, err, "%d\n%s\n%s\n%s\n%s\n%s", (int)look->at, directory, name.data,
			  user ? user : "", look->ns, look->of);
}

/* -- both ------------------------------------------------------------------------------------ */

static int ask(const struct look *look, const struct repository_options *options, struct strv *ret,
	       struct failure *why)
{
	CLEANUP(source_closep) struct source *source = NULL;
	int r = repository_open(options, &source, why);
	if (r < 0)
		return r;
	source->only_looks = true;
	return list(source, look, ret, &why->err);
}

int repository_words(const struct question *question, struct strv *ret, struct failure *why)
{
	CLEANUP(buf_deinit) struct buf first = BUF_EMPTY;
	CLEANUP(buf_deinit) struct buf key = BUF_EMPTY;
	struct repository_options options = question->line.options.repository;
	struct look look;
	options.say = say_nothing;
	options.never_asks = true;
	int r = look_init(&look, question, &why->err);
	if (r == 0 && options.n_repositories)
		r = expand_home(options.repositories[0], &first, &why->err);
	const char *const repositories[] = { first.data };
	if (options.n_repositories == 1)
		options.repositories = repositories;
	if (r == 0)
		r = describe(&look, first.data, &key, &why->err);
	if (r < 0 || (key.len && words_cache_get(key.data, ret)))
		return r;
	r = ask(&look, &options, ret, why);
	if (r == 0 && key.len)
		words_cache_put(key.data, ret);
	return r;
}
