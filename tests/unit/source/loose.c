/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "source/dir.h"
#include "store.h"
#include "unit.h"
#include "util/file.h"

static int open_loose(struct store *s, const char *index, const char *chunks, struct source **ret,
		      struct err *err)
{
	char index_path[128], chunks_path[128];
	(void) snprintf(index_path, sizeof index_path, "%s/%s", s->top, index);
	(void) snprintf(chunks_path, sizeof chunks_path, "%s/%s", s->top, chunks);
	return source_loose_open(index_path, chunks_path, ret, err);
}

static void refuses_what_is_no_index_or_no_directory(void **state)
{
	struct store *s = *state;
	put_text(s->top_fd, "img.fidx", "index");
	put_text(s->top_fd, "file", "");
	put_fifo(s->top_fd, "fifo.fidx");
	put_link(s->top_fd, "dangling.fidx", "nothing");
	const struct {
		const char *index, *chunks;
		int code;
		const char *words;
	} rows[] = {
		{ "nothing.fidx", "store", -ENOENT, "nothing.fidx" },
		{ "dangling.fidx", "store", -ENOENT, "dangling.fidx" },
		{ "fifo.fidx", "store", -EINVAL, "fifo.fidx" },
		{ "store", "store", -EINVAL, "cannot open" },
		{ "img.fidx", "nothing", -ENOENT, "cannot open the chunks' directory" },
		{ "img.fidx", "file", -ENOTDIR, "cannot open" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct source *source = NULL;
		struct err err = ERR_NONE;
		expect(open_loose(s, rows[i].index, rows[i].chunks, &source, &err), &err,
		       rows[i].code, rows[i].words);
		assert_null(source);
	}
}

static void finds_chunks_in_a_datastore_or_a_copy(void **state)
{
	struct store *s = *state;
	char path[128], copied[128];
	struct stat st;
	if (geteuid() == 0)
		assert_int_equal(fchownat(s->fd, ".chunks", 34, 35, 0), 0);
	put_text(s->top_fd, "somewhere/img.fidx", "index");
	put_link(s->top_fd, "link.fidx", "somewhere/img.fidx");
	put_chunk(s->fd, 7, "seven");
	chunk_path(7, "", path);
	(void) snprintf(copied, sizeof copied, "copy/%s", path + strlen(".chunks/"));
	put_text(s->top_fd, copied, "seven");
	put_text(s->top_fd, "copy/.chunks", ""); /* a file of that name means nothing */
	const struct {
		const char *index, *chunks, *owner;
	} rows[] = {
		{ "somewhere/img.fidx", "store", "store/.chunks" },
		{ "somewhere/img.fidx", "store/.chunks", "store/.chunks" },
		{ "somewhere/img.fidx", "copy", "copy" },
		{ "link.fidx", "store", "store/.chunks" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct source *source;
		struct asked a;
		struct err err = ERR_NONE;
		char folder[128];
		expect(open_loose(s, rows[i].index, rows[i].chunks, &source, &err), &err, 0, NULL);
		(void) snprintf(folder, sizeof folder, "%s/somewhere", s->top);
		assert_string_equal(source->name, folder);
		ask(s, source, &a, 7);
		expect_text(s, &a, "seven");
		ask(s, source, &a, 8);
		expect_failure(&a, -ENOENT, "is missing");
		assert_int_equal(fstatat(s->top_fd, rows[i].owner, &st, 0), 0);
		assert_int_equal(source->uid, st.st_uid);
		assert_int_equal(source->gid, st.st_gid);
		source_shutdown(source);
		source_close(source);
	}
}

static void reads_what_lies_beside_the_index(void **state)
{
	struct store *s = *state;
	struct snapshot any = { 0 };
	CLEANUP(source_closep) struct source *source = NULL;
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len;
	uint64_t copied;
	char text[16] = "";
	struct err err = ERR_NONE;
	put_text(s->top_fd, "img.fidx", "index");
	expect(open_loose(s, "img.fidx", "store", &source, &err), &err, 0, NULL);
	assert_int_equal(source_open_snapshot(source, "", &any, NULL), 0);
	expect(source_read_blob(source, "index.json.blob", &data, &len, &err), &err, -ENOENT, NULL);
	put_text(s->top_fd, "index.json.blob", "manifest");
	assert_int_equal(source_read_blob(source, "index.json.blob", &data, &len, NULL), 0);
	assert_string_equal((char *)data, "manifest");
	CLEANUP(closep) int to = memfd_create("copy", MFD_CLOEXEC);
	assert_int_equal(source_copy_index(source, "img.fidx", to, &copied, NULL), 0);
	assert_int_equal(copied, 5);
	assert_int_equal(pread_full(to, text, sizeof text, 0), 5);
	assert_string_equal(text, "index");
}

static void has_nothing_to_list(void **state)
{
	struct store *s = *state;
	CLEANUP(source_closep) struct source *source = NULL;
	struct strv namespaces = STRV_EMPTY;
	struct group_list groups = GROUP_LIST_EMPTY;
	struct snapshot_list snapshots = SNAPSHOT_LIST_EMPTY;
	struct err err = ERR_NONE;
	put_text(s->top_fd, "img.fidx", "index");
	expect(open_loose(s, "img.fidx", "store", &source, &err), &err, 0, NULL);
	expect(source_list_namespaces(source, &namespaces, &err), &err, -EOPNOTSUPP, "nothing to list");
	expect(source_list_groups(source, "", &groups, &err), &err, -EOPNOTSUPP, "nothing to list");
	expect(source_list_snapshots(source, "", NULL, &snapshots, &err), &err, -EOPNOTSUPP,
	       "nothing to list");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(refuses_what_is_no_index_or_no_directory),
		STORE_TEST(finds_chunks_in_a_datastore_or_a_copy),
		STORE_TEST(reads_what_lies_beside_the_index),
		STORE_TEST(has_nothing_to_list),
	};
	return RUN_TESTS(tests);
}
