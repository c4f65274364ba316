/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mapping/backup.h"

enum param_id {
	PARAM_REPOSITORY, PARAM_NS, PARAM_SNAPSHOT, PARAM_ARCHIVE, PARAM_KEYFILE, PARAM_FINGERPRINT, PARAM_CHUNKS,
	PARAM_ALLOW_UNSIGNED, PARAM_CACHE, PARAM_READ_AHEAD, PARAM_CONNECTIONS, PARAM_TIMEOUT, N_PARAMS
};

/* The key=value words behind `nbdkit pbs`: names, meanings and defaults are those of the command line's options. */
struct params {
	char *values[N_PARAMS]; /* as given; NULL = not */
	bool allow_unsigned;
	unsigned n_connections; /* 0 = 1 */
	uint64_t cache_size, read_ahead; /* bytes */
	int64_t timeout_ms; /* of one read; 0 = for ever */
};

void params_init(struct params *params);
void params_deinit(struct params *params);

/* -EINVAL: no such parameter, given before, or a value that is none. */
int params_set(struct params *params, const char *key, const char *value, struct err *err) MUST_CHECK;

/* Is everything there that must be? */
int params_check(const struct params *params, struct err *err) MUST_CHECK;

/* A message about options in the words of this plugin: "keyfile=" for "--keyfile".  Returns @ret. */
char *params_words(const char *message, char *ret, size_t len);

/* One line for each parameter. */
extern const char params_help[];

/* What the params say; lends their strings, @params outlives it.  say() is the caller's to set. */
struct repository_options params_repository(const struct params *params);
