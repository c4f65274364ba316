/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "unit.h"

enum { BIG = 100000 };

uint8_t sample_byte(uint64_t i)
{
	return (uint8_t)(i * i >> 3);
}

static void put_link(struct sample *s, const char *name, const char *target)
{
	(void) pxar_writer_name(&s->w, name);
	pxar_writer_entry(&s->w, S_IFLNK | 0777);
	pxar_writer_symlink(&s->w, target);
}

static void put_special(struct sample *s, const char *name, uint32_t mode)
{
	(void) pxar_writer_name(&s->w, name);
	pxar_writer_entry(&s->w, mode);
	if (S_ISCHR(mode))
		pxar_writer_device(&s->w, 1, 3);
}

static void put_attrs(struct sample *s)
{
	static const uint8_t group[8] = { 4 }, caps[20] = { 1, 0, 0, 2 };
	(void) pxar_writer_name(&s->w, "attrs");
	pxar_writer_entry(&s->w, S_IFREG | 0670);
	pxar_writer_xattr(&s->w, "user.k", "value", 5);
	pxar_writer_attr_id(&s->w, PXAR_ACL_USER, 1000, 7);
	(void) pxar_writer_item(&s->w, PXAR_ACL_GROUP_OBJ, group, sizeof group);
	(void) pxar_writer_item(&s->w, PXAR_FCAPS, caps, sizeof caps);
	pxar_writer_payload(&s->w, "x", 1);
}

static void put_dirs(struct sample *s)
{
	s->dir_pos = pxar_writer_name(&s->w, "dir");
	pxar_writer_entry(&s->w, S_IFDIR | 0750);
	(void) pxar_writer_name(&s->w, "deep");
	pxar_writer_entry(&s->w, S_IFDIR | 0700);
	(void) pxar_writer_file(&s->w, "leaf", 0600, "leaf", 4);
	pxar_writer_end_directory(&s->w);
	pxar_writer_end_directory(&s->w);
	(void) pxar_writer_name(&s->w, "empty");
	pxar_writer_entry(&s->w, S_IFDIR | 0755);
	pxar_writer_end_directory(&s->w);
}

static void put_big(struct sample *s)
{
	uint8_t *data = malloc(BIG);
	assert_non_null(data);
	for (uint64_t i = 0; i < BIG; i++)
		data[i] = sample_byte(i);
	(void) pxar_writer_file(&s->w, "big", 0644, data, BIG);
	free(data);
}

void sample_write(struct sample *s, bool is_split)
{
	sample_begin_empty(s, is_split);
	s->w.mtime_ns = 123456789;
	s->w.uid = 1000;
	s->w.gid = 100;
	s->a_pos = pxar_writer_file(&s->w, "a.txt", 0644, "hello", 5);
	s->hard_pos = s->w.meta.len;
	pxar_writer_hardlink(&s->w, "hard", s->a_pos, "a.txt");
	put_special(s, "fifo", S_IFIFO | 0600);
	put_special(s, "null", S_IFCHR | 0666);
	put_special(s, "sock", S_IFSOCK | 0755);
	put_dirs(s);
	(void) pxar_writer_file(&s->w, "void", 0644, "", 0);
	put_link(s, "link", "dir/deep");
	put_link(s, "absolute", "/a.txt");
	put_link(s, "loop", "loop");
	put_link(s, "out", "../../a.txt");
	put_attrs(s);
	put_big(s);
	pxar_writer_end_directory(&s->w);
}

int sample_open(struct sample *s, struct err *err)
{
	struct tree_options options = {
		.meta = { .size = s->w.meta.len, .memory = (const uint8_t *)s->w.meta.data },
		.payload = { .size = s->w.payload.len, .memory = (const uint8_t *)s->w.payload.data },
		.is_split = s->w.is_split,
	};
	return tree_open(&options, DEADLINE_NEVER, &s->tree, err);
}

void sample_begin(struct sample *s, bool is_split)
{
	sample_write(s, is_split);
	assert_int_equal(sample_open(s, NULL), 0);
}

void sample_end(struct sample *s)
{
	tree_close(s->tree);
	pxar_writer_deinit(&s->w);
}

void sample_begin_empty(struct sample *s, bool is_split)
{
	*s = (struct sample){ .tree = NULL };
	pxar_writer_begin(&s->w, is_split);
	pxar_writer_entry(&s->w, S_IFDIR | 0755);
}

void sample_finish(struct sample *s)
{
	pxar_writer_end_directory(&s->w);
	struct err err = ERR_NONE;
	if (sample_open(s, &err) < 0)
		fail_msg("%s", err.msg);
}

struct node sample_node(struct sample *s, const char *path)
{
	struct node node;
	struct err err = ERR_NONE;
	if (tree_resolve(s->tree, path, TREE_NO_LINKS, DEADLINE_NEVER, &node, &err) < 0)
		fail_msg("%s: %s", path, err.msg);
	return node;
}

int sample_try(struct sample *s, const char *path, enum tree_follow follow, struct err *err)
{
	struct node node;
	return tree_resolve(s->tree, path, follow, DEADLINE_NEVER, &node, err);
}
