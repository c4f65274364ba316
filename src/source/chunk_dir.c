/* SPDX-License-Identifier: Apache-2.0 */
#include "source/chunk_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/bytes.h"
#include "util/file.h"
#include "util/lock.h"

/*
 * Each fetch is a job: open, fstat, read, answer.  What comes back is not looked into; that it is a
 * regular file of a possible size is all that is checked here.
 *
 * A directory that vanished (disk pulled out, file system mounted anew, stale NFS handle) is opened
 * again by its path.  While the path leads nowhere, chunks are tried again twice a second for as long as
 * somebody waits for them.  Meanwhile they are parked, and one more thread of the pool sleeps for them
 * all: none while nothing is parked.
 *
 * The path may be one that we may not walk (below a /root of 0700, after the rights were given up).
 * That says nothing about the directory, which is open already.
 */
#define IO_THREADS    8	  /* disks like a queue; more only costs memory */
#define AWAY_RETRY_MS 500
#define CHUNK_NAME_SIZE (2 * DIGEST_SIZE + 1)

struct chunk_dir {
	char *path;
	struct pool *io;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t hurry; /* retry_at came nearer, or it is shut down */
	bool is_shut_down;
	struct base *base;
	struct list parked; /* struct fetch; tried again by @retry, which is queued unless it is empty */
	struct deadline retry_at;
	struct job retry;
};

/* The open directory; counted, because a thread may be in it while another one opens it again. */
struct base {
	unsigned refs;
	int fd;
	struct stat st;
};

static void base_free(struct base *base)
{
	if (!base)
		return;
	(void) close(base->fd);
	free(base);
}

static void retry_parked(struct job *job, void *worker);

static int base_open(const char *path, struct base **ret, struct err *err)
{
	CLEANUP(closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "cannot open %s", path);
	struct base *base = calloc(1, sizeof *base);
	if (!base)
		return err_set(err, -ENOMEM, "no memory");
	*base = (struct base){ .refs = 1, .fd = steal_fd(&fd), .st = st };
	*ret = base;
	return 0;
}

int chunk_dir_open(const char *path, struct chunk_dir **ret, struct err *err)
{
	struct chunk_dir *chunks = calloc(1, sizeof *chunks);
	if (!chunks)
		return err_set(err, -ENOMEM, "no memory");
	(void) pthread_mutex_init(&chunks->lock, NULL);
	cond_init_for_deadlines(&chunks->hurry);
	list_init(&chunks->parked);
	list_init(&chunks->retry.node);
	chunks->retry.run = retry_parked;
	const struct pool_options io = { .name = "chunks", .n_threads = IO_THREADS + 1 };
	int r = base_open(path, &chunks->base, err);
	if (r == 0 && !(chunks->path = strdup(path)))
		r = err_set(err, -ENOMEM, "no memory");
	if (r == 0)
		r = pool_new(&io, &chunks->io, err);
	if (r < 0) {
		chunk_dir_close(chunks);
		return r;
	}
	*ret = chunks;
	return 0;
}

void chunk_dir_owner(const struct chunk_dir *chunks, uid_t *ret_uid, gid_t *ret_gid)
{
	*ret_uid = chunks->base->st.st_uid;
	*ret_gid = chunks->base->st.st_gid;
}

void chunk_dir_close(struct chunk_dir *chunks)
{
	if (!chunks)
		return;
	chunk_dir_shutdown(chunks);
	pool_free(chunks->io);
	base_free(chunks->base);
	(void) pthread_cond_destroy(&chunks->hurry);
	(void) pthread_mutex_destroy(&chunks->lock);
	free(chunks->path);
	free(chunks);
}

void chunk_dir_shutdown(struct chunk_dir *chunks)
{
	HOLD(&chunks->lock);
	chunks->is_shut_down = true;
	(void) pthread_cond_broadcast(&chunks->hurry);
}

static struct base *base_get(struct chunk_dir *chunks)
{
	HOLD(&chunks->lock);
	chunks->base->refs++;
	return chunks->base;
}

