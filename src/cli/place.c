/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/place.h"

#include "mapping/choose.h"

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
	return choose_explain(place->source, place->ns, group, r, why);
}
