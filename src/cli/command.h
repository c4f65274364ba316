/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mapping/mapping.h"
#include "util/failure.h"

/* What the words of the command line mean; every command gets the same struct. */
struct options {
	struct repository_options repository;
	const char **repositories; /* room for repository.repositories */
	const char *name;	   /* --name */
	enum mapping_via via;
	const char *socket, *listen; /* --socket, --listen */
	struct tls_server_options tls;
	int64_t idle_ms;	     /* --idle; 0 = never */
	bool is_json, is_json_pretty, is_verbose, is_foreground;
	bool is_all, is_forced;
	bool is_recursive, counts_links;
	const char *mount_options; /* -o */
	const char *to;		/* --to; NULL = not given */
	const char *tar;	/* --tar */
	int64_t wait_ms;	/* --wait=SEC; 0 = not at all, INT64_MAX = for ever */
	uint64_t cache_size;	/* bytes; UINT64_MAX = default */
	uint64_t read_ahead;	/* bytes; UINT64_MAX = default */
	int64_t timeout_ms;	/* of one read; 0 = for ever */
	const char **args;	/* what is left, without the command */
	size_t n_args;
};

/* One bit per option, so that a command's row says which it takes. */
enum option_id {
	OPT_REPOSITORY, OPT_FINGERPRINT, OPT_NS, OPT_KEYFILE, OPT_CHUNKS, OPT_ALLOW_UNSIGNED, OPT_VIA,
	OPT_NAME, OPT_FOREGROUND, OPT_VERBOSE, OPT_CACHE, OPT_READ_AHEAD, OPT_CONNECTIONS, OPT_TIMEOUT,
	OPT_SOCKET, OPT_LISTEN, OPT_TLS_CERTIFICATES, OPT_TLS_PSK, OPT_IDLE,
	OPT_WAIT, OPT_FORCE, OPT_ALL, OPT_RECURSIVE, OPT_EXACT_LINKS, OPT_TO, OPT_TAR, OPT_OPTIONS,
	OPT_JSON, OPT_OUTPUT_FORMAT, OPT_HELP, OPT_VERSION, N_OPTIONS
};

/* What a word stands for; so that a shell can complete it, and used by nothing else. */
enum word_kind {
	WORD_UNKNOWN, /* a name, a number: nothing is offered */
	WORD_COMMAND, WORD_OPTION, WORD_BOOL,
	WORD_CHOICE,  /* one of the words of an option's value: "loop|file" */
	WORD_REPOSITORY, WORD_NAMESPACE, WORD_GROUP,
	WORD_SNAPSHOT, /* or a group */
	WORD_IMAGE,    /* of the snapshot before it */
	WORD_TREE,     /* a file archive of it */
	WORD_INSIDE,   /* a path in that: nothing is offered */
	WORD_MAPPING,  /* its device or name */
	WORD_TARGET,   /* the path of a file, with --via file */
	WORD_FILE, WORD_DIRECTORY
};

#define COMMAND_ARGS_MAX  3
#define COMMAND_MANY_ARGS SIZE_MAX /* as max_args: as many as one likes */

struct command {
	const char *name;
	const char *args;	/* "SNAPSHOT ARCHIVE [PATH]" */
	enum word_kind kinds[COMMAND_ARGS_MAX]; /* of @args, in order; the last one's also of all behind it */
	size_t min_args, max_args;
	uint32_t options;	/* 1u << OPT_…; --help is everybody's */
	const char *summary;	/* one line for the list */
	const char *help;	/* paragraphs behind the usage line; says what a user must know */
	/*
	 * 0 = what was asked for is true now; a negative errno and @why; an exit status, where the user was told
	 * of each failure already
	 */
	int (*run)(const struct options *options, struct failure *why);
};

/* All of them, in the order of the help; ends with a NULL name. */
extern const struct command commands[];

int cmd_map(const struct options *options, struct failure *why);
int cmd_serve(const struct options *options, struct failure *why);
int cmd_unmap(const struct options *options, struct failure *why);
int cmd_mount(const struct options *options, struct failure *why);
int cmd_list(const struct options *options, struct failure *why);
int cmd_namespaces(const struct options *options, struct failure *why);
int cmd_groups(const struct options *options, struct failure *why);
int cmd_snapshots(const struct options *options, struct failure *why);
int cmd_files(const struct options *options, struct failure *why);
int cmd_ls(const struct options *options, struct failure *why);
int cmd_cat(const struct options *options, struct failure *why);
int cmd_extract(const struct options *options, struct failure *why);

/* The one place where a code becomes the shell's exit status. */
enum exit_status {
	EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_FOUND = 3, EXIT_REFUSED = 4,
	EXIT_BUSY = 5, EXIT_DAMAGED = 6, EXIT_INTERRUPTED = 130
};
int exit_status_of(int code);
