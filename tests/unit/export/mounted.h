/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "archive/sample.h"
#include "export/fuse_mount.h"
#include "export/fuse_tree.h"
#include "stream/memory_source.h"

/*
 * A tree mounted on a directory of its own, or, where that cannot be, a test that is skipped.  It is served by this
 * process and looked at by others: who waits for an answer of its own could not be killed.
 */
struct mounted {
	char top[64];
	struct fuse_mount mount;
	struct fuse_tree *files;
	atomic_uint n_damaged; /* calls of damaged() */
	char last_damage[512];
};

#define MOUNTED_TEST(name) cmocka_unit_test_teardown(name, mounted_clean)

void mounted_begin(struct mounted *m, struct tree *tree, int64_t timeout_ms);
/* Unmounts, which must be possible, and waits for the end. */
void mounted_end(struct mounted *m);
/* The same while it is in use. */
void mounted_end_lazily(struct mounted *m);

/* Somebody has unmounted it. */
void mounted_await_end(struct mounted *m);
/* After each test: of one that failed, too, nothing is left. */
int mounted_clean(void **state);

/* An archive in chunks of 4 KiB, from a source that does as it is told. */
struct scene {
	struct sample s;
	struct memory_source meta, payload; /* the second of a split archive */
	struct stream_shared *shared;
	struct stream *stream, *payload_stream;
	struct tree *tree;
	struct mounted m;
};

/* What scene->s has by now; written by the test. */
void scene_begin(struct scene *scene, int64_t timeout_ms);
/* As served_close() does it: nobody waits for a chunk any more. */
void scene_shut_down(struct scene *scene);
void scene_end(struct scene *scene);

/*
 * Another process, which ends with what @look returns; killed when it takes too long.  It sees what this one had in memory
 * when the test first mounted something: @arg is from before that.
 */
pid_t visitor_start(bool (*look)(const char *top, const void *arg), const char *top, const void *arg);
bool visitor_wait(pid_t visitor);
bool visit(bool (*look)(const char *top, const void *arg), const char *top, const void *arg);

/* Says what is not so. */
bool must(bool condition, const char *what);
