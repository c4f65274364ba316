/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/fingerprints.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "format/data.h"
#include "scratch.h"
#include "unit.h"
#include "util/file.h"

#define FILE_PATH "config/proxmox-backup/fingerprints"

/* 32 times the same byte, as a file has it and as it is. */
#define FOUR(b) b ":" b ":" b ":" b
#define SIXTEEN(b) FOUR(b) ":" FOUR(b) ":" FOUR(b) ":" FOUR(b)
#define FP(b) SIXTEEN(b) ":" SIXTEEN(b)
#define BARE(b) b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b b

static int environment(void **state)
{
	return scratch_environment(state) || setenv("XDG_CONFIG_HOME", "config", 1) < 0;
}

static void finds_what_the_reference_client_wrote(void **state)
{
	static const struct {
		const char *text, *host;
		int found; /* the byte, 0 = not known */
	} rows[] = {
		{ "h " FP("11") "\n", "h", 0x11 },
		{ "h " FP("11"), "h", 0x11 },
		{ "h\t" FP("11") "\r\n", "h", 0x11 },
		{ " \t h   " FP("11") " \n", "h", 0x11 },
		{ "h " BARE("11") "\n", "h", 0x11 },
		{ "h " FP("AB") "\n", "h", 0xab },
		{ "H.example.com " FP("11") "\n", "h.Example.com", 0x11 },
		{ "[::1] " FP("11") "\n", "[::1]", 0x11 },
		{ "a " FP("11") "\nh " FP("22") "\nb " FP("33") "\n", "h", 0x22 },
		{ "h " FP("11") "\nh " FP("22") "\n", "h", 0x11 },
		{ "\n\n# h\nh\nh " FP("22") " x\nh " FP("33") "\n", "h", 0x33 },
		{ "h 11:22\nh " FP("33") "\n", "h", 0x33 },
		{ "h " FP("11") ":11\n", "h", 0 },
		{ "h" FP("11") "\n", "h", 0 },
		{ "hh " FP("11") "\n", "h", 0 },
		{ "h " FP("11") "\n", "hh", 0 },
		{ "h:8007 " FP("11") "\n", "h", 0 },
		{ "::1 " FP("11") "\n", "[::1]", 0 },
		{ "", "h", 0 },
		{ "\n", "h", 0 },
		{ "\xff\xfe " FP("11") "\n", "h", 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t found[DIGEST_SIZE], want[DIGEST_SIZE];
		struct err err = ERR_NONE;
		memset(found, 0xee, sizeof found);
		memset(want, rows[i].found ? rows[i].found : 0xee, sizeof want);
		scratch_puts(FILE_PATH, rows[i].text);
		expect(rows[i].text, fingerprints_find(rows[i].host, found, &err), &err, rows[i].found != 0, NULL);
		assert_memory_equal(found, want, DIGEST_SIZE);
	}
}

static void lines_of_any_length_and_bytes_are_passed_over(void **state)
{
	static char text[5000];
	uint8_t found[DIGEST_SIZE];
	static const char line[] = "\nh " FP("44") "\n";
	memset(text, 'x', 4000);
	text[100] = '\0';
	text[1500] = '\n';
	text[1501] = '\0';
	memcpy(text + 4000, line, sizeof line - 1);
	scratch_write(FILE_PATH, text, 4000 + sizeof line - 1);
	assert_int_equal(fingerprints_find("h", found, NULL), 1);
	assert_int_equal(found[31], 0x44);
}

static void says_why_the_file_cannot_be_read(void **state)
{
	uint8_t found[DIGEST_SIZE] = { 0 };
	struct err err = ERR_NONE;
	assert_int_equal(setenv("XDG_CONFIG_HOME", "nowhere", 1), 0);
	assert_int_equal(fingerprints_find("h", found, NULL), 0);
	assert_int_equal(setenv("XDG_CONFIG_HOME", "odd", 1), 0);
	assert_int_equal(mkdir("odd", 0700), 0);
	assert_int_equal(fingerprints_find("h", found, NULL), 0);
	scratch_puts("odd/proxmox-backup/x", "");
	assert_int_equal(fingerprints_find("h", found, NULL), 0);
	assert_int_equal(mkdir("odd/proxmox-backup/fingerprints", 0700), 0);
	expect("a directory", fingerprints_find("h", found, &err), &err, -EINVAL, "odd/proxmox-backup/fingerprints");
	/* What could not be read is not written over. */
	expect("a directory", fingerprints_remember("h", found, &err), &err, -EINVAL, "odd/proxmox-backup/fingerprints");
	assert_int_equal(unsetenv("XDG_CONFIG_HOME"), 0);
	assert_int_equal(unsetenv("HOME"), 0);
	expect("nowhere", fingerprints_remember("h", found, &err), &err, -ENOENT, "HOME");
}

static void remembers_one_and_keeps_the_others_byte_for_byte(void **state)
{
	static const struct {
		const char *before, *host, *after;
	} rows[] = {
		{ NULL, "h", "h " FP("55") "\n" },
		{ "", "h", "h " FP("55") "\n" },
		{ "h " FP("11") "\n", "h", "h " FP("55") "\n" },
		{ "h " FP("11"), "h", "h " FP("55") "\n" },
		{ "H " FP("11") "\n", "h", "h " FP("55") "\n" },
		{ "h 11\n h\t22\r\n", "h", "h " FP("55") "\n" },
		{ "a " FP("11"), "h", "a " FP("11") "\nh " FP("55") "\n" },
		{ " a\t" BARE("AA") " \r\n\n# h\nh\nh 1 2\n[::1] x\n", "h",
		  " a\t" BARE("AA") " \r\n\n# h\nh\nh 1 2\n[::1] x\nh " FP("55") "\n" },
		{ "a 1\nh 2\nb 3\n", "h", "a 1\nb 3\nh " FP("55") "\n" },
		{ "[::1] 2\n[::2] 3\n", "[::1]", "[::2] 3\n[::1] " FP("55") "\n" },
	};
	uint8_t fingerprint[DIGEST_SIZE];
	memset(fingerprint, 0x55, sizeof fingerprint);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(freep) uint8_t *text = NULL;
		size_t len;
		struct err err = ERR_NONE;
		(void) unlink(FILE_PATH);
		if (rows[i].before)
			scratch_puts(FILE_PATH, rows[i].before);
		expect("remember", fingerprints_remember(rows[i].host, fingerprint, &err), &err, 0, NULL);
		assert_int_equal(read_file_at(AT_FDCWD, FILE_PATH, 0, 4096, &text, &len, NULL), 0);
		assert_string_equal((char *)text, rows[i].after);
		assert_int_equal(len, strlen(rows[i].after));
	}
}

