/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "format/data.h"
#include "scratch.h"
#include "unit.h"
#include "util/file.h"
#include "util/strv.h"

#define VALUE_MAX (64u << 10)

enum form { PLAIN, FD, FILE_, CMD, CREDENTIAL, N_FORMS };
static const char *const form_names[] = { "NAME", "_FD", "_FILE", "_CMD", "credential" };
static int fds[2] = { -EBADF, -EBADF }; /* of the FD form: to read from, and to keep */

static int drop_fds(void **state)
{
	closep(&fds[0]);
	closep(&fds[1]);
	return 0;
}

/* These bytes where @form has them. */
static void put(enum form form, const char *data, size_t len)
{
	char number[16];
	drop_fds(NULL);
	switch (form) {
	case PLAIN:
		assert_int_equal(setenv("PBS_TEST", data, 1), 0);
		break;
	case FD:
		fds[0] = memfd_create("secret", MFD_CLOEXEC);
		assert_true(fds[0] >= 0 && write_full(fds[0], data, len) == 0 && lseek(fds[0], 0, SEEK_SET) == 0);
		(void) snprintf(number, sizeof number, "%d", fds[0]);
		assert_int_equal(setenv("PBS_TEST_FD", number, 1), 0);
		break;
	case FILE_:
		scratch_write("a secret", data, len);
		assert_int_equal(setenv("PBS_TEST_FILE", "a secret", 1), 0);
		break;
	case CMD:
		scratch_write("a 'secret'", data, len);
		assert_int_equal(setenv("PBS_TEST_CMD", " cat 'a '\\''secret'\\'", 1), 0);
		break;
	default:
		scratch_write("credentials/proxmox-backup-client.test", data, len);
		assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "credentials", 1), 0);
	}
}

/* The value is these bytes, or there is none. */
static void must_give(const char *row, const char *want, size_t len)
{
	CLEANUP(secret_deinit) struct secret value = SECRET_EMPTY;
	struct err err = ERR_NONE;
	expect(row, environment_value("PBS_TEST", "test", &value, &err), &err, want != NULL, NULL);
	if (want && (value.len != len || memcmp(value.data, want, len) != 0))
		fail_msg("%s: '%s', not '%s'", row, (char *)value.data, want);
}

static void must_fail(const char *row, const char *words)
{
	struct secret value = SECRET_EMPTY;
	struct err err = ERR_NONE;
	expect(row, environment_value("PBS_TEST", "test", &value, &err), &err, -EACCES, words);
	assert_null(value.data);
}

static void takes_the_first_line_of_every_form_but_all_of_a_credential(void **state)
{
	static const struct {
		const char *text, *first;
	} rows[] = {
		{ "secret", "secret" },		    { "secret\n", "secret" },
		{ "secret\r\n", "secret" },	    { "secret\nmore\n", "secret" },
		{ "secret\r\nmore", "secret" },	    { "secret\r\r\n", "secret\r" },
		{ "secret\r", "secret\r" },	    { "se\rcret\n", "se\rcret" },
		{ " secret\t\n", " secret\t" },	    { "geheim\xc3\x9f\n", "geheim\xc3\x9f" },
		{ "\nsecret\n", "" },		    { "\r\nsecret\n", "" },
		{ "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (enum form form = 0; form < N_FORMS; form++) {
			const char *want = form == CREDENTIAL ? rows[i].text : rows[i].first;
			scratch_environment(state);
			put(form, rows[i].text, strlen(rows[i].text));
			must_give(form_names[form], want, strlen(want));
		}
	}
}

static void the_first_form_that_is_set_wins(void **state)
{
	for (enum form first = 0; first < N_FORMS; first++) {
		scratch_environment(state);
		for (enum form form = first; form < N_FORMS; form++)
			put(form, form_names[form], strlen(form_names[form]));
		if (first <= FD) /* what comes later has taken the descriptor away */
			put(FD, form_names[FD], strlen(form_names[FD]));
		must_give(form_names[first], form_names[first], strlen(form_names[first]));
	}
	scratch_environment(state);
	must_give("nothing is set", NULL, 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "nowhere", 1), 0);
	must_give("no such credential", NULL, 0);
	put(FILE_, "secret", 6);
	assert_int_equal(setenv("PBS_TEST", "", 1), 0);
	must_give("set, but empty", "", 0);
	must_give("and gone", "secret", 6);
}

static void a_variable_that_was_read_is_wiped_and_unset(void **state)
{
	static const char secret[] = "PBS_TEST=first line\nsecond line";
	char own[sizeof secret];
	memcpy(own, secret, sizeof own);
	assert_int_equal(putenv(own), 0);
	must_give("own", "first line", 10);
	assert_null(getenv("PBS_TEST"));
	for (size_t i = strlen("PBS_TEST="); i < sizeof own; i++)
		assert_int_equal(own[i], '\0');

	/* Also one that is refused. */
	memcpy(own, "PBS_TEST=\xff", 11);
	assert_int_equal(putenv(own), 0);
	must_fail("bad", "PBS_TEST contains bad characters");
	assert_null(getenv("PBS_TEST"));
	assert_int_equal(own[9], '\0');
}

