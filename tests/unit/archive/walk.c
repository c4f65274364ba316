/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sample.h"
#include "unit.h"
#include "util/buf.h"

/* "+dir a.txt -dir": what came, in order; a '!' for each that failed. */
static char *walked(struct sample *s, const char *from, const char *skip)
{
	struct buf said = BUF_EMPTY;
	struct walk *walk = NULL;
	struct walk_item item;
	struct node begin = sample_node(s, from);
	int r;
	assert_int_equal(buf_puts(&said, "", NULL), 0);
	assert_int_equal(walk_open(s->tree, &begin, &walk, NULL), 0);
	while ((r = walk_next(walk, DEADLINE_NEVER, &item, NULL)) != 0) {
		static const char *const marks[] = { "", "+", "-" };
		if (r == 1)
			assert_int_equal(buf_printf(&said, NULL, "%s%s ", marks[item.event], item.path), 0);
		else
			assert_int_equal(buf_puts(&said, "! ", NULL), 0);
		if (r == 1 && item.event == WALK_ENTER && strcmp(item.path, skip) == 0)
			walk_skip(walk);
		if (r == 1 && item.event != WALK_LEAVE)
			assert_non_null(strstr(item.path, item.name));
	}
	walk_close(walk);
	return said.data;
}

static void goes_through_all_in_order(void **state)
{
	static const struct {
		const char *from, *skip, *want;
	} rows[] = {
		{ "", "none",
		  "+ a.txt hard fifo null sock +dir +dir/deep dir/deep/leaf -dir/deep -dir +empty -empty void link "
		  "absolute loop out attrs big - " },
		{ "", "dir",
		  "+ a.txt hard fifo null sock +dir -dir +empty -empty void link absolute loop out attrs big - " },
		{ "dir", "none", "+ +deep deep/leaf -deep - " },
		{ "dir", "", "+ - " },
		{ "empty", "none", "+ - " },
		{ "a.txt", "none", " " },
	};
	struct sample s;
	sample_begin(&s, true);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(freep) char *got = walked(&s, rows[i].from, rows[i].skip);
		assert_string_equal(got, rows[i].want);
	}
	sample_end(&s);
}

/* As its member and beside it: in a deep nest of those, each would double the ways. */
static void enters_a_directory_by_one_way(void **state)
{
	struct sample s;
	sample_begin_empty(&s, true);
	(void) pxar_writer_name(&s.w, "outer");
	pxar_writer_entry(&s.w, S_IFDIR | 0755);
	(void) pxar_writer_name(&s.w, "inner");
	pxar_writer_entry(&s.w, S_IFDIR | 0755);
	pxar_writer_end_directory(&s.w);
	struct pxar_written_dir *root = &s.w.dirs[0];
	struct pxar_written_slot inner = s.w.dirs[1].slots[0];
	inner.size = s.w.meta.len - inner.pos;
	pxar_writer_end_directory(&s.w);
	(void) pxar_writer_file(&s.w, "after", 0644, "x", 1);
	root->slots = reallocarray(root->slots, root->n + 1, sizeof inner);
	assert_non_null(root->slots);
	root->slots[root->n++] = inner;
	root->cap = root->n;
	sample_finish(&s);
	CLEANUP(freep) char *got = walked(&s, "", "none");
	assert_string_equal(got, "+ +outer +outer/inner -outer/inner -outer ! after - ");
	sample_end(&s);
}

static void goes_on_behind_what_is_damaged(void **state)
{
	struct sample s;
	sample_begin(&s, true);
	struct node deep = sample_node(&s, "dir/deep");
	s.w.meta.data[deep.pos] ^= 1;
	s.w.meta.data[s.a_pos] ^= 1;
	CLEANUP(freep) char *got = walked(&s, "", "none");
	assert_string_equal(got, "+ ! ! fifo null sock +dir ! -dir +empty -empty void link absolute loop out attrs "
				 "big - ");
	sample_end(&s);
}

/* One in the other, 5000 times. */
static void goes_no_deeper_than_it_says(void **state)
{
	struct sample s;
	struct walk *walk = NULL;
	struct walk_item item;
	unsigned deepest = 0, n_failed = 0;
	int r;
	sample_begin_empty(&s, true);
	for (unsigned i = 0; i < 5000; i++) {
		(void) pxar_writer_name(&s.w, "d");
		pxar_writer_entry(&s.w, S_IFDIR | 0755);
	}
	for (unsigned i = 0; i < 5000; i++)
		pxar_writer_end_directory(&s.w);
	sample_finish(&s);
	assert_int_equal(walk_open(s.tree, tree_root(s.tree), &walk, NULL), 0);
	while ((r = walk_next(walk, DEADLINE_NEVER, &item, NULL)) != 0) {
		assert_true(r == 1 || r == -EBADMSG);
		n_failed += r < 0;
		if (r == 1 && item.depth > deepest)
			deepest = item.depth;
	}
	assert_int_equal(deepest, WALK_DEPTH_MAX - 1);
	assert_int_equal(n_failed, 1);
	walk_close(walk);
	sample_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(goes_through_all_in_order),
		TEST(enters_a_directory_by_one_way),
		TEST(goes_on_behind_what_is_damaged),
		TEST(goes_no_deeper_than_it_says),
	};
	return RUN_TESTS(tests);
}
