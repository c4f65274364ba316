/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_session.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "pbs_fake.h"
#include "scratch.h"
#include "unit.h"
#include "util/buf.h"

#define SOON_NS 5000000000 /* what does not wait for anything takes less */

static uint8_t file[300000];

struct scene {
	struct pbs_fake *fake;
	struct pbs_server server;
	struct pbs_reader reader;
	struct pbs_session session;
	struct buf got;
	int sink_code; /* what the sink says */
};

static void begin_with(struct scene *s, bool with_ticket, int64_t timeout_ms)
{
	struct pbs_repository repository;
	struct pbs_options options;
	memset(s, 0, sizeof *s);
	s->fake = pbs_fake_start();
	pbs_fake_options(s->fake, with_ticket, &repository, &options);
	options.timeout_ms = timeout_ms;
	assert_int_equal(pbs_server_init(&s->server, &options, NULL), 0);
	s->reader.server = &s->server;
	assert_int_equal(snapshot_parse("vm/100/2024-01-01T00:00:00Z", &s->reader.snapshot, NULL), 0);
	pbs_fake_put_file(s->fake, "a.blob", file, sizeof file);
	pbs_session_init(&s->session, &s->reader);
}

static void begin(struct scene *s)
{
	struct err err = ERR_NONE;
	begin_with(s, false, 20000);
	if (pbs_session_open(&s->session, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(pbs_session_is_open(&s->session));
}

static void end(struct scene *s)
{
	pbs_session_deinit(&s->session);
	pbs_server_deinit(&s->server);
	pbs_fake_stop(s->fake);
	buf_deinit(&s->got);
}

static void expect(int r, const struct err *err, int code, const char *words)
{
	if (r != code)
		fail_msg("%d and not %d: %s", r, code, err->msg);
	assert_int_equal(err->code, code);
	if (!strstr(err->msg, words))
		fail_msg("'%s' does not say '%s'", err->msg, words);
}

static int take(void *user, const uint8_t *data, size_t len, struct err *err)
{
	struct scene *s = user;
	if (s->sink_code)
		return err_set(err, s->sink_code, "the disk is full");
	return buf_add(&s->got, data, len, err);
}

static int download(struct scene *s, const char *name, uint64_t max_len, struct err *err)
{
	const struct pbs_sink sink = { .take = take, .user = s, .max_len = max_len };
	buf_deinit(&s->got);
	*err = ERR_NONE;
	return pbs_session_download(&s->session, name, &sink, err);
}

static void expect_file(struct scene *s)
{
	struct err err;
	if (download(s, "a.blob", sizeof file, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(s->got.len, sizeof file);
	assert_memory_equal(s->got.data, file, sizeof file);
}

/* -- becoming a reader ----------------------------------------------------------------------- */

static void asks_to_read_one_snapshot(void **state)
{
	struct scene s;
	struct fake_seen seen;
	char want[500];
	begin_with(&s, false, 20000);
	strcpy(s.reader.ns, "a/b");
	assert_int_equal(pbs_session_open(&s.session, NULL), 0);
	pbs_fake_seen(s.fake, &seen);
	(void) snprintf(want, sizeof want, "GET /api2/json/reader?backup-id=100&backup-time=1704067200&backup-type=vm&"
			"ns=a%%2Fb&store=store HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: pbsmap\r\n"
			"Connection: upgrade\r\nUpgrade: proxmox-backup-reader-protocol-v1\r\n"
			"Authorization: PBSAPIToken u@pam!t:secret\r\n\r\n", (unsigned)s.session.link.port);
	assert_string_equal(seen.upgrade, want);
	expect_file(&s);
	end(&s);
}

static void says_why_it_may_not_read(void **state)
{
	static const struct {
		int status;
		const char *text;
		int code;
		const char *words;
	} rows[] = {
		{ 401, "authentication failed - no such token", -EACCES, "wrong password or token" },
		{ 400, "permission check failed.", -EACCES, "the server refuses it: permission check failed." },
		{ 400, "snapshot vm/100/2024-01-01T00:00:00Z does not exist", -ENOENT, "it is not there" },
		{ 400, "unable to acquire shared snapshot lock", -EBUSY, "it is being removed or written" },
		{ 400, "datastore 'x' is in offline maintenance mode", -EAGAIN, "does not give the datastore out" },
		{ 301, "", -EPROTO, "the server sends elsewhere" },
		{ 503, "", -EREMOTEIO, "trouble of its own" },
	};
	struct scene s;
	begin_with(&s, false, 20000);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err err = ERR_NONE;
		pbs_fake_upgrade(s.fake, rows[i].status, rows[i].text);
		expect(pbs_session_open(&s.session, &err), &err, rows[i].code, rows[i].words);
		assert_false(pbs_session_is_open(&s.session));
	}
	pbs_fake_upgrade(s.fake, 0, NULL);
	assert_int_equal(pbs_session_open(&s.session, NULL), 0);
	expect_file(&s);
	end(&s);
}

/* A ticket may be void whatever its age: another one, but only one. */
static void logs_in_again_when_the_server_does_not_like_the_ticket(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	struct fake_seen seen;
	begin_with(&s, true, 20000);
	pbs_fake_upgrade(s.fake, 401, "invalid ticket");
	expect(pbs_session_open(&s.session, &err), &err, -EACCES, "wrong password or token, or the ticket expired");
	pbs_fake_seen(s.fake, &seen);
	assert_int_equal(seen.n_logins, 2);
	end(&s);
}

static void waits_for_an_answer_as_long_as_it_may(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	begin_with(&s, false, 300);
	pbs_fake_upgrade(s.fake, -1, NULL);
	int64_t start_ns = now_ns();
	expect(pbs_session_open(&s.session, &err), &err, -ETIMEDOUT, "does not answer in time");
	assert_true(now_ns() - start_ns >= 300000000);
	assert_true(now_ns() - start_ns < SOON_NS);
	end(&s);
}

/* However long a user looks for the password, the server has its own time. */
static int tell_slowly(void *user, struct secret *ret, struct err *err)
{
	(void) usleep(700000);
	return secret_init_copy(ret, "secret", 6, err);
}

static void does_not_take_the_users_time_for_the_servers(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	begin_with(&s, true, 600);
	s.server.guide.password = tell_slowly;
	expect(pbs_session_open(&s.session, &err), &err, 0, "");
	end(&s);
}

static void gives_up_at_once_when_it_is_stopped(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	begin(&s);
	pbs_server_stop(&s.server);
	expect(download(&s, "a.blob", sizeof file, &err), &err, -ECANCELED, "stopped");
	int64_t start_ns = now_ns();
	expect(pbs_session_open(&s.session, &err), &err, -ECANCELED, "given up");
	assert_true(now_ns() - start_ns < SOON_NS);
	end(&s);
}

/* -- files ----------------------------------------------------------------------------------- */

static void gives_whole_files_and_says_what_is_none(void **state)
{
	struct scene s;
	struct err err;
	begin(&s);
	int64_t start_ns = now_ns();
	expect(download(&s, "nothing.blob", 1000, &err), &err, -ENOENT, "it is not there: No such file");
	expect_file(&s);
	expect(download(&s, "a.blob", sizeof file - 1, &err), &err, -EBADMSG, "too long: more than 299999 bytes");
	expect(download(&s, "a.blob", 0, &err), &err, -EBADMSG, "too long");
	s.sink_code = -ENOSPC;
	expect(download(&s, "a.blob", sizeof file, &err), &err, -ENOSPC, "the disk is full");
	s.sink_code = 0;
	expect_file(&s); /* on the same connection */
	struct fake_seen seen;
	pbs_fake_seen(s.fake, &seen);
	assert_int_equal(seen.n_readers, 1);
	assert_true(now_ns() - start_ns < SOON_NS);
	end(&s);
}

static void has_nothing_more_once_it_was_lost(void **state)
{
	struct scene s;
	struct err err;
	begin(&s);
	tls_peer_cut(pbs_fake_server(s.fake));
	expect(download(&s, "a.blob", sizeof file, &err), &err, -ECONNRESET, "127.0.0.1");
	assert_false(pbs_session_is_open(&s.session));
	expect(download(&s, "a.blob", sizeof file, &err), &err, -ECONNRESET, "127.0.0.1");
	assert_int_equal(pbs_session_open(&s.session, NULL), 0);
	expect_file(&s);
	end(&s);
}

static void finds_a_server_that_is_stuck_in_a_file(void **state)
{
	struct scene s;
	struct err err;
	begin(&s);
	expect_file(&s);
	s.session.ping_after_ms = 50;
	pbs_fake_freeze(s.fake);
	expect(download(&s, "a.blob", sizeof file, &err), &err, -ETIMEDOUT, "127.0.0.1 does not answer any more");
	assert_false(pbs_session_is_open(&s.session));
	end(&s);
}

/* -- turns ----------------------------------------------------------------------------------- */

static void ends_a_turn_when_it_is_woken_or_its_time_is_over(void **state)
{
	struct scene s;
	struct err err = ERR_NONE;
	eventfd_t n = 0;
	begin(&s);
	CLEANUP(closep) int wake_fd = eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK);
	s.session.has_more = false;
	expect(pbs_session_turn(&s.session, wake_fd, DEADLINE_NEVER, &err), &err, 0, "");
	while (eventfd_read(wake_fd, &n) == 0) /* it was something else that came: once more */
		(void) eventfd_write(wake_fd, n), expect(pbs_session_turn(&s.session, wake_fd, DEADLINE_NEVER, &err), &err, 0, "");
	struct deadline until = deadline_in_ms(50);
	while (!deadline_is_over(until))
		expect(pbs_session_turn(&s.session, wake_fd, until, &err), &err, 0, "");
	end(&s);
}

int main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof file; i++)
		file[i] = (uint8_t)(i * 31 + (i >> 8));
	const struct CMUnitTest tests[] = {
		TEST(asks_to_read_one_snapshot),
		TEST(says_why_it_may_not_read),
		TEST(logs_in_again_when_the_server_does_not_like_the_ticket),
		TEST(waits_for_an_answer_as_long_as_it_may),
		TEST(does_not_take_the_users_time_for_the_servers),
		TEST(gives_up_at_once_when_it_is_stopped),
		TEST(gives_whole_files_and_says_what_is_none),
		TEST(has_nothing_more_once_it_was_lost),
		TEST(finds_a_server_that_is_stuck_in_a_file),
		TEST(ends_a_turn_when_it_is_woken_or_its_time_is_over),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
