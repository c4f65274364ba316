/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/tickets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "format/data.h"
#include "format/json.h"
#include "scratch.h"
#include "unit.h"

#define CACHE "run/proxmox-backup/tickets"
#define HOST "h.example.com"
#define USER "root@pam"

static int environment(void **state)
{
	(void) unlink(CACHE);
	return scratch_environment(state) || setenv("XDG_RUNTIME_DIR", "run", 1) < 0;
}

/* One entry as the reference client writes it, so old. */
static const char *one(const char *host, const char *user, int64_t age, const char *ticket, const char *token)
{
	static char text[1024];
	(void) snprintf(text, sizeof text, "{\"%s\":{\"%s\":{\"ticket\":%s,\"timestamp\":%lld,\"token\":%s}}}", host,
			user, ticket, (long long)(time(NULL) - age), token);
	return text;
}

static void gives_one_that_is_young_enough(void **state)
{
	static const struct {
		const char *host, *user;
		int64_t age;
		const char *ticket, *token;
		int r;
	} rows[] = {
		{ HOST, USER, 0, "\"PBS:root@pam:65937B5E::Zm9v\"", "\"65937B5E:YmFy\"", 1 },
		{ HOST, USER, 7100, "\"T\"", "\"C\"", 1 },
		{ HOST, USER, -290, "\"T\"", "\"C\"", 1 },
		{ HOST, USER, 7140, "\"T\"", "\"C\"", 0 },
		{ HOST, USER, 7200, "\"T\"", "\"C\"", 0 },
		{ HOST, USER, -310, "\"T\"", "\"C\"", 0 },
		{ HOST, USER, 1000000000000, "\"T\"", "\"C\"", 0 },
		{ "H", USER, 0, "\"T\"", "\"C\"", 0 },
		{ HOST ":8007", USER, 0, "\"T\"", "\"C\"", 0 },
		{ HOST, "root@pve", 0, "\"T\"", "\"C\"", 0 },
		{ HOST, USER, 0, "\"\"", "\"C\"", 0 },
		{ HOST, USER, 0, "1", "\"C\"", 0 },
		{ HOST, USER, 0, "\"T\"", "null", 0 },
		{ HOST, USER, 0, "\"T\\r\\nX: y\"", "\"C\"", 0 }, /* would be a header of its own */
		{ HOST, USER, 0, "\"T\"", "\"C\\n\"", 0 },
		{ HOST, USER, 0, "\"T\\u0000\"", "\"C\"", 0 },
		{ HOST, USER, 0, "\"T\xc3\xbc\"", "\"C\"", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pbs_ticket ticket = PBS_TICKET_NONE;
		struct err err = ERR_NONE;
		const char *text = one(rows[i].host, rows[i].user, rows[i].age, rows[i].ticket, rows[i].token);
		scratch_puts(CACHE, text);
		expect(text, tickets_load(HOST, USER, &ticket, &err), &err, rows[i].r, NULL);
		if (rows[i].r) {
			char quoted[100];
			(void) snprintf(quoted, sizeof quoted, "\"%s\"", (char *)ticket.ticket.data);
			assert_string_equal(quoted, rows[i].ticket);
			(void) snprintf(quoted, sizeof quoted, "\"%s\"", (char *)ticket.csrf.data);
			assert_string_equal(quoted, rows[i].token);
			assert_in_range(time(NULL) - ticket.since - rows[i].age, 0, 5);
		} else {
			assert_null(ticket.ticket.data);
		}
		pbs_ticket_deinit(&ticket);
	}
}

static struct pbs_ticket ticket_of(const char *text, const char *csrf, int64_t age)
{
	struct pbs_ticket ticket = { .since = time(NULL) - age };
	assert_int_equal(secret_init_copy(&ticket.ticket, text, strlen(text), NULL), 0);
	assert_int_equal(secret_init_copy(&ticket.csrf, csrf, strlen(csrf), NULL), 0);
	return ticket;
}

static int save(const char *host, const char *user, const char *text, struct err *err)
{
	struct pbs_ticket ticket = ticket_of(text, "csrf", 10);
	int r = tickets_save(host, user, &ticket, err);
	pbs_ticket_deinit(&ticket);
	return r;
}

/* The ticket's text; "" = none. */
static const char *loaded(const char *host, const char *user)
{
	static char text[256];
	struct pbs_ticket ticket = PBS_TICKET_NONE;
	text[0] = '\0';
	if (tickets_load(host, user, &ticket, NULL) > 0)
		(void) snprintf(text, sizeof text, "%s", (char *)ticket.ticket.data);
	pbs_ticket_deinit(&ticket);
	return text;
}

static void gives_back_what_was_saved(void **state)
{
	struct stat st;
	(void) rmdir("run/proxmox-backup");
	assert_int_equal(tickets_load(HOST, USER, NULL, NULL), 0);
	assert_int_equal(save(HOST, USER, "first", NULL), 0);
	assert_int_equal(save(HOST, "other@pam", "second", NULL), 0);
	assert_int_equal(save("[::1]", USER, "third", NULL), 0);
	assert_int_equal(save(HOST, USER, "newer", NULL), 0);
	assert_string_equal(loaded(HOST, USER), "newer");
	assert_string_equal(loaded(HOST, "other@pam"), "second");
	assert_string_equal(loaded("[::1]", USER), "third");
	assert_string_equal(loaded("::1", USER), "");
	assert_int_equal(stat(CACHE, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(tickets_forget(HOST, USER, NULL), 0);
	assert_int_equal(tickets_forget(HOST, "nobody@pam", NULL), 0);
	assert_string_equal(loaded(HOST, USER), "");
	assert_string_equal(loaded(HOST, "other@pam"), "second");
}

static void forgetting_makes_nothing(void **state)
{
	assert_int_equal(tickets_forget(HOST, USER, NULL), 0);
	assert_int_equal(access(CACHE, F_OK), -1);
	assert_int_equal(setenv("XDG_RUNTIME_DIR", "nowhere", 1), 0);
	assert_int_equal(tickets_forget(HOST, USER, NULL), 0);
	assert_int_equal(access("nowhere", F_OK), -1);
}

static int64_t timestamp_in(const char *host, const char *user)
{
	json_error_t why;
	CLEANUP(json_freep) json_t *cache = json_load_file(CACHE, 0, &why);
	assert_non_null(cache);
	return json_integer_value(json_object_get(json_object_get(json_object_get(cache, host), user), "timestamp"));
}

static void saving_drops_what_nobody_can_use(void **state)
{
	char text[1024];
	long long now = time(NULL);
	(void) snprintf(text, sizeof text, "{\"a\":{\"old@pam\":{\"ticket\":\"1\",\"timestamp\":%lld,\"token\":\"1\"}},"
			"\"b\":{\"old@pam\":{\"ticket\":\"1\",\"timestamp\":%lld,\"token\":\"1\"},"
			"\"new@pam\":{\"ticket\":\"2\",\"timestamp\":%lld,\"token\":\"2\",\"more\":3}},"
			"\"c\":[],\"d\":{},\"e\":{\"x@pam\":7}}", now - 7140, now - 8000, now - 7000);
	scratch_puts(CACHE, text);
	assert_int_equal(save("z", USER, "ticket", NULL), 0);
	json_error_t why;
	CLEANUP(json_freep) json_t *cache = json_load_file(CACHE, 0, &why);
	assert_int_equal(json_object_size(cache), 2);
	assert_int_equal(json_object_size(json_object_get(cache, "b")), 1);
	assert_int_equal(timestamp_in("b", "new@pam"), now - 7000);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json_object_get(cache, "b"), "new@pam"),
							    "more")), 3);
	assert_in_range(time(NULL) - timestamp_in("z", USER), 10, 15);
}

