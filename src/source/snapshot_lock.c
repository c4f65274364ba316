/* SPDX-License-Identifier: Apache-2.0 */
#include "source/snapshot_lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "crypto/sha256.h"
#include "util/buf.h"
#include "util/bytes.h"
#include "util/file.h"

#define CONFIG_MAX (1u << 20) /* bytes; a configuration is a few hundred */

const struct server_paths server_paths_default = {
	.run_dir = "/run/proxmox-backup",
	.config = "/etc/proxmox-backup/datastore.cfg",
	.removable = "/mnt/datastore",
};

/* One section of the configuration: "datastore: NAME", then indented "key value" lines. */
struct section {
	struct server_store store;
	char path[4096];
	bool is_removable;
};

/* Is this the place of @section?  Compared as files are, so that links and bind mounts do not matter. */
static bool is_at(const struct server_paths *paths, const struct section *section,
		  const struct stat *wanted)
{
	char mounted[8192];
	const char *at = section->path;
	if (section->is_removable) {
		(void) snprintf(mounted, sizeof mounted, "%s/%s", paths->removable, section->store.name);
		at = mounted;
	}
	struct stat st;
	return section->store.name[0] && at[0] && stat(at, &st) == 0 && st.st_dev == wanted->st_dev &&
	       st.st_ino == wanted->st_ino;
}

/* "offline", or "type=offline,message=…": only the modes in which the server itself refuses reads. */
static void note_maintenance(struct server_store *store, const char *value)
{
	static const char *const modes[] = { "offline", "delete", "unmount", "s3-refresh" };
	if (strncmp(value, "type=", 5) == 0)
		value += 5;
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcspn(value, ",") == strlen(modes[i]) && strncmp(value, modes[i], strlen(modes[i])) == 0)
			(void) snprintf(store->maintenance, sizeof store->maintenance, "%s", modes[i]);
}

/* A line inside a section. */
static void section_note(struct section *section, const char *line)
{
	line += strspn(line, " \t");
	if (strncmp(line, "path ", 5) == 0)
		(void) snprintf(section->path, sizeof section->path, "%s", line + 5);
	else if (strncmp(line, "backing-device ", 15) == 0)
		section->is_removable = true;
	else if (strncmp(line, "maintenance-mode ", 17) == 0)
		note_maintenance(&section->store, line + 17);
}

static bool find_section(const struct server_paths *paths, char *text, const struct stat *wanted,
			 struct section *ret)
{
	*ret = (struct section){ 0 };
	char *rest = text, *line;
	while ((line = strsep(&rest, "\n"))) {
		bool is_inside = line[0] == ' ' || line[0] == '\t';
		if (is_inside) {
			section_note(ret, line);
			continue;
		}
		if (is_at(paths, ret, wanted))
			return true;
		*ret = (struct section){ 0 };
		if (strncmp(line, "datastore:", 10) != 0)
			continue; /* what is indented below is none of ours */
		const char *name = line + 10 + strspn(line + 10, " \t");
		if (is_safe_id(name))
			(void) snprintf(ret->store.name, sizeof ret->store.name, "%s", name);
	}
	return is_at(paths, ret, wanted);
}

int server_store_find(const struct server_paths *paths, const char *path, struct server_store *ret)
{
	*ret = (struct server_store){ 0 };
	struct stat st;
	if (stat(paths->run_dir, &st) < 0 || stat(path, &st) < 0)
		return 0;
	CLEANUP(freep) uint8_t *text = NULL;
	size_t len;
	int r = read_file_at(AT_FDCWD, paths->config, O_NONBLOCK, CONFIG_MAX, &text, &len, NULL);
	if (r < 0)
		return r != -ENOENT; /* a server that has no datastore yet */
	struct section section;
	if (find_section(paths, (char *)text, &st, &section))
		*ret = section.store;
	return 0;
}

