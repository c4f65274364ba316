/* SPDX-License-Identifier: Apache-2.0 */
#include "archive/tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/walk.h"
#include "sample.h"
#include "unit.h"
#include "util/buf.h"
#include "util/bytes.h"

/* -- what is there --------------------------------------------------------------------------- */

static const struct known {
	const char *path;
	uint32_t mode;
	uint64_t size;
} known[] = {
	{ "a.txt", S_IFREG | 0644, 5 },	   { "hard", S_IFREG | 0644, 5 },   { "fifo", S_IFIFO | 0600, 0 },
	{ "null", S_IFCHR | 0666, 0 },	   { "sock", S_IFSOCK | 0755, 0 },  { "dir/deep/leaf", S_IFREG | 0600, 4 },
	{ "void", S_IFREG | 0644, 0 },	   { "link", S_IFLNK | 0777, 8 },   { "absolute", S_IFLNK | 0777, 6 },
	{ "attrs", S_IFREG | 0670, 1 },	   { "big", S_IFREG | 0644, 100000 }, { "/a.txt", S_IFREG | 0644, 5 },
	{ "//dir//deep/./leaf", S_IFREG | 0600, 4 }, { "dir/../a.txt", S_IFREG | 0644, 5 },
	{ "../../a.txt", S_IFREG | 0644, 5 }, { "dir/deep/../../void", S_IFREG | 0644, 0 },
};

static void finds_every_file_by_its_path(void **state)
{
	for (int is_split = 0; is_split < 2; is_split++) {
		struct sample s;
		sample_begin(&s, is_split);
		for (size_t i = 0; i < ARRAY_LEN(known); i++) {
			struct node node = sample_node(&s, known[i].path);
			assert_int_equal(node.mode, known[i].mode);
			assert_int_equal(node.size, known[i].size);
			assert_int_equal(node.uid, 1000);
			assert_int_equal(node.gid, 100);
			assert_int_equal(node.mtime, 1700000000);
			assert_int_equal(node.mtime_ns, 123456789);
		}
		assert_int_equal(sample_node(&s, "null").major, 1);
		assert_int_equal(sample_node(&s, "null").minor, 3);
		assert_int_equal(sample_node(&s, "dir").mode, S_IFDIR | 0750);
		assert_int_equal(sample_node(&s, "empty/").n_members, 0);
		assert_int_equal(sample_node(&s, "").ino, TREE_ROOT);
		assert_int_equal(sample_node(&s, "/").n_members, 14);
		sample_end(&s);
	}
}

static void says_which_part_of_a_path_is_not_there(void **state)
{
	static const struct {
		const char *path;
		int r;
		const char *words;
	} rows[] = {
		{ "b.txt", -ENOENT, "there is no b.txt" },
		{ "dir/b\n/c", -ENOENT, "there is no b\\x0a" },
		{ "a.txt/x", -ENOTDIR, "x" },
		{ "a.txt/", -ENOTDIR, "not a directory" },
		{ "a.txt/.", -ENOTDIR, "not a directory" },
		{ "a.txt/..", -ENOTDIR, "not a directory" },
		{ "dir/deep/leaf/../leaf", -ENOTDIR, "not a directory" },
		{ "link/leaf", -ELOOP, "link is a symbolic link to dir/deep" },
		{ "hello/..", -ENOENT, "hello" },
	};
	struct sample s;
	sample_begin(&s, false);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		int r = sample_try(&s, rows[i].path, TREE_NO_LINKS, &err);
		if (r != rows[i].r || !strstr(err.msg, rows[i].words))
			fail_msg("%s: %d, %s", rows[i].path, r, err.msg);
	}
	sample_end(&s);
}