static void a_secret_is_text_of_some_length(void **state)
{
	CLEANUP(freep) char *text = malloc(VALUE_MAX + 2);
	memset(text, 'x', VALUE_MAX + 2);
	for (enum form form = FD; form < N_FORMS; form++) {
		scratch_environment(state);
		put(form, "caf\xe9\n", 5);
		must_fail(form_names[form], "contains bad characters");
		put(form, text, VALUE_MAX);
		must_give(form_names[form], text, VALUE_MAX);
		put(form, text, VALUE_MAX + 1);
		must_fail(form_names[form], NULL);
	}
	text[6] = '\n';
	for (enum form form = FD; form <= FILE_; form++) {
		scratch_environment(state);
		put(form, text, VALUE_MAX + 2);
		must_give("much behind the line", text, 6);
	}
}

/* Whoever wrote the line may keep the other end: a shell's coprocess, a terminal. */
static void does_not_wait_for_what_is_behind_the_line(void **state)
{
	char number[16];
	drop_fds(NULL);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write_full(fds[1], "secret\nmore", 11), 0);
	(void) snprintf(number, sizeof number, "%d", fds[0]);
	assert_int_equal(setenv("PBS_TEST_FD", number, 1), 0);
	(void) alarm(20); /* it hangs where this is broken */
	must_give("pipe", "secret", 6);
	(void) alarm(0);
	struct stat st;
	assert_int_equal(fstat(fds[0], &st), 0); /* stays open */
}