/* Too long for a file name: its beginning, its end, and a digest of the text it stands for. */
static int hashed_name(const char *escaped, const char *text, char *ret, size_t ret_len,
		       struct err *err)
{
	uint8_t digest[DIGEST_SIZE];
	int r = sha256_once(text, strlen(text), digest, err);
	if (r < 0)
		return r;
	char hex[2 * DIGEST_SIZE + 1];
	hex_encode(digest, DIGEST_SIZE, hex);
	int n = snprintf(ret, ret_len, "hashed/%.80s...%s-%s", escaped,
			 escaped + strlen(escaped) - 80, hex);
	return n < (int)ret_len ? 0 : err_set(err, -ENAMETOOLONG, "snapshot %s", text);
}

int server_lock_name(const char *snapshot, char *ret, size_t ret_len, struct err *err)
{
	char escaped[4 * SNAPSHOT_TEXT_SIZE];
	size_t n = 0;
	for (const char *c = snapshot; *c && n + 5 < sizeof escaped; c++) {
		bool is_kept = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			       (*c >= '0' && *c <= '9') || *c == '_' || (*c == '.' && c > snapshot);
		if (*c == '/')
			escaped[n++] = '-';
		else if (is_kept)
			escaped[n++] = *c;
		else
			n += (size_t)snprintf(escaped + n, 5, "\\x%02x", (unsigned char)*c);
	}
	escaped[n] = '\0';
	if (n >= 255)
		return hashed_name(escaped, snapshot, ret, ret_len, err);
	if (n >= ret_len)
		return err_set(err, -ENAMETOOLONG, "snapshot %s", snapshot);
	memcpy(ret, escaped, n + 1);
	return 0;
}

/* 0 = locked; 1 = there are no locks: a file system without, or a server of it that is not there. */
static int lock_shared(int fd, const struct snapshot *snapshot, struct err *err)
{
	while (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return 1;
		char text[SNAPSHOT_TEXT_SIZE];
		snapshot_format(snapshot, text);
		return err_set(err, -EBUSY, "snapshot %s is locked: somebody writes or removes it", text);
	}
	return 0;
}

/*
 * The directories above a lock file and the file belong to whom the server's own directory belongs,
 * and have the server's modes whatever umask we were started with.
 */
#define LOCK_DIR_MODE  0755
#define LOCK_FILE_MODE 0660

static int own_as(int fd, const struct stat *owner)
{
	return geteuid() == 0 ? fchown(fd, owner->st_uid, owner->st_gid) : 0;
}

static int open_dir_below(int dir_fd, const char *name, const struct stat *owner)
{
	bool is_new = mkdirat(dir_fd, name, LOCK_DIR_MODE) == 0;
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && is_new)
		(void) fchmod(fd, LOCK_DIR_MODE);
	if (fd >= 0 && is_new && own_as(fd, owner) < 0) {
		(void) close(fd);
		return -EPERM;
	}
	return fd < 0 ? -errno : fd;
}

/* One that is there stays as it is: only the server's own file is a lock, whatever others link to it. */
static int open_or_make(int dir_fd, const char *name, const struct stat *owner)
{
	const int flags = O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	CLEANUP(closep) int fd = openat(dir_fd, name, flags);
	bool is_new = fd < 0 && errno == ENOENT;
	if (is_new)
		fd = openat(dir_fd, name, flags | O_CREAT | O_EXCL, LOCK_FILE_MODE);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
		return -EMLINK;
	if (is_new && (fchmod(fd, LOCK_FILE_MODE) < 0 || own_as(fd, owner) < 0))
		return -EPERM;
	return steal_fd(&fd);
}

/* @path component by component, made where they are missing; the file at its end.  -errno. */
static int open_lock_file(int run_fd, char *path, const struct stat *owner)
{
	CLEANUP(closep) int dir = fcntl(run_fd, F_DUPFD_CLOEXEC, 3);
	char *rest = path, *name = strsep(&rest, "/");
	while (rest) {
		int next = open_dir_below(dir, name, owner);
		if (next < 0)
			return next;
		(void) close(dir);
		dir = next;
		name = strsep(&rest, "/");
	}
	return open_or_make(dir, name, owner);
}

