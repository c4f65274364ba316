/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "format/snapshot.h"
#include "util/err.h"

#define PBS_AUTH_ID_MAX	   64  /* bytes */
#define PBS_REPOSITORY_MAX 256 /* bytes of the whole string */
#define PBS_PORT_DEFAULT   8007

/* A datastore of a backup server, and who asks for it. */
struct pbs_repository {
	char auth_id[PBS_AUTH_ID_MAX + 1];  /* "root@pam", "root@pam!token" */
	char host[PBS_REPOSITORY_MAX + 1];  /* brackets of an IPv6 address kept: "[::1]" */
	uint16_t port;
	char store[SAFE_ID_MAX + 1];
	bool is_token;			    /* @auth_id has a token's name */
	bool has_auth_id, has_host;	    /* written, not the default: for the printed form */
};

/**
 * pbs_repository_parse - "[[AUTHID@]HOST:][PORT:]STORE", as the reference client takes it
 *
 * Threads: pure
 * Errors:  -EINVAL; the message says which part is wrong
 */
int pbs_repository_parse(const char *text, struct pbs_repository *ret, struct err *err) MUST_CHECK;

/* The parts one by one, as newer clients have them in variables of their own.  NULL = the default. */
struct pbs_repository_parts {
	const char *auth_id, *host, *port; /* @host: an IPv6 address also without brackets */
	const char *store;		   /* not NULL */
};

/* -EINVAL says which part is wrong. */
int pbs_repository_join(const struct pbs_repository_parts *parts, struct pbs_repository *ret,
			struct err *err) MUST_CHECK;

/* The form people see and mappings are named by; fits, whatever was parsed. */
#define PBS_REPOSITORY_TEXT_SIZE (PBS_AUTH_ID_MAX + PBS_REPOSITORY_MAX + SAFE_ID_MAX + 16)
void pbs_repository_format(const struct pbs_repository *repository,
			   char ret[static PBS_REPOSITORY_TEXT_SIZE]);
