/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

/*
 * Names: namespaces, groups, snapshots, archives.  All functions are pure.
 * Source: backup server manual, "Technical Overview"; limits as the server enforces them.
 */
#define SAFE_ID_MAX   255 /* one path component */
#define NAMESPACE_MAX 256 /* bytes, slashes included */
#define NAMESPACE_MAX_DEPTH 7
#define SNAPSHOT_TIME_SIZE 21 /* "2026-01-02T03:04:05Z" and the NUL */

enum backup_type { BACKUP_CT, BACKUP_HOST, BACKUP_VM, N_BACKUP_TYPES }; /* in listing order */

struct group {
	enum backup_type type;
	char id[SAFE_ID_MAX + 1];
};

struct snapshot {
	struct group group;
	int64_t time; /* epoch seconds, year 0 … 9999 */
};

/* "[A-Za-z0-9_][A-Za-z0-9._-]*" and at most SAFE_ID_MAX bytes */
bool is_safe_id(const char *s);

const char *backup_type_name(enum backup_type type);
bool backup_type_parse(const char *name, enum backup_type *ret) MUST_CHECK;

/* "" is the root.  -EINVAL says which rule is broken. */
int namespace_check(const char *ns, struct err *err) MUST_CHECK;

/* "vm/100"; -EINVAL */
int group_parse(const char *text, struct group *ret, struct err *err) MUST_CHECK;

/* "vm/100/2026-01-02T03:04:05Z"; only the form that formats back to the same text.  -EINVAL */
int snapshot_parse(const char *text, struct snapshot *ret, struct err *err) MUST_CHECK;

/* "2026-01-02T03:04:05Z" */
bool snapshot_time_parse(const char *text, int64_t *ret) MUST_CHECK;
void snapshot_time_format(int64_t time, char ret[static SNAPSHOT_TIME_SIZE]);

#define GROUP_TEXT_SIZE	   (5 + SAFE_ID_MAX + 1)
#define SNAPSHOT_TEXT_SIZE (GROUP_TEXT_SIZE + SNAPSHOT_TIME_SIZE)
void group_format(const struct group *group, char ret[static GROUP_TEXT_SIZE]);
void snapshot_format(const struct snapshot *snap, char ret[static SNAPSHOT_TEXT_SIZE]);

/* For sorting: ct < host < vm, then ids (numbers by value and before text), then time. */
int group_compare(const struct group *a, const struct group *b);
int snapshot_compare(const struct snapshot *a, const struct snapshot *b);

/* What a file of a snapshot is, told by its name on the server. */
enum archive_kind {
	ARCHIVE_IMAGE,	/* X.img.fidx */
	ARCHIVE_FIXED,	/* any other .fidx */
	ARCHIVE_PXAR,	/* .pxar.didx, .mpxar.didx, .ppxar.didx */
	ARCHIVE_DYNAMIC, /* any other .didx */
	ARCHIVE_BLOB,	/* .blob */
	ARCHIVE_OTHER,	/* not an archive */
};

#define ARCHIVE_NAME_SIZE (SAFE_ID_MAX + 1)

#define MANIFEST_NAME "index.json.blob" /* the file that names the others; a snapshot without is not finished */

/**
 * archive_server_name - the file on the server that a user means by @name
 *
 * "drive-scsi0.img" and "drive-scsi0.img.fidx" both give "drive-scsi0.img.fidx"; ".pxar" adds
 * ".didx", ".conf" and its like ".blob".
 *
 * Errors:  -EINVAL  not a safe name, or an ending that says nothing
 */
int archive_server_name(const char *name, char ret[static ARCHIVE_NAME_SIZE],
			struct err *err) MUST_CHECK;
enum archive_kind archive_kind_of(const char *server_name);

/**
 * archive_pxar_name - how the parts of a file archive are called
 *
 * @server_name:  an ARCHIVE_PXAR, of any of the three kinds
 * @kind:         "pxar", "mpxar" (all but the data) or "ppxar" (the data)
 *
 * "root.mpxar.didx" and "pxar" give "root.pxar.didx".  -EINVAL: that would be too long.
 */
int archive_pxar_name(const char *server_name, const char *kind, char ret[static ARCHIVE_NAME_SIZE],
		      struct err *err) MUST_CHECK;

/* Without ".fidx", ".didx", ".blob". */
void archive_user_name(const char *server_name, char ret[static ARCHIVE_NAME_SIZE]);
