/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "source/pbs.h"

/*
 * Stands in for source_pbs_open(), by the linker: a source that remembers what it was opened with, and has the
 * printed form of the repository as its name.
 */
struct fake_server {
	struct source source;
	struct pbs_options options; /* .repository: what it pointed at, kept below */
	struct pbs_repository repository;
};

struct fake_server *fake_server_of(struct source *source);

int __real_source_pbs_open(struct pbs_options *options, struct source **ret, struct err *err);
int __wrap_source_pbs_open(struct pbs_options *options, struct source **ret, struct err *err);