/* "locks/STORE/a:b/NAME" */
static int lock_path(const char *store, const char *ns, const struct snapshot *snapshot,
		     struct buf *ret, struct err *err)
{
	char text[SNAPSHOT_TEXT_SIZE], name[SNAPSHOT_TEXT_SIZE * 4], joined[NAMESPACE_MAX + 1];
	snapshot_format(snapshot, text);
	int r = server_lock_name(text, name, sizeof name, err);
	if (r < 0)
		return r;
	(void) snprintf(joined, sizeof joined, "%s", ns);
	for (char *c = joined; *c; c++)
		if (*c == '/')
			*c = ':';
	return buf_printf(ret, err, "locks/%s/%s%s%s", store, joined, *joined ? "/" : "", name);
}

/* 0 = locked; 1 = the file cannot be opened by us, or not be locked. */
static int lock_server_file(const struct server_paths *paths, const char *store, const char *ns,
			    const struct snapshot *snapshot, int *ret_fd, struct err *err)
{
	CLEANUP(closep) int run = open(paths->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat owner;
	if (run < 0 || fstat(run, &owner) < 0)
		return 1;
	for (int tries = 0; tries < 10; tries++) {
		CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
		int r = lock_path(store, ns, snapshot, &path, err);
		if (r < 0)
			return r;
		CLEANUP(freep) char *walked = strdup(path.data);
		if (!walked)
			return err_set(err, -ENOMEM, "no memory");
		CLEANUP(closep) int fd = open_lock_file(run, walked, &owner);
		if (fd == -EEXIST)
			continue; /* somebody else made it meanwhile */
		if (fd < 0)
			return 1;
		r = lock_shared(fd, snapshot, err);
		if (r != 0)
			return r;
		/* Whoever held it may have deleted the file: then it locks nothing any more. */
		struct stat here, there;
		if (fstat(fd, &here) == 0 && fstatat(run, path.data, &there, 0) == 0 &&
		    here.st_ino == there.st_ino) {
			*ret_fd = steal_fd(&fd);
			return 0;
		}
	}
	return err_set(err, -EBUSY, "the lock file of the snapshot is deleted again and again");
}

/* Source: linux/magic.h.  FUSE is not among them: that may be a disk of this host as well. */
static bool is_on_network(int fd)
{
	static const uint32_t kinds[] = {
		0x6969,	    /* NFS */
		0xff534d42, /* CIFS */
		0xfe534d42, /* SMB2 */
		0x517b,	    /* SMB */
		0x00c36400, /* Ceph */
		0x01021997, /* 9P */
		0x5346414f, /* AFS */
	};
	struct statfs st;
	for (size_t i = 0; fstatfs(fd, &st) == 0 && i < ARRAY_LEN(kinds); i++)
		if ((uint32_t)st.f_type == kinds[i])
			return true;
	return false;
}

int snapshot_lock_take(const struct server_paths *paths, int dir_fd, const char *store,
		       const char *ns, const struct snapshot *snapshot, struct snapshot_lock *ret,
		       struct err *err)
{
	int r = lock_shared(dir_fd, snapshot, err);
	if (r < 0)
		return r;
	enum snapshot_locked locked = r ? SNAPSHOT_LOCKED_NOTHING : SNAPSHOT_LOCKED;
	if (r == 0 && is_on_network(dir_fd))
		locked = SNAPSHOT_LOCKED_HERE;
	int file_fd = -EBADF;
	if (*store) {
		r = lock_server_file(paths, store, ns, snapshot, &file_fd, err);
		locked = r ? SNAPSHOT_LOCKED_NO_FILE : SNAPSHOT_LOCKED;
	}
	if (r < 0) {
		(void) flock(dir_fd, LOCK_UN);
		return r;
	}
	*ret = (struct snapshot_lock){ .dir_fd = dir_fd, .file_fd = file_fd };
	return (int)locked;
}

void snapshot_lock_release(struct snapshot_lock *lock)
{
	if (lock->dir_fd >= 0)
		(void) flock(lock->dir_fd, LOCK_UN);
	if (lock->file_fd >= 0)
		(void) close(lock->file_fd);
	*lock = SNAPSHOT_LOCK_NONE;
}
