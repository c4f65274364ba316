/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/choose.h"

#include <stdio.h>
#include <string.h>

#include "util/text.h"

/* Candidates in a message, and their bytes; the JSON has all. */
#define SHOWN_MOST 6
#define SHOWN_SIZE 320

/* "there is no archive X; there is: A, B", or ", and no other file archive" */
static int not_there(struct failure *why, const char *what, const char *name, const char *others)
{
	char shown[SHOWN_SIZE], escaped[256];
	name = text_escape(name, escaped, sizeof escaped);
	if (!why->candidates.n)
		return err_set(&why->err, -ENOENT, "there is no %s %s, and no other %s", what, name, others);
	strv_describe(&why->candidates, SHOWN_MOST, shown, sizeof shown);
	return err_set(&why->err, -ENOENT, "there is no %s %s; there is: %s", what, name, shown);
}

static int add_groups(struct source *source, const char *ns, struct strv *ret)
{
	CLEANUP(group_list_deinit) struct group_list groups = GROUP_LIST_EMPTY;
	int r = source_list_groups(source, ns, &groups, NULL);
	for (size_t i = 0; r == 0 && i < groups.n; i++) {
		char text[GROUP_TEXT_SIZE];
		group_format(&groups.items[i].group, text);
		r = strv_add(ret, text, NULL);
	}
	return r;
}

int choose_explain(struct source *source, const char *ns, const struct group *group, int r, struct failure *why)
{
	if (r != -ENOENT)
		return r;
	int listed = group ? add_groups(source, ns, &why->candidates) : -ENOENT;
	if (listed == 0) {
		char text[GROUP_TEXT_SIZE];
		group_format(group, text);
		return not_there(why, "group", text, "group");
	}
	/* The root is always there: then it is something else that is not. */
	if (listed == -ENOENT && *ns && source_list_namespaces(source, &why->candidates, NULL) == 0)
		return not_there(why, "namespace", ns, "namespace");
	return r;
}

static int add_snapshot(struct strv *ret, const struct snapshot_info *info, struct err *err)
{
	char text[SNAPSHOT_TEXT_SIZE];
	snapshot_format(&info->snapshot, text);
	return strv_add(ret, text, err);
}

static int no_snapshot(struct source *source, const char *ns, const struct snapshot *snapshot,
		       struct failure *why)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	int r = source_list_snapshots(source, ns, &snapshot->group, &list, &why->err);
	if (r == -ENOENT)
		return choose_explain(source, ns, &snapshot->group, r, why);
	for (size_t i = list.n; r == 0 && i-- > 0;) /* the newest first */
		if (list.items[i].is_finished)
			r = add_snapshot(&why->candidates, &list.items[i], &why->err);
	char text[SNAPSHOT_TEXT_SIZE];
	snapshot_format(snapshot, text);
	return r < 0 ? r : not_there(why, "snapshot", text, "snapshot");
}

/* 1 = it is this one, 0 = it is not finished.  An older one never stands for one that cannot be read. */
static int is_newest(struct source *source, const char *ns, const struct snapshot_info *info, struct err *err)
{
	if (!info->is_unread)
		return info->is_finished;
	int r = source_open_snapshot(source, ns, &info->snapshot, err);
	if (r == -ENOENT)
		return 0; /* it was removed meanwhile */
	return r < 0 ? r : 1;
}

static int find_newest(const struct repository_options *options, struct source *source, const char *ns,
		       const struct snapshot_list *list, struct snapshot *ret, struct err *err)
{
	int r = list->is_cut ? err_set(err, list->unread.code, "%s", list->unread.words.items[0]) : 0;
	for (size_t i = list->n; r == 0 && i-- > 0;) {
		char text[SNAPSHOT_TEXT_SIZE];
		snapshot_format(&list->items[i].snapshot, text);
		r = is_newest(source, ns, &list->items[i], err);
		if (r > 0)
			*ret = list->items[i].snapshot;
		if (r >= 0)
			repository_say(options, r ? "snapshot %s" : "skipped %s: it is not finished", text);
	}
	return r;
}

