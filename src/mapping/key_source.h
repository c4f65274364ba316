/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "crypto/crypt_key.h"
#include "format/key_file.h"
#include "util/err.h"

/* A key file at hand, its password not asked for yet. */
struct key_source {
	char *path; /* NULL = there is none */
	bool is_explicit; /* --keyfile; else the default key file */
	struct key_file file;
};

/**
 * key_source_find
 *
 * @keyfile:  --keyfile; NULL: $XDG_CONFIG_HOME/proxmox-backup/encryption-key.json, then the same in
 *            $XDG_CONFIG_DIRS
 *
 * Errors:  those of a --keyfile.  A default key file that cannot be used is as if it were not
 *          there; @ret_note then says why, given, free()
 */
int key_source_find(const char *keyfile, struct key_source *ret, char **ret_note,
		    struct err *err) MUST_CHECK;
void key_source_deinit(struct key_source *source);

/**
 * key_source_open - the key
 *
 * Where it has a password: PBS_ENCRYPTION_PASSWORD in any of its forms, else a prompt on the terminal.
 *
 * Errors:  -ENOKEY nowhere to get the password from; -EKEYREJECTED; -EINTR Ctrl-C at the prompt
 */
int key_source_open(const struct key_source *source, struct crypt_key **ret,
		    struct err *err) MUST_CHECK;
