/* SPDX-License-Identifier: Apache-2.0 */
#include "source/snapshot_lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "store.h"
#include "unit.h"

#define TIME	  "2024-01-02T03:04:05Z"
#define TIME_LOCK "2024\\x2d01\\x2d02T03\\x3a04\\x3a05Z"
#define A10	  "aaaaaaaaaa"
#define A50	  A10 A10 A10 A10 A10
#define A200	  A50 A50 A50 A50
#define B10	  "b-b-b-b-b-"
#define B50	  B10 B10 B10 B10 B10

/*
 * The library's flock() is this one.  While @n_deletes_left, whoever has locked a file finds that it was
 * deleted meanwhile, and every other time that there is a new one: as when another process held the lock
 * and cleaned up.
 */
static int n_deletes_left, run_fd = -EBADF;
static const char *delete_path;
static int flock_errno;	  /* 0 = flock() works */
static uint32_t fs_type; /* 0 = what it is */

int fstatfs(int fd, struct statfs *ret)
{
	int r = (int)syscall(SYS_fstatfs, fd, ret);
	if (r == 0 && fs_type)
		ret->f_type = fs_type;
	return r;
}

int flock(int fd, int how)
{
	int r = flock_errno ? -1 : (int)syscall(SYS_flock, fd, how);
	if (flock_errno)
		errno = flock_errno;
	struct stat st;
	if (n_deletes_left > 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		assert_int_equal(unlinkat(run_fd, delete_path, 0), 0);
		if (n_deletes_left-- % 2)
			put_text(run_fd, delete_path, "");
	}
	return r;
}

/* -- names -- */

