/* SPDX-License-Identifier: Apache-2.0 */
#include "source/fault.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "source/dir.h"
#include "store.h"
#include "unit.h"

static const char text[] = "0123456789";

/* What goes wrong, around a datastore with chunk 1. */
static struct source *open_fault(struct store *s, const struct fault *faults, size_t n)
{
	struct source *inner, *fault;
	put_chunk(s->fd, 1, text);
	assert_int_equal(source_dir_open(s->path, &inner, NULL), 0);
	assert_int_equal(source_fault_open(inner, faults, n, &fault, NULL), 0);
	return fault;
}

static void spoils_the_fetch_it_is_told_to(void **state)
{
	struct store *s = *state;
	const struct {
		struct fault fault;
		int code;	  /* of the fetch that it is about, or of all */
		const char *want; /* what it gives; NULL = nothing */
	} rows[] = {
		{ { FAULT_NONE, 1, 0 }, 0, text },
		{ { FAULT_FAIL, 1, -EIO }, -EIO, NULL },
		{ { FAULT_FAIL, UINT64_MAX, -ENOENT }, -ENOENT, NULL },
		{ { FAULT_FLIP, 1, 0 }, 0, "1123456789" },
		{ { FAULT_FLIP, 0, 9 }, 0, "0123456788" },
		{ { FAULT_FLIP, 2, 12 }, 0, "0133456789" }, /* wraps around */
		{ { FAULT_CUT, 1, 3 }, 0, "012" },
		{ { FAULT_CUT, UINT64_MAX, 0 }, 0, "" },
		{ { FAULT_CUT, 1, 99 }, 0, text },
		{ { FAULT_DELAY, 1, 1 }, 0, text },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct fault *what = &rows[i].fault;
		struct source *fault = open_fault(s, what, 1);
		for (uint64_t n = 0; n < 3; n++) {
			struct asked a;
			bool is_meant = what->nth == n || what->nth == UINT64_MAX;
			ask(s, fault, &a, 1);
			if (is_meant && rows[i].code)
				expect_failure(&a, rows[i].code, "made to fail");
			else
				expect_text(s, &a, is_meant ? rows[i].want : text);
			assert_int_equal(source_fault_count(fault), n + 1);
		}
		source_close(fault);
	}
}

static void uses_the_first_fault_that_fits(void **state)
{
	struct store *s = *state;
	const struct fault faults[] = {
		{ FAULT_NONE, 0, 0 },
		{ FAULT_CUT, 1, 1 },
		{ FAULT_FAIL, 1, -EIO },
		{ FAULT_CUT, UINT64_MAX, 2 },
	};
	const char *const want[] = { text, "0", "01", "01" };
	CLEANUP(source_closep) struct source *fault = open_fault(s, faults, ARRAY_LEN(faults));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		struct asked a;
		ask(s, fault, &a, 1);
		expect_text(s, &a, want[i]);
	}
}

static void spoils_nothing_that_failed_anyway(void **state)
{
	struct store *s = *state;
	const enum fault_kind kinds[] = { FAULT_NONE, FAULT_FLIP, FAULT_CUT, FAULT_DELAY };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct fault faults[] = { { kinds[i], UINT64_MAX, 0 } };
		CLEANUP(source_closep) struct source *fault = open_fault(s, faults, 1);
		struct asked a;
		ask(s, fault, &a, 2);
		expect_failure(&a, -ENOENT, "is missing");
	}
}

static void answers_late(void **state)
{
	struct store *s = *state;
	const struct fault faults[] = { { FAULT_DELAY, 0, 40 }, { FAULT_DELAY, 1, 20 } };
	CLEANUP(source_closep) struct source *fault = open_fault(s, faults, 2);
	struct asked a, b, c;
	int64_t begin = now_ns();
	ask(s, fault, &a, 1);
	ask(s, fault, &b, 1);
	ask(s, fault, &c, 1);
	expect_text(s, &c, text);
	expect_text(s, &b, text);
	expect_text(s, &a, text);
	assert_true(a.done_ns - begin >= 40 * 1000000);
	assert_true(b.done_ns - begin >= 20 * 1000000);
}

static bool is_answered(struct asked *a)
{
	int n;
	return sem_getvalue(&a->done, &n) == 0 && n > 0;
}

static void hangs_until_it_is_let_go(void **state)
{
	struct store *s = *state;
	void (*const ends[])(struct source *) = { source_fault_release, source_shutdown, source_close };
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		const struct fault faults[] = { { FAULT_HANG, 0, 0 }, { FAULT_HANG, 1, 0 },
						{ FAULT_DELAY, 2, 20 }, { FAULT_HANG, 3, 0 } };
		struct source *fault = open_fault(s, faults, ARRAY_LEN(faults));
		struct asked a, b, c, d;
		ask(s, fault, &a, 1);
		ask(s, fault, &b, 1);
		ask(s, fault, &c, 1);
		expect_text(s, &c, text); /* by the thread that looks after the other two as well */
		assert_false(is_answered(&a) || is_answered(&b));
		ends[i](fault);
		expect_text(s, &a, text);
		expect_text(s, &b, text);
		if (ends[i] == source_close)
			continue;
		ask(s, fault, &d, 1); /* no longer hangs */
		expect_text(s, &d, text);
		source_close(fault);
	}
}

/* -- what is passed through -- */

