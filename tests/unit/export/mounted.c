/* SPDX-License-Identifier: Apache-2.0 */
#include "mounted.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "unit.h"

enum { CHUNK = 4096, VISIT_S = 40 };

static char left[64]; /* mounted, and not unmounted yet */

static void damaged(void *user, const struct err *why)
{
	struct mounted *m = user;
	if (atomic_fetch_add(&m->n_damaged, 1) == 0)
		(void) snprintf(m->last_damage, sizeof m->last_damage, "%s", why->msg);
}

static void skip_unless_root_has_fuse(void)
{
	if (geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0)
		return;
	print_message("skipped: takes root and /dev/fuse\n");
	skip();
}

/* -- visitors -------------------------------------------------------------------------------- */

bool must(bool condition, const char *what)
{
	if (!condition)
		print_message("not so: %s (errno %d)\n", what, errno);
	return condition;
}

/*
 * A process with threads cannot have children that allocate: AddressSanitizer keeps the locks that other threads held.
 * They are the usher's, which has never had a thread, nor the connection to the kernel.
 */
static struct usher {
	pid_t pid; /* 0 = none */
	int fd;
} usher;

struct errand {
	bool (*look)(const char *top, const void *arg);
	const void *arg;
	char top[64];
	pid_t await; /* 0 = start one */
};

static int do_errand(const struct errand *errand)
{
	int status = -1;
	if (errand->await)
		return waitpid(errand->await, &status, 0) < 0 ? -1 : status;
	pid_t child = fork();
	if (child != 0)
		return child;
	(void) alarm(VISIT_S);
	bool is_good = errand->look(errand->top, errand->arg);
	(void) fflush(stdout);
	_exit(is_good ? 0 : 1);
}

static void usher_run(int fd)
{
	struct errand errand;
	while (recv(fd, &errand, sizeof errand, 0) == sizeof errand) {
		int answer = do_errand(&errand);
		(void) send(fd, &answer, sizeof answer, MSG_NOSIGNAL);
	}
}

static void usher_begin(void)
{
	int ends[2];
	if (usher.pid)
		return;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	(void) fflush(stdout);
	usher = (struct usher){ .pid = fork(), .fd = ends[0] };
	assert_true(usher.pid >= 0);
	if (usher.pid == 0) {
		(void) close(ends[0]);
		usher_run(ends[1]);
		_exit(0);
	}
	(void) close(ends[1]);
}

static void usher_end(void)
{
	if (!usher.pid)
		return;
	(void) close(usher.fd);
	(void) waitpid(usher.pid, NULL, 0);
	usher.pid = 0;
}

static int usher_ask(const struct errand *errand)
{
	int answer = -1;
	assert_int_equal(send(usher.fd, errand, sizeof *errand, MSG_NOSIGNAL), sizeof *errand);
	assert_int_equal(recv(usher.fd, &answer, sizeof answer, 0), sizeof answer);
	return answer;
}

pid_t visitor_start(bool (*look)(const char *top, const void *arg), const char *top, const void *arg)
{
	struct errand errand = { .look = look, .arg = arg };
	(void) snprintf(errand.top, sizeof errand.top, "%s", top);
	pid_t child = usher_ask(&errand);
	assert_true(child > 0);
	return child;
}

bool visitor_wait(pid_t visitor)
{
	return usher_ask(&(struct errand){ .await = visitor }) == 0;
}

bool visit(bool (*look)(const char *top, const void *arg), const char *top, const void *arg)
{
	return visitor_wait(visitor_start(look, top, arg));
}

/* -- a mount --------------------------------------------------------------------------------- */