static void names_a_lock_as_the_server_does(void **state)
{
	/* The digests: printf %s "vm/aaa…/2024-01-02T03:04:05Z" | sha256sum */
	const struct {
		const char *snapshot, *want;
	} rows[] = {
		{ "vm/100/" TIME, "vm-100-" TIME_LOCK },
		{ "ct/a.b_c-D/" TIME, "ct-a.b_c\\x2dD-" TIME_LOCK },
		{ "host/.x/" TIME, "host-.x-" TIME_LOCK },
		{ ".x", "\\x2ex" },
		{ "a\xc3\xbc ~", "a\\xc3\\xbc\\x20\\x7e" },
		{ "vm/" A200 "aaaaaaaaaaaaaaaaaa/" TIME, "vm-" A200 "aaaaaaaaaaaaaaaaaa-" TIME_LOCK },
		{ "vm/" A200 "aaaaaaaaaaaaaaaaaaa/" TIME,
		  "hashed/vm-" A50 A10 A10 "aaaaaaa..." A10 A10 A10 A10 "aaaaaaa-" TIME_LOCK
		  "-320279798354d74e1ff8457d3caa9a18168989f1e12edf3e5ad2709d74ea025c" },
		{ "host/" B50 B50 B50 B50 B50 "b-b-b/" TIME,
		  "hashed/host-b\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db"
		  "\\x2db\\x2db\\x2d...db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db\\x2db-" TIME_LOCK
		  "-fce5796a57a90850a7308adfc18c69563b4b0a47c20bfaac9277c998717f3216" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char got[300];
		struct err err = ERR_NONE;
		expect(server_lock_name(rows[i].snapshot, got, sizeof got, &err), &err, 0, NULL);
		assert_string_equal(got, rows[i].want);
		size_t len = strlen(got);
		expect(server_lock_name(rows[i].snapshot, got, len + 1, &err), &err, 0, NULL);
		expect(server_lock_name(rows[i].snapshot, got, len, &err), &err, -ENAMETOOLONG, NULL);
	}
}

/* -- the server's configuration -- */

/* Where the server would keep its things. */
struct places {
	char run_dir[64], config[64], removable[64];
	struct server_paths paths;
};

static void find_places(struct store *s, struct places *ret)
{
	(void) snprintf(ret->run_dir, sizeof ret->run_dir, "%s/run", s->top);
	(void) snprintf(ret->config, sizeof ret->config, "%s/datastore.cfg", s->top);
	(void) snprintf(ret->removable, sizeof ret->removable, "%s/mnt", s->top);
	ret->paths = (struct server_paths){ ret->run_dir, ret->config, ret->removable };
}

static void knows_a_datastore_by_the_servers_configuration(void **state)
{
	struct store *s = *state;
	struct places places;
	find_places(s, &places);
	put_dir(s->top_fd, "run");
	put_dir(s->top_fd, "other");
	put_link(s->top_fd, "link", "store");
	put_link(s->top_fd, "mnt/usb", "../store"); /* stands for a mount */
	/* @ stands for the directory around the datastore */
	const struct {
		const char *config, *want;
	} rows[] = {
		{ "", NULL },
		{ "datastore: a\n\tpath @/store\n", "a" },
		{ "datastore: a\n\tpath @/store", "a" },
		{ "datastore: a\n\tcomment x\n\tpath @/store\n\tgc-schedule daily\n\n", "a" },
		{ "datastore:\ta\n        path @/store\n", "a" },
		{ "datastore: a\n\tpath @/link\n", "a" },
		{ "datastore: a\n\tpath @/other/../store/\n", "a" },
		{ "datastore: a\n\tpath @/other\n\ndatastore: b\n\tpath @/store\n", "b" },
		{ "datastore: a\n\tpath @/store\n\ndatastore: b\n\tpath @/other\n", "a" },
		{ "datastore: a\n\tpath @/gone\ndatastore: b\n\tpath @/store\n", "b" },
		{ "datastore: a\n\tpath @/other\n", NULL },
		{ "datastore: a\n\tpath @/nothing\n", NULL },
		{ "datastore: a\n\tpath\n", NULL },
		{ "datastore: a\n\tpathX@/store\n", NULL },
		{ "datastore: a\n\tcomment path @/store\n", NULL },
		{ "datastore: a\npath @/store\n", NULL },
		{ "\tpath @/store\ndatastore: a\n", NULL },
		{ "path @/store\n", NULL },
		{ "datastore: ../a\n\tpath @/store\n", NULL },
		{ "datastore: \n\tpath @/store\n", NULL },
		{ "datastore: a\n\tpath @/other\n\nremote: b\n\tpath @/store\n", NULL },
		{ "datastore: usb\n\tbacking-device 1234\n\tpath pbs\n", "usb" },
		{ "datastore: usb\n\tpath @/other\n\tbacking-device 1234\n", "usb" },
		{ "datastore: gone\n\tpath @/store\n\tbacking-device 1234\n", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[512] = "";
		for (const char *c = rows[i].config; *c; c++) {
			size_t len = strlen(text);
			(void) snprintf(text + len, sizeof text - len, *c == '@' ? "%s" : "%.1s",
					*c == '@' ? s->top : c);
		}
		put_text(s->top_fd, "datastore.cfg", text);
		struct server_store store;
		assert_int_equal(server_store_find(&places.paths, s->path, &store), 0);
		if (strcmp(store.name, rows[i].want ? rows[i].want : "") != 0)
			fail_msg("%s, not %s: %s", store.name, rows[i].want, rows[i].config);
		assert_string_equal(store.maintenance, "");
	}
}

static void knows_when_the_server_refuses_reads(void **state)
{
	struct store *s = *state;
	struct places places;
	find_places(s, &places);
	put_dir(s->top_fd, "run");
	const struct {
		const char *value, *want;
	} rows[] = {
		{ "offline", "offline" },
		{ "type=offline", "offline" },
		{ "type=delete,message=gone soon", "delete" },
		{ "unmount,message=\"type=offline\"", "unmount" },
		{ "s3-refresh", "s3-refresh" },
		{ "read-only", "" },
		{ "type=read-only,message=offline", "" },
		{ "offline2", "" },
		{ "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[256];
		struct server_store store;
		(void) snprintf(text, sizeof text, "datastore: x\n\tmaintenance-mode delete\n\n"
				"datastore: main\n\tmaintenance-mode %s\n\tpath %s\n", rows[i].value, s->path);
		put_text(s->top_fd, "datastore.cfg", text);
		assert_int_equal(server_store_find(&places.paths, s->path, &store), 0);
		assert_string_equal(store.name, "main");
		assert_string_equal(store.maintenance, rows[i].want);
	}
}

static void knows_no_name_where_there_is_no_server(void **state)
{
	struct store *s = *state;
	struct places places;
	struct server_store store;
	char text[128];
	find_places(s, &places);
	(void) snprintf(text, sizeof text, "datastore: a\n\tpath %s\n", s->path);
	put_text(s->top_fd, "datastore.cfg", text);
	assert_int_equal(server_store_find(&places.paths, s->path, &store), 0);
	assert_string_equal(store.name, "");
	put_dir(s->top_fd, "run");
	assert_int_equal(unlinkat(s->top_fd, "datastore.cfg", 0), 0);
	assert_int_equal(server_store_find(&places.paths, s->path, &store), 0);
	assert_string_equal(store.name, "");
	put_fifo(s->top_fd, "datastore.cfg");
	assert_int_equal(server_store_find(&places.paths, s->path, &store), 0);
	assert_string_equal(store.name, "");
}

static void tells_a_configuration_that_cannot_be_read_from_none(void **state)
{
	struct store *s = *state;
	struct places places;
	struct server_store store;
	find_places(s, &places);
	put_dir(s->top_fd, "datastore.cfg");
	assert_int_equal(server_store_find(&places.paths, s->path, &store), 0);
	put_dir(s->top_fd, "run");
	assert_int_equal(server_store_find(&places.paths, s->path, &store), 1);
	assert_string_equal(store.name, "");
}

/* -- locks -- */

#define LOCK_FILE "locks/main/a:b/vm-100-" TIME_LOCK

/* A snapshot's directory, and a server's run directory. */
struct scene {
	struct places places;
	struct snapshot snapshot;
	int dir_fd, run_fd;
	struct snapshot_lock lock;
};

static int open_dir_at(int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void begin(struct store *s, struct scene *scene)
{
	*scene = (struct scene){ .lock = SNAPSHOT_LOCK_NONE };
	find_places(s, &scene->places);
	put_dir(s->top_fd, "run");
	put_dir(s->fd, "vm/100/" TIME);
	assert_int_equal(snapshot_parse("vm/100/" TIME, &scene->snapshot, NULL), 0);
	scene->dir_fd = open_dir_at(s->fd, "vm/100/" TIME);
	run_fd = scene->run_fd = open_dir_at(s->top_fd, "run");
}

static void end(struct scene *scene)
{
	snapshot_lock_release(&scene->lock);
	(void) close(scene->dir_fd);
	(void) close(scene->run_fd);
}

static int take(struct scene *scene, const char *store, struct err *err)
{
	return snapshot_lock_take(&scene->places.paths, scene->dir_fd, store, "a/b",
				  &scene->snapshot, &scene->lock, err);
}

/* Could somebody else, who opens it by its path, lock it like that? */
static bool can_lock(int dir_fd, const char *path, int how)
{
	CLEANUP(closep) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	bool can = flock(fd, how | LOCK_NB) == 0;
	assert_true(can || errno == EWOULDBLOCK);
	return can;
}

static void locks_the_directory_where_there_is_no_server(void **state)
{
	struct store *s = *state;
	struct scene scene;
	begin(s, &scene);
	assert_int_equal(take(&scene, "", NULL), 0);
	assert_int_equal(scene.lock.file_fd, -EBADF);
	assert_true(can_lock(s->fd, "vm/100/" TIME, LOCK_SH));
	assert_false(can_lock(s->fd, "vm/100/" TIME, LOCK_EX));
	assert_int_equal(faccessat(s->top_fd, "run/locks", F_OK, 0), -1);
	snapshot_lock_release(&scene.lock);
	assert_true(can_lock(s->fd, "vm/100/" TIME, LOCK_EX));
	snapshot_lock_release(&scene.lock); /* again is fine */
	end(&scene);
}

static void locks_the_servers_file_as_well(void **state)
{
	struct store *s = *state;
	struct scene scene;
	begin(s, &scene);
	assert_int_equal(take(&scene, "main", NULL), 0);
	assert_true(can_lock(scene.run_fd, LOCK_FILE, LOCK_SH));
	assert_false(can_lock(scene.run_fd, LOCK_FILE, LOCK_EX));
	assert_false(can_lock(s->fd, "vm/100/" TIME, LOCK_EX));
	snapshot_lock_release(&scene.lock);
	assert_true(can_lock(scene.run_fd, LOCK_FILE, LOCK_EX));
	assert_true(can_lock(s->fd, "vm/100/" TIME, LOCK_EX));
	end(&scene);
}

static void makes_a_lock_file_that_the_server_can_use(void **state)
{
	struct store *s = *state;
	struct scene scene;
	struct stat st;
	bool is_root = geteuid() == 0;
	begin(s, &scene);
	if (is_root)
		assert_int_equal(fchown(scene.run_fd, 34, 35), 0);
	const mode_t masks[] = { 022, 077, 0 };
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		mode_t before = umask(masks[i]);
		int r = take(&scene, "main", NULL);
		(void) umask(before);
		assert_int_equal(r, 0);
		assert_int_equal(fstatat(scene.run_fd, LOCK_FILE, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0660);
		snapshot_lock_release(&scene.lock);
		assert_int_equal(unlinkat(scene.run_fd, LOCK_FILE, 0), 0);
		const char *const made[] = { "locks/main/a:b", "locks/main", "locks" };
		for (size_t n = 0; n < ARRAY_LEN(made); n++) {
			assert_int_equal(fstatat(scene.run_fd, made[n], &st, AT_SYMLINK_NOFOLLOW), 0);
			assert_int_equal(st.st_mode, S_IFDIR | 0755);
			assert_int_equal(unlinkat(scene.run_fd, made[n], AT_REMOVEDIR), 0);
			if (is_root)
				assert_true(st.st_uid == 34 && st.st_gid == 35);
		}
	}
	end(&scene);
}

static void gives_the_lock_file_to_the_server(void **state)
{
	struct store *s = *state;
	struct scene scene;
	struct stat st;
	if (geteuid() != 0)
		skip();
	begin(s, &scene);
	assert_int_equal(fchown(scene.run_fd, 34, 35), 0);
	assert_int_equal(take(&scene, "main", NULL), 0);
	assert_int_equal(fstat(scene.lock.file_fd, &st), 0);
	assert_true(st.st_uid == 34 && st.st_gid == 35);
	end(&scene);
}

static void refuses_what_somebody_else_holds(void **state)
{
	struct store *s = *state;
	struct scene scene;
	struct err err = ERR_NONE;
	begin(s, &scene);
	put_text(scene.run_fd, LOCK_FILE, "");
	const struct {
		int dir_fd;
		const char *path;
	} rows[] = {
		{ s->fd, "vm/100/" TIME },
		{ scene.run_fd, LOCK_FILE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(closep) int fd = openat(rows[i].dir_fd, rows[i].path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(flock(fd, LOCK_EX), 0);
		expect(take(&scene, "main", &err), &err, -EBUSY, "snapshot vm/100/" TIME " is locked");
		assert_int_equal(flock(fd, LOCK_UN), 0);
		/* Nothing was kept */
		for (size_t n = 0; n < ARRAY_LEN(rows); n++)
			assert_true(can_lock(rows[n].dir_fd, rows[n].path, LOCK_EX));
		assert_int_equal(scene.lock.dir_fd, -EBADF);
	}
	expect(take(&scene, "main", &err), &err, 0, NULL);
	end(&scene);
}

static void says_when_the_servers_file_cannot_be_opened(void **state)
{
	struct store *s = *state;
	/* What is in the way: a path, and what it is */
	const struct {
		const char *path, *link_to;
	} rows[] = {
		{ "run/locks", NULL },		    /* a file where a directory should be */
		{ "run/locks/main", "../../other" },
		{ "run/" LOCK_FILE, "../../../../other/file" },
	};
	put_text(s->top_fd, "other/file", "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene scene;
		begin(s, &scene);
		if (rows[i].link_to)
			put_link(s->top_fd, rows[i].path, rows[i].link_to);
		else
			put_text(s->top_fd, rows[i].path, "");
		assert_int_equal(take(&scene, "main", NULL), SNAPSHOT_LOCKED_NO_FILE);
		assert_int_equal(scene.lock.file_fd, -EBADF);
		assert_false(can_lock(s->fd, "vm/100/" TIME, LOCK_EX));
		assert_true(can_lock(s->top_fd, "other/file", LOCK_EX));
		end(&scene);
		assert_int_equal(unlinkat(s->top_fd, rows[i].path, 0), 0);
	}
	struct scene scene;
	begin(s, &scene);
	(void) strcat(scene.places.run_dir, "/nothing");
	assert_int_equal(take(&scene, "main", NULL), SNAPSHOT_LOCKED_NO_FILE);
	end(&scene);
}

static void leaves_a_lock_file_that_is_there_as_it_is(void **state)
{
	struct store *s = *state;
	struct scene scene;
	struct stat st;
	begin(s, &scene);
	put_text(scene.run_fd, LOCK_FILE, "");
	assert_int_equal(fchmodat(scene.run_fd, LOCK_FILE, 0640, 0), 0);
	if (geteuid() == 0)
		assert_int_equal(fchownat(scene.run_fd, LOCK_FILE, 7, 8, 0), 0);
	assert_int_equal(take(&scene, "main", NULL), SNAPSHOT_LOCKED);
	assert_false(can_lock(scene.run_fd, LOCK_FILE, LOCK_EX));
	assert_int_equal(fstatat(scene.run_fd, LOCK_FILE, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	if (geteuid() == 0)
		assert_true(st.st_uid == 7 && st.st_gid == 8);
	snapshot_lock_release(&scene.lock);

	/* A second name: whose file is that? */
	assert_int_equal(linkat(scene.run_fd, LOCK_FILE, s->top_fd, "other", 0), 0);
	assert_int_equal(take(&scene, "main", NULL), SNAPSHOT_LOCKED_NO_FILE);
	assert_int_equal(scene.lock.file_fd, -EBADF);
	snapshot_lock_release(&scene.lock);
	assert_int_equal(unlinkat(scene.run_fd, LOCK_FILE, 0), 0);
	put_fifo(scene.run_fd, LOCK_FILE);
	assert_int_equal(take(&scene, "main", NULL), SNAPSHOT_LOCKED_NO_FILE);
	end(&scene);
}

static void says_when_nobody_can_see_the_lock(void **state)
{
	struct store *s = *state;
	const struct {
		int flock_errno;
		uint32_t fs_type;
		const char *store;
		enum snapshot_locked want;
	} rows[] = {
		{ 0, 0, "", SNAPSHOT_LOCKED },
		{ ENOLCK, 0, "", SNAPSHOT_LOCKED_NOTHING },
		{ EOPNOTSUPP, 0x6969, "", SNAPSHOT_LOCKED_NOTHING },
		{ ENOLCK, 0, "main", SNAPSHOT_LOCKED_NO_FILE }, /* the lock file cannot be locked either */
		{ 0, 0x6969, "", SNAPSHOT_LOCKED_HERE },
		{ 0, 0xfe534d42, "", SNAPSHOT_LOCKED_HERE },
		{ 0, 0x6969, "main", SNAPSHOT_LOCKED }, /* the server is on this host */
		{ 0, 0x65735546, "", SNAPSHOT_LOCKED }, /* FUSE */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene scene;
		begin(s, &scene);
		flock_errno = rows[i].flock_errno;
		fs_type = rows[i].fs_type;
		int r = take(&scene, rows[i].store, NULL);
		flock_errno = 0;
		fs_type = 0;
		if (r != (int)rows[i].want)
			fail_msg("row %zu: %d", i, r);
		end(&scene);
	}
}

static void takes_the_new_file_when_the_old_one_was_deleted(void **state)
{
	struct store *s = *state;
	struct scene scene;
	begin(s, &scene);
	delete_path = LOCK_FILE;
	n_deletes_left = 3;
	assert_int_equal(take(&scene, "main", NULL), 0);
	assert_int_equal(n_deletes_left, 0);
	assert_false(can_lock(scene.run_fd, LOCK_FILE, LOCK_EX));
	end(&scene);
}

static void gives_up_when_the_file_is_deleted_again_and_again(void **state)
{
	struct store *s = *state;
	struct scene scene;
	struct err err = ERR_NONE;
	begin(s, &scene);
	delete_path = LOCK_FILE;
	n_deletes_left = 1000;
	expect(take(&scene, "main", &err), &err, -EBUSY, "is deleted again and again");
	assert_true(n_deletes_left > 0);
	n_deletes_left = 0;
	assert_true(can_lock(s->fd, "vm/100/" TIME, LOCK_EX));
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_a_lock_as_the_server_does),
		STORE_TEST(knows_a_datastore_by_the_servers_configuration),
		STORE_TEST(knows_when_the_server_refuses_reads),
		STORE_TEST(knows_no_name_where_there_is_no_server),
		STORE_TEST(tells_a_configuration_that_cannot_be_read_from_none),
		STORE_TEST(locks_the_directory_where_there_is_no_server),
		STORE_TEST(locks_the_servers_file_as_well),
		STORE_TEST(makes_a_lock_file_that_the_server_can_use),
		STORE_TEST(gives_the_lock_file_to_the_server),
		STORE_TEST(refuses_what_somebody_else_holds),
		STORE_TEST(says_when_the_servers_file_cannot_be_opened),
		STORE_TEST(leaves_a_lock_file_that_is_there_as_it_is),
		STORE_TEST(says_when_nobody_can_see_the_lock),
		STORE_TEST(takes_the_new_file_when_the_old_one_was_deleted),
		STORE_TEST(gives_up_when_the_file_is_deleted_again_and_again),
	};
	return RUN_TESTS(tests);
}
