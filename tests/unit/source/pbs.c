/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "pbs_fake.h"
#include "scratch.h"
#include "source/source.h"
#include "unit.h"
#include "util/file.h"

static uint8_t manifest[500], index_file[100000];

struct scene {
	struct pbs_fake *fake;
	struct source *source;
	unsigned n_freed; /* guides */
};

static void count_free(void *user)
{
	*(unsigned *)user += 1;
}

static void begin(struct scene *s)
{
	struct pbs_repository repository;
	struct pbs_options options;
	*s = (struct scene){ .fake = pbs_fake_start() };
	pbs_fake_put_file(s->fake, "index.json.blob", manifest, sizeof manifest);
	pbs_fake_put_file(s->fake, "disk.img.fidx", index_file, sizeof index_file);
	pbs_fake_options(s->fake, false, &repository, &options);
	options.guide.free = count_free;
	options.guide.user = &s->n_freed;
	assert_int_equal(source_pbs_open(&options, &s->source, NULL), 0);
}

static void end(struct scene *s)
{
	source_close(s->source);
	assert_int_equal(s->n_freed, 1);
	pbs_fake_stop(s->fake);
}

static struct fake_seen seen(struct scene *s)
{
	struct fake_seen ret;
	pbs_fake_seen(s->fake, &ret);
	return ret;
}

static int open_snapshot(struct scene *s, const char *text, struct err *err)
{
	struct snapshot snapshot;
	assert_int_equal(snapshot_parse(text, &snapshot, NULL), 0);
	*err = ERR_NONE;
	return source_open_snapshot(s->source, "", &snapshot, err);
}

static void expect(int r, const struct err *err, int code, const char *words)
{
	if (r != code)
		fail_msg("%d and not %d: %s", r, code, err->msg);
	if (!strstr(err->msg, words))
		fail_msg("'%s' does not say '%s'", err->msg, words);
}

static void expect_manifest(struct scene *s)
{
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len = 0;
	assert_int_equal(source_read_blob(s->source, "index.json.blob", &data, &len, NULL), 0);
	assert_int_equal(len, sizeof manifest);
	assert_memory_equal(data, manifest, sizeof manifest);
}

static void gives_the_files_of_a_snapshot(void **state)
{
	struct scene s;
	struct err err;
	static uint8_t got[sizeof index_file];
	uint64_t len = 0;
	begin(&s);
	assert_true(s.source->is_remote);
	expect(open_snapshot(&s, "vm/100/2024-01-01T00:00:00Z", &err), &err, 0, "");
	expect_manifest(&s);
	assert_int_equal(seen(&s).n_downloads, 1); /* it was read when the snapshot was opened */
	expect_manifest(&s);
	assert_int_equal(seen(&s).n_downloads, 2);
	CLEANUP(closep) int to = memfd_create("copy", MFD_CLOEXEC);
	expect(source_copy_index(s.source, "disk.img.fidx", to, &len, &err), &err, 0, "");
	assert_int_equal(len, sizeof index_file);
	assert_int_equal(pread_full(to, got, sizeof got, 0), sizeof got);
	assert_memory_equal(got, index_file, sizeof got);
	expect(source_copy_index(s.source, "nothing.fidx", to, &len, &err), &err, -ENOENT, "it is not there");
	end(&s);
}

static void tells_a_snapshot_that_is_not_there_from_one_without_a_manifest(void **state)
{
	struct scene s;
	struct err err;
	begin(&s);
	pbs_fake_upgrade(s.fake, 400, "snapshot vm/7/2024-01-01T00:00:00Z does not exist");
	expect(open_snapshot(&s, "vm/7/2024-01-01T00:00:00Z", &err), &err, -ENOENT,
	       "there is no snapshot vm/7/2024-01-01T00:00:00Z in u@pam!t@127.0.0.1:");
	pbs_fake_upgrade(s.fake, 0, NULL);
	pbs_fake_put_file(s.fake, "index.json.blob", NULL, 0);
	expect(open_snapshot(&s, "vm/7/2024-01-01T00:00:00Z", &err), &err, -EAGAIN,
	       "snapshot vm/7/2024-01-01T00:00:00Z is not finished: it has no manifest");
	end(&s);
}

/* One after another, whatever became of the one before. */
static void opens_another_snapshot(void **state)
{
	struct scene s;
	struct err err;
	begin(&s);
	expect(open_snapshot(&s, "vm/100/2024-01-01T00:00:00Z", &err), &err, 0, "");
	expect(open_snapshot(&s, "vm/200/2024-01-02T00:00:00Z", &err), &err, 0, "");
	assert_non_null(strstr(seen(&s).upgrade, "backup-id=200&"));
	expect_manifest(&s);
	pbs_fake_upgrade(s.fake, 400, "snapshot vm/300 does not exist");
	expect(open_snapshot(&s, "vm/300/2024-01-01T00:00:00Z", &err), &err, -ENOENT, "there is no snapshot");
	pbs_fake_upgrade(s.fake, 0, NULL);
	expect(open_snapshot(&s, "vm/400/2024-01-01T00:00:00Z", &err), &err, 0, "");
	expect_manifest(&s);
	end(&s);
}

static void reads_nothing_of_a_snapshot_that_could_not_be_opened(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	uint8_t *data = NULL;
	size_t len = 0;
	begin(&s);
	pbs_fake_upgrade(s.fake, 503, "");
	expect(open_snapshot(&s, "vm/100/2024-01-01T00:00:00Z", &err), &err, -EREMOTEIO, "while opening snapshot");
	assert_true(source_read_blob(s.source, "index.json.blob", &data, &len, &err) < 0);
	assert_null(data);
	end(&s);
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	memset(manifest, 'm', sizeof manifest);
	for (size_t i = 0; i < sizeof index_file; i++)
		index_file[i] = (uint8_t)(i * 31 + (i >> 8));
	const struct CMUnitTest tests[] = {
		TEST(gives_the_files_of_a_snapshot),
		TEST(tells_a_snapshot_that_is_not_there_from_one_without_a_manifest),
		TEST(opens_another_snapshot),
		TEST(reads_nothing_of_a_snapshot_that_could_not_be_opened),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