static int newest_finished(const struct repository_options *options, struct source *source,
			   const char *ns, const struct group *group, struct snapshot *ret,
			   struct failure *why)
{
	CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	char text[GROUP_TEXT_SIZE];
	int r = source_list_snapshots(source, ns, group, &list, &why->err);
	if (r < 0)
		return choose_explain(source, ns, group, r, why);
	r = find_newest(options, source, ns, &list, ret, &why->err);
	group_format(group, text);
	if (r < 0)
		return err_while(&why->err, r, "looking for the newest snapshot of %s; an older one has to be named",
				 text);
	return r ? 0 : err_set(&why->err, -ENOENT, "group %s has no finished snapshot", text);
}

int choose_snapshot(const struct repository_options *options, struct source *source, const char *ns,
		    const char *text, struct snapshot *ret, struct failure *why)
{
	struct group group;
	const char *slash = strchr(text, '/');
	if (slash && strchr(slash + 1, '/'))
		return snapshot_parse(text, ret, &why->err);
	int r = group_parse(text, &group, &why->err);
	return r < 0 ? r : newest_finished(options, source, ns, &group, ret, why);
}

int choose_open(struct source *source, const char *ns, const struct snapshot *snapshot,
		struct failure *why)
{
	int r = source_open_snapshot(source, ns, snapshot, &why->err);
	return r == -ENOENT ? no_snapshot(source, ns, snapshot, why) : r;
}

/* -- archives -------------------------------------------------------------------------------- */

static bool is_image(const char *server_name)
{
	enum archive_kind kind = archive_kind_of(server_name);
	return kind == ARCHIVE_IMAGE || kind == ARCHIVE_FIXED;
}

bool choose_image_name(const char *server_name, char ret[static ARCHIVE_NAME_SIZE])
{
	if (archive_kind_of(server_name) == ARCHIVE_IMAGE)
		archive_user_name(server_name, ret);
	else
		(void) snprintf(ret, ARCHIVE_NAME_SIZE, "%s", server_name);
	return is_image(server_name);
}

int choose_images(const struct manifest *manifest, struct strv *ret, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < manifest->n_files; i++) {
		char name[ARCHIVE_NAME_SIZE];
		if (choose_image_name(manifest->files[i].name, name))
			r = strv_add(ret, name, err);
	}
	strv_sort(ret);
	return r;
}

static int is_no_image(const struct manifest *manifest, const char *archive, enum archive_kind kind,
		       struct failure *why)
{
	int r = choose_images(manifest, &why->candidates, &why->err);
	if (r < 0)
		return r;
	if (kind == ARCHIVE_PXAR)
		return err_set(&why->err, -EISDIR, "%s is a file archive: mount shows it, ls, cat and extract look into it",
			       archive);
	char shown[SHOWN_SIZE];
	strv_describe(&why->candidates, SHOWN_MOST, shown, sizeof shown);
	return err_set(&why->err, -EINVAL, "%s is no disk image; images of this snapshot: %s", archive, shown);
}

int choose_image(const struct manifest *manifest, const char *archive,
		 const struct manifest_file **ret, struct failure *why)
{
	char name[ARCHIVE_NAME_SIZE];
	struct err error = ERR_NONE;
	int r = archive_server_name(archive, name, &error);
	if (r < 0) {
		int added = choose_images(manifest, &why->candidates, &why->err);
		char shown[SHOWN_SIZE];
		strv_describe(&why->candidates, SHOWN_MOST, shown, sizeof shown);
		return added < 0 ? added : err_set(&why->err, r, "%s; images of this snapshot: %s",
						   error.msg, shown);
	}
	if (!is_image(name))
		return is_no_image(manifest, archive, archive_kind_of(name), why);
	*ret = manifest_find(manifest, name);
	if (*ret)
		return 0;
	r = choose_images(manifest, &why->candidates, &why->err);
	return r < 0 ? r : not_there(why, "archive", archive, "disk image");
}

/* -- file archives --------------------------------------------------------------------------- */

