/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include <string.h>

#include "unit.h"

static void fake_close(struct source *source)
{
	struct fake_server *fake = fake_server_of(source);
	pbs_ticket_deinit(&fake->options.take_ticket);
	fake->options.guide.free(fake->options.guide.user);
	free(fake);
}

static const struct source_ops fake_ops = { .close = fake_close };

struct fake_server *fake_server_of(struct source *source)
{
	assert_ptr_equal(source->ops, &fake_ops);
	return CONTAINER_OF(source, struct fake_server, source);
}

int __wrap_source_pbs_open(struct pbs_options *options, struct source **ret, struct err *err)
{
	char name[PBS_REPOSITORY_TEXT_SIZE];
	struct fake_server *fake = calloc(1, sizeof *fake);
	assert_non_null(fake);
	fake->source.ops = &fake_ops;
	fake->options = *options;
	fake->repository = *options->repository;
	pbs_repository_format(options->repository, name);
	fake->source.name = strdup(name);
	*ret = &fake->source;
	return 0;
}
