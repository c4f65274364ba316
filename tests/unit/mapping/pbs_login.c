/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/pbs_login.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fake_server.h"
#include "format/data.h"
#include "mapping/fingerprints.h"
#include "mapping/tickets.h"
#include "scratch.h"
#include "store.h"
#include "terminal.h"
#include "unit.h"

#define USER "u@pam@h:s"
#define TOKEN "u@pam!t@h:s"

/* 32 times the same byte. */
#define FOUR(b) b ":" b ":" b ":" b
#define SIXTEEN(b) FOUR(b) ":" FOUR(b) ":" FOUR(b) ":" FOUR(b)
#define FP(b) SIXTEEN(b) ":" SIXTEEN(b)
static const uint8_t elevens[DIGEST_SIZE] = "\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11"
					    "\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11";

static int begin(void **state)
{
	leave_terminal();
	return scratch_begin(state);
}

static void set(const char *name, const char *value)
{
	assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

/* An empty configuration and runtime directory. */
static int environment(void **state)
{
	if (system("rm -rf run config && mkdir -m 700 run config") != 0 || scratch_environment(state))
		return -1;
	set("XDG_CONFIG_HOME", "config");
	set("XDG_RUNTIME_DIR", "run");
	return 0;
}

/* A command with a server open, and what it said. */
struct opened {
	struct source *source; /* NULL: refused */
	struct pbs_options *options;
	struct pbs_guide *guide;
	struct strv said;
	struct err err;
	int r;
};

static void open_with(struct opened *ret, const char *text, const char *fingerprint)
{
	struct pbs_repository repository;
	*ret = (struct opened){ 0 };
	struct repository_options options = store_options(&ret->said);
	options.fingerprint = fingerprint;
	options.n_connections = 7;
	assert_int_equal(pbs_repository_parse(text, &repository, NULL), 0);
	ret->r = pbs_login_open(&options, &repository, &ret->source, &ret->err);
	assert_int_equal(ret->r == 0, ret->source != NULL);
	if (!ret->source)
		return;
	ret->options = &fake_server_of(ret->source)->options;
	ret->guide = &ret->options->guide;
}

static void opened_close(struct opened *opened)
{
	source_close(opened->source);
	strv_deinit(&opened->said);
}

/* Compares what the guide gives with @want, NULL = nothing. */
static int password(struct opened *opened, const char *want)
{
	CLEANUP(secret_deinit) struct secret given = SECRET_EMPTY;
	int r = opened->guide->password(opened->guide->user, &given, &opened->err);
	assert_int_equal(r == 0, want != NULL);
	if (want)
		assert_string_equal((char *)given.data, want);
	return r;
}

static void hands_on_what_was_asked_for(void **state)
{
	struct opened opened;
	set("PBS_PASSWORD", "x");
	open_with(&opened, "u@pam!t@[::1]:9:store", NULL);
	const struct fake_server *fake = fake_server_of(opened.source);
	assert_string_equal(opened.source->name, "u@pam!t@[::1]:9:store");
	assert_int_equal(fake->options.n_connections, 7);
	assert_true(fake->repository.is_token);
	opened_close(&opened);
}

static void takes_the_password_from_the_environment(void **state)
{
	static const struct {
		const char *repository, *name, *value, *password; /* NULL: refused */
		const char *words;				  /* then, else what is said */
	} rows[] = {
		{ USER, "PBS_PASSWORD", "secret", "secret", "" },
		{ USER, "PBS_PASSWORD", "secret\nmore", "secret", "" },
		{ USER, "PBS_PASSWORD", "", "", "" },
		{ USER, "PBS_PASSWORD_FILE", "secret.txt", "from a file", "" },
		{ USER, "PBS_PASSWORD_CMD", "echo from a command", "from a command", "" },
		{ USER, "CREDENTIALS_DIRECTORY", "plain", "from systemd", "" },
		{ USER, "CREDENTIALS_DIRECTORY", "ended", "from systemd\n", "warning: the credential "
		  "proxmox-backup-client.password ends with a line end, which is taken for a part of the password" },
		{ TOKEN, "PBS_PASSWORD", "secret", "secret", "" },
		{ TOKEN, "PBS_PASSWORD_FILE", "secret.txt", "from a file", "" },
		{ TOKEN, "PBS_PASSWORD", "", NULL, "API token secret must be provided for u@pam!t" },
		{ TOKEN, "X", "", NULL, "API token secret must be provided for u@pam!t: set PBS_PASSWORD" },
		{ USER, "PBS_PASSWORD_FILE", "nowhere", NULL, "PBS_PASSWORD_FILE: cannot open nowhere" },
		{ USER, "PBS_PASSWORD_CMD", "false", NULL, "PBS_PASSWORD_CMD: false failed" },
		{ TOKEN, "PBS_PASSWORD_CMD", "false", NULL, "PBS_PASSWORD_CMD: false failed" },
	};
	scratch_puts("secret.txt", "from a file\r\n");
	scratch_puts("plain/proxmox-backup-client.password", "from systemd");
	scratch_puts("ended/proxmox-backup-client.password", "from systemd\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct opened opened;
		assert_int_equal(environment(state), 0);
		set(rows[i].name, rows[i].value);
		open_with(&opened, rows[i].repository, NULL);
		expect(rows[i].value, opened.r, &opened.err, rows[i].password ? 0 : -EACCES,
		       rows[i].password ? NULL : rows[i].words);
		assert_null(getenv("PBS_PASSWORD"));
		assert_string_equal(joined(&opened.said), rows[i].password ? rows[i].words : "");
		if (rows[i].password) {
			assert_int_equal(password(&opened, rows[i].password), 0);
			assert_int_equal(password(&opened, rows[i].password), 0); /* the session is made again */
		}
		opened_close(&opened);
	}
}

static void says_where_a_password_could_come_from(void **state)
{
	struct opened opened;
	open_with(&opened, USER, NULL);
	assert_int_equal(opened.r, 0); /* perhaps it is not asked for */
	expect("none", password(&opened, NULL), &opened.err, -EACCES, "no password for u@pam: set PBS_PASSWORD, or its "
	       "_FD, _FILE or _CMD form (sudo drops it: sudo --preserve-env=PBS_PASSWORD), or call from a terminal");
	opened_close(&opened);
}

/* -- tickets --------------------------------------------------------------------------------- */

static void keep_ticket(struct opened *opened, const char *text)
{
	struct pbs_ticket ticket = { .since = time(NULL) };
	assert_int_equal(secret_init_copy(&ticket.ticket, text, strlen(text), NULL), 0);
	assert_int_equal(secret_init_copy(&ticket.csrf, "csrf", 4, NULL), 0);
	opened->guide->new_ticket(opened->guide->user, &ticket);
	pbs_ticket_deinit(&ticket);
}

static void open_and_keep(const char *repository, const char *text)
{
	struct opened opened;
	set("PBS_PASSWORD", "secret");
	open_with(&opened, repository, NULL);
	assert_int_equal(opened.r, 0);
	keep_ticket(&opened, text);
	assert_string_equal(joined(&opened.said), "");
	opened_close(&opened);
}

/* The ticket that a command would begin with; "" = none. */
static void expect_ticket(const char *repository, const char *secret, const char *want)
{
	struct opened opened;
	set("PBS_PASSWORD", secret);
	open_with(&opened, repository, NULL);
	assert_int_equal(opened.r, 0);
	const struct secret *ticket = &opened.options->take_ticket.ticket;
	assert_string_equal(ticket->data ? (char *)ticket->data : "", want);
	opened_close(&opened);
}

static void a_ticket_is_for_the_next_command_without_a_password(void **state)
{
	open_and_keep(USER, "kept");
	expect_ticket(USER, NULL, "kept");
	expect_ticket("u@pam@h:9999:other", NULL, "kept"); /* tickets are the host's */
	expect_ticket(USER, "secret", "");
	expect_ticket(TOKEN, "secret", "");
	expect_ticket("v@pam@h:s", NULL, "");
	expect_ticket("u@pam@i:s", NULL, "");
}

static void a_token_leaves_no_ticket(void **state)
{
	open_and_keep(TOKEN, "kept");
	assert_int_equal(access("run/proxmox-backup/tickets", F_OK), -1);
}

/* The server did not take it, or no password would be asked for. */
static void a_ticket_that_did_not_do_is_forgotten(void **state)
{
	struct opened opened;
	open_and_keep(USER, "kept");
	set("PBS_PASSWORD", NULL);
	open_with(&opened, USER, NULL);
	assert_string_equal((char *)opened.options->take_ticket.ticket.data, "kept");
	assert_int_equal(password(&opened, NULL), -EACCES);
	opened_close(&opened);
	expect_ticket(USER, NULL, "");
}

static void a_ticket_cache_out_of_order_is_said_once_and_left_out(void **state)
{
	struct opened opened;
	assert_int_equal(mkdir("run/proxmox-backup", 0750), 0);
	open_with(&opened, USER, NULL);
	assert_int_equal(opened.r, 0);
	keep_ticket(&opened, "kept");
	assert_string_equal(joined(&opened.said), "warning: the ticket cache is left out: run/proxmox-backup belongs to "
			    "somebody else, or others may use it");
	opened_close(&opened);
	assert_int_equal(access("run/proxmox-backup/tickets", F_OK), -1);
}

/* -- the certificate ------------------------------------------------------------------------- */

enum trust { NOTHING, KNOWN, PINNED };

static void the_fingerprint_is_the_option_else_the_environment_else_the_known_one(void **state)
{
	static const struct {
		const char *option, *name, *value, *known;
		enum trust trust;
		uint8_t byte;
		const char *words; /* refused */
	} rows[] = {
		{ NULL, "X", "", NULL, NOTHING, 0, NULL },
		{ NULL, "X", "", "h " FP("33") "\n", KNOWN, 0x33, NULL },
		{ NULL, "X", "", "i " FP("33") "\n", NOTHING, 0, NULL },
		{ NULL, "PBS_FINGERPRINT", FP("22"), "h " FP("33") "\n", PINNED, 0x22, NULL },
		{ NULL, "PBS_FINGERPRINT", FP("AB"), NULL, PINNED, 0xab, NULL },
		{ NULL, "PBS_FINGERPRINT", "", "h " FP("33") "\n", KNOWN, 0x33, NULL },
		{ NULL, "PBS_FINGERPRINT_FILE", "22.txt", NULL, PINNED, 0x22, NULL },
		{ NULL, "PBS_FINGERPRINT_CMD", "cat 22.txt", NULL, PINNED, 0x22, NULL },
		{ NULL, "CREDENTIALS_DIRECTORY", "credentials", NULL, PINNED, 0x44, NULL },
		{ FP("11"), "PBS_FINGERPRINT", FP("22"), "h " FP("33") "\n", PINNED, 0x11, NULL },
		{ FP("11"), "PBS_FINGERPRINT", "22", NULL, PINNED, 0x11, NULL },
		{ NULL, "PBS_FINGERPRINT", "22:22", NULL, 0, 0, "PBS_FINGERPRINT is no fingerprint: SHA-256" },
		{ NULL, "PBS_FINGERPRINT", FP("22") " ", NULL, 0, 0, "PBS_FINGERPRINT is no fingerprint" },
		{ NULL, "PBS_FINGERPRINT_FILE", "known.txt", NULL, 0, 0, "PBS_FINGERPRINT is no fingerprint" },
		{ "", "PBS_FINGERPRINT", FP("22"), NULL, 0, 0, "--fingerprint is no fingerprint" },
		{ "22", "X", "", NULL, 0, 0, "--fingerprint is no fingerprint" },
	};
	scratch_puts("22.txt", FP("22") "\r\nmore");
	scratch_puts("known.txt", "h " FP("22") "\n");
	scratch_puts("credentials/proxmox-backup-client.fingerprint", FP("44") "\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct opened opened;
		uint8_t want[DIGEST_SIZE];
		assert_int_equal(environment(state), 0);
		set(rows[i].name, rows[i].value);
		if (rows[i].known)
			scratch_puts("config/proxmox-backup/fingerprints", rows[i].known);
		memset(want, rows[i].byte, sizeof want);
		open_with(&opened, USER, rows[i].option);
		expect(rows[i].value, opened.r, &opened.err, rows[i].words ? -EINVAL : 0, rows[i].words);
		assert_string_equal(joined(&opened.said), "");
		if (!rows[i].words) {
			assert_int_equal(opened.options->is_pinned, rows[i].trust == PINNED);
			assert_int_equal(opened.options->is_known, rows[i].trust == KNOWN);
			assert_memory_equal(opened.options->fingerprint, want, DIGEST_SIZE);
		}
		opened_close(&opened);
	}
}

static void a_file_of_fingerprints_out_of_order_is_said(void **state)
{
	struct opened opened;
	scratch_puts("config/proxmox-backup/fingerprints/x", "");
	open_with(&opened, USER, NULL);
	assert_int_equal(opened.r, 0);
	assert_false(opened.options->is_known);
	assert_string_equal(joined(&opened.said), "warning: the known fingerprints are left out: "
			    "config/proxmox-backup/fingerprints is not a regular file");
	opened_close(&opened);
}

static int confirm(struct opened *opened, const uint8_t fingerprint[static DIGEST_SIZE])
{
	return opened->guide->unknown_certificate(opened->guide->user, fingerprint, &opened->err);
}

static void without_a_terminal_an_unknown_certificate_is_refused(void **state)
{
	struct opened opened;
	open_with(&opened, "u@pam@[2001:db8::1]:s", NULL);
	expect("unknown", confirm(&opened, elevens), &opened.err, -EACCES, "nothing vouches for the certificate of "
	       "[2001:db8::1], whose fingerprint is " FP("11") "; if that is right, give it as --fingerprint or "
	       "PBS_FINGERPRINT");
	opened_close(&opened);
	assert_int_equal(access("config/proxmox-backup", F_OK), -1);
}

/* -- on a terminal --------------------------------------------------------------------------- */

struct talk {
	bool never_asks;
	bool wants_certificate, wants_password;
	bool is_remembered; /* afterwards */
	const char *known;  /* before */
	struct turn turns[4];
	int r;
	const char *shown, *words;
};

static int talk_as_child(void *user)
{
	const struct talk *talk = user;
	struct opened opened = { 0 };
	struct pbs_repository repository;
	struct repository_options options = store_options(&opened.said);
	options.never_asks = talk->never_asks;
	int r = pbs_repository_parse(USER, &repository, NULL);
	if (r == 0)
		r = pbs_login_open(&options, &repository, &opened.source, NULL);
	if (r < 0)
		return 100;
	opened.guide = &fake_server_of(opened.source)->options.guide;
	if (talk->wants_certificate)
		r = confirm(&opened, elevens);
	for (int i = 0; r == 0 && talk->wants_password && i < 2; i++) { /* the second time it is known */
		CLEANUP(secret_deinit) struct secret given = SECRET_EMPTY;
		r = opened.guide->password(opened.guide->user, &given, &opened.err);
		if (r == 0 && strcmp((char *)given.data, "typed secret") != 0)
			r = -101;
	}
	if (r < 0 && talk->words && !strstr(opened.err.msg, talk->words))
		r = -102;
	bool is_silent = opened.said.n == 0;
	opened_close(&opened);
	return is_silent ? -r : 103;
}

#define ASK_CERTIFICATE "Nothing vouches for the certificate of h.\r\nfingerprint: " FP("11") \
			"\r\nAre you sure you want to continue connecting? (y/n): "
#define ASK_PASSWORD "Password for \"u@pam\": "

static void on_a_terminal_the_user_decides(void **state)
{
	static const struct talk rows[] = {
		{ .wants_password = true, .turns = { { ASK_PASSWORD, "typed secret\r" } },
		  .shown = ASK_PASSWORD "************\r\n" },
		{ .wants_password = true, .turns = { { ASK_PASSWORD, "typed\003" } }, .r = EINTR,
		  .shown = ASK_PASSWORD "*****\r\n" },
		{ .wants_certificate = true, .turns = { { ASK_CERTIFICATE, "y\r" } }, .is_remembered = true,
		  .shown = ASK_CERTIFICATE "y\r\n" },
		{ .wants_certificate = true, .wants_password = true, .is_remembered = true,
		  .turns = { { ASK_CERTIFICATE, "x\r" }, { ASK_CERTIFICATE, "Y\r" }, { ASK_PASSWORD, "typed secret\r" } },
		  .shown = ASK_CERTIFICATE "x\r\n" ASK_CERTIFICATE "Y\r\n" ASK_PASSWORD "************\r\n" },
		{ .wants_certificate = true, .turns = { { ASK_CERTIFICATE, "n\r" } }, .r = EACCES,
		  .shown = ASK_CERTIFICATE "n\r\n", .words = "not confirmed" },
		{ .wants_certificate = true, .turns = { { ASK_CERTIFICATE, "\003" } }, .r = EINTR,
		  .shown = ASK_CERTIFICATE },
		/* That it has changed is no question. */
		{ .wants_certificate = true, .known = "h " FP("22") "\n", .r = EACCES, .shown = "",
		  .words = "the certificate of h has changed: its fingerprint was " FP("22") ", and is " FP("11") },
		{ .never_asks = true, .wants_certificate = true, .r = EACCES, .shown = "",
		  .words = "nothing vouches for the certificate of h, whose fingerprint is " FP("11") },
		{ .never_asks = true, .wants_password = true, .r = EACCES, .shown = "", .words = "set PBS_PASSWORD" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct talk talk = rows[i];
		char shown[1024];
		uint8_t found[DIGEST_SIZE] = { 0 };
		assert_int_equal(environment(state), 0);
		if (talk.known)
			scratch_puts("config/proxmox-backup/fingerprints", talk.known);
		int status = on_terminal(talk_as_child, &talk, talk.turns, shown, sizeof shown);
		if (status != talk.r || strncmp(shown, talk.shown, strlen(talk.shown)) != 0 ||
		    (!*talk.shown && *shown))
			fail_msg("talk %zu: status %d, shown '%s'", i, status, shown);
		int r = fingerprints_find("h", found, NULL);
		assert_int_equal(r > 0 && memcmp(found, elevens, DIGEST_SIZE) == 0, talk.is_remembered);
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, environment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(hands_on_what_was_asked_for),
		TEST_HERE(takes_the_password_from_the_environment),
		TEST_HERE(says_where_a_password_could_come_from),
		TEST_HERE(a_ticket_is_for_the_next_command_without_a_password),
		TEST_HERE(a_token_leaves_no_ticket),
		TEST_HERE(a_ticket_that_did_not_do_is_forgotten),
		TEST_HERE(a_ticket_cache_out_of_order_is_said_once_and_left_out),
		TEST_HERE(the_fingerprint_is_the_option_else_the_environment_else_the_known_one),
		TEST_HERE(a_file_of_fingerprints_out_of_order_is_said),
		TEST_HERE(without_a_terminal_an_unknown_certificate_is_refused),
		TEST_HERE(on_a_terminal_the_user_decides),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
