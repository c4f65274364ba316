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

/*
 * Who uses a device is nowhere in one place: stacked devices and swap are in sysfs and procfs, mounts in
 * the mount tables of all name spaces, plain readers only in the descriptors of every process.  All are
 * asked for the device and for each of its partitions.
 *
 * What is looked at may hang (a dead FUSE server, a lost NFS server), so nothing is asked of a file
 * system: statx() takes what the kernel has.
 */
struct target {
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

static int add_target(struct targets *targets, dev_t dev, bool is_block, const char *path,
		      struct err *err)
{
	int r = array_grow(&targets->items, targets->n, &targets->cap, sizeof *targets->items, err);
	if (r < 0)
		return r;
	struct target *target = &targets->items[targets->n++];
	*target = (struct target){ .dev = dev, .is_block = is_block };
	(void) snprintf(target->path, sizeof target->path, "%s", path);
	return 0;
}

/* /sys/block/NAME/dev of a disk, /sys/class/block/NAME/dev of a partition as well */
static int add_block_target(struct targets *targets, const char *name, struct err *err)
{
	char path[320], line[64];
	unsigned maj, min;
	(void) snprintf(path, sizeof path, "/sys/class/block/%s/dev", name);
	if (!read_line(path, line, sizeof line) || sscanf(line, "%u:%u", &maj, &min) != 2)
		return 0;
	(void) snprintf(path, sizeof path, "/dev/%s", name);
	return add_target(targets, makedev(maj, min), true, path, err);
}

static int add_device(struct targets *targets, const char *device, struct err *err)
{
	const char *name = device + strlen("/dev/");
	char path[320];
	int r = add_block_target(targets, name, err);
	(void) snprintf(path, sizeof path, "/sys/block/%s", name);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct dirent *entry;
	while (r == 0 && dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, name, strlen(name)) == 0) /* loop3 → loop3p1 */
			r = add_block_target(targets, entry->d_name, err);
	return r;
}

/* One row of a mount table: proc(5), mountinfo.  Points into @line. */
struct mount_row {
	dev_t dev;
	char *target, *source;
};

/* "\040" and its like, in place */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		unsigned value;
		if (from[0] == '\\' && sscanf(from + 1, "%3o", &value) == 1) {
			*to = (char)value;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool parse_mount_row(char *line, struct mount_row *ret)
{
	unsigned maj, min;
	char *rest = line, *fields[5];
	for (int i = 0; i < 5; i++)
		if (!(fields[i] = strsep(&rest, " ")))
			return false;
	char *behind = rest ? strstr(rest, " - ") : NULL;
	if (!behind || sscanf(fields[2], "%u:%u", &maj, &min) != 2)
		return false;
	behind += 3;
	(void) strsep(&behind, " ");
	ret->source = behind ? strsep(&behind, " ") : NULL;
	if (!ret->source)
		return false;
	ret->dev = makedev(maj, min);
	ret->target = fields[4];
	unescape(ret->target);
	unescape(ret->source);
	return true;
}

typedef int mount_fn(void *user, const struct mount_row *row, struct err *err);

static int each_mount(const char *table, mount_fn *each, void *user, struct err *err)
{
	CLEANUP(fclosep) FILE *file = fopen(table, "re");
	CLEANUP(freep) char *line = NULL;
	size_t cap = 0;
	int r = 0;
	while (r == 0 && file && getline(&line, &cap, file) > 0) {
		struct mount_row row;
		line[strcspn(line, "\n")] = '\0';
		if (parse_mount_row(line, &row))
			r = each(user, &row, err);
	}
	return r;
}

/* The file system on a path of --via file. */
struct path_search {
	const char *path;
	struct targets *targets;
};

static int add_if_on_path(void *user, const struct mount_row *row, struct err *err)
{
	const struct path_search *search = user;
	if (strcmp(row->target, search->path) != 0)
		return 0;
	return add_target(search->targets, row->dev, false, search->path, err);
}

static int find_targets(const char *path, bool is_device, struct targets *ret, struct err *err)
{
	if (is_device)
		return add_device(ret, path, err);
	struct path_search search = { path, ret };
	return each_mount("/proc/self/mountinfo", add_if_on_path, &search, err);
}

/* -- stacked devices, swap ------------------------------------------------------------------- */

static int note_holders_of(const struct target *target, struct strv *ret, struct err *err)
{
	char path[600];
	(void) snprintf(path, sizeof path, "/sys/class/block/%s/holders", strrchr(target->path, '/') + 1);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = note(ret, err, "used by /dev/%s", entry->d_name);
	return r;
}

static bool is_path_of(const struct targets *targets, const char *path)
{
	for (size_t i = 0; i < targets->n; i++)
		if (strcmp(targets->items[i].path, path) == 0)
			return true;
	return false;
}

/* Loop devices over it: nothing but the path of their backing file tells. */
static int note_loops(const struct targets *targets, struct strv *ret, struct err *err)
{
	CLEANUP(closedirp) DIR *dir = opendir("/sys/block");
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir))) {
		char path[320], backing[512];
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		(void) snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", entry->d_name);
		if (read_line(path, backing, sizeof backing) && is_path_of(targets, backing))
			r = note(ret, err, "used by /dev/%s", entry->d_name);
	}
	return r;
}