static void follows_links_inside_the_archive(void **state)
{
	static const struct {
		const char *path;
		enum tree_follow follow;
		int r;
		const char *same_as;
	} rows[] = {
		{ "link/leaf", TREE_LINKS_ON_WAY, 0, "dir/deep/leaf" },
		{ "link", TREE_LINKS_ON_WAY, 0, "link" },
		{ "link", TREE_ALL_LINKS, 0, "dir/deep" },
		{ "link/", TREE_LINKS_ON_WAY, 0, "dir/deep" },
		{ "link/..", TREE_LINKS_ON_WAY, 0, "dir" },
		{ "link/../../absolute", TREE_ALL_LINKS, 0, "a.txt" },
		{ "out", TREE_ALL_LINKS, 0, "a.txt" }, /* the root has nothing above it */
		{ "loop", TREE_ALL_LINKS, -ELOOP, NULL },
		{ "loop/x", TREE_LINKS_ON_WAY, -ELOOP, NULL },
		{ "absolute/x", TREE_LINKS_ON_WAY, -ENOTDIR, NULL },
	};
	struct sample s;
	sample_begin(&s, true);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct node node;
		int r = tree_resolve(s.tree, rows[i].path, rows[i].follow, DEADLINE_NEVER, &node, NULL);
		assert_int_equal(r, rows[i].r);
		if (r == 0)
			assert_int_equal(node.ino, sample_node(&s, rows[i].same_as).ino);
	}
	sample_end(&s);
}

static size_t n_copied; /* bytes, by strdup() */
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

char *__wrap_strdup(const char *text)
{
	n_copied += strlen(text);
	return __real_strdup(text);
}

/* As made-up links have them: the work grows with the length, not with its square. */
static void follows_a_path_of_many_parts(void **state)
{
	enum { N = 20000 };
	struct sample s;
	struct buf path = BUF_EMPTY;
	for (int i = 0; i < N; i++)
		assert_int_equal(buf_puts(&path, "./", NULL), 0);
	assert_int_equal(buf_puts(&path, "a.txt", NULL), 0);
	sample_begin(&s, false);
	n_copied = 0;
	assert_int_equal(sample_try(&s, path.data, TREE_NO_LINKS, NULL), 0);
	assert_in_range(n_copied, 0, 2 * path.len);
	sample_end(&s);
	buf_deinit(&path);
}

static void expect_same(const struct node *a, const struct node *b)
{
	const uint64_t all[][2] = {
		{ a->ino, b->ino }, { a->pos, b->pos }, { a->mode, b->mode }, { a->uid, b->uid }, { a->gid, b->gid },
		{ a->nlink, b->nlink }, { (uint64_t)a->mtime, (uint64_t)b->mtime }, { a->mtime_ns, b->mtime_ns },
		{ a->size, b->size }, { a->major, b->major }, { a->minor, b->minor }, { a->attrs_off, b->attrs_off },
		{ a->attrs_len, b->attrs_len }, { a->target_off, b->target_off }, { a->payload_off, b->payload_off },
		{ a->members_off, b->members_off }, { a->table_off, b->table_off }, { a->end, b->end },
		{ a->n_members, b->n_members },
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		assert_int_equal(all[i][0], all[i][1]);
}

static void leads_from_an_inode_number_to_the_same_file(void **state)
{
	for (int is_split = 0; is_split < 2; is_split++) {
		struct sample s;
		sample_begin(&s, is_split);
		for (size_t i = 0; i < ARRAY_LEN(known); i++) {
			struct node node = sample_node(&s, known[i].path), again;
			assert_int_equal(tree_node(s.tree, node.ino, DEADLINE_NEVER, &again, NULL), 0);
			expect_same(&node, &again);
		}
		struct node dir = sample_node(&s, "dir/deep"), again;
		assert_int_equal(tree_node(s.tree, dir.ino, DEADLINE_NEVER, &again, NULL), 0);
		expect_same(&dir, &again);
		sample_end(&s);
	}
}

static void reads_any_part_of_a_file(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
	} rows[] = { { 0, 1 }, { 0, 100000 }, { 99999, 1 }, { 31, 70000 }, { 100000, 0 }, { 5, 0 } };
	for (int is_split = 0; is_split < 2; is_split++) {
		struct sample s;
		uint8_t got[100000];
		sample_begin(&s, is_split);
		struct node big = sample_node(&s, "big");
		assert_int_equal(tree_check_payload(s.tree, &big, DEADLINE_NEVER, NULL), 0);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			assert_int_equal(tree_pread(s.tree, &big, got, rows[i].len, rows[i].off, DEADLINE_NEVER,
						    NULL), 0);
			for (size_t k = 0; k < rows[i].len; k++)
				assert_int_equal(got[k], sample_byte(rows[i].off + k));
		}
		assert_int_equal(tree_pread(s.tree, &big, got, 2, 99999, DEADLINE_NEVER, NULL), -EINVAL);
		assert_int_equal(tree_pread(s.tree, &big, got, 2, UINT64_MAX, DEADLINE_NEVER, NULL), -EINVAL);
		struct node fifo = sample_node(&s, "fifo"), dir = sample_node(&s, "dir");
		assert_int_equal(tree_check_payload(s.tree, &fifo, DEADLINE_NEVER, NULL), -EINVAL);
		assert_int_equal(tree_check_payload(s.tree, &dir, DEADLINE_NEVER, NULL), -EISDIR);
		sample_end(&s);
	}
}

