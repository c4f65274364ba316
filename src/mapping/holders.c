/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util/array.h"
#include "util/mount_table.h"

/*
 * Who uses a device is nowhere in one place: stacked devices and swap are in sysfs and procfs, mounts in
 * the mount tables of all name spaces, plain readers only in the descriptors of every process.  All are
 * asked for the device and for each of its partitions, and once for all devices: there may be hundreds of them,
 * and thousands of descriptors.
 *
 * What is looked at may hang (a dead FUSE server, a lost NFS server), so nothing is asked of a file
 * system: statx() takes what the kernel has.
 */
struct target {
	const struct holders_query *query;
	dev_t dev;
	char path[512]; /* "/dev/loop3p1", or a mount point */
	bool is_block;	/* else: any file of the file system @dev counts */
};

struct targets {
	struct target *items;
	size_t n, cap;
};

static void targets_deinit(struct targets *targets)
{
	free(targets->items);
}

/* A line, unless it is there already. */
static int note(struct strv *ret, struct err *err, const char *fmt, ...) PRINTF(3, 4);
static int note(struct strv *ret, struct err *err, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	va_start(args, fmt);
	(void) vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	for (size_t i = 0; i < ret->n; i++)
		if (strcmp(ret->items[i], line) == 0)
			return 0;
	return strv_add(ret, line, err);
}

/* The first line of a small file of sysfs or procfs. */
static bool read_line(const char *path, char *ret, size_t len)
{
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	if (!file || !fgets(ret, (int)len, file))
		return false;
	ret[strcspn(ret, "\n")] = '\0';
	return true;
}

/* -- what is looked for ---------------------------------------------------------------------- */

static int add_target(struct targets *targets, const struct holders_query *query, dev_t dev, bool is_block,
		      const char *path, struct err *err)
{
	int r = array_grow(&targets->items, targets->n, &targets->cap, sizeof *targets->items, err);
	if (r < 0)
		return r;
	struct target *target = &targets->items[targets->n++];
	*target = (struct target){ .query = query, .dev = dev, .is_block = is_block };
	(void) snprintf(target->path, sizeof target->path, "%s", path);
	return 0;
}

/* /sys/block/NAME/dev of a disk, /sys/class/block/NAME/dev of a partition as well */
static int add_block_target(struct targets *targets, const struct holders_query *query, const char *name,
			    struct err *err)
{
	char path[320], line[64];
	unsigned maj, min;
	(void) snprintf(path, sizeof path, "/sys/class/block/%s/dev", name);
	if (!read_line(path, line, sizeof line) || sscanf(line, "%u:%u", &maj, &min) != 2)
		return 0;
	(void) snprintf(path, sizeof path, "/dev/%s", name);
	return add_target(targets, query, makedev(maj, min), true, path, err);
}

static int add_device(struct targets *targets, const struct holders_query *query, struct err *err)
{
	const char *name = query->path + strlen("/dev/");
	char path[320];
	int r = add_block_target(targets, query, name, err);
	(void) snprintf(path, sizeof path, "/sys/block/%s", name);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct dirent *entry;
	while (r == 0 && dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, name, strlen(name)) == 0) /* loop3 → loop3p1 */
			r = add_block_target(targets, query, entry->d_name, err);
	return r;
}

/* The file systems on the paths of --via file. */
struct path_search {
	const struct holders_query *queries;
	size_t n;
	struct targets *targets;
};

static int add_if_on_path(void *user, const struct mount_row *row, struct err *err)
{
	const struct path_search *search = user;
	int r = 0;
	for (size_t i = 0; r == 0 && i < search->n; i++) {
		const struct holders_query *query = &search->queries[i];
		if (!(query->flags & HOLDERS_OF_DEVICE) && strcmp(row->target, query->path) == 0)
			r = add_target(search->targets, query, row->dev, false, query->path, err);
	}
	return r;
}

static int find_targets(const struct holders_query *queries, size_t n, struct targets *ret, struct err *err)
{
	struct path_search search = { queries, n, ret };
	bool has_paths = false;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		has_paths = has_paths || !(queries[i].flags & HOLDERS_OF_DEVICE);
		if (queries[i].flags & HOLDERS_OF_DEVICE)
			r = add_device(ret, &queries[i], err);
	}
	return r == 0 && has_paths ? mount_table_each("/proc/self/mountinfo", add_if_on_path, &search, err) : r;
}

/* -- stacked devices, swap ------------------------------------------------------------------- */

static int note_holders_of(const struct target *target, struct err *err)
{
	char path[600];
	(void) snprintf(path, sizeof path, "/sys/class/block/%s/holders", strrchr(target->path, '/') + 1);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = note(target->query->ret, err, "used by /dev/%s", entry->d_name);
	return r;
}

