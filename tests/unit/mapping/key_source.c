/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/key_source.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "format/data.h"
#include "scratch.h"
#include "terminal.h"
#include "unit.h"
#include "util/file.h"

#define TIMES "\"created\":\"2024-01-02T03:04:05Z\",\"modified\":\"2024-01-02T03:04:05Z\","
#define SALT "\"salt\":\"QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=\""
#define KEY_NONE "{\"kdf\":null," TIMES "\"data\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}"
#define KEY_SCRYPT                                                               \
	"{\"kdf\":{\"Scrypt\":{\"n\":65536,\"r\":8,\"p\":1," SALT "}}," TIMES    \
	"\"data\":\"EBESExQVFhcYGRobHB0eH540h/v2Vd9IAwshrPEvuXGhLDoK9q1DPFMYTFFcMaUuksVDDmEd/ytT1prMsXc6dQ==\"," \
	"\"hint\":\"a hint\"}"
#define KEY_PBKDF2                                                       \
	"{\"kdf\":{\"PBKDF2\":{\"iter\":65535," SALT "}}," TIMES         \
	"\"data\":\"EBESExQVFhcYGRobHB0eHzWpsYdf3GJMhrwqIAnQE4Az5PGsbQQM1xtzIte8MTcKfQb08fLaMtlzuUTHnCFXNw==\"}"
#define BELOW "/proxmox-backup/encryption-key.json"

static int begin(void **state)
{
	int r = scratch_begin(state);
	if (r)
		return r;
	leave_terminal();
	scratch_puts("none.json", KEY_NONE);
	scratch_puts("scrypt.json", KEY_SCRYPT);
	scratch_puts("pbkdf2.json", KEY_PBKDF2);
	return 0;
}

static void set(const char *name, const char *value)
{
	assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void finds_the_default_key_file_in_order(void **state)
{
	static const char *const dirs[] = { "config", "home/.config", "one", "two" };
	static const struct {
		const char *config_home, *home, *config_dirs, *found;
	} rows[] = {
		{ "config", "home", "one:two", "config" },
		{ NULL, "home", "one:two", "home/.config" },
		{ "", "home", "one:two", "home/.config" },
		{ "nowhere", "home", "one:two", "one" },
		{ NULL, NULL, "one:two", "one" },
		{ NULL, "", "nowhere:two", "two" },
		{ NULL, NULL, "::two:", "two" },
		{ NULL, NULL, "two", "two" },
		{ NULL, NULL, "nowhere:", NULL },
		{ "nowhere", "home", "nowhere", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		char path[100];
		(void) snprintf(path, sizeof path, "%s%s", dirs[i], BELOW);
		scratch_puts(path, KEY_NONE);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct key_source keys;
		char *note, want[100];
		set("XDG_CONFIG_HOME", rows[i].config_home);
		set("HOME", rows[i].home);
		set("XDG_CONFIG_DIRS", rows[i].config_dirs);
		assert_int_equal(key_source_find(NULL, &keys, &note, NULL), 0);
		assert_null(note);
		assert_false(keys.is_explicit);
		(void) snprintf(want, sizeof want, "%s%s", rows[i].found ? rows[i].found : "nothing", BELOW);
		assert_string_equal(keys.path ? keys.path : "nothing" BELOW, want);
		key_source_deinit(&keys);
	}
}

static const char *const broken[] = { "", "{}", "no JSON", "[]", "{\"kdf\":null,\"data\":\"AAAA\"}" };

static void find_broken_default(const char *words)
{
	struct key_source keys;
	CLEANUP(freep) char *note = NULL;
	assert_int_equal(key_source_find(NULL, &keys, &note, NULL), 0);
	assert_null(keys.path);
	assert_non_null(note);
	assert_non_null(strstr(note, "the default key file is left out"));
	assert_non_null(strstr(note, words));
	key_source_deinit(&keys);
}

static void only_notes_a_default_key_file_that_is_broken(void **state)
{
	static char large[KEY_FILE_MAX + 1];
	set("XDG_CONFIG_HOME", "bad");
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		scratch_puts("bad" BELOW, broken[i]);
		find_broken_default("bad" BELOW);
	}
	scratch_write("bad" BELOW, large, sizeof large);
	find_broken_default("too long");
	/* Nothing that could be there makes a command wait. */
	assert_int_equal(unlink("bad" BELOW), 0);
	assert_int_equal(mkfifo("bad" BELOW, 0600), 0);
	(void) alarm(20);
	find_broken_default("bad" BELOW);
	(void) alarm(0);
	assert_int_equal(unlink("bad" BELOW), 0);
	assert_int_equal(mkdir("bad" BELOW, 0700), 0);
	find_broken_default("bad" BELOW);
}

static void refuses_a_key_file_that_was_named(void **state)
{
	static char large[KEY_FILE_MAX + 1];
	struct key_source keys;
	struct err err = ERR_NONE;
	char *note;
	set("XDG_CONFIG_HOME", "config"); /* there is a good one, which was not asked for */
	scratch_puts("config" BELOW, KEY_NONE);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		scratch_puts("broken.json", broken[i]);
		expect(broken[i], key_source_find("broken.json", &keys, &note, &err), &err, -EKEYREJECTED,
		       "reading the key file broken.json");
		assert_null(note);
	}
	scratch_write("broken.json", large, sizeof large);
	expect("large", key_source_find("broken.json", &keys, &note, &err), &err, -EKEYREJECTED, "too long");
	expect("missing", key_source_find("nowhere.json", &keys, &note, &err), &err, -ENOKEY, "nowhere.json");
	expect("a directory", key_source_find("config", &keys, &note, &err), &err, -EISDIR, "config");
	expect("empty", key_source_find("", &keys, &note, &err), &err, -ENOKEY, NULL);
}

