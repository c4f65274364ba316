/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pxar_attrs.h"

#include <string.h>
#include <sys/stat.h>

#include "data.h"
#include "format/pxar.h"
#include "pxar_writer.h"
#include "unit.h"
#include "util/bytes.h"

/* An entry's items by hand, and the attributes made of them. */
struct scene {
	struct pxar_writer w;
	uint8_t *in;
	struct pxar_xattrs xattrs;
};

static void begin(struct scene *s)
{
	*s = (struct scene){ .xattrs = PXAR_XATTRS_NONE };
	pxar_writer_begin(&s->w, false);
}

static int make(struct scene *s, uint32_t mode)
{
	s->in = exact_copy(s->w.meta.data, s->w.meta.len);
	return pxar_xattrs_make(s->in, s->w.meta.len, mode, &s->xattrs, NULL);
}

static void end(struct scene *s)
{
	pxar_xattrs_deinit(&s->xattrs);
	free(s->in);
	pxar_writer_deinit(&s->w);
}

static void expect_xattr(const struct scene *s, const char *name, const char *want_hex)
{
	const struct pxar_xattr *xattr = pxar_xattrs_find(&s->xattrs, name);
	assert_non_null(xattr);
	char hex[1024];
	assert_true(2 * xattr->len < sizeof hex);
	hex_encode(xattr->value, xattr->len, hex);
	assert_string_equal(hex, want_hex);
}

static void put_default(struct scene *s, uint64_t user, uint64_t group, uint64_t other, uint64_t mask)
{
	uint8_t content[32];
	store_le64(content, user);
	store_le64(content + 8, group);
	store_le64(content + 16, other);
	store_le64(content + 24, mask);
	(void) pxar_writer_item(&s->w, PXAR_ACL_DEFAULT, content, sizeof content);
}

/* What the kernel gives for the directory acl/dir of the golden archives, whose items these are. */
static void makes_the_lists_the_kernel_has(void **state)
{
	uint8_t group[8] = { 5 };
	struct scene s;
	begin(&s);
	pxar_writer_attr_id(&s.w, PXAR_ACL_USER, 1000, 7);
	(void) pxar_writer_item(&s.w, PXAR_ACL_GROUP_OBJ, group, sizeof group);
	put_default(&s, 7, 5, 0, 7);
	pxar_writer_attr_id(&s.w, PXAR_ACL_DEFAULT_USER, 1000, 7);
	pxar_writer_attr_id(&s.w, PXAR_ACL_DEFAULT_GROUP, 100, 5);
	assert_int_equal(make(&s, S_IFDIR | 0775), 0);
	assert_int_equal(s.xattrs.n, 2);
	/* u::rwx u:1000:rwx g::r-x m::rwx o::r-x */
	expect_xattr(&s, XATTR_ACL_ACCESS,
		     "02000000" "01000700ffffffff" "02000700e8030000" "04000500ffffffff" "10000700ffffffff"
		     "20000500ffffffff");
	/* u::rwx u:1000:rwx g::r-x g:100:r-x m::rwx o::--- */
	expect_xattr(&s, XATTR_ACL_DEFAULT,
		     "02000000" "01000700ffffffff" "02000700e8030000" "04000500ffffffff" "0800050064000000"
		     "10000700ffffffff" "20000000ffffffff");
	end(&s);
}

static void puts_entries_in_the_order_the_kernel_wants(void **state)
{
	uint8_t group[8] = { 4 };
	struct scene s;
	begin(&s);
	pxar_writer_attr_id(&s.w, PXAR_ACL_GROUP, 9, 1);
	pxar_writer_attr_id(&s.w, PXAR_ACL_USER, 70000, 4);
	(void) pxar_writer_item(&s.w, PXAR_ACL_GROUP_OBJ, group, sizeof group);
	pxar_writer_attr_id(&s.w, PXAR_ACL_USER, 3, 6);
	assert_int_equal(make(&s, S_IFREG | 0670), 0);
	expect_xattr(&s, XATTR_ACL_ACCESS,
		     "02000000" "01000600ffffffff" "0200060003000000" "0200040070110100" "04000400ffffffff"
		     "0800010009000000" "10000700ffffffff" "20000000ffffffff");
	end(&s);
}