static const struct target *target_at(const struct targets *targets, const char *path)
{
	for (size_t i = 0; i < targets->n; i++)
		if (strcmp(targets->items[i].path, path) == 0)
			return &targets->items[i];
	return NULL;
}

/* Loop devices over it: nothing but the path of their backing file tells. */
static int note_loops(const struct targets *targets, struct err *err)
{
	CLEANUP(closedirp) DIR *dir = opendir("/sys/block");
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir))) {
		char path[320], backing[512];
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		(void) snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", entry->d_name);
		bool is_loop = read_line(path, backing, sizeof backing);
		const struct target *target = is_loop ? target_at(targets, backing) : NULL;
		if (target)
			r = note(target->query->ret, err, "used by /dev/%s", entry->d_name);
	}
	return r;
}

static int note_swap(const struct targets *targets, struct err *err)
{
	CLEANUP(fclosep) FILE *file = fopen("/proc/swaps", "re");
	char line[600];
	int r = 0;
	while (r == 0 && file && fgets(line, sizeof line, file)) {
		line[strcspn(line, " \t\n")] = '\0';
		const struct target *target = target_at(targets, line);
		if (target)
			r = note(target->query->ret, err, "swap on %s", line);
	}
	return r;
}

/* -- mounts ---------------------------------------------------------------------------------- */

struct search {
	struct targets *targets;
	struct strv name_spaces; /* mount name spaces that were looked at */
};

/* File systems of several devices (btrfs) have a number of their own: there the name tells. */
static const struct target *target_below(const struct targets *targets, const struct mount_row *row)
{
	for (size_t i = 0; i < targets->n; i++) {
		const struct target *target = &targets->items[i];
		if (target->is_block && (target->dev == row->dev || strcmp(target->path, row->source) == 0))
			return target;
	}
	return NULL;
}

static int note_mount(void *user, const struct mount_row *row, struct err *err)
{
	const struct target *target = target_below(user, row);
	return target ? note(target->query->ret, err, "mounted on %s", row->target) : 0;
}

struct search_below {
	const struct holders_query *query;
	bool is_passed; /* our own mount there came before this row of the table */
};

/* What is mounted below a path keeps it where it is; and what came over it would be unmounted in its place. */
static int note_mount_below(void *user, const struct mount_row *row, struct err *err)
{
	struct search_below *search = user;
	const struct holders_query *query = search->query;
	size_t len = strlen(query->path);
	if (strncmp(row->target, query->path, len) != 0 || (row->target[len] && row->target[len] != '/'))
		return 0;
	bool is_over = search->is_passed;
	search->is_passed |= !row->target[len] && strcmp(row->type, "fuse.pbsmap") == 0;
	return is_over ? note(query->ret, err, "mounted on %s", row->target) : 0;
}

static int note_mounts_below(const struct holders_query *query, struct err *err)
{
	struct search_below search = { .query = query };
	if (query->flags & HOLDERS_OF_DEVICE)
		return 0;
	return mount_table_each("/proc/self/mountinfo", note_mount_below, &search, err);
}

static int note_mounts_of(struct search *search, pid_t pid, struct err *err)
{
	char path[64], name_space[64];
	(void) snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
	ssize_t n = readlink(path, name_space, sizeof name_space - 1);
	if (n < 0)
		return 0;
	name_space[n] = '\0';
	for (size_t i = 0; i < search->name_spaces.n; i++)
		if (strcmp(search->name_spaces.items[i], name_space) == 0)
			return 0;
	int r = strv_add(&search->name_spaces, name_space, err);
	if (r < 0)
		return r;
	(void) snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
	return mount_table_each(path, note_mount, search->targets, err);
}

/* -- descriptors ----------------------------------------------------------------------------- */

static int note_process(const struct target *target, pid_t pid, struct err *err)
{
	char path[64], name[64] = "?";
	if (pid == target->query->own[0] || pid == target->query->own[1])
		return 0;
	(void) snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	(void) read_line(path, name, sizeof name);
	return note(target->query->ret, err, "process %d (%s)", (int)pid, name);
}

static const struct target *target_of_fd(const struct targets *targets, int dir_fd, const char *name)
{
	struct statx st;
	if (statx(dir_fd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0)
		return NULL;
	for (size_t i = 0; i < targets->n; i++) {
		const struct target *target = &targets->items[i];
		if (target->is_block && S_ISBLK(st.stx_mode) &&
		    makedev(st.stx_rdev_major, st.stx_rdev_minor) == target->dev)
			return target;
		if (!target->is_block && makedev(st.stx_dev_major, st.stx_dev_minor) == target->dev)
			return target;
	}
	return NULL;
}

static int note_open(const struct targets *targets, pid_t pid, struct err *err)
{
	char path[64];
	(void) snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir))) {
		const struct target *target = entry->d_name[0] == '.' ? NULL
								      : target_of_fd(targets, dirfd(dir), entry->d_name);
		if (target)
			r = note_process(target, pid, err);
	}
	return r;
}