/* --keyfile <(pass show key): who writes comes after us. */
static void waits_for_a_key_file_that_is_a_pipe(void **state)
{
	struct key_source keys;
	char *note;
	int status;
	assert_int_equal(mkfifo("pipe", 0600), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = open("pipe", O_WRONLY);
		_exit(fd < 0 || write_full(fd, KEY_NONE, strlen(KEY_NONE)) < 0);
	}
	int r = key_source_find("pipe", &keys, &note, NULL);
	if (r < 0)
		(void) kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(r, 0);
	assert_true(keys.is_explicit);
	key_source_deinit(&keys);
}

/* The key must be that of the vectors when it opens. */
static int open_key(const char *path, struct err *err)
{
	struct key_source keys;
	CLEANUP(freep) char *note = NULL;
	CLEANUP(crypt_key_freep) struct crypt_key *key = NULL, *k0 = key_k0();
	assert_int_equal(key_source_find(path, &keys, &note, NULL), 0);
	int r = key_source_open(&keys, &key, err);
	key_source_deinit(&keys);
	assert_int_equal(r == 0, key != NULL);
	if (key)
		assert_memory_equal(crypt_key_enc(key), crypt_key_enc(k0), GCM_KEY_SIZE);
	return r;
}

static void takes_the_password_from_the_environment(void **state)
{
	static const struct {
		const char *key, *name, *value;
		int r;
		const char *words;
	} rows[] = {
		{ "none.json", "X", "y", 0, NULL },
		{ "none.json", "PBS_ENCRYPTION_PASSWORD", "wrong", 0, NULL },
		{ "scrypt.json", "PBS_ENCRYPTION_PASSWORD", "test-password", 0, NULL },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD", "test-password\nmore", 0, NULL },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD_FILE", "password.txt", 0, NULL },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD_CMD", "cat password.txt", 0, NULL },
		{ "pbkdf2.json", "CREDENTIALS_DIRECTORY", "credentials", 0, NULL },
		{ "scrypt.json", "PBS_ENCRYPTION_PASSWORD", "wrong-password", -EKEYREJECTED, "a hint" },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD", "wrong-password", -EKEYREJECTED, "pbkdf2.json" },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD", "test-password ", -EKEYREJECTED, NULL },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD", "test", -EKEYREJECTED, "too short" },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD", "", -EKEYREJECTED, "too short" },
		{ "pbkdf2.json", "PBS_ENCRYPTION_PASSWORD_FILE", "nowhere", -EACCES, "nowhere" },
		{ "pbkdf2.json", "PBS_PASSWORD", "test-password", -ENOKEY, "set PBS_ENCRYPTION_PASSWORD" },
		{ "scrypt.json", "X", "y", -ENOKEY, "the key scrypt.json has a password" },
	};
	scratch_puts("password.txt", "test-password\r\n");
	scratch_puts("credentials/proxmox-backup-client.encryption-password", "test-password");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		scratch_environment(state);
		set(rows[i].name, rows[i].value);
		expect(rows[i].value, open_key(rows[i].key, &err), &err, rows[i].r, rows[i].words);
	}
	assert_int_equal(setenv("PBS_ENCRYPTION_PASSWORD", "test-password", 1), 0);
	assert_int_equal(open_key("pbkdf2.json", NULL), 0);
	assert_null(getenv("PBS_ENCRYPTION_PASSWORD"));
}

/* -- the prompt ------------------------------------------------------------------------------ */

static int open_with_password(void *user)
{
	struct key_source keys;
	CLEANUP(crypt_key_freep) struct crypt_key *key = NULL;
	char *note;
	int r = key_source_find("pbkdf2.json", &keys, &note, NULL);
	if (r == 0)
		r = key_source_open(&keys, &key, NULL);
	key_source_deinit(&keys);
	return -r;
}

static void asks_on_the_terminal(void **state)
{
	static const struct {
		const char *typed;
		int status;
		const char *stars;
	} rows[] = {
		{ "test-password\r", 0, "*************\r\n" },
		{ "test-password\n", 0, "*************\r\n" },
		{ "test-password\004", 0, "*************\r\n" },
		{ "\177\177testx\177-passwordy\b\r", 0, "*****\b \b**********\b \b\r\n" },
		{ "te\tst-\033password\r", 0, "*************\r\n" }, /* no control characters */
		{ "wrong-password\r", EKEYREJECTED, "**************\r\n" },
		{ "\r", EKEYREJECTED, ": \r\n" },
		{ "test-\003", EINTR, "*****\r\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct turn turns[] = { { "Password: ", rows[i].typed }, { NULL } };
		char shown[256];
		assert_int_equal(on_terminal(open_with_password, NULL, turns, shown, sizeof shown), rows[i].status);
		assert_non_null(strstr(shown, "Encryption Key Password: "));
		assert_non_null(strstr(shown, rows[i].stars));
		assert_null(strstr(shown, "test-"));
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, scratch_environment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(finds_the_default_key_file_in_order),
		TEST_HERE(only_notes_a_default_key_file_that_is_broken),
		TEST_HERE(refuses_a_key_file_that_was_named),
		TEST_HERE(waits_for_a_key_file_that_is_a_pipe),
		TEST_HERE(takes_the_password_from_the_environment),
		TEST_HERE(asks_on_the_terminal),
	};
	return cmocka_run_group_tests(tests, begin, scratch_end);
}
