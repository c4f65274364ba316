/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/place.h"

#define CANDIDATES_SAID 6 /* the JSON has all */

int place_open(const struct options *options, struct place *ret, struct failure *why)
{
	int r = repository_namespace(&options->repository, &ret->ns, &why->err);
	if (r == 0)
		r = repository_open(&options->repository, &ret->source, why);
	if (r < 0)
		return r;
	ret->source->only_looks = true; /* a list is no reason for a prune to fail */
	for (size_t i = 0; i < ret->source->notes.n; i++)
		repository_say(&options->repository, "%s", ret->source->notes.items[i]);
	return 0;
}

void place_close(struct place *place)
{
	source_close(place->source);
	*place = PLACE_NONE;
}

static int add_groups(const struct place *place, struct strv *ret, struct err *err)
{
	CLEANUP(group_list_deinit) struct group_list list = GROUP_LIST_EMPTY;
	int r = source_list_groups(place->source, place->ns, &list, err);
	for (size_t i = 0; r == 0 && i < list.n; i++) {
		char text[GROUP_TEXT_SIZE];
		group_format(&list.items[i].group, text);
		r = strv_add(ret, text, err);
	}
	return r;
}

static int not_there(const char *what, const char *name, struct failure *why)
{
	char instead[320];
	if (!why->candidates.n)
		return err_set(&why->err, -ENOENT, "there is no %s %s, and no other %s", what, name, what);
	strv_describe(&why->candidates, CANDIDATES_SAID, instead, sizeof instead);
	return err_set(&why->err, -ENOENT, "there is no %s %s; there is: %s", what, name, instead);
}

int place_say_unread(const struct options *options, const struct unread *unread)
{
	for (size_t i = 0; i < unread->words.n; i++)
		repository_say(&options->repository, "%s", unread->words.items[i]);
	if (unread->n > unread->words.n)
		repository_say(&options->repository, "and %zu more that cannot be read", unread->n - unread->words.n);
	if (unread->n == 0)
		return EXIT_DONE;
	return exit_status_of(unread->code) == EXIT_REFUSED ? EXIT_REFUSED : EXIT_DAMAGED;
}

int place_explain(const struct place *place, const struct group *group, int r, struct failure *why)
{
	if (r != -ENOENT)
		return r;
	struct err ignored = ERR_NONE; /* the first failure is the one to be told */
	char text[GROUP_TEXT_SIZE];
	if (group && add_groups(place, &why->candidates, &ignored) == 0) {
		group_format(group, text);
		return not_there("group", text, why);
	}
	/* The root is always there: it is something else that is not. */
	if (*place->ns && source_list_namespaces(place->source, &why->candidates, &ignored) == 0)
		return not_there("namespace", place->ns, why);
	return r;
}