/* A shell that was left there, or a program that is run from there. */
static int note_there(const struct targets *targets, pid_t pid, struct err *err)
{
	static const char *const links[] = { "cwd", "root", "exe" };
	char path[64];
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(links); i++) {
		(void) snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, links[i]);
		const struct target *target = target_of_fd(targets, AT_FDCWD, path);
		if (target)
			r = note_process(target, pid, err);
	}
	return r;
}

static const struct target *target_on_path(const struct targets *targets, dev_t dev)
{
	for (size_t i = 0; i < targets->n; i++)
		if (!targets->items[i].is_block && targets->items[i].dev == dev)
			return &targets->items[i];
	return NULL;
}

/* Device and path in a row of a process's map, proc(5). */
static const struct target *target_of_map(const struct targets *targets, char *line)
{
	unsigned maj, min;
	line[strcspn(line, "\n")] = '\0';
	const char *at = strchr(line, '/');
	const struct target *target = at ? target_at(targets, at) : NULL;
	if (at && !target && sscanf(line, "%*s %*s %*s %x:%x", &maj, &min) == 2)
		target = target_on_path(targets, makedev(maj, min));
	return target;
}

/* Mapped into memory, and the descriptor closed. */
static int note_mapped(const struct targets *targets, pid_t pid, struct err *err)
{
	char path[64], line[1024];
	(void) snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	int r = 0;
	while (r == 0 && file && fgets(line, sizeof line, file)) {
		const struct target *target = target_of_map(targets, line);
		if (target)
			r = note_process(target, pid, err);
	}
	return r;
}

static int search_processes(struct targets *targets, bool is_close, struct err *err)
{
	struct search search = { .targets = targets };
	CLEANUP(closedirp) DIR *dir = opendir("/proc");
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		if (pid <= 0)
			continue;
		r = note_mounts_of(&search, pid, err);
		if (r == 0)
			r = note_there(targets, pid, err); /* this process may be in the way itself */
		if (r == 0 && pid != getpid())
			r = note_open(targets, pid, err);
		if (r == 0 && pid != getpid() && is_close)
			r = note_mapped(targets, pid, err);
	}
	strv_deinit(&search.name_spaces);
	return r;
}

/* Held by the kernel, or by somebody we may not look at. */
static int note_unseen(const struct target *target, struct err *err)
{
	struct strv *ret = target->query->ret;
	if (!target->is_block || ret->n || !(target->query->flags & HOLDERS_CLOSELY))
		return 0;
	CLEANUP(closep) int fd = open(target->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	return fd < 0 && errno == EBUSY ? note(ret, err, "used by somebody who cannot be seen from here") : 0;
}

static int search_all(struct targets *targets, bool is_close, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < targets->n; i++)
		if (targets->items[i].is_block)
			r = note_holders_of(&targets->items[i], err);
	if (r == 0)
		r = note_loops(targets, err);
	if (r == 0)
		r = note_swap(targets, err);
	if (r == 0)
		r = search_processes(targets, is_close, err);
	for (size_t i = 0; r == 0 && i < targets->n; i++)
		r = note_unseen(&targets->items[i], err);
	return r;
}

int holders_find(const struct holders_query *queries, size_t n, struct err *err)
{
	CLEANUP(targets_deinit) struct targets targets = { 0 };
	bool is_close = false;
	int r = find_targets(queries, n, &targets, err);
	for (size_t i = 0; i < n; i++)
		is_close = is_close || queries[i].flags & HOLDERS_CLOSELY;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = note_mounts_below(&queries[i], err);
	if (r == 0 && targets.n)
		r = search_all(&targets, is_close, err);
	for (size_t i = 0; i < n; i++)
		strv_sort(queries[i].ret);
	return r;
}

static int detach_mount(void *user, const struct mount_row *row, struct err *err)
{
	if (!target_below(user, row) || umount2(row->target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return err_errno(err, -errno, "cannot unmount %s", row->target);
}

int holders_detach_mounts(const char *device, struct err *err)
{
	CLEANUP(targets_deinit) struct targets targets = { 0 };
	const struct holders_query query = { .path = device, .flags = HOLDERS_OF_DEVICE };
	int r = find_targets(&query, 1, &targets, err);
	if (r == 0 && targets.n)
		r = mount_table_each("/proc/self/mountinfo", detach_mount, &targets, err);
	return r;
}