static void makes_the_file_where_there_is_none(void **state)
{
	uint8_t fingerprint[DIGEST_SIZE] = { 7 }, found[DIGEST_SIZE];
	struct stat st;
	assert_int_equal(setenv("XDG_CONFIG_HOME", "fresh", 1), 0);
	assert_int_equal(fingerprints_remember("h", fingerprint, NULL), 0);
	assert_int_equal(fingerprints_find("h", found, NULL), 1);
	assert_memory_equal(found, fingerprint, DIGEST_SIZE);
	assert_int_equal(stat("fresh/proxmox-backup/fingerprints", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat("fresh/proxmox-backup", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

#define N_WRITERS 6
#define N_EACH	  20

/* Each remembers hosts of its own; nothing that one wrote is lost by another. */
static void writers_at_the_same_time_lose_nothing(void **state)
{
	uint8_t fingerprint[DIGEST_SIZE] = { 9 };
	pid_t writers[N_WRITERS];
	char host[32];
	int r;
	(void) unlink(FILE_PATH);
	for (int w = 0; w < N_WRITERS; w++) {
		writers[w] = fork();
		assert_true(writers[w] >= 0);
		for (int i = 0; writers[w] == 0 && i < N_EACH; i++) {
			(void) snprintf(host, sizeof host, "h%d-%d", w, i);
			while ((r = fingerprints_remember(host, fingerprint, NULL)) == -EBUSY)
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
			uint8_t found[DIGEST_SIZE];
			(void) snprintf(host, sizeof host, "h%d-%d", w, i);
			assert_int_equal(fingerprints_find(host, found, NULL), 1);
		}
	}
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, environment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(finds_what_the_reference_client_wrote),
		TEST_HERE(lines_of_any_length_and_bytes_are_passed_over),
		TEST_HERE(says_why_the_file_cannot_be_read),
		TEST_HERE(remembers_one_and_keeps_the_others_byte_for_byte),
		TEST_HERE(makes_the_file_where_there_is_none),
		TEST_HERE(writers_at_the_same_time_lose_nothing),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