static void reads_links_and_attributes(void **state)
{
	struct sample s;
	char target[PXAR_NAME_MAX + 1];
	sample_begin(&s, true);
	struct node link = sample_node(&s, "link"), file = sample_node(&s, "attrs"), plain = sample_node(&s, "big");
	assert_int_equal(tree_readlink(s.tree, &link, DEADLINE_NEVER, target, NULL), 0);
	assert_string_equal(target, "dir/deep");
	assert_int_equal(tree_readlink(s.tree, &file, DEADLINE_NEVER, target, NULL), -EINVAL);
	CLEANUP(tree_xattrs_deinit) struct tree_xattrs xattrs = TREE_XATTRS_NONE, none = TREE_XATTRS_NONE;
	assert_int_equal(tree_xattrs(s.tree, &file, DEADLINE_NEVER, &xattrs, NULL), 0);
	assert_int_equal(xattrs.list.n, 3);
	assert_non_null(pxar_xattrs_find(&xattrs.list, XATTR_ACL_ACCESS));
	assert_memory_equal(pxar_xattrs_find(&xattrs.list, "user.k")->value, "value", 5);
	assert_int_equal(tree_xattrs(s.tree, &plain, DEADLINE_NEVER, &none, NULL), 0);
	assert_int_equal(none.list.n, 0);
	sample_end(&s);
}

/* Names behind a FORMAT_VERSION and a PRELUDE. */
static void begins_behind_the_prelude(void **state)
{
	struct sample s = { .tree = NULL };
	pxar_writer_begin(&s.w, true);
	(void) pxar_writer_item(&s.w, PXAR_PRELUDE, "{}", 2);
	pxar_writer_entry(&s.w, S_IFDIR | 0755);
	(void) pxar_writer_file(&s.w, "x", 0644, "abc", 3);
	sample_finish(&s);
	assert_int_equal(sample_node(&s, "x").size, 3);
	sample_end(&s);
}

/* -- links ----------------------------------------------------------------------------------- */

static void gives_hard_links_the_number_of_their_file(void **state)
{
	struct sample s;
	sample_begin(&s, false);
	assert_int_equal(sample_node(&s, "a.txt").nlink, 1);
	struct node hard = sample_node(&s, "hard"), file = sample_node(&s, "a.txt");
	assert_int_equal(hard.nlink, 2); /* it was met */
	expect_same(&hard, &file);
	assert_int_equal(sample_node(&s, "hard").nlink, 2); /* and is counted once */
	sample_end(&s);
}

