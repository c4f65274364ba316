/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/listing.h"
#include "archive/unpack.h"
#include "archive/walk.h"
#include "failing.h"
#include "sample.h"
#include "scratch.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/cleanup.h"

/*
 * All that is done with a file archive, with the n-th allocation failing, for each n in turn: every run ends
 * with the same as the one without a failure, or with an error and nothing that looks like a whole result.
 */
struct scene {
	struct sample sample;
	char said[8192]; /* what a run did */
	size_t len;
	char *expected; /* NULL = this was the run without a failure */
	bool takes_all;
	int out;	/* the tar archive */
};

static void note(struct scene *s, const char *what, const char *path, uint64_t number)
{
	int n = snprintf(s->said + s->len, sizeof s->said - s->len, "%s %s %llu\n", what, path, (unsigned long long)number);
	assert_true(n > 0 && (size_t)n < sizeof s->said - s->len);
	s->len += (size_t)n;
}

static int begin_run(struct scene *s, struct err *err)
{
	s->len = 0;
	s->said[0] = '\0';
	return sample_open(&s->sample, err);
}

static int end_run(struct scene *s, int r)
{
	tree_close(STEAL(s->sample.tree));
	return r;
}

static bool has_said_the_same(struct scene *s, int r)
{
	if (!s->expected)
		s->expected = strdup(s->said);
	assert_non_null(s->expected);
	return r < 0 || strcmp(s->said, s->expected) == 0;
}

/* -- looking --------------------------------------------------------------------------------- */

static int look_at(struct scene *s, const struct node *node, const struct link_text *link, struct err *err)
{
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	CLEANUP(freep) char *text = NULL;
	int r = tree_xattrs(s->sample.tree, node, DEADLINE_NEVER, &xattrs, err);
	if (r == 0 && link->pos)
		r = tree_link_text(s->sample.tree, link, DEADLINE_NEVER, &text, err);
	if (r == 0)
		note(s, "has", text ? text : "", xattrs.list.n + 100ull * node->nlink);
	return r;
}

/* Each member of the root, and once more after a rest. */
static int list_root(struct scene *s, struct err *err)
{
	struct listing *listing = NULL;
	struct member member;
	int r = listing_open(s->sample.tree, tree_root(s->sample.tree), 0, &listing, err);
	for (bool is_first = true; r == 0; is_first = false) {
		r = listing_next(listing, DEADLINE_NEVER, &member, err);
		if (r <= 0)
			break;
		note(s, "member", member.name, member.node.ino);
		r = look_at(s, &member.node, &member.link, err);
		if (is_first)
			listing_rest(listing);
	}
	listing_close(listing);
	return r;
}

static int resolve(struct scene *s, const char *path, struct err *err)
{
	struct node node;
	int r = tree_resolve(s->sample.tree, path, TREE_ALL_LINKS, DEADLINE_NEVER, &node, err);
	if (r == 0)
		note(s, "leads", path, node.ino);
	return r;
}

static int run_look(void *user, struct err *err)
{
	struct scene *s = user;
	int r = begin_run(s, err);
	if (r == 0)
		r = tree_count_links(s->sample.tree, 0, err);
	if (r == 0)
		r = list_root(s, err);
	if (r == 0)
		r = resolve(s, "link/leaf", err);
	if (r == 0)
		r = resolve(s, "out", err) == -ENOENT ? 0 : err->code;
	return end_run(s, r);
}

static int run_walk(void *user, struct err *err)
{
	struct scene *s = user;
	CLEANUP(walk_closep) struct walk *walk = NULL;
	struct walk_item item;
	int r = begin_run(s, err);
	if (r == 0)
		r = walk_open(s->sample.tree, tree_root(s->sample.tree), &walk, err);
	while (r == 0) {
		r = walk_next(walk, DEADLINE_NEVER, &item, err);
		assert_true(r == 0 || strlen(item.path) < sizeof s->said); /* filled, whatever failed */
		if (r <= 0)
			break;
		note(s, item.event == WALK_LEAVE ? "leave" : "to", item.path, item.node->ino);
		r = 0;
	}
	return end_run(s, r);
}

static bool is_same(void *user, int r)
{
	return has_said_the_same(user, r);
}

/* -- taking out ------------------------------------------------------------------------------ */

static const char *const some_paths[] = { "hard", "dir/deep", "a.txt", "big", "attrs", "link", "null" };

/* Want of memory is never of one file. */
static void tell(void *user, const char *path, const struct err *why)
{
	note(user, "failed", path, 0);
}

