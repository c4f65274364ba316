/* SPDX-License-Identifier: Apache-2.0 */
#include "nbdkit/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/value.h"
#include "stream/stream.h"
#include "util/bytes.h"
#include "util/text.h"

#define TIMEOUT_DEFAULT_MS 60000

/* A parameter's name, and what its value must be, for the message; NULL = any will do. */
static const struct {
	const char *name, *wants;
} rows[N_PARAMS] = {
	[PARAM_REPOSITORY] = { "repository" },
	[PARAM_NS] = { "ns" },
	[PARAM_SNAPSHOT] = { "snapshot" },
	[PARAM_ARCHIVE] = { "archive" },
	[PARAM_KEYFILE] = { "keyfile" },
	[PARAM_FINGERPRINT] = { "fingerprint" },
	[PARAM_CHUNKS] = { "chunks" },
	[PARAM_ALLOW_UNSIGNED] = { "allow-unsigned", "true or false" },
	[PARAM_CACHE] = { "cache", "a size (64M, 1G, 4096)" },
	[PARAM_READ_AHEAD] = { "read-ahead", "a size (64M, 1G, 4096)" },
	[PARAM_CONNECTIONS] = { "connections", "a number from 1 to 16" },
	[PARAM_TIMEOUT] = { "timeout", "seconds" },
};

const char params_help[] =
	"[snapshot=]SNAPSHOT     (required) vm/100/2026-01-02T03:04:05Z, or vm/100: the newest\n"
	"archive=ARCHIVE         drive-scsi0.img; else all images, each an export of its name\n"
	"repository=R            user@realm@host:store, /path or ./path (else PBS_REPOSITORY)\n"
	"ns=NS                   namespace (else PBS_NAMESPACE, else the root)\n"
	"keyfile=FILE            encryption key; else the default key file\n"
	"allow-unsigned=true     with keyfile: a manifest needs no signature\n"
	"fingerprint=FP          the server's certificate must be this (else PBS_FINGERPRINT)\n"
	"chunks=DIR              snapshot= is an index file, its chunks are in DIR\n"
	"cache=SIZE              memory for chunks (default 256M); or cache-size=SIZE\n"
	"read-ahead=SIZE         most to fetch in advance (default 32M, 0 = none)\n"
	"connections=N           to a server, at the same time (default 1)\n"
	"timeout=SEC             a read that takes longer fails (default 60, 0 = never)\n"
	"Passwords come from PBS_PASSWORD and PBS_ENCRYPTION_PASSWORD, or are asked for.";

void params_init(struct params *params)
{
	*params = (struct params){
		.cache_size = STREAM_CACHE_DEFAULT,
		.read_ahead = STREAM_READ_AHEAD_DEFAULT,
		.timeout_ms = TIMEOUT_DEFAULT_MS,
	};
}

void params_deinit(struct params *params)
{
	for (size_t i = 0; i < N_PARAMS; i++)
		free(params->values[i]);
	params_init(params);
}

static enum param_id find_option(const char *message, size_t name_len)
{
	size_t id = 0;
	while (id < N_PARAMS && (strncmp(rows[id].name, message + 2, name_len) != 0 || rows[id].name[name_len]))
		id++;
	return (enum param_id)id;
}

char *params_words(const char *message, char *ret, size_t len)
{
	size_t have = 0;
	while (*message && have + 1 < len) {
		size_t name_len = strncmp(message, "--", 2) == 0 ? strcspn(message + 2, " ,;:=)") : 0;
		enum param_id id = name_len ? find_option(message, name_len) : N_PARAMS;
		if (id == N_PARAMS) {
			ret[have++] = *message++;
			continue;
		}
		const char *value = id == PARAM_ALLOW_UNSIGNED ? "true" : "";
		have += (size_t)snprintf(ret + have, len - have, "%s=%s", rows[id].name, value);
		message += 2 + name_len;
	}
	ret[min_size(have, len - 1)] = '\0';
	return ret;
}

/* nbdkit's filter "cache" takes cache= for itself. */
static enum param_id find(const char *key)
{
	size_t id = 0;
	if (strcmp(key, "cache-size") == 0)
		return PARAM_CACHE;
	while (id < N_PARAMS && strcmp(rows[id].name, key) != 0)
		id++;
	return (enum param_id)id;
}

/* false = not a value of this parameter */
static bool understand(struct params *params, enum param_id id, const char *value)
{
	switch (id) {
	case PARAM_ALLOW_UNSIGNED:
		return bool_parse(value, &params->allow_unsigned);
	case PARAM_CACHE:
		return size_parse(value, &params->cache_size);
	case PARAM_READ_AHEAD:
		return size_parse(value, &params->read_ahead);
	case PARAM_CONNECTIONS:
		return number_parse(value, 1, CONNECTIONS_MAX, &params->n_connections);
	case PARAM_TIMEOUT:
		return seconds_parse(value, &params->timeout_ms);
	default:
		return true;
	}
}

int params_set(struct params *params, const char *key, const char *value, struct err *err)
{
	char shown[160];
	enum param_id id = find(key);
	if (id == N_PARAMS)
		return err_set(err, -EINVAL, "there is no parameter '%s'", text_escape(key, shown, sizeof shown));
	if (params->values[id])
		return err_set(err, -EINVAL, "%s= is given twice: '%s'", key, text_escape(value, shown, sizeof shown));
	if (!understand(params, id, value))
		return err_set(err, -EINVAL, "%s= wants %s: '%s' is none", key, rows[id].wants,
			       text_escape(value, shown, sizeof shown));
	params->values[id] = strdup(value);
	return params->values[id] ? 0 : err_set(err, -ENOMEM, "no memory");
}

int params_check(const struct params *params, struct err *err)
{
	if (!params->values[PARAM_SNAPSHOT])
		return err_set(err, -EINVAL, "snapshot= is missing, as in snapshot=vm/100");
	if (params->values[PARAM_ARCHIVE] && params->values[PARAM_CHUNKS])
		return err_set(err, -EINVAL, "archive= goes with a snapshot, and snapshot= is an index file with chunks=");
	return 0;
}

struct repository_options params_repository(const struct params *params)
{
	char *const *values = params->values;
	return (struct repository_options){
		.repositories = (const char *const *)&values[PARAM_REPOSITORY],
		.n_repositories = values[PARAM_REPOSITORY] ? 1 : 0,
		.ns = values[PARAM_NS],
		.keyfile = values[PARAM_KEYFILE],
		.fingerprint = values[PARAM_FINGERPRINT],
		.chunks = values[PARAM_CHUNKS],
		.n_connections = params->n_connections,
		.timeout_ms = params->timeout_ms,
		.allow_unsigned = params->allow_unsigned,
	};
}