static void counts_links_exactly_when_told_to(void **state)
{
	for (int is_split = 0; is_split < 2; is_split++) {
		struct sample s;
		sample_begin_empty(&s, is_split);
		uint64_t a = pxar_writer_file(&s.w, "a", 0644, "a", 1), b = pxar_writer_file(&s.w, "b", 0644, "b", 1);
		(void) pxar_writer_file(&s.w, "c", 0644, "c", 1);
		for (unsigned i = 0; i < 300; i++) {
			char name[8] = { 'l', (char)('0' + i / 100), (char)('0' + i / 10 % 10), (char)('0' + i % 10) };
			pxar_writer_hardlink(&s.w, name, i % 3 ? a : b, i % 3 ? "a" : "b");
		}
		sample_finish(&s);
		assert_int_equal(sample_node(&s, "l001").nlink, 2);
		assert_int_equal(tree_count_links(s.tree, 0, NULL), 0);
		assert_int_equal(tree_count_links(s.tree, 0, NULL), 0);
		assert_int_equal(sample_node(&s, "a").nlink, 201);
		assert_int_equal(sample_node(&s, "b").nlink, 101);
		assert_int_equal(sample_node(&s, "l299").nlink, 201);
		assert_int_equal(sample_node(&s, "l299").nlink, 201);
		assert_int_equal(sample_node(&s, "c").nlink, 1);
		sample_end(&s);
	}
}

static void refuses_links_that_lead_nowhere(void **state)
{
	struct sample s;
	sample_begin_empty(&s, false);
	uint64_t a = pxar_writer_file(&s.w, "a", 0644, "a", 1);
	uint64_t link = s.w.meta.len;
	pxar_writer_hardlink(&s.w, "good", a, "a");
	pxar_writer_hardlink(&s.w, "link", link, "link");
	pxar_writer_hardlink(&s.w, "root", 0, "x");
	pxar_writer_hardlink(&s.w, "inside", a + 1, "a");
	pxar_writer_hardlink(&s.w, "before", s.w.meta.len + 1, "a");
	pxar_writer_hardlink(&s.w, "itself", s.w.meta.len, "itself");
	uint64_t dir = pxar_writer_name(&s.w, "dir");
	pxar_writer_entry(&s.w, S_IFDIR | 0755);
	pxar_writer_hardlink(&s.w, "up", dir, "dir");
	pxar_writer_end_directory(&s.w);
	(void) pxar_writer_name(&s.w, "fifo");
	pxar_writer_entry(&s.w, S_IFIFO | 0755);
	sample_finish(&s);
	static const char *const bad[] = { "link", "root", "inside", "before", "itself", "dir/up" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(sample_try(&s, bad[i], TREE_NO_LINKS, NULL), -EBADMSG);
	assert_int_equal(sample_try(&s, "good", TREE_NO_LINKS, NULL), 0);
	assert_int_equal(sample_try(&s, "fifo", TREE_NO_LINKS, NULL), 0);
	assert_int_equal(tree_count_links(s.tree, 0, NULL), 0);
	sample_end(&s);
}

/* -- what does not fit ----------------------------------------------------------------------- */

/* Where a member's slot is in the table of the directory; its distance is 8 behind, its size 16. */
static uint8_t *slot_of(struct sample *s, const char *dir_path, const char *name)
{
	struct node dir = sample_node(s, dir_path);
	uint64_t hash = pxar_name_hash(name, strlen(name));
	uint8_t *slot = (uint8_t *)s->w.meta.data + dir.table_off + PXAR_HEADER_SIZE;
	for (uint32_t i = 0; i < dir.n_members; i++, slot += PXAR_SLOT_SIZE)
		if (load_le64(slot) == hash)
			return slot;
	fail_msg("no %s in %s", name, dir_path);
	return NULL;
}

static void refuses_members_that_are_not_where_the_table_says(void **state)
{
	struct sample s;
	sample_begin(&s, false);
	struct node dir = sample_node(&s, "dir");
	uint8_t *slot = slot_of(&s, "dir", "deep");
	uint64_t right = load_le64(slot + 8);
	const uint64_t wrong[] = {
		0, 1, right - 1, right + 1, UINT64_MAX, dir.table_off, dir.table_off - s.a_pos,
		dir.table_off - s.dir_pos, /* itself: a circle */
		dir.table_off - dir.pos, dir.table_off + 1,
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		store_le64(slot + 8, wrong[i]);
		assert_int_equal(sample_try(&s, "dir/deep", TREE_NO_LINKS, NULL), -EBADMSG);
		assert_int_equal(sample_try(&s, "a.txt", TREE_NO_LINKS, NULL), 0);
	}
	store_le64(slot + 8, right);
	assert_int_equal(sample_try(&s, "dir/deep", TREE_NO_LINKS, NULL), 0);
	sample_end(&s);
}

static void refuses_directories_that_reach_out_of_their_own(void **state)
{
	struct sample s;
	sample_begin(&s, false);
	struct node dir = sample_node(&s, "dir");
	uint8_t *slot = slot_of(&s, "dir", "deep");
	uint64_t right = load_le64(slot + 16), distance = load_le64(slot + 8);
	const uint64_t wrong[] = { 0, 1, 40, right - 1, right + 1, distance + 1, UINT64_MAX, UINT64_MAX - distance,
				   dir.end - (dir.table_off - distance) /* to the end of the one it is in */ };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		store_le64(slot + 16, wrong[i]);
		assert_int_equal(sample_try(&s, "dir/deep", TREE_NO_LINKS, NULL), -EBADMSG);
	}
	store_le64(slot + 16, right);
	/* Of a regular file the size means nothing. */
	store_le64(slot_of(&s, "", "a.txt") + 16, UINT64_MAX);
	assert_int_equal(sample_try(&s, "a.txt", TREE_NO_LINKS, NULL), 0);
	sample_end(&s);
}