static const struct manifest_file *find_part(const struct manifest *manifest, const char *server_name,
					     const char *kind)
{
	char name[ARCHIVE_NAME_SIZE];
	if (archive_pxar_name(server_name, kind, name, NULL) < 0)
		return NULL;
	return manifest_find(manifest, name);
}

bool choose_tree_name(const char *server_name, char ret[static ARCHIVE_NAME_SIZE])
{
	char whole[ARCHIVE_NAME_SIZE], data[ARCHIVE_NAME_SIZE];
	if (archive_kind_of(server_name) != ARCHIVE_PXAR || archive_pxar_name(server_name, "pxar", whole, NULL) < 0 ||
	    archive_pxar_name(server_name, "ppxar", data, NULL) < 0)
		return false;
	archive_user_name(whole, ret);
	return strcmp(server_name, data) != 0; /* named once, with its entries */
}

/* What a user can write: a pair is called as if it were one, where there is not such a one, too. */
static int add_tree(const struct manifest *manifest, const char *server_name, struct strv *ret, struct err *err)
{
	char name[ARCHIVE_NAME_SIZE], whole[ARCHIVE_NAME_SIZE];
	bool is_single = find_part(manifest, server_name, "pxar");
	int r = archive_pxar_name(server_name, "pxar", whole, err);
	if (r < 0)
		return r;
	archive_user_name(is_single ? server_name : whole, name);
	return strv_add(ret, name, err);
}

static int add_trees(const struct manifest *manifest, struct strv *ret, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < manifest->n_files; i++) {
		const char *name = manifest->files[i].name;
		/* The data of a split archive is named with its entries. */
		bool is_data = archive_kind_of(name) == ARCHIVE_PXAR &&
			       find_part(manifest, name, "ppxar") == &manifest->files[i];
		if (archive_kind_of(name) == ARCHIVE_PXAR && !is_data)
			r = add_tree(manifest, name, ret, err);
	}
	strv_sort(ret);
	return r;
}

static int is_no_tree(const struct manifest *manifest, const char *archive, const char *server_name,
		      struct failure *why)
{
	char shown[SHOWN_SIZE], name[256];
	int r = add_trees(manifest, &why->candidates, &why->err);
	if (r < 0)
		return r;
	strv_describe(&why->candidates, SHOWN_MOST, shown, sizeof shown);
	return err_set(&why->err, -EINVAL, "%s is %s; file archives of this snapshot: %s",
		       text_escape(archive, name, sizeof name),
		       server_name && is_image(server_name) ? "a disk image, which map shows" : "no file archive",
		       shown);
}

/* 1 = it is there, 0 = there is none. */
static int choose_pair(const struct manifest *manifest, const char *server_name, struct chosen_tree *ret,
		       struct failure *why)
{
	ret->meta = find_part(manifest, server_name, "mpxar");
	ret->payload = find_part(manifest, server_name, "ppxar");
	if (!ret->meta != !ret->payload)
		return err_set(&why->err, -EBADMSG, "the snapshot has %s, but not its other half",
			       (ret->meta ? ret->meta : ret->payload)->name);
	return ret->meta ? 1 : 0;
}

int choose_tree(const struct manifest *manifest, const char *archive, struct chosen_tree *ret,
		struct failure *why)
{
	char name[ARCHIVE_NAME_SIZE];
	if (archive_server_name(archive, name, NULL) < 0)
		return is_no_tree(manifest, archive, NULL, why);
	if (archive_kind_of(name) != ARCHIVE_PXAR)
		return is_no_tree(manifest, archive, name, why);
	char whole[ARCHIVE_NAME_SIZE];
	int r = archive_pxar_name(name, "pxar", whole, &why->err);
	if (r < 0)
		return r;
	*ret = (struct chosen_tree){ .meta = strcmp(name, whole) == 0 ? manifest_find(manifest, name) : NULL };
	if (ret->meta)
		return 0;
	r = choose_pair(manifest, name, ret, why);
	if (r != 0)
		return r < 0 ? r : 0;
	r = add_trees(manifest, &why->candidates, &why->err);
	return r < 0 ? r : not_there(why, "archive", archive, "file archive");
}