/* A source that holds its answers until it is closed, and counts what it is told. */
struct spy {
	struct source source;
	struct fetch *held;
	unsigned *n_closed, *n_shut_down, *n_good, *n_bad;
};

static struct spy *spy_of(struct source *source)
{
	return CONTAINER_OF(source, struct spy, source);
}

static void spy_close(struct source *source)
{
	struct spy *spy = spy_of(source);
	if (spy->held) {
		spy->held->result = err_set(&spy->held->err, -ESHUTDOWN, "closed");
		spy->held->done(spy->held);
	}
	++*spy->n_closed;
	free(spy);
}

static void spy_fetch(struct source *source, struct fetch *fetch)
{
	spy_of(source)->held = fetch;
}

static void spy_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
	++*(is_good ? spy_of(source)->n_good : spy_of(source)->n_bad);
}

static void spy_shutdown(struct source *source)
{
	++*spy_of(source)->n_shut_down;
}

static const struct source_ops spy_ops = {
	.close = spy_close,
	.fetch = spy_fetch,
	.verdict = spy_verdict,
	.shutdown = spy_shutdown,
};

static void passes_on_what_it_is_told(void **state)
{
	unsigned n_closed = 0, n_shut_down = 0, n_good = 0, n_bad = 0;
	struct spy *spy = calloc(1, sizeof *spy);
	struct source *fault;
	struct fetch fetch = { 0 };
	assert_non_null(spy);
	*spy = (struct spy){ { .ops = &spy_ops, .n_origins = 3, .uid = 34, .gid = 35 }, NULL,
			     &n_closed, &n_shut_down, &n_good, &n_bad };
	assert_int_equal(source_fault_open(&spy->source, NULL, 0, &fault, NULL), 0);
	assert_int_equal(fault->n_origins, 3);
	assert_int_equal(fault->uid, 34);
	assert_int_equal(fault->gid, 35);
	source_verdict(fault, &fetch, true);
	source_verdict(fault, &fetch, false);
	source_verdict(fault, &fetch, false);
	source_shutdown(fault);
	assert_int_equal(n_closed, 0);
	source_close(fault);
	assert_true(n_good == 1 && n_bad == 2 && n_shut_down == 1 && n_closed == 1);
}

static void answers_what_the_inner_source_holds_until_it_is_closed(void **state)
{
	struct store *s = *state;
	const enum fault_kind kinds[] = { FAULT_NONE, FAULT_HANG, FAULT_DELAY };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		unsigned n = 0;
		const struct fault faults[] = { { kinds[i], 0, 3600000 } };
		struct spy *spy = calloc(1, sizeof *spy);
		struct source *fault;
		struct asked a;
		assert_non_null(spy);
		*spy = (struct spy){ { .ops = &spy_ops }, NULL, &n, &n, &n, &n };
		assert_int_equal(source_fault_open(&spy->source, faults, 1, &fault, NULL), 0);
		ask(s, fault, &a, 1);
		source_close(fault);
		expect_failure(&a, -ESHUTDOWN, "closed");
	}
}

static void reads_and_lists_what_the_inner_source_has(void **state)
{
	struct store *s = *state;
	CLEANUP(strv_deinit) struct strv namespaces = STRV_EMPTY;
	CLEANUP(group_list_deinit) struct group_list groups = GROUP_LIST_EMPTY;
	CLEANUP(snapshot_list_deinit) struct snapshot_list snapshots = SNAPSHOT_LIST_EMPTY;
	CLEANUP(freep) uint8_t *data = NULL;
	size_t len;
	uint64_t copied;
	put_text(s->fd, "ns/a/vm/100/2024-01-01T00:00:00Z/index.json.blob", text);
	CLEANUP(source_closep) struct source *fault = open_fault(s, NULL, 0);
	assert_string_equal(fault->name, s->path);
	assert_int_equal(source_list_namespaces(fault, &namespaces, NULL), 0);
	assert_int_equal(source_list_groups(fault, "a", &groups, NULL), 0);
	assert_int_equal(source_list_snapshots(fault, "a", &groups.items[0].group, &snapshots, NULL), 0);
	assert_int_equal(namespaces.n + groups.n + snapshots.n, 3);
	assert_int_equal(source_open_snapshot(fault, "a", &snapshots.items[0].snapshot, NULL), 0);
	assert_int_equal(source_read_blob(fault, "index.json.blob", &data, &len, NULL), 0);
	assert_string_equal((char *)data, text);
	assert_int_equal(source_copy_index(fault, "index.json.blob", -1, &copied, NULL), -EBADF);

	CLEANUP(closep) int fd = openat(s->fd, "ns/a/vm/100/2024-01-01T00:00:00Z", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	fault->only_looks = true;
	assert_int_equal(source_open_snapshot(fault, "a", &snapshots.items[0].snapshot, NULL), 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(spoils_the_fetch_it_is_told_to),
		STORE_TEST(uses_the_first_fault_that_fits),
		STORE_TEST(spoils_nothing_that_failed_anyway),
		STORE_TEST(answers_late),
		STORE_TEST(hangs_until_it_is_let_go),
		TEST(passes_on_what_it_is_told),
		STORE_TEST(answers_what_the_inner_source_holds_until_it_is_closed),
		STORE_TEST(reads_and_lists_what_the_inner_source_has),
	};
	return RUN_TESTS(tests);
}