/* It has itself, or what is before it, as a member, and its table is right about their names. */
static void refuses_members_before_their_directory(void **state)
{
	struct sample s;
	sample_begin(&s, false);
	struct node dir = sample_node(&s, "dir");
	uint8_t *slot = slot_of(&s, "dir", "deep");
	store_le64(slot, pxar_name_hash("dir", 3));
	store_le64(slot + 8, dir.table_off - s.dir_pos);
	store_le64(slot + 16, dir.end - s.dir_pos);
	assert_int_equal(sample_try(&s, "dir/dir", TREE_NO_LINKS, NULL), -EBADMSG);
	store_le64(slot, pxar_name_hash("a.txt", 5));
	store_le64(slot + 8, dir.table_off - s.a_pos);
	assert_int_equal(sample_try(&s, "dir/a.txt", TREE_NO_LINKS, NULL), -EBADMSG);
	sample_end(&s);
}

/* The table of "d", which is in "a", comes behind the table of "a". */
static void refuses_a_directory_that_ends_behind_its_own(void **state)
{
	struct sample s;
	uint8_t table[2 * PXAR_SLOT_SIZE];
	sample_begin_empty(&s, false);
	struct pxar_writer *w = &s.w;
	uint64_t a = pxar_writer_name(w, "a"), a_entry = w->meta.len;
	pxar_writer_entry(w, S_IFDIR | 0755);
	uint64_t d = pxar_writer_name(w, "d");
	pxar_writer_entry(w, S_IFDIR | 0755);
	uint64_t table_of_a = w->meta.len;
	size_t len_of_d = PXAR_HEADER_SIZE + PXAR_SLOT_SIZE;
	store_le64(table, pxar_name_hash("d", 1));
	store_le64(table + 8, table_of_a - d);
	store_le64(table + 16, table_of_a + PXAR_HEADER_SIZE + sizeof table + len_of_d - d);
	store_le64(table + 24, UINT64_C(0xef5eed5b753e1555));
	store_le64(table + 32, table_of_a - a_entry);
	store_le64(table + 40, PXAR_HEADER_SIZE + sizeof table);
	(void) pxar_writer_item(w, PXAR_GOODBYE, table, sizeof table);
	uint64_t end_of_a = w->meta.len;
	pxar_writer_end_directory(w); /* of d */
	free(w->dirs[1].slots);
	w->depth = 1;
	w->dirs[0].slots[0].size = end_of_a - a;
	sample_finish(&s);
	assert_int_equal(sample_try(&s, "a", TREE_NO_LINKS, NULL), 0);
	assert_int_equal(sample_try(&s, "a/d", TREE_NO_LINKS, NULL), -EBADMSG);
	sample_end(&s);
}

