/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/client_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/data.h"
#include "scratch.h"
#include "unit.h"

static void set(const char *name, const char *value)
{
	assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void finds_the_directory_where_the_reference_client_has_it(void **state)
{
	static const struct {
		enum client_place place;
		const char *config, *runtime, *home, *path; /* NULL = none */
	} rows[] = {
		{ CLIENT_CONFIG, "c", "r", "h", "c/proxmox-backup" },
		{ CLIENT_CONFIG, NULL, "r", "h", "h/.config/proxmox-backup" },
		{ CLIENT_CONFIG, "", "r", "h", "h/.config/proxmox-backup" },
		{ CLIENT_CONFIG, NULL, "r", "", NULL },
		{ CLIENT_CONFIG, NULL, "r", NULL, NULL },
		{ CLIENT_CONFIG, "nowhere", "r", "h", NULL },
		{ CLIENT_RUNTIME, "c", "r", "h", "r/proxmox-backup" },
		{ CLIENT_RUNTIME, "c", NULL, "h", NULL },
		{ CLIENT_RUNTIME, "c", "", "h", NULL },
	};
	scratch_puts("c/proxmox-backup/x", "");
	scratch_puts("r/proxmox-backup/x", "");
	scratch_puts("h/.config/proxmox-backup/x", "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
		set("XDG_CONFIG_HOME", rows[i].config);
		set("XDG_RUNTIME_DIR", rows[i].runtime);
		set("HOME", rows[i].home);
		assert_int_equal(client_dir_open(rows[i].place, false, &dir, NULL), rows[i].path != NULL);
		if (rows[i].path)
			assert_string_equal(dir.path, rows[i].path);
	}
}

static unsigned mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void makes_the_directory_for_this_user_alone(void **state)
{
	CLEANUP(client_dir_close) struct client_dir config = CLIENT_DIR_NONE, runtime = CLIENT_DIR_NONE;
	CLEANUP(client_dir_close) struct client_dir none = CLIENT_DIR_NONE;
	struct err err = ERR_NONE;
	assert_int_equal(mkdir("empty", 0755), 0);
	set("HOME", "empty");
	set("XDG_RUNTIME_DIR", "empty");
	assert_int_equal(client_dir_open(CLIENT_CONFIG, true, &config, NULL), 1);
	assert_int_equal(client_dir_open(CLIENT_RUNTIME, true, &runtime, NULL), 1);
	assert_int_equal(mode_of("empty/.config"), 0700);
	assert_int_equal(mode_of("empty/.config/proxmox-backup"), 0700);
	assert_int_equal(mode_of("empty/proxmox-backup"), 0700);

	/* Nobody gets a home or a runtime directory by a question. */
	set("HOME", "nowhere");
	set("XDG_RUNTIME_DIR", "nowhere");
	expect("home", client_dir_open(CLIENT_CONFIG, true, &none, &err), &err, -ENOENT, "nowhere/.config");
	expect("runtime", client_dir_open(CLIENT_RUNTIME, true, &none, &err), &err, -ENOENT, "nowhere/");
	assert_int_equal(access("nowhere", F_OK), -1);
}

/* A directory and a file "x" in it, as they may be found. */
static void others_are_kept_out_of_secrets_only(void **state)
{
	static const struct {
		unsigned dir_mode, file_mode;
		bool is_foreign_dir, is_foreign_file, is_link_dir, is_link_file;
		int r; /* of a runtime directory, or of its file */
	} rows[] = {
		{ 0700, 0600, .r = 1 },
		{ 0700, 0400, .r = 1 },
		{ 0500, 0700, .r = 1 },
		{ 0710, 0600, .r = -EPERM },
		{ 0701, 0600, .r = -EPERM },
		{ 0770, 0600, .r = -EPERM },
		{ 0755, 0600, .r = -EPERM },
		{ 0700, 0640, .r = -EPERM },
		{ 0700, 0604, .r = -EPERM },
		{ 0700, 0620, .r = -EPERM },
		{ 0700, 0600, .is_foreign_dir = true, .r = -EPERM },
		{ 0700, 0600, .is_foreign_file = true, .r = -EPERM },
		{ 0700, 0600, .is_link_dir = true, .r = -ENOTDIR },
		{ 0700, 0600, .is_link_file = true, .r = -ELOOP },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum client_place places[] = { CLIENT_RUNTIME, CLIENT_CONFIG };
		if (geteuid() != 0 && (rows[i].is_foreign_dir || rows[i].is_foreign_file))
			continue;
		assert_int_equal(system("rm -rf p && mkdir p"), 0);
		const char *dir_path = rows[i].is_link_dir ? "p/real" : "p/proxmox-backup";
		const char *file_path = rows[i].is_link_file ? "p/proxmox-backup/real" : "p/proxmox-backup/x";
		assert_int_equal(mkdir(dir_path, 0700), 0);
		if (rows[i].is_link_dir)
			assert_int_equal(symlink("real", "p/proxmox-backup"), 0);
		scratch_puts(file_path, "text");
		if (rows[i].is_link_file)
			assert_int_equal(symlink("real", "p/proxmox-backup/x"), 0);
		assert_int_equal(chmod(file_path, rows[i].file_mode), 0);
		assert_int_equal(chmod(dir_path, rows[i].dir_mode), 0);
		if (rows[i].is_foreign_file)
			assert_int_equal(chown(file_path, 4711, 4711), 0);
		if (rows[i].is_foreign_dir)
			assert_int_equal(chown(dir_path, 4711, 4711), 0);
		set("XDG_CONFIG_HOME", "p");
		set("XDG_RUNTIME_DIR", "p");
		for (size_t k = 0; k < ARRAY_LEN(places); k++) {
			CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
			CLEANUP(freep) uint8_t *text = NULL;
			size_t len;
			struct err err = ERR_NONE;
			int r = client_dir_open(places[k], true, &dir, &err);
			if (r > 0)
				r = client_file_read(&dir, "x", &text, &len, &err);
			if (places[k] == CLIENT_CONFIG || rows[i].r > 0) {
				expect("read", r, &err, 1, NULL);
				assert_string_equal((char *)text, "text");
			} else {
				expect("kept out", r, &err, rows[i].r, "p/proxmox-backup");
			}
		}
	}
}

static int open_config(struct client_dir *ret)
{
	set("XDG_CONFIG_HOME", "conf");
	return client_dir_open(CLIENT_CONFIG, true, ret, NULL);
}

/* Nothing that could be there makes a command wait, or fills its memory. */
static void reads_regular_files_of_some_length(void **state)
{
	static char large[CLIENT_FILE_MAX + 1];
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	struct err err = ERR_NONE;
	uint8_t *text;
	size_t len;
	assert_int_equal(open_config(&dir), 1);
	assert_int_equal(client_file_read(&dir, "nothing", &text, &len, NULL), 0);
	scratch_write("conf/proxmox-backup/x", large, sizeof large);
	expect("large", client_file_read(&dir, "x", &text, &len, &err), &err, -EFBIG, "conf/proxmox-backup/x");
	scratch_write("conf/proxmox-backup/x", large, sizeof large - 1);
	assert_int_equal(client_file_read(&dir, "x", &text, &len, NULL), 1);
	assert_int_equal(len, CLIENT_FILE_MAX);
	free(text);
	assert_int_equal(mkfifo("conf/proxmox-backup/pipe", 0600), 0);
	assert_int_equal(mkdir("conf/proxmox-backup/dir", 0700), 0);
	(void) alarm(20);
	expect("pipe", client_file_read(&dir, "pipe", &text, &len, &err), &err, -EINVAL, "not a regular file");
	expect("dir", client_file_read(&dir, "dir", &text, &len, &err), &err, -EINVAL, "not a regular file");
	(void) alarm(0);
}

static size_t n_entries(const char *path)
{
	size_t n = 0;
	CLEANUP(closedirp) DIR *dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

static void replaces_a_file_as_a_whole(void **state)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	struct err err = ERR_NONE;
	struct stat before, after;
	CLEANUP(freep) uint8_t *text = NULL;
	size_t len;
	assert_int_equal(open_config(&dir), 1);
	scratch_puts("conf/proxmox-backup/other", "other");
	scratch_puts("conf/proxmox-backup/y", "old, and longer");
	assert_int_equal(chmod("conf/proxmox-backup/y", 0666), 0);
	assert_int_equal(stat("conf/proxmox-backup/y", &before), 0);
	size_t n = n_entries("conf/proxmox-backup");
	CLEANUP(closep) int reader = open("conf/proxmox-backup/y", O_RDONLY | O_CLOEXEC);
	assert_int_equal(client_file_replace(&dir, "y", "new", 3, NULL), 0);
	assert_int_equal(stat("conf/proxmox-backup/y", &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	char old[32] = "";
	assert_int_equal(read(reader, old, sizeof old - 1), strlen("old, and longer"));
	assert_string_equal(old, "old, and longer"); /* who reads the old one reads all of it */
	assert_int_equal(mode_of("conf/proxmox-backup/y"), 0600);
	assert_int_equal(n_entries("conf/proxmox-backup"), n);
	assert_int_equal(client_file_read(&dir, "y", &text, &len, NULL), 1);
	assert_string_equal((char *)text, "new");

	/* A link is not a way to somewhere else. */
	assert_int_equal(symlink("other", "conf/proxmox-backup/z"), 0);
	assert_int_equal(client_file_replace(&dir, "z", "new", 3, NULL), 0);
	assert_int_equal(stat("conf/proxmox-backup/other", &after), 0);
	assert_int_equal(after.st_size, 5);

	/* What fails leaves nothing. */
	n = n_entries("conf/proxmox-backup");
	assert_int_equal(mkdir("conf/proxmox-backup/full", 0700), 0);
	expect("a directory", client_file_replace(&dir, "full", "new", 3, &err), &err, -EISDIR,
	       "cannot write conf/proxmox-backup/full");
	assert_int_equal(n_entries("conf/proxmox-backup"), n + 1);
}

static void what_root_writes_is_the_owners(void **state)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	struct stat st;
	if (geteuid() != 0)
		skip();
	assert_int_equal(open_config(&dir), 1);
	assert_int_equal(chown("conf/proxmox-backup", 4711, 4712), 0);
	assert_int_equal(client_file_replace(&dir, "w", "new", 3, NULL), 0);
	assert_int_equal(stat("conf/proxmox-backup/w", &st), 0);
	assert_int_equal(st.st_uid, 4711);
	assert_int_equal(st.st_gid, 4712);
	assert_int_equal(chown("conf/proxmox-backup", 0, 0), 0);
}

static void expect_owner(const char *path, uid_t uid, gid_t gid)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	if (st.st_uid != uid || st.st_gid != gid)
		fail_msg("%s is of %u:%u", path, (unsigned)st.st_uid, (unsigned)st.st_gid);
}

static void what_root_makes_in_a_home_is_the_owners(void **state)
{
	CLEANUP(client_dir_close) struct client_dir config = CLIENT_DIR_NONE, runtime = CLIENT_DIR_NONE;
	struct err err = ERR_NONE;
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir("somebodys", 0755), 0);
	assert_int_equal(chown("somebodys", 4711, 4712), 0);
	set("XDG_CONFIG_HOME", NULL);
	set("HOME", "somebodys");
	set("XDG_RUNTIME_DIR", "somebodys");
	assert_int_equal(client_dir_open(CLIENT_CONFIG, true, &config, NULL), 1);
	expect_owner("somebodys/.config", 4711, 4712);
	expect_owner("somebodys/.config/proxmox-backup", 4711, 4712);
	/* Secrets of root's are not for there. */
	expect("runtime", client_dir_open(CLIENT_RUNTIME, true, &runtime, &err), &err, -EPERM, "somebodys belongs");
	assert_int_equal(access("somebodys/proxmox-backup", F_OK), -1);
}

static void waits_for_a_lock_but_not_for_ever(void **state)
{
	CLEANUP(client_dir_close) struct client_dir first = CLIENT_DIR_NONE, second = CLIENT_DIR_NONE;
	struct err err = ERR_NONE;
	assert_int_equal(open_config(&first), 1);
	assert_int_equal(open_config(&second), 1);
	assert_int_equal(client_dir_lock(&first, NULL), 0);
	expect("held", client_dir_lock(&second, &err), &err, -EBUSY, "conf/proxmox-backup");
	client_dir_close(&first);
	assert_int_equal(client_dir_lock(&second, NULL), 0);
}

#define TEST_HERE(name) cmocka_unit_test_setup(name, scratch_environment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(finds_the_directory_where_the_reference_client_has_it),
		TEST_HERE(makes_the_directory_for_this_user_alone),
		TEST_HERE(others_are_kept_out_of_secrets_only),
		TEST_HERE(reads_regular_files_of_some_length),
		TEST_HERE(replaces_a_file_as_a_whole),
		TEST_HERE(what_root_writes_is_the_owners),
		TEST_HERE(what_root_makes_in_a_home_is_the_owners),
		TEST_HERE(waits_for_a_lock_but_not_for_ever),
	};
	return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
