/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int unread_add(struct unread *unread, const struct err *why, struct err *err)
{
	if (unread->n++ == 0)
		unread->code = why->code;
	return unread->n > UNREAD_WORDS ? 0 : strv_add(&unread->words, why->msg, err);
}

void group_list_deinit(struct group_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i].owner);
	free(list->items);
	strv_deinit(&list->unread.words);
	*list = GROUP_LIST_EMPTY;
}

void snapshot_list_deinit(struct snapshot_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i].files);
	free(list->items);
	strv_deinit(&list->unread.words);
	*list = SNAPSHOT_LIST_EMPTY;
}

void source_close(struct source *source)
{
	if (!source)
		return;
	free(source->name);
	strv_deinit(&source->notes);
	source->ops->close(source);
}

int source_list_namespaces(struct source *source, struct strv *ret, struct err *err)
{
	return source->ops->list_namespaces(source, ret, err);
}

static int by_group(const void *a, const void *b)
{
	return group_compare(&((const struct group_info *)a)->group,
			     &((const struct group_info *)b)->group);
}

int source_list_groups(struct source *source, const char *ns, struct group_list *ret,
		       struct err *err)
{
	struct group_list list = GROUP_LIST_EMPTY;
	int r = source->ops->list_groups(source, ns, &list, err);
	if (r < 0) {
		group_list_deinit(&list);
		return r;
	}
	if (list.n)
		qsort(list.items, list.n, sizeof *list.items, by_group);
	*ret = list;
	return 0;
}

static int by_snapshot(const void *a, const void *b)
{
	return snapshot_compare(&((const struct snapshot_info *)a)->snapshot,
				&((const struct snapshot_info *)b)->snapshot);
}

int source_list_snapshots(struct source *source, const char *ns, const struct group *group,
			  struct snapshot_list *ret, struct err *err)
{
	struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
	int r = source->ops->list_snapshots(source, ns, group, &list, err);
	if (r < 0) {
		snapshot_list_deinit(&list);
		return r;
	}
	if (list.n)
		qsort(list.items, list.n, sizeof *list.items, by_snapshot);
	*ret = list;
	return 0;
}

int source_open_snapshot(struct source *source, const char *ns, const struct snapshot *snapshot,
			 struct err *err)
{
	return source->ops->open_snapshot(source, ns, snapshot, err);
}

int source_read_blob(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
		     struct err *err)
{
	return source->ops->read_blob(source, name, ret, ret_len, err);
}

int source_copy_index(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
		      struct err *err)
{
	return source->ops->copy_index(source, name, to_fd, ret_len, err);
}

void source_fetch(struct source *source, struct fetch *fetch)
{
	source->ops->fetch(source, fetch);
}

void source_raise(struct source *source, struct fetch *fetch, enum priority priority)
{
	source->ops->raise(source, fetch, priority);
}

void source_shutdown(struct source *source)
{
	if (source->ops->shutdown)
		source->ops->shutdown(source);
}

void source_get_health(struct source *source, struct source_health *ret)
{
	*ret = SOURCE_HEALTHY;
	if (source->ops->health)
		source->ops->health(source, ret);
}

void source_tell(const struct source *source, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	va_start(args, fmt);
	(void) vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	if (source->tell)
		source->tell(source->tell_user, line);
}

void source_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
	source->ops->verdict(source, fetch, is_good);
}