static void refuses_a_table_of_another_directory(void **state)
{
	struct sample s;
	sample_begin(&s, false);
	struct node deep = sample_node(&s, "dir/deep");
	uint8_t *tail = (uint8_t *)s.w.meta.data + deep.end - PXAR_SLOT_SIZE;
	store_le64(tail + 8, load_le64(tail + 8) + 1);
	assert_int_equal(sample_try(&s, "dir/deep", TREE_NO_LINKS, NULL), -EBADMSG);
	assert_int_equal(sample_try(&s, "dir", TREE_NO_LINKS, NULL), 0);
	store_le64(tail + 8, deep.table_off - sample_node(&s, "dir").pos);
	assert_int_equal(sample_try(&s, "dir/deep", TREE_NO_LINKS, NULL), -EBADMSG);
	sample_end(&s);
}

static void refuses_a_name_that_its_table_has_otherwise(void **state)
{
	struct sample s;
	sample_begin(&s, false);
	((uint8_t *)s.w.meta.data)[s.a_pos + PXAR_HEADER_SIZE] = 'b';
	assert_int_equal(sample_try(&s, "a.txt", TREE_NO_LINKS, NULL), -EBADMSG);
	assert_int_equal(sample_try(&s, "b.txt", TREE_NO_LINKS, NULL), -ENOENT);
	((uint8_t *)s.w.meta.data)[s.a_pos + PXAR_HEADER_SIZE] = '/';
	assert_int_equal(sample_try(&s, "a.txt", TREE_NO_LINKS, NULL), -EBADMSG);
	sample_end(&s);
}

