/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/fuse_file.h"
#include "export/fuse_tree_internal.h"
#include "util/file.h"
#include "util/lock.h"
#include "util/text.h"

/*
 * Looks into the archive take a few small reads, one after the other.
 *
 *   asked ── all of it is in memory ─────────▶ answered, on the thread that took the request
 *     │ something is not
 *     ▼
 *   waits, for a thread of the pool, then on it for chunks ──▶ answered, EIO at its deadline
 *     │ interrupted
 *     ▼
 *   answered, EINTR; whoever looks finds that nobody wants to know
 *
 * So what is in memory never queues behind what is not, and threads that a lost server keeps are not those
 * that take requests.  The deadline counts from when the request came, in the queue as well.
 *
 * The kernel tells of any signal, and only once.  Who stops a copy and lets it go on must not find an error in
 * it, and who is killed while the server is away must not have to wait: so a process that dies is answered at
 * once, and any other when it has been waiting for a while.
 */
#define PATIENCE_NS INT64_C(2000000000)

/* -- answers --------------------------------------------------------------------------------- */

void look_tell_damage(const struct fuse_tree *files, uint64_t ino, const char *name, const struct err *why)
{
	char shown[512];
	struct err told = *why;
	if (!files->damaged)
		return;
	if (name)
		(void) err_while(&told, -EBADMSG, "looking at %s in the directory with inode %" PRIu64,
				 text_escape(name, shown, sizeof shown), ino);
	else
		(void) err_while(&told, -EBADMSG, "looking at the file with inode %" PRIu64, ino);
	files->damaged(files->user, &told);
}

bool look_may_answer(struct look *look)
{
	HOLD(&look->files->lock);
	if (look->stage == LOOK_ANSWERED)
		return false;
	look->stage = LOOK_ANSWERED;
	list_remove(&look->node);
	return true;
}

static void answer_failure(struct look *look, int r, const struct err *why)
{
	if (r == -EBADMSG)
		look_tell_damage(look->files, look->ino, look->name, why);
	if (look_may_answer(look))
		(void) fuse_reply_err(look->req, fuse_errno_of(r));
}

/* -- what has to wait ------------------------------------------------------------------------ */

static bool is_interrupted(struct look *look)
{
	HOLD(&look->files->lock);
	return look->is_interrupted;
}

static bool was_patient(const struct look *look)
{
	return now_ns() - look->since_ns >= PATIENCE_NS;
}

/* Is SIGKILL pending, or what the kernel makes of another deadly signal?  Also true when nobody can tell. */
static bool is_dying(fuse_req_t req)
{
	char path[40], text[4096];
	(void) snprintf(path, sizeof path, "/proc/%d/status", (int)fuse_req_ctx(req)->pid);
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : pread_full(fd, text, sizeof text - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	const char *pending = strstr(text, "\nSigPnd:");
	return !pending || strtoull(pending + strlen("\nSigPnd:"), NULL, 16) & 1u << (SIGKILL - 1);
}

/* One pause, to see whether a signal has come in the meantime; later ones end it by themselves. */
static int look_with_a_pause(struct look *look, struct err *err)
{
	struct deadline pause = { look->since_ns + PATIENCE_NS };
	if (is_interrupted(look) && was_patient(look))
		return -ECANCELED;
	if (was_patient(look) || pause.ns >= look->until.ns)
		return look->answer(look, look->until, err);
	int r = look->answer(look, pause, err);
	if (r != -ETIMEDOUT)
		return r;
	return is_interrupted(look) ? -ECANCELED : look->answer(look, look->until, err);
}

/* False = it was interrupted in the queue. */
static bool begin(struct look *look)
{
	HOLD(&look->files->lock);
	if (look->stage == LOOK_ANSWERED)
		return false;
	look->stage = LOOK_RUNNING;
	return true;
}

static void run(struct job *job, void *worker)
{
	struct look *look = CONTAINER_OF(job, struct look, job);
	struct err why = ERR_NONE;
	int r = begin(look) ? look_with_a_pause(look, &why) : 0;
	if (r < 0)
		answer_failure(look, r, &why);
	free(look);
}

/* A request is on the list at most once, and taken off before libfuse could use its address again. */
static struct look *find_look_locked(struct fuse_tree *files, fuse_req_t req)
{
	for (struct list *node = files->looks.next; node != &files->looks; node = node->next) {
		struct look *look = CONTAINER_OF(node, struct look, node);
		if (look->req == req)
			return look;
	}
	return NULL;
}

static void on_interrupt(fuse_req_t req, void *user)
{
	struct fuse_tree *files = user;
	bool is_deadly = is_dying(req);
	{
		HOLD(&files->lock);
		struct look *look = find_look_locked(files, req);
		if (!look)
			return;
		look->is_interrupted = true;
		look->is_killed = is_deadly;
		/* Not while it is new: libfuse still needs the request, in arm(). */
		if (look->stage == LOOK_NEW || !(is_deadly || was_patient(look)))
			return;
		look->stage = LOOK_ANSWERED;
		list_remove(&look->node);
	}
	(void) fuse_reply_err(req, EINTR);
}

/* From here on signals are told of. */
static int arm(struct look *look, struct err *err)
{
	struct fuse_tree *files = look->files;
	{
		HOLD(&files->lock);
		list_append(&files->looks, &look->node);
	}
	fuse_req_interrupt_func(look->req, on_interrupt, files);
	HOLD(&files->lock);
	look->stage = LOOK_QUEUED;
	return look->is_killed ? err_set(err, -ECANCELED, "killed") : 0;
}

/* With the one text it may have, which is lent for the call only. */
static struct look *copy_look(const struct look *look)
{
	const char *text = look->name ? look->name : look->attr;
	size_t size = text ? strlen(text) + 1 : 0;
	struct look *copy = malloc(sizeof *copy + size);
	if (!copy)
		return NULL;
	*copy = *look;
	if (text)
		*(look->name ? &copy->name : &copy->attr) = memcpy(copy + 1, text, size);
	copy->job.run = run;
	copy->job.priority = PRIORITY_DEMAND;
	list_init(&copy->job.node);
	copy->since_ns = now_ns();
	copy->until = deadline_of_timeout(look->files->timeout_ms);
	return copy;
}

static void wait_for(struct look *look)
{
	struct err why = ERR_NONE;
	int r = arm(look, &why);
	if (r == 0)
		r = pool_submit(look->files->lookers, &look->job, &why);
	if (r == 0)
		return;
	answer_failure(look, r, &why);
	free(look);
}

void look_ask(const struct look *look)
{
	struct look at_once = *look;
	struct err why = ERR_NONE;
	list_init(&at_once.node);
	int r = at_once.answer(&at_once, DEADLINE_PAST, &why);
	if (r == -ETIMEDOUT) {
		struct look *copy = copy_look(look);
		if (copy) {
			wait_for(copy);
			return;
		}
		r = err_set(&why, -ENOMEM, "no memory for a request");
	}
	if (r < 0)
		answer_failure(&at_once, r, &why);
}