static void base_put(struct chunk_dir *chunks, struct base *base)
{
	{
		HOLD(&chunks->lock);
		if (--base->refs > 0)
			return;
	}
	base_free(base);
}

/* The file of a chunk: -ENOENT, another -errno. */
static int open_chunk(const struct base *base, const char *name)
{
	const char prefix[] = { name[0], name[1], name[2], name[3], '\0' };
	CLEANUP(closep) int dir = openat(base->fd, prefix, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	/* O_NONBLOCK: a FIFO that somebody put there must not hold us */
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(dir, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM) /* not ours */
		fd = openat(dir, name, flags);
	return fd < 0 ? -errno : fd;
}

/* Did a verify job of the server rename it away because it is damaged? */
static bool is_known_bad(const struct base *base, const char *name)
{
	for (int n = 0; n < 10; n++) {
		char bad[CHUNK_NAME_SIZE + 16];
		(void) snprintf(bad, sizeof bad, "%.4s/%s.%d.bad", name, name, n);
		struct stat st;
		if (fstatat(base->fd, bad, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

static int read_chunk(int fd, const char *name, struct fetch *fetch)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(&fetch->err, -errno, "chunk %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(&fetch->err, -EBADMSG, "chunk %s is not a regular file", name);
	if (st.st_size == 0)
		return err_set(&fetch->err, -ENOENT, "chunk %s is not present locally: the file is "
			       "empty, as in the cache of an S3 datastore", name);
	if ((uint64_t)st.st_size > fetch->max_len)
		return err_set(&fetch->err, -EBADMSG, "chunk %s has a file of %lld bytes, too long",
			       name, (long long)st.st_size);
	size_t len = (size_t)st.st_size;
	struct mem mem = bufpool_get(fetch->pool, len);
	if (!mem.data)
		return err_set(&fetch->err, -ENOMEM, "no memory for chunk %s", name);
	ssize_t n = pread_full(fd, mem.data, len, 0);
	if (n != (ssize_t)len) {
		bufpool_put(fetch->pool, mem);
		if (n < 0)
			return err_errno(&fetch->err, (int)n, "cannot read chunk %s", name);
		return err_set(&fetch->err, -EBADMSG, "chunk %s became shorter", name);
	}
	fetch->raw = mem;
	fetch->raw_len = len;
	return 0;
}

static int try_chunk(const struct base *base, const char *name, struct fetch *fetch)
{
	CLEANUP(closep) int fd = open_chunk(base, name);
	if (fd >= 0)
		return read_chunk(fd, name, fetch);
	if (fd == -ELOOP || fd == -ENOTDIR)
		return err_set(&fetch->err, -EBADMSG, "chunk %s is not a regular file", name);
	if (fd != -ENOENT)
		return err_errno(&fetch->err, fd, "cannot open chunk %s", name);
	return err_set(&fetch->err, -ENOENT, "chunk %s is missing%s", name,
		       is_known_bad(base, name) ? ": the server found it damaged and set it aside" : "");
}

/* Failures that a directory which went away would explain. */
static bool could_be_away(int r)
{
	return r == -ENOENT || r == -ESTALE || r == -EIO || r == -ENODEV || r == -ENXIO ||
	       r == -ENOTCONN || r == -ESHUTDOWN;
}

/* Removed, or out of reach: as much as its descriptor can tell. */
static bool base_is_gone(const struct base *base)
{
	struct stat st;
	if (fstat(base->fd, &st) < 0)
		return could_be_away(-errno);
	return st.st_nlink == 0 && base->st.st_nlink != 0;
}

/*
 * Opens the path again, because @base gave @r.  1: what is there now is used from now on.  0: it is
 * the same one, or who knows.  -ENODEV: it went away.
 */
static int base_renew(struct chunk_dir *chunks, const struct base *base, int r)
{
	struct base *fresh = NULL;
	int opened = base_open(chunks->path, &fresh, NULL);
	if (could_be_away(opened) || opened == -ENOTDIR)
		return -ENODEV;
	if (opened < 0)
		return base_is_gone(base) ? -ENODEV : 0;
	bool is_same = fresh->st.st_dev == base->st.st_dev && fresh->st.st_ino == base->st.st_ino;
	bool is_wanted = !is_same || r != -ENOENT; /* the same one behind a stale descriptor */
	struct base *unused = fresh;
	if (is_wanted) {
		HOLD(&chunks->lock);
		unused = chunks->base;
		chunks->base = fresh;
	}
	base_put(chunks, unused);
	return is_wanted;
}

/* -ENODEV: it went away.  Else the end of the fetch is in @fetch->result. */
static int try_fetch(struct chunk_dir *chunks, struct fetch *fetch)
{
	char name[CHUNK_NAME_SIZE];
	hex_encode(fetch->digest, DIGEST_SIZE, name);
	for (int n_renewed = 0;; n_renewed++) {
		struct base *base = base_get(chunks);
		fetch->result = try_chunk(base, name, fetch);
		int again = could_be_away(fetch->result) ? base_renew(chunks, base, fetch->result) : 0;
		base_put(chunks, base);
		if (again < 0)
			return again;
		if (again == 0 || n_renewed == 1)
			return 0;
	}
}

/* To be tried again a little later.  0, or why it is not worth it. */
static int park(struct chunk_dir *chunks, struct fetch *fetch)
{
	if (fetch->job.priority != PRIORITY_DEMAND || deadline_is_over(fetch->until))
		return -ECANCELED; /* not -ENOENT: that would be said of the chunk */
	struct deadline next = deadline_in_ms(AWAY_RETRY_MS);
	HOLD(&chunks->lock);
	if (chunks->is_shut_down)
		return -ESHUTDOWN;
	if (list_is_empty(&chunks->parked)) {
		int r = pool_submit(chunks->io, &chunks->retry, NULL);
		if (r < 0)
			return r;
		chunks->retry_at = next;
	}
	list_append(&chunks->parked, &fetch->node);
	if (fetch->until.ns < chunks->retry_at.ns) {
		chunks->retry_at = fetch->until;
		(void) pthread_cond_signal(&chunks->hurry);
	}
	return 0;
}

static void run_fetch(struct job *job, void *worker)
{
	struct fetch *fetch = CONTAINER_OF(job, struct fetch, job);
	struct chunk_dir *chunks = fetch->owner;
	if (try_fetch(chunks, fetch) < 0) {
		int r = park(chunks, fetch);
		if (r == 0)
			return;
		fetch->result = err_set(&fetch->err, r, "%s went away", chunks->path);
	}
	fetch->done(fetch);
}

static void submit(struct chunk_dir *chunks, struct fetch *fetch)
{
	int r = pool_submit(chunks->io, &fetch->job, &fetch->err);
	if (r < 0) {
		fetch->result = r;
		fetch->done(fetch);
	}
}

/* Sleeps until it is time, for all that are parked. */
static void retry_parked(struct job *job, void *worker)
{
	struct chunk_dir *chunks = CONTAINER_OF(job, struct chunk_dir, retry);
	struct list again;
	list_init(&again);
	{
		HOLD(&chunks->lock);
		while (!chunks->is_shut_down && !deadline_is_over(chunks->retry_at)) {
			struct timespec at = deadline_timespec(chunks->retry_at);
			(void) pthread_cond_timedwait(&chunks->hurry, &chunks->lock, &at);
		}
		list_take_all(&again, &chunks->parked);
	}
	struct list *node;
	while ((node = list_pop(&again)))
		submit(chunks, CONTAINER_OF(node, struct fetch, node));
}

void chunk_dir_fetch(struct chunk_dir *chunks, struct fetch *fetch)
{
	fetch->origin = 0;
	fetch->raw = MEM_NONE;
	fetch->raw_len = 0;
	fetch->owner = chunks;
	fetch->job.run = run_fetch;
	submit(chunks, fetch);
}

void chunk_dir_raise(struct chunk_dir *chunks, struct fetch *fetch, enum priority priority)
{
	pool_raise(chunks->io, &fetch->job, priority);
}