/* Not an error of the command: the message is for a note, and the next log-in makes it good. */
static void a_broken_cache_is_said_and_begun_anew(void **state)
{
	static const char *const rows[] = {
		"", "no JSON", "[]", "{\"a\":", "{\"a\":{},\"a\":{}}", "\xff\xfe",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pbs_ticket ticket;
		struct err err = ERR_NONE;
		scratch_puts(CACHE, rows[i]);
		expect(rows[i], tickets_load(HOST, USER, &ticket, &err), &err, -EBADMSG, NULL);
		assert_int_equal(tickets_forget(HOST, USER, NULL), 0);
		assert_int_equal(save(HOST, USER, "new", NULL), 0);
		assert_string_equal(loaded(HOST, USER), "new");
	}
}

static void nothing_that_others_may_touch_is_used(void **state)
{
	struct pbs_ticket ticket;
	struct err err = ERR_NONE;
	struct stat st;
	scratch_puts(CACHE, one(HOST, USER, 0, "\"foreign\"", "\"C\""));
	assert_int_equal(chmod(CACHE, 0644), 0);
	expect("readable", tickets_load(HOST, USER, &ticket, &err), &err, -EPERM, CACHE);
	assert_int_equal(save(HOST, "other@pam", "own", NULL), 0);
	assert_int_equal(stat(CACHE, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_string_equal(loaded(HOST, USER), "");
	assert_string_equal(loaded(HOST, "other@pam"), "own");

	assert_int_equal(chmod("run/proxmox-backup", 0750), 0);
	expect("load", tickets_load(HOST, USER, &ticket, &err), &err, -EPERM, "run/proxmox-backup");
	expect("save", save(HOST, USER, "secret", &err), &err, -EPERM, "run/proxmox-backup");
	expect("forget", tickets_forget(HOST, USER, &err), &err, -EPERM, "run/proxmox-backup");
	assert_int_equal(chmod("run/proxmox-backup", 0700), 0);
	assert_string_equal(loaded(HOST, USER), "");

	assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
	assert_int_equal(tickets_load(HOST, USER, &ticket, NULL), 0);
	assert_int_equal(save(HOST, USER, "secret", NULL), 0);
}

#define N_WRITERS 6
#define N_EACH	  15

static void writers_at_the_same_time_lose_nothing(void **state)
{
	pid_t writers[N_WRITERS];
	char user[32];
	int r;
	for (int w = 0; w < N_WRITERS; w++) {
		writers[w] = fork();
		assert_true(writers[w] >= 0);
		for (int i = 0; writers[w] == 0 && i < N_EACH; i++) {
			(void) snprintf(user, sizeof user, "u%d-%d@pam", w, i);
			while ((r = save(i % 2 ? HOST : "other", user, user, NULL)) == -EBUSY)
				; /* a slow disk */
			if (r < 0)
				_exit(1);
		}
		if (writers[w] == 0)
			_exit(0);
	}
	for (int w = 0; w < N_WRITERS; w++) {
		int status;
		assert_int_equal(waitpid(writers[w], &status, 0), writers[w]);
		assert_int_equal(status, 0);
	}
	for (int w = 0; w < N_WRITERS; w++) {
		for (int i = 0; i < N_EACH; i++) {
			(void) snprintf(user, sizeof user, "u%d-%d@pam", w, i);
			assert_string_equal(loaded(i % 2 ? HOST : "other", user), user);
		}
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, environment)

static int begin(void **state)
{
	return scratch_begin(state) || mkdir("run", 0700) < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(gives_one_that_is_young_enough),
		TEST_HERE(gives_back_what_was_saved),
		TEST_HERE(forgetting_makes_nothing),
		TEST_HERE(saving_drops_what_nobody_can_use),
		TEST_HERE(a_broken_cache_is_said_and_begun_anew),
		TEST_HERE(nothing_that_others_may_touch_is_used),
		TEST_HERE(writers_at_the_same_time_lose_nothing),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
