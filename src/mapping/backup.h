/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "crypto/crypt_key.h"
#include "format/index.h"
#include "format/manifest.h"
#include "source/source.h"
#include "util/failure.h"

#define CONNECTIONS_MAX 16 /* to one server */

/* Where to look and how to get in: the options that several commands share. */
struct repository_options {
	const char *const *repositories; /* as given, the first is asked first; none: PBS_REPOSITORY */
	size_t n_repositories;
	const char *ns;	      /* NULL: PBS_NAMESPACE, else the root */
	const char *keyfile;  /* NULL: the default key file, where there is one */
	const char *fingerprint; /* of a server's certificate; NULL: PBS_FINGERPRINT, else as pbs_login.h has it */
	unsigned n_connections;	 /* to a server, CONNECTIONS_MAX at most; 0 = 1 */
	int64_t timeout_ms;	 /* of one answer of a server during set-up; 0 = the default */
	bool never_asks;      /* nothing on the terminal: as if there were none */
	const char *chunks;   /* --chunks: the "snapshot" is an index file */
	bool allow_unsigned;
	void (*say)(void *user, const char *line); /* warnings and notes, one line each; not NULL */
	void *user;
};

/* A line for the user. */
void repository_say(const struct repository_options *options, const char *fmt, ...) PRINTF(2, 3);

/* The namespace these options mean, checked; "" = root. */
int repository_namespace(const struct repository_options *options, const char **ret,
			 struct err *err) MUST_CHECK;

/**
 * repository_open - the source a repository string names
 *
 * An absolute or "./" path is a datastore directory, anything else a datastore of a backup server.
 *
 * Errors:  -EINVAL  no repository given (the message names the unset variable and that sudo
 *                   drops it), or a string that is none
 *          -ENOENT, -ENOTDIR, -EACCES; those of pbs_login_open()
 */
int repository_open(const struct repository_options *options, struct source **ret,
		    struct failure *why) MUST_CHECK;

/* The manifest of the source's open snapshot, its signature not checked.  -ENOENT, -EBADMSG. */
int backup_read_manifest(struct source *source, struct manifest **ret, struct err *err) MUST_CHECK;

/* An index that is checked, and the copy it points into. */
struct backup_index {
	struct index index;
	uint8_t *map;
	size_t map_len;
};

/* One archive of a snapshot, opened and checked: all a stream needs. */
struct backup {
	struct source *source;
	struct crypt_key *key;	   /* NULL = none needed */
	struct manifest *manifest; /* NULL: a loose index without one */
	char *ns;
	char snapshot[SNAPSHOT_TEXT_SIZE];
	char archive[ARCHIVE_NAME_SIZE]; /* as a user writes it: "drive-scsi0.img" */
	struct index index;
	const struct crypt_key *stream_key; /* @key when the archive is encrypted, else NULL */
	uint8_t *map;
	size_t map_len;
	bool is_beside; /* source and manifest are another's, lent */

	/* of a split file archive: the data of its files */
	bool is_split;
	bool lacks_payload; /* its index is damaged: names and attributes are all there is */
	struct backup_index payload;
	const struct crypt_key *payload_key; /* as stream_key */
};

/**
 * backup_open - everything between the words of a user and verified chunks
 *
 * @snapshot:  "vm/100/2026-01-02T03:04:05Z", or "vm/100" for its newest finished snapshot, whose
 *             name is then said; with --chunks the path of an index file
 * @archive:   as archive_server_name() takes it; NULL: its first image, and with --chunks
 *
 * Takes the snapshot's shared lock, checks manifest (is it the snapshot that was asked for),
 * fingerprint and signature, copies the index to an unlinked file that is not on tmpfs, compares
 * its size and csum with the manifest and maps that copy.
 *
 * Passwords come from the environment where they are needed: whoever has opened all calls environment_forget_secrets().
 *
 * Errors:  -ENOENT with candidates; -EAGAIN not finished; -EBUSY locked; -ENOKEY, -EKEYREJECTED;
 *          -EBADMSG; -EISDIR an archive that is mounted, not mapped (.pxar); -EINVAL no image
 */
int backup_open(const struct repository_options *options, const char *snapshot, const char *archive,
		struct backup **ret, struct failure *why) MUST_CHECK;

/**
 * backup_open_beside - another archive of the snapshot that @first has open
 *
 * It uses the same source and the same key, which @first keeps if it had none; close it before @first.
 *
 * Errors:  as backup_open() for the archive
 */
int backup_open_beside(const struct repository_options *options, struct backup *first,
		       const char *archive, struct backup **ret, struct failure *why) MUST_CHECK;

/**
 * backup_open_tree - the same for a file archive
 *
 * @archive:  as choose_tree() takes it; NULL with --chunks: then the index file is one of either half
 *
 * Errors:  as above; -EINVAL no file archive; -EBADMSG its other half is missing
 */
int backup_open_tree(const struct repository_options *options, const char *snapshot, const char *archive,
		     struct backup **ret, struct failure *why) MUST_CHECK;
void backup_close(struct backup *backup);
static inline void backup_closep(struct backup **backup)
{
	backup_close(*backup);
}
