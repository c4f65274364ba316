/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* A namespace of a repository: where the commands that list look. */
struct place {
	struct source *source;
	const char *ns; /* "" = root */
};

#define PLACE_NONE ((struct place){ 0 })

int place_open(const struct options *options, struct place *ret, struct failure *why) MUST_CHECK;
void place_close(struct place *place);

/* What a list lacks, behind the list: the exit status, EXIT_DAMAGED, or EXIT_REFUSED where it is a right. */
int place_say_unread(const struct options *options, const struct unread *unread) MUST_CHECK;

/* choose_explain() for this place. */
int place_explain(const struct place *place, const struct group *group, int r,
		  struct failure *why) MUST_CHECK;