static void takes_the_mask_from_the_mode(void **state)
{
	uint8_t group[8] = { 5 };
	struct scene s;
	begin(&s);
	pxar_writer_attr_id(&s.w, PXAR_ACL_USER, 1, 7);
	(void) pxar_writer_item(&s.w, PXAR_ACL_GROUP_OBJ, group, sizeof group);
	assert_int_equal(make(&s, S_IFREG | 0641), 0);
	expect_xattr(&s, XATTR_ACL_ACCESS,
		     "02000000" "01000600ffffffff" "0200070001000000" "04000500ffffffff" "10000400ffffffff"
		     "20000100ffffffff");
	end(&s);
}

/* A list with names and no mask is refused by the kernel. */
static void makes_a_mask_where_names_need_one(void **state)
{
	struct scene s;
	begin(&s);
	put_default(&s, 7, 1, 0, UINT64_MAX);
	pxar_writer_attr_id(&s.w, PXAR_ACL_DEFAULT_USER, 5, 4);
	assert_int_equal(make(&s, S_IFDIR | 0755), 0);
	expect_xattr(&s, XATTR_ACL_DEFAULT,
		     "02000000" "01000700ffffffff" "0200040005000000" "04000100ffffffff" "10000500ffffffff"
		     "20000000ffffffff");
	end(&s);
}

static void leaves_out_a_mask_that_nobody_set(void **state)
{
	struct scene s;
	begin(&s);
	put_default(&s, UINT64_MAX, 5, 1, UINT64_MAX);
	assert_int_equal(make(&s, S_IFDIR | 0700), 0);
	expect_xattr(&s, XATTR_ACL_DEFAULT, "02000000" "01000700ffffffff" "04000500ffffffff" "20000100ffffffff");
	assert_null(pxar_xattrs_find(&s.xattrs, XATTR_ACL_ACCESS));
	end(&s);
}

static void has_default_lists_of_directories_only(void **state)
{
	struct scene s;
	begin(&s);
	put_default(&s, 7, 5, 0, 7);
	assert_int_equal(make(&s, S_IFREG | 0644), 0);
	assert_int_equal(s.xattrs.n, 0);
	end(&s);
}

static void lists_each_name_once_and_in_order(void **state)
{
	struct scene s;
	begin(&s);
	pxar_writer_xattr(&s.w, "user.z", "1", 1);
	pxar_writer_xattr(&s.w, "user.a", "first", 5);
	pxar_writer_xattr(&s.w, "user.a", "second", 6);
	pxar_writer_xattr(&s.w, "user.empty", "", 0);
	assert_int_equal(make(&s, S_IFREG | 0644), 0);
	assert_int_equal(s.xattrs.n, 3);
	assert_string_equal(s.xattrs.items[0].name, "user.a");
	assert_int_equal(s.xattrs.items[0].len, 5);
	assert_string_equal(s.xattrs.items[1].name, "user.empty");
	assert_int_equal(s.xattrs.items[1].len, 0);
	assert_string_equal(s.xattrs.items[2].name, "user.z");
	end(&s);
}

static void refuses_items_that_are_no_attributes(void **state)
{
	struct scene s;
	begin(&s);
	pxar_writer_xattr(&s.w, "user.a", "1", 1);
	pxar_writer_symlink(&s.w, "x");
	assert_int_equal(make(&s, S_IFREG | 0644), -EBADMSG);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(makes_the_lists_the_kernel_has),
		TEST(puts_entries_in_the_order_the_kernel_wants),
		TEST(takes_the_mask_from_the_mode),
		TEST(makes_a_mask_where_names_need_one),
		TEST(leaves_out_a_mask_that_nobody_set),
		TEST(has_default_lists_of_directories_only),
		TEST(lists_each_name_once_and_in_order),
		TEST(refuses_items_that_are_no_attributes),
	};
	return RUN_TESTS(tests);
}
