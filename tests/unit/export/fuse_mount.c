/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fuse_mount.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "export/fuse_file.h"
#include "unit.h"
#include "util/file.h"

/* An image in memory, whose reads are answered at once. */
enum { SIZE = 300000 };

struct memory_image {
	struct image image;
	uint8_t bytes[SIZE];
};

static void submit(struct image *image, struct read *read)
{
	const struct memory_image *memory = CONTAINER_OF(image, struct memory_image, image);
	read->segments = read->inline_segments;
	read->segments[0] = (struct segment){ memory->bytes + read->off, read->len, NULL };
	read->n_segments = 1;
	read->done(read);
}

static void cancel(struct image *image, struct read *read)
{
}

static bool next_extent(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end)
{
	*ret_end = image->size;
	return false;
}

static const struct image_ops memory_ops = { .submit = submit, .cancel = cancel, .next_extent = next_extent };

static struct memory_image memory;
static char run_dir[] = "/tmp/pbsmap-unit-XXXXXX";

static int set_up(void **state)
{
	memory.image = (struct image){ &memory_ops, SIZE };
	for (size_t i = 0; i < SIZE; i++)
		memory.bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	return mkdtemp(run_dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	return rmdir(run_dir); /* it is empty again */
}

static bool can_mount(void)
{
	if (geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0)
		return true;
	print_message("takes root and /dev/fuse\n");
	return false;
}

static bool is_all_there(int fd)
{
	static uint8_t got[SIZE + 1];
	return pread_full(fd, got, sizeof got, 0) == SIZE && memcmp(got, memory.bytes, SIZE) == 0;
}

/* Whoever serves it may not open it, so another process does; it goes through direct I/O, in blocks. */
static bool is_read_by_another_process(struct fuse_mount *mount, const char *path)
{
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = -EBADF;
		closep(&mount->fuse_fd); /* else its end is not seen */
		if (path)
			fd = open(path, O_RDONLY | O_CLOEXEC);
		else if (fuse_mount_open(mount, &fd, NULL) == 0)
			(void) fcntl(fd, F_SETFL, O_RDONLY); /* any length */
		_exit(fd >= 0 && is_all_there(fd) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status == 0;
}

static struct fuse_file *serve(struct fuse_mount *mount, bool is_on_path)
{
	struct fuse_file *file = NULL;
	const struct fuse_file_options options = {
		.image = &memory.image, .take_fuse_fd = dup(mount->fuse_fd), .is_on_path = is_on_path,
	};
	assert_int_equal(fuse_file_open(&options, &file, NULL), 0);
	return file;
}

static void close_when_it_has_ended(struct fuse_file *file)
{
	struct pollfd wait = { .fd = fuse_file_event_fd(file), .events = POLLIN };
	while (!fuse_file_has_ended(file))
		assert_true(poll(&wait, 1, 20000) > 0);
	fuse_file_close(file);
}

static size_t n_mounts(void)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	assert_non_null(mounts);
	size_t n = 0;
	for (int c; (c = fgetc(mounts)) != EOF;)
		n += c == '\n';
	(void) fclose(mounts);
	return n;
}

/* With fsopen(), and as on a kernel that has none. */
static void a_file_nowhere_is_in_no_mount_table_and_ends_with_its_last_descriptor(void **state)
{
	if (!can_mount())
		skip();
	for (int without_fsopen = 0; without_fsopen < 2; without_fsopen++) {
		size_t before = n_mounts();
		struct fuse_mount mount = FUSE_MOUNT_NONE;
		assert_int_equal(fuse_mount_nowhere("pbsmap:unit", run_dir, without_fsopen, &mount, NULL), 0);
		assert_int_equal(mount.path[0] != '\0', without_fsopen);
		struct fuse_file *file = serve(&mount, false);
		assert_true(is_read_by_another_process(&mount, NULL));
		fuse_mount_finish(&mount);
		assert_int_equal(n_mounts(), before);
		close_when_it_has_ended(file);
	}
}

static void a_file_on_a_path_is_there_until_it_is_unmounted(void **state)
{
	if (!can_mount())
		skip();
	char path[64];
	(void) snprintf(path, sizeof path, "%s/a,b", run_dir);
	int target = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(target >= 0);
	(void) close(target);
	struct fuse_mount mount = FUSE_MOUNT_NONE;
	struct err err = ERR_NONE;
	struct stat st;
	int r = fuse_mount_on_path(path, "pbsmap:a,b\\c", "", &mount, &err);
	if (r == -ENOENT) {
		print_message("takes fusermount3\n");
		(void) unlink(path);
		skip();
	}
	assert_int_equal(r, 0);
	struct fuse_file *file = serve(&mount, true);
	assert_true(is_read_by_another_process(&mount, path));
	fuse_mount_finish(&mount);
	assert_int_equal(fuse_path_unmount(path, false, NULL), 0);
	close_when_it_has_ended(file);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(unlink(path), 0);
}

static void says_why_a_path_cannot_be_mounted_on(void **state)
{
	if (!can_mount())
		skip();
	struct fuse_mount mount;
	struct err err = ERR_NONE;
	assert_true(fuse_mount_on_path("/tmp/there/is/no/such/path", "pbsmap:unit", "", &mount, &err) < 0);
	assert_non_null(strstr(err.msg, "/tmp/there/is/no/such/path"));
	assert_true(fuse_path_unmount("/tmp/there/is/no/such/path", false, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_nowhere_is_in_no_mount_table_and_ends_with_its_last_descriptor),
		TEST(a_file_on_a_path_is_there_until_it_is_unmounted),
		TEST(says_why_a_path_cannot_be_mounted_on),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
