/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mapping/backup.h"
#include "net/tls_server.h"
#include "stream/stream.h"

/*
 * A mapping: one exported image and the process that serves it.  A mapping is alive when its
 * control socket in the run directory answers.
 */
enum mapping_via {
	VIA_LOOP,   /* a disk image as a block device */
	VIA_FILE,   /* as a file on a path */
	VIA_SOCKET, /* for NBD clients */
	VIA_NBD,    /* as a block device of the kernel's NBD client */
	VIA_TREE,   /* the files of an archive below a directory */
};

const char *mapping_via_name(enum mapping_via via); /* "loop", "file", "socket", "nbd", "mount" */

/* Mounted on a path: its "device". */
static inline bool mapping_is_on_path(enum mapping_via via)
{
	return via == VIA_FILE || via == VIA_TREE;
}

struct mapping_options {
	const struct repository_options *repository;
	const char *snapshot;
	const char *archive;	 /* NULL with --chunks; VIA_SOCKET: NULL = all images of the snapshot */
	const char *const *more_archives; /* VIA_SOCKET: further ones */
	size_t n_more_archives;
	enum mapping_via via;
	const char *target;	 /* VIA_FILE: the path; an empty file, or one that is made and
				    removed again; VIA_TREE: a directory, likewise.
				    VIA_SOCKET: the path of the socket, or NULL.  VIA_NBD: "/dev/nbd3" or "3", or NULL */
	const char *listen;	 /* VIA_SOCKET without a target: an address for nbd_listen_address(); NULL:
				    sockets from a service manager */
	struct tls_server_options tls; /* VIA_SOCKET: nothing in it = no TLS */
	int64_t idle_ms;	 /* VIA_SOCKET: ends when there was no client for so long; 0 = never */
	const char *mount_options; /* VIA_TREE: further ones, "allow_other,noexec"; NULL = none */
	bool counts_links;	 /* VIA_TREE: exact link counts, whatever that takes */
	const char *name;	 /* NULL: made from repository, namespace, snapshot, archive */
	bool foreground;
	uint64_t cache_size;	 /* bytes; UINT64_MAX = default */
	uint64_t read_ahead;	 /* bytes; UINT64_MAX = default */
	int64_t timeout_ms;	 /* of one read; 0 = for ever */
};

enum mapping_state {
	MAPPING_READY,
	MAPPING_RECONNECTING, /* the repository is lost, and looked for: reads of what is not in memory wait */
	MAPPING_ENDING, /* told to end; goes when its last user does */
	MAPPING_SILENT, /* the socket accepts, but nobody answers in time */
	MAPPING_DEAD,	/* nobody serves it any more, only its mount is left */
};

const char *mapping_state_name(enum mapping_state state); /* "ready", "reconnecting", … */

/* What one knows of a mapping.  Strings are given: mapping_info_deinit(). */
struct mapping_info {
	char *name;
	char *device;	  /* "/dev/loop3", "/dev/nbd3", the path of a file, directory or socket, the URI of a TCP socket */
	char *uri;	  /* of a socket, for NBD clients; "" = it is none */
	enum mapping_via via;
	char *repository, *ns, *snapshot, *archive;
	uint64_t size;	  /* bytes of the image, without padding; of an archive's streams */
	pid_t pid, keeper_pid; /* keeper.h */
	enum mapping_state state;
	int64_t since;	  /* epoch seconds */
	int64_t lost_since; /* epoch seconds; 0 = the repository is there */
	char *lost_why;	  /* "" = it is */
	struct stream_stats stats;
	struct strv partitions; /* "/dev/loop3p1", … in order; of a socket: the URIs of all but the one above */
	struct strv journals;	/* of a device: what journals_find() finds */
	struct strv users;	/* of a socket: who is connected */
	struct strv holders;	/* mapping_list() only; as holders_find() words them */
};

#define MAPPING_INFO_EMPTY ((struct mapping_info){ 0 })
void mapping_info_deinit(struct mapping_info *info);

struct mapping_list {
	struct mapping_info *items;
	size_t n, cap;
};

#define MAPPING_LIST_EMPTY ((struct mapping_list){ 0 })
void mapping_list_deinit(struct mapping_list *list);

/**
 * mapping_start - show an image, or the files of an archive
 *
 * @ready:  called once when the device answers reads, in the calling process: what it returns
 *          is the result of a mapping in the background, a failure takes the mapping away
 *
 * In the background: returns when the server process answers (it is another process then), or
 * failed.  In the foreground: returns 0 when the mapping was taken away.
 *
 * Call it before there are threads.  Notes and warnings go to repository->say.
 *
 * Errors:  those of backup_open(); -EPERM not root; -ENODEV no FUSE or loop driver; -ENOSPC no
 *          free device; -EEXIST the target has content; -EINTR the user ended it
 */
int mapping_start(const struct mapping_options *options,
		  int (*ready)(void *user, const struct mapping_info *info, struct err *err),
		  void *user, struct failure *why) MUST_CHECK;

/**
 * mapping_list - all mappings of this user, sorted by device; sweeps what dead ones left
 */
int mapping_list(struct mapping_list *ret, struct err *err) MUST_CHECK;

/**
 * mapping_glance - devices and names of the mappings that are noted in the run directory
 *
 * Asks no server, looks into no mount, sweeps and makes nothing: it never waits, and nobody notices it.
 *
 * @ret_devices, @ret_names:  one of each for a mapping; added to
 */
int mapping_glance(struct strv *ret_devices, struct strv *ret_names, struct err *err) MUST_CHECK;

enum unmap_flags { UNMAP_FORCE = 1 };

/**
 * mapping_unmap - take one away
 *
 * @which:  a device, a partition of it, the path of a file, a number, a name, or the tail of a name cut
 *          at a '/'
 * @until:  wait so long for its users to go; deadline_in_ms(0) = not at all
 *
 * Errors:  -ENOENT  no such mapping, with candidates (also: a device that is not ours)
 *          -ENOTUNIQ fits several, with candidates
 *          -EBUSY   with holders
 */
int mapping_unmap(const char *which, enum unmap_flags flags, struct deadline until,
		  struct failure *why) MUST_CHECK;

/* Every one; goes on behind one that is busy, and then fails with the first failure. */
int mapping_unmap_all(enum unmap_flags flags, struct deadline until, struct failure *why) MUST_CHECK;