static void warn(void *user, const char *text)
{
}

static int take_out(struct scene *s, struct unpacker *u, struct err *err)
{
	u->tree = s->sample.tree;
	u->tell = tell;
	u->warn = warn;
	u->user = s;
	return unpack(u, some_paths, s->takes_all ? 0 : ARRAY_LEN(some_paths), err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int run_dir(void *user, struct err *err)
{
	struct scene *s = user;
	struct unpack_dir *dir = NULL;
	(void) nftw("out", remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir("out", 0700), 0);
	CLEANUP(closep) int fd = open("out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = begin_run(s, err);
	if (r == 0)
		r = unpack_dir_open(fd, &dir, err);
	if (r == 0)
		r = take_out(s, unpack_dir_unpacker(dir), err);
	unpack_dir_close(dir);
	return end_run(s, r);
}

static uint64_t sum_of(const char *path)
{
	uint8_t data[4096];
	uint64_t sum = 0;
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (ssize_t n; (n = read(fd, data, sizeof data)) > 0;)
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + data[i] + 1;
	return sum;
}

/* What there is of regular files is all of them; how many names they have counts in the end. */
static void note_files(struct scene *s, bool with_links)
{
	static const char *const names[] = { "a.txt", "hard", "dir/deep/leaf", "void", "attrs", "big" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[64];
		struct stat st;
		(void) snprintf(path, sizeof path, "out/%s", names[i]);
		if (lstat(path, &st) < 0)
			continue;
		note(s, "file", path, sum_of(path));
		if (with_links)
			note(s, "links", path, st.st_nlink);
	}
}

static bool is_whole_files(void *user, int r)
{
	struct scene *s = user;
	note_files(s, r == 0);
	if (r == 0)
		return has_said_the_same(s, r);
	for (char *line = strtok(s->said, "\n"); line; line = strtok(NULL, "\n"))
		if (!strstr(s->expected, line))
			return false;
	return true;
}

/* As extract --tar does. */
static int run_tar(void *user, struct err *err)
{
	struct scene *s = user;
	struct unpack_tar *tar = NULL;
	assert_int_equal(ftruncate(s->out, 0), 0);
	assert_int_equal(lseek(s->out, 0, SEEK_SET), 0);
	int r = begin_run(s, err);
	if (r == 0)
		r = unpack_tar_open(s->out, &tar, err);
	if (r == 0)
		r = take_out(s, unpack_tar_unpacker(tar), err);
	if (r == 0)
		r = unpack_tar_finish(tar, err);
	unpack_tar_close(tar);
	return end_run(s, r);
}

static bool is_whole_tar(void *user, int r)
{
	struct scene *s = user;
	char path[64];
	struct stat st;
	assert_int_equal(fstat(s->out, &st), 0);
	(void) snprintf(path, sizeof path, "/proc/self/fd/%d", s->out);
	note(s, "bytes", "tar", (uint64_t)st.st_size);
	note(s, "sum", "tar", sum_of(path));
	return has_said_the_same(s, r) && (r == 0 || strcmp(s->said, s->expected) != 0);
}

/* -------------------------------------------------------------------------------------------- */

static void fail_in_turn(int (*run)(void *, struct err *), bool (*is_right)(void *, int), bool is_split,
			 bool takes_all)
{
	struct scene s = { .takes_all = takes_all, .out = memfd_create("tar", MFD_CLOEXEC) };
	const struct failing failing = { .run = run, .is_right = is_right, .user = &s };
	sample_write(&s.sample, is_split);
	assert_true(s.out >= 0);
	assert_int_equal(failing_in_turn(&failing), 0);
	free(s.expected);
	(void) close(s.out);
	sample_end(&s.sample);
}

static void looks_without_memory(void **state)
{
	fail_in_turn(run_look, is_same, false, false);
	fail_in_turn(run_look, is_same, true, false);
}

static void walks_without_memory(void **state)
{
	fail_in_turn(run_walk, is_same, true, false);
}

static void unpacks_without_memory(void **state)
{
	fail_in_turn(run_dir, is_whole_files, true, true);
	fail_in_turn(run_dir, is_whole_files, true, false);
}

static void makes_a_tar_archive_without_memory(void **state)
{
	fail_in_turn(run_tar, is_whole_tar, true, true);
	fail_in_turn(run_tar, is_whole_tar, true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(looks_without_memory),
		TEST(walks_without_memory),
		TEST(unpacks_without_memory),
		TEST(makes_a_tar_archive_without_memory),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