static void refuses_data_that_is_not_where_it_belongs(void **state)
{
	struct sample s;
	uint8_t header[PXAR_HEADER_SIZE];
	sample_begin_empty(&s, true);
	(void) pxar_writer_file(&s.w, "good", 0644, "good", 4);
	static const struct {
		const char *name;
		uint64_t off, size;
	} rows[] = {
		{ "behind", 1000, 4 }, { "longer", 16, 1000 }, { "far", INT64_MAX - 8, 4 },
		{ "endless", 16, UINT64_MAX - 20 }, { "mark", 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		(void) pxar_writer_name(&s.w, rows[i].name);
		pxar_writer_entry(&s.w, S_IFREG | 0644);
		pxar_writer_attr_id(&s.w, PXAR_PAYLOAD_REF, rows[i].off, rows[i].size);
	}
	(void) pxar_writer_name(&s.w, "inline");
	pxar_writer_entry(&s.w, S_IFREG | 0644);
	(void) pxar_writer_item(&s.w, PXAR_PAYLOAD, "data", 4);
	(void) pxar_writer_name(&s.w, "shorter");
	pxar_writer_entry(&s.w, S_IFREG | 0644);
	pxar_writer_attr_id(&s.w, PXAR_PAYLOAD_REF, 16, 3);
	sample_finish(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(sample_try(&s, rows[i].name, TREE_NO_LINKS, NULL), -EBADMSG);
	assert_int_equal(sample_try(&s, "inline", TREE_NO_LINKS, NULL), -EBADMSG);
	struct node good = sample_node(&s, "good"), shorter = sample_node(&s, "shorter");
	assert_int_equal(tree_check_payload(s.tree, &good, DEADLINE_NEVER, NULL), 0);
	assert_int_equal(tree_check_payload(s.tree, &shorter, DEADLINE_NEVER, NULL), -EBADMSG);
	memset(header, 0, sizeof header);
	memcpy(s.w.payload.data + 16, header, sizeof header);
	assert_int_equal(tree_check_payload(s.tree, &good, DEADLINE_NEVER, NULL), -EBADMSG);
	sample_end(&s);
}

static void refuses_a_reference_where_there_is_no_payload(void **state)
{
	struct sample s;
	sample_begin_empty(&s, false);
	(void) pxar_writer_name(&s.w, "ref");
	pxar_writer_entry(&s.w, S_IFREG | 0644);
	pxar_writer_attr_id(&s.w, PXAR_PAYLOAD_REF, 16, 1);
	sample_finish(&s);
	assert_int_equal(sample_try(&s, "ref", TREE_NO_LINKS, NULL), -EBADMSG);
	sample_end(&s);
}

static void refuses_an_archive_cut_anywhere(void **state)
{
	struct sample s;
	sample_begin(&s, true);
	tree_close(STEAL(s.tree));
	size_t whole = s.w.meta.len;
	for (size_t len = 0; len < whole; len++) {
		s.w.meta.len = len;
		struct err err = ERR_NONE;
		int r = sample_open(&s, &err);
		if (r != -EBADMSG)
			fail_msg("of %zu bytes: %d", len, r);
		assert_int_equal(err.code, -EBADMSG);
	}
	sample_end(&s);
}

/* All of the tree, and all data; whatever comes of it. */
static void touch_everything(struct sample *s)
{
	struct walk *walk = NULL;
	struct walk_item item;
	struct err err;
	int r;
	assert_int_equal(walk_open(s->tree, tree_root(s->tree), &walk, NULL), 0);
	for (unsigned n = 0; (r = walk_next(walk, DEADLINE_NEVER, &item, &err)) != 0; n++) {
		assert_true(n < 1000); /* no circle */
		assert_true(r == 1 || r == -EBADMSG);
		if (r < 0)
			continue;
		uint8_t got[16];
		struct tree_xattrs xattrs = TREE_XATTRS_NONE;
		if (tree_xattrs(s->tree, item.node, DEADLINE_NEVER, &xattrs, NULL) == 0)
			tree_xattrs_deinit(&xattrs);
		if (S_ISREG(item.node->mode) && tree_check_payload(s->tree, item.node, DEADLINE_NEVER, NULL) == 0)
			assert_int_equal(tree_pread(s->tree, item.node, got, min_u64(item.node->size, sizeof got), 0,
						    DEADLINE_NEVER, NULL), 0);
	}
	walk_close(walk);
}

static void comes_to_an_end_whatever_byte_is_wrong(void **state)
{
	for (int is_split = 0; is_split < 2; is_split++) {
		struct sample s;
		static const uint8_t flips[] = { 0x01, 0x80, 0xff };
		sample_write(&s, is_split);
		size_t len = s.w.meta.len, step = is_split ? 1 : 7;
		for (size_t i = 0; i < len; i += i > 3000 && i < len - 500 ? 997 : step)
			for (size_t f = 0; f < ARRAY_LEN(flips); f++) {
				s.w.meta.data[i] ^= (char)flips[f];
				if (sample_open(&s, NULL) == 0) {
					int r = tree_count_links(s.tree, 0, NULL);
					assert_true(r == 0 || r == -EBADMSG);
					touch_everything(&s);
				}
				tree_close(STEAL(s.tree));
				s.w.meta.data[i] ^= (char)flips[f];
			}
		sample_end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_every_file_by_its_path),
		TEST(says_which_part_of_a_path_is_not_there),
		TEST(follows_links_inside_the_archive),
		TEST(follows_a_path_of_many_parts),
		TEST(leads_from_an_inode_number_to_the_same_file),
		TEST(reads_any_part_of_a_file),
		TEST(reads_links_and_attributes),
		TEST(begins_behind_the_prelude),
		TEST(gives_hard_links_the_number_of_their_file),
		TEST(counts_links_exactly_when_told_to),
		TEST(refuses_links_that_lead_nowhere),
		TEST(refuses_members_that_are_not_where_the_table_says),
		TEST(refuses_directories_that_reach_out_of_their_own),
		TEST(refuses_members_before_their_directory),
		TEST(refuses_a_directory_that_ends_behind_its_own),
		TEST(refuses_a_table_of_another_directory),
		TEST(refuses_a_name_that_its_table_has_otherwise),
		TEST(refuses_data_that_is_not_where_it_belongs),
		TEST(refuses_a_reference_where_there_is_no_payload),
		TEST(refuses_an_archive_cut_anywhere),
		TEST(comes_to_an_end_whatever_byte_is_wrong),
	};
	return RUN_TESTS(tests);
}