void mounted_begin(struct mounted *m, struct tree *tree, int64_t timeout_ms)
{
	struct err err = ERR_NONE;
	skip_unless_root_has_fuse();
	usher_begin();
	*m = (struct mounted){ .top = "/tmp/pbsmap-unit-XXXXXX" };
	assert_non_null(mkdtemp(m->top));
	int r = fuse_mount_on_path(m->top, "pbsmap:unit", "allow_other", &m->mount, &err);
	if (r == -ENOENT) {
		(void) rmdir(m->top);
		print_message("skipped: takes fusermount3\n");
		skip();
	}
	if (r < 0)
		fail_msg("%s", err.msg);
	(void) snprintf(left, sizeof left, "%s", m->top);
	const struct fuse_tree_options options = {
		.tree = tree,
		.take_fuse_fd = dup(m->mount.fuse_fd), /* a descriptor that ThreadSanitizer knows */
		.timeout_ms = timeout_ms,
		.damaged = damaged,
		.user = m,
	};
	assert_int_equal(fuse_tree_open(&options, &m->files, NULL), 0);
	fuse_mount_finish(&m->mount);
}

void mounted_await_end(struct mounted *m)
{
	struct pollfd wait = { .fd = fuse_tree_event_fd(m->files), .events = POLLIN };
	while (!fuse_tree_has_ended(m->files))
		assert_true(poll(&wait, 1, 20000) > 0);
	fuse_tree_close(m->files);
	assert_int_equal(rmdir(m->top), 0);
	left[0] = '\0';
}

int mounted_clean(void **state)
{
	usher_end();
	if (left[0]) {
		(void) fuse_path_unmount(left, true, NULL);
		(void) rmdir(left);
		left[0] = '\0';
	}
	return 0;
}

void mounted_end(struct mounted *m)
{
	struct pollfd wait = { .fd = fuse_tree_event_fd(m->files), .events = POLLIN };
	struct deadline until = deadline_in_ms(20000);
	uint64_t ignored;
	/* The kernel closes behind the back of who closed. */
	while (fuse_tree_n_users(m->files) > 0) {
		assert_true(poll(&wait, 1, deadline_poll_ms(until)) > 0);
		assert_int_equal(read(wait.fd, &ignored, sizeof ignored), sizeof ignored);
	}
	assert_int_equal(fuse_path_unmount(m->top, false, NULL), 0);
	mounted_await_end(m);
}

void mounted_end_lazily(struct mounted *m)
{
	assert_int_equal(fuse_path_unmount(m->top, true, NULL), 0);
	mounted_await_end(m);
}

/* -- through streams ------------------------------------------------------------------------- */

static struct stream *open_stream(struct scene *scene, struct memory_source *source, const struct buf *bytes)
{
	struct stream *stream = NULL;
	memory_source_init_of(source, bytes->data, bytes->len, CHUNK);
	const struct stream_options options = { .source = &source->source, .index = &source->index };
	assert_int_equal(stream_open(scene->shared, &options, &stream, NULL), 0);
	return stream;
}

void scene_begin(struct scene *scene, int64_t timeout_ms)
{
	const struct stream_limits limits = { .cache_size = 64 << 20, .typical_chunk = CHUNK };
	struct err err = ERR_NONE;
	skip_unless_root_has_fuse();
	usher_begin();
	assert_int_equal(stream_shared_new(&limits, &scene->shared, NULL), 0);
	scene->stream = open_stream(scene, &scene->meta, &scene->s.w.meta);
	struct tree_options options = { .meta = input_of_stream(scene->stream), .is_split = scene->s.w.is_split };
	if (options.is_split) {
		scene->payload_stream = open_stream(scene, &scene->payload, &scene->s.w.payload);
		options.payload = input_of_stream(scene->payload_stream);
	}
	if (tree_open(&options, DEADLINE_NEVER, &scene->tree, &err) < 0)
		fail_msg("%s", err.msg);
	mounted_begin(&scene->m, scene->tree, timeout_ms);
}

void scene_shut_down(struct scene *scene)
{
	stream_shutdown(scene->stream);
	if (scene->payload_stream)
		stream_shutdown(scene->payload_stream);
}

void scene_end(struct scene *scene)
{
	tree_close(scene->tree);
	stream_close(scene->stream);
	memory_source_deinit(&scene->meta);
	if (scene->payload_stream) {
		stream_close(scene->payload_stream);
		memory_source_deinit(&scene->payload);
	}
	stream_shared_free(scene->shared);
	pxar_writer_deinit(&scene->s.w);
}