static int note_swap(const struct targets *targets, struct strv *ret, struct err *err)
{
	CLEANUP(fclosep) FILE *file = fopen("/proc/swaps", "re");
	char line[600];
	int r = 0;
	while (r == 0 && file && fgets(line, sizeof line, file)) {
		line[strcspn(line, " \t\n")] = '\0';
		if (is_path_of(targets, line))
			r = note(ret, err, "swap on %s", line);
	}
	return r;
}

/* -- mounts ---------------------------------------------------------------------------------- */

struct search {
	const char *path;
	const struct targets *targets;
	const pid_t *own;
	bool is_close;
	struct strv *ret;
	struct strv name_spaces; /* mount name spaces that were looked at */
};

/* File systems of several devices (btrfs) have a number of their own: there the name tells. */
static bool is_on_target(const struct targets *targets, const struct mount_row *row)
{
	for (size_t i = 0; i < targets->n; i++) {
		const struct target *target = &targets->items[i];
		if (target->is_block &&
		    (target->dev == row->dev || strcmp(target->path, row->source) == 0))
			return true;
	}
	return false;
}

static int note_mount(void *user, const struct mount_row *row, struct err *err)
{
	struct search *search = user;
	if (!is_on_target(search->targets, row))
		return 0;
	return note(search->ret, err, "mounted on %s", row->target);
}

/* What is mounted below it keeps it where it is. */
static int note_mount_below(void *user, const struct mount_row *row, struct err *err)
{
	struct search *search = user;
	size_t len = strlen(search->path);
	if (strncmp(row->target, search->path, len) != 0 || row->target[len] != '/')
		return 0;
	return note(search->ret, err, "mounted on %s", row->target);
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
	return each_mount(path, note_mount, search, err);
}

/* -- descriptors ----------------------------------------------------------------------------- */

static bool is_target_fd(const struct targets *targets, int dir_fd, const char *name)
{
	struct statx st;
	if (statx(dir_fd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0)
		return false;
	for (size_t i = 0; i < targets->n; i++) {
		const struct target *target = &targets->items[i];
		if (target->is_block && S_ISBLK(st.stx_mode) &&
		    makedev(st.stx_rdev_major, st.stx_rdev_minor) == target->dev)
			return true;
		if (!target->is_block && makedev(st.stx_dev_major, st.stx_dev_minor) == target->dev)
			return true;
	}
	return false;
}

static bool is_on_path(const struct targets *targets, dev_t dev)
{
	for (size_t i = 0; i < targets->n; i++)
		if (!targets->items[i].is_block && targets->items[i].dev == dev)
			return true;
	return false;
}

/* Mapped into memory, and the descriptor closed: device and path in a row of its map, proc(5). */
static bool has_mapped(const struct targets *targets, pid_t pid)
{
	char path[64], line[1024];
	unsigned maj, min;
	(void) snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		const char *at = strchr(line, '/');
		if (at && is_path_of(targets, at))
			return true;
		if (at && sscanf(line, "%*s %*s %*s %x:%x", &maj, &min) == 2 && is_on_path(targets, makedev(maj, min)))
			return true;
	}
	return false;
}