static void says_why_a_form_cannot_be_read(void **state)
{
	static const struct {
		const char *name, *value, *words;
	} rows[] = {
		{ "_FD", "", "PBS_TEST_FD is not a number" },
		{ "_FD", "5x", "PBS_TEST_FD is not a number" },
		{ "_FD", "-1", "PBS_TEST_FD is not a number" },
		{ "_FD", "4294967296", "PBS_TEST_FD is not a number" },
		{ "_FD", "9999", "descriptor 9999 of PBS_TEST_FD" },
		{ "_FILE", "nowhere/file", "PBS_TEST_FILE: cannot open nowhere/file: No such file" },
		{ "_FILE", "", "PBS_TEST_FILE" },
		{ "_FILE", ".", "PBS_TEST_FILE" },
		{ "_CMD", "", "PBS_TEST_CMD: no command" },
		{ "_CMD", " \t ", "PBS_TEST_CMD: no command" },
		{ "_CMD", "echo 'x", "PBS_TEST_CMD: a quote is not closed" },
		{ "_CMD", "nowhere/command x", "PBS_TEST_CMD: cannot run nowhere/command" },
		{ "_CMD", "''", "PBS_TEST_CMD: cannot run" },
		{ "_CMD", "false", "PBS_TEST_CMD: false failed" },
		{ "_CMD", "sh -c 'echo secret; exit 3'", "PBS_TEST_CMD: sh failed" },
		{ "_CMD", "sh -c 'echo secret; kill -9 $$'", "PBS_TEST_CMD: sh failed" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[32];
		(void) snprintf(name, sizeof name, "PBS_TEST%s", rows[i].name);
		scratch_environment(state);
		assert_int_equal(setenv(name, rows[i].value, 1), 0);
		must_fail(rows[i].value, rows[i].words);
	}
}

static void a_command_runs_without_a_shell_and_without_our_input(void **state)
{
	static const struct {
		const char *command, *value;
	} rows[] = {
		{ "echo $HOME; echo", "$HOME; echo" },
		{ "cat", "" },
		{ "true", "" },
		{ "printf 'a b'", "a b" },
	};
	CLEANUP(closep) int before = dup(STDIN_FILENO);
	put(FD, "input", 5);
	assert_int_equal(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(unsetenv("PBS_TEST_FD"), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(setenv("PBS_TEST_CMD", rows[i].command, 1), 0);
		must_give(rows[i].command, rows[i].value, strlen(rows[i].value));
	}
	if (before >= 0)
		assert_int_equal(dup2(before, STDIN_FILENO), STDIN_FILENO);
}

static void secrets_that_nobody_reads_are_wiped_and_unset(void **state)
{
	static const char secret[] = "PBS_PASSWORD=first\nsecond", key[] = "PBS_ENCRYPTION_PASSWORD=key";
	char own[sizeof secret], own_key[sizeof key];
	memcpy(own, secret, sizeof own);
	memcpy(own_key, key, sizeof own_key);
	assert_int_equal(putenv(own), 0);
	assert_int_equal(putenv(own_key), 0);
	assert_int_equal(setenv("PBS_PASSWORD_FILE", "a name", 1), 0);
	environment_forget_secrets();
	environment_forget_secrets();
	assert_null(getenv("PBS_PASSWORD"));
	assert_null(getenv("PBS_ENCRYPTION_PASSWORD"));
	assert_string_equal(getenv("PBS_PASSWORD_FILE"), "a name");
	for (size_t i = strlen("PBS_PASSWORD="); i < sizeof own; i++)
		assert_int_equal(own[i], '\0');
	for (size_t i = strlen("PBS_ENCRYPTION_PASSWORD="); i < sizeof own_key; i++)
		assert_int_equal(own_key[i], '\0');
}

static void a_command_sees_no_other_secret(void **state)
{
	assert_int_equal(setenv("PBS_PASSWORD", "p", 1), 0);
	assert_int_equal(setenv("PBS_ENCRYPTION_PASSWORD", "e", 1), 0);
	assert_int_equal(setenv("PBS_REPOSITORY", "r", 1), 0);
	assert_int_equal(setenv("PBS_TEST_CMD", "sh -c 'echo \"<$PBS_PASSWORD$PBS_ENCRYPTION_PASSWORD$PBS_REPOSITORY>\"'", 1),
			 0);
	must_give("command", "<r>", 3);
	assert_string_equal(getenv("PBS_PASSWORD"), "p");
	assert_string_equal(getenv("PBS_ENCRYPTION_PASSWORD"), "e");
}

static void a_line_has_no_end_in_any_form(void **state)
{
	static const char *const rows[][2] = {
		{ "a line", "a line" }, { "a line\n", "a line" }, { "a line\r\n", "a line" }, { "\n", "" }, { "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (enum form form = 0; form < N_FORMS; form++) {
			CLEANUP(secret_deinit) struct secret value = SECRET_EMPTY;
			scratch_environment(state);
			put(form, rows[i][0], strlen(rows[i][0]));
			assert_int_equal(environment_line("PBS_TEST", "test", &value, NULL), 1);
			assert_string_equal((char *)value.data, rows[i][1]);
			assert_int_equal(value.len, strlen(rows[i][1]));
		}
	}
	struct secret none = SECRET_EMPTY;
	scratch_environment(state);
	assert_int_equal(environment_line("PBS_TEST", "test", &none, NULL), 0);
}

static void splits_a_command_as_a_shell_does(void **state)
{
	static const struct {
		const char *line, *words; /* with | between them */
	} rows[] = {
		{ "cat", "cat" },		    { " cat\t/etc/x \n y ", "cat|/etc/x|y" },
		{ "a 'b c' d", "a|b c|d" },	    { "a \"b c\" d", "a|b c|d" },
		{ "a b\\ c", "a|b c" },		    { "a '' \"\" b", "a|||b" },
		{ "a'b'\"c\"d", "abcd" },	    { "a '\"' \"'\"", "a|\"|'" },
		{ "'a\\b'", "a\\b" },		    { "\"a\\b\"", "a\\b" },
		{ "\"\\\"\\\\\\$\\`\"", "\"\\$`" }, { "a\\'b \\\"", "a'b|\"" },
		{ "a\\", "a\\" },		    { "$X *", "$X|*" },
		{ "'\\$\\' b", "\\$\\|b" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strv_deinit) struct strv words = STRV_EMPTY;
		char joined[64] = "";
		assert_int_equal(command_split(rows[i].line, &words, NULL), 0);
		for (size_t k = 0; k < words.n; k++) {
			(void) strcat(joined, k ? "|" : "");
			(void) strcat(joined, words.items[k]);
		}
		assert_string_equal(joined, rows[i].words);
	}
	static const char *const bad[] = { "", "  ", "'", "\"", "a 'b", "a \"b'", "\"a\\\"" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP(strv_deinit) struct strv words = STRV_EMPTY;
		assert_int_equal(command_split(bad[i], &words, NULL), -EINVAL);
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup_teardown(name, scratch_environment, drop_fds)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(takes_the_first_line_of_every_form_but_all_of_a_credential),
		TEST_HERE(the_first_form_that_is_set_wins),
		TEST_HERE(a_variable_that_was_read_is_wiped_and_unset),
		TEST_HERE(a_secret_is_text_of_some_length),
		TEST_HERE(does_not_wait_for_what_is_behind_the_line),
		TEST_HERE(says_why_a_form_cannot_be_read),
		TEST_HERE(a_command_runs_without_a_shell_and_without_our_input),
		TEST_HERE(secrets_that_nobody_reads_are_wiped_and_unset),
		TEST_HERE(a_command_sees_no_other_secret),
		TEST_HERE(a_line_has_no_end_in_any_form),
		TEST_HERE(splits_a_command_as_a_shell_does),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