/* A shell that was left there, or a program that is run from there. */
static bool is_there(const struct targets *targets, pid_t pid)
{
	static const char *const links[] = { "cwd", "root", "exe" };
	char path[64];
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		(void) snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, links[i]);
		if (is_target_fd(targets, AT_FDCWD, path))
			return true;
	}
	return false;
}

static bool has_open(const struct targets *targets, pid_t pid)
{
	char path[64];
	(void) snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	CLEANUP(closedirp) DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && is_target_fd(targets, dirfd(dir), entry->d_name))
			return true;
	return false;
}

static int note_process(struct search *search, pid_t pid, struct err *err)
{
	char path[64], name[64] = "?";
	const struct targets *targets = search->targets;
	if (!has_open(targets, pid) && !is_there(targets, pid) && !(search->is_close && has_mapped(targets, pid)))
		return 0;
	(void) snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	(void) read_line(path, name, sizeof name);
	return note(search->ret, err, "process %d (%s)", (int)pid, name);
}

static int search_processes(struct search *search, struct err *err)
{
	CLEANUP(closedirp) DIR *dir = opendir("/proc");
	struct dirent *entry;
	int r = 0;
	while (r == 0 && dir && (entry = readdir(dir))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		if (pid <= 0)
			continue;
		r = note_mounts_of(search, pid, err);
		if (r == 0 && pid != search->own[0] && pid != search->own[1] && pid != getpid())
			r = note_process(search, pid, err);
	}
	return r;
}

/* Held by the kernel, or by somebody we may not look at. */
static int note_unseen(const struct targets *targets, struct strv *ret, struct err *err)
{
	for (size_t i = 0; i < targets->n && ret->n == 0; i++) {
		if (!targets->items[i].is_block)
			continue;
		CLEANUP(closep) int fd = open(targets->items[i].path, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd < 0 && errno == EBUSY)
			return note(ret, err, "used by somebody who cannot be seen from here");
	}
	return 0;
}

int holders_find(const char *path, enum holders_flags flags, const pid_t own[static 2],
		 struct strv *ret, struct err *err)
{
	CLEANUP(targets_deinit) struct targets targets = { 0 };
	int r = find_targets(path, flags & HOLDERS_OF_DEVICE, &targets, err);
	for (size_t i = 0; r == 0 && i < targets.n; i++)
		if (targets.items[i].is_block)
			r = note_holders_of(&targets.items[i], ret, err);
	if (r == 0 && targets.n)
		r = note_loops(&targets, ret, err);
	if (r == 0 && targets.n)
		r = note_swap(&targets, ret, err);
	struct search search = {
		.path = path, .targets = &targets, .own = own, .is_close = flags & HOLDERS_CLOSELY, .ret = ret,
	};
	if (r == 0 && !(flags & HOLDERS_OF_DEVICE))
		r = each_mount("/proc/self/mountinfo", note_mount_below, &search, err);
	if (r == 0 && targets.n)
		r = search_processes(&search, err);
	strv_deinit(&search.name_spaces);
	if (r == 0 && search.is_close)
		r = note_unseen(&targets, ret, err);
	strv_sort(ret);
	return r;
}

static int detach_mount(void *user, const struct mount_row *row, struct err *err)
{
	const struct targets *targets = user;
	if (!is_on_target(targets, row) || umount2(row->target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return err_errno(err, -errno, "cannot unmount %s", row->target);
}

int holders_detach_mounts(const char *device, struct err *err)
{
	CLEANUP(targets_deinit) struct targets targets = { 0 };
	int r = find_targets(device, true, &targets, err);
	if (r == 0 && targets.n)
		r = each_mount("/proc/self/mountinfo", detach_mount, &targets, err);
	return r;
}
