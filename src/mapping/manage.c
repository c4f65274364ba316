/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "export/fuse_mount.h"
#include "export/loop.h"
#include "export/nbd_kernel.h"
#include "export/nbd_listen.h"
#include "format/json.h"
#include "mapping/control.h"
#include "mapping/holders.h"
#include "mapping/info.h"
#include "mapping/registry.h"
#include "util/array.h"
#include "util/bytes.h"
#include "util/mount_table.h"

/*
 * What commands do with mappings that other processes serve.  Whether a device is busy is found out
 * here, not by its server, which has no rights left to look around.
 */
#define ANSWER_MS     2000  /* a live server answers in microseconds */
#define BUSY_GRACE_MS 300   /* udev and its like look into a new device for a moment */
#define BUSY_RETRY_MS 50
#define PROBE_MS      1000  /* a kernel says at once that nobody serves a mount */
#define END_MS	      10000 /* of a server nobody uses, or that was told to force */

static void sleep_ms(int64_t ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	(void) nanosleep(&t, NULL);
}

/* -- list ------------------------------------------------------------------------------------ */

/* A live mapping and the socket it was found by. */
struct found {
	struct mapping_info info;
	char socket_name[SOCKET_NAME_SIZE]; /* "" = nobody serves it */
};

struct found_list {
	struct found *items;
	size_t n, cap;
};

static void found_list_deinit(struct found_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		mapping_info_deinit(&list->items[i].info);
	free(list->items);
}

static int found_add(struct found_list *list, struct mapping_info *take_info, const char *socket_name,
		     struct err *err)
{
	int r = array_grow(&list->items, list->n, &list->cap, sizeof *list->items, err);
	if (r < 0) {
		mapping_info_deinit(take_info);
		return r;
	}
	struct found *found = &list->items[list->n++];
	found->info = *take_info;
	(void) snprintf(found->socket_name, sizeof found->socket_name, "%s", socket_name);
	return 0;
}

/* One that does not answer: what others may know of it. */
static int describe_mute(enum mapping_state state, enum mapping_via via, const char *name, const char *device,
			 struct mapping_info *ret, struct err *err)
{
	struct mapping_info info = { .state = state, .via = via };
	const struct { char **to; const char *from; } texts[] = {
		{ &info.name, name }, { &info.device, device }, { &info.repository, "" }, { &info.ns, "" },
		{ &info.snapshot, "" }, { &info.archive, "" }, { &info.lost_why, "" }, { &info.uri, "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		*texts[i].to = strdup(texts[i].from);
		if (!*texts[i].to) {
			mapping_info_deinit(&info);
			return err_set(err, -ENOMEM, "no memory");
		}
	}
	*ret = info;
	return 0;
}

/* VIA_LOOP where it is not noted. */
static enum mapping_via via_noted(const struct registry *registry, const char *socket_name)
{
	CLEANUP(freep) char *noted = registry_noted(registry, socket_name, "via");
	static const enum mapping_via others[] = { VIA_FILE, VIA_TREE, VIA_SOCKET, VIA_NBD };
	for (size_t i = 0; noted && i < ARRAY_LEN(others); i++)
		if (strcmp(noted, mapping_via_name(others[i])) == 0)
			return others[i];
	return VIA_LOOP;
}

static int describe_silent(const struct registry *registry, const char *socket_name, int fd,
			   struct mapping_info *ret, struct err *err)
{
	CLEANUP(freep) char *name = registry_noted(registry, socket_name, "name");
	CLEANUP(freep) char *device = registry_noted(registry, socket_name, "device");
	CLEANUP(freep) char *keeper = registry_noted(registry, socket_name, "keeper");
	struct ucred peer = { 0 };
	socklen_t len = sizeof peer;
	enum mapping_via via = via_noted(registry, socket_name);
	int r = describe_mute(MAPPING_SILENT, via, name ? name : socket_name, device ? device : "", ret, err);
	if (r < 0)
		return r;
	(void) getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len); /* without a connection: 0 */
	ret->pid = peer.pid;
	ret->keeper_pid = keeper ? (pid_t)atoi(keeper) : 0;
	return 0;
}

/* 1 = @ret is what it says, 0 = it went away this moment, -errno = it says nothing that can be understood. */
static int question_status(int fd, struct mapping_info *ret)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	int r = control_ask(fd, json_pack("{s:s}", "do", "status"), deadline_in_ms(ANSWER_MS), &answer, NULL);
	if (r == -ECONNRESET || r == -EPIPE)
		return 0;
	if (r == 0)
		r = mapping_info_from_json(answer, ret, NULL);
	return r < 0 ? r : 1;
}

static int ask_status(const struct registry *registry, const char *socket_name,
		      struct found_list *ret, struct err *err)
{
	CLEANUP(closep) int fd = -EBADF;
	struct mapping_info info = MAPPING_INFO_EMPTY;
	int r = registry_connect(registry, socket_name, &fd, NULL);
	if (r == -ECONNREFUSED || r == -ENOENT)
		return 0;
	if (r == 0)
		r = question_status(fd, &info);
	if (r == 0)
		return 0;
	if (r < 0)
		r = describe_silent(registry, socket_name, fd, &info, err);
	return r < 0 ? r : found_add(ret, &info, socket_name, err);
}

static bool is_known(const struct found_list *list, const char *device)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->items[i].info.device, device) == 0)
			return true;
	return false;
}

/*
 * A FUSE mount of ours that nobody answers: its process was killed, and its keeper as well.  One whose
 * process is stopped holds whoever asks, so a child does, and nobody waits long for it.
 */
static bool is_dead_mount(const char *path)
{
	pid_t child = fork();
	if (child == 0) {
		int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		_exit(fd < 0 && errno == ENOTCONN);
	}
	struct deadline until = deadline_in_ms(PROBE_MS);
	int status = 0;
	while (child > 0 && waitpid(child, &status, WNOHANG) == 0) {
		if (deadline_is_over(until)) {
			(void) kill(child, SIGKILL);
			return false;
		}
		sleep_ms(1);
	}
	return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static int add_if_dead(void *user, const struct mount_row *mount, struct err *err)
{
	struct found_list *list = user;
	struct mapping_info info = MAPPING_INFO_EMPTY;
	if (strcmp(mount->type, "fuse.pbsmap") != 0 || is_known(list, mount->target) || !is_dead_mount(mount->target))
		return 0;
	int r = describe_mute(MAPPING_DEAD, VIA_FILE, mount->source, mount->target, &info, err);
	return r < 0 ? r : found_add(list, &info, "", err);
}

static bool is_block(const struct mapping_info *info)
{
	return info->via == VIA_LOOP || info->via == VIA_NBD;
}

static int by_device(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	size_t x_len = strlen(x->info.device), y_len = strlen(y->info.device);
	if (is_block(&x->info) && x->info.via == y->info.via && x_len != y_len)
		return x_len < y_len ? -1 : 1; /* loop9 before loop10 */
	return strcmp(x->info.device, y->info.device);
}

static int find_all(const struct registry *registry, struct found_list *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv sockets = STRV_EMPTY;
	nbd_kernel_sweep();
	int r = registry_sweep(registry, err);
	if (r == 0)
		r = registry_sockets(registry, &sockets, err);
	for (size_t i = 0; r == 0 && i < sockets.n; i++)
		r = ask_status(registry, sockets.items[i], ret, err);
	if (r == 0)
		r = mount_table_each("/proc/self/mountinfo", add_if_dead, ret, err);
	if (r == 0 && ret->n)
		qsort(ret->items, ret->n, sizeof *ret->items, by_device);
	return r;
}

static int add_all(struct strv *ret, const struct strv *from, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < from->n; i++)
		r = strv_add(ret, from->items[i], err);
	return r;
}

static struct holders_query query_about(const struct mapping_info *info, enum holders_flags flags, struct strv *ret)
{
	return (struct holders_query){ info->device, flags | (is_block(info) ? HOLDERS_OF_DEVICE : 0),
				       { info->pid, info->keeper_pid }, ret };
}

/* All at once: to look into every process for each of them takes a second where there are hundreds. */
static int find_holders(struct mapping_list *list, struct err *err)
{
	CLEANUP(freep) struct holders_query *queries = calloc(list->n + 1, sizeof *queries);
	size_t n = 0;
	int r = queries ? 0 : err_set(err, -ENOMEM, "no memory");
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		struct mapping_info *info = &list->items[i];
		if (!*info->device || info->state == MAPPING_DEAD)
			continue;
		if (info->via == VIA_SOCKET)
			r = add_all(&info->holders, &info->users, err);
		else
			queries[n++] = query_about(info, 0, &info->holders);
	}
	return r < 0 ? r : holders_find(queries, n, err);
}

int mapping_list(struct mapping_list *ret, struct err *err)
{
	CLEANUP(registry_close) struct registry registry = REGISTRY_NONE;
	CLEANUP(found_list_deinit) struct found_list found = { 0 };
	struct mapping_list list = MAPPING_LIST_EMPTY;
	int r = registry_open(&registry, err);
	if (r == 0)
		r = find_all(&registry, &found, err);
	for (size_t i = 0; r == 0 && i < found.n; i++) {
		struct mapping_info *info = &found.items[i].info;
		r = array_grow(&list.items, list.n, &list.cap, sizeof *info, err);
		if (r == 0) {
			list.items[list.n++] = *info;
			*info = MAPPING_INFO_EMPTY;
		}
	}
	if (r == 0)
		r = find_holders(&list, err);
	if (r < 0)
		mapping_list_deinit(&list);
	else
		*ret = list;
	return r;
}

/* -- glance ---------------------------------------------------------------------------------- */

static int is_target(void *path, const struct mount_row *mount, struct err *err)
{
	return strcmp(mount->target, *(const char *const *)path) == 0;
}

static bool is_mounted(const char *path)
{
	return mount_table_each("/proc/self/mountinfo", is_target, &path, NULL) > 0;
}

/* A killed server leaves its notes behind until they are swept. */
static bool is_still_there(const char *device)
{
	char sys[96];
	struct stat st;
	if (strncmp(device, "/dev/", 5) != 0)
		return strstr(device, "://") || is_mounted(device) || (stat(device, &st) == 0 && S_ISSOCK(st.st_mode));
	bool is_nbd = strncmp(device, "/dev/nbd", 8) == 0;
	(void) snprintf(sys, sizeof sys, "/sys/block/%s/%s", device + 5, is_nbd ? "pid" : "loop/backing_file");
	return access(sys, F_OK) == 0;
}

static int glance_at(const struct registry *registry, const char *socket_name, struct strv *ret_devices,
		     struct strv *ret_names, struct err *err)
{
	CLEANUP(freep) char *name = registry_noted(registry, socket_name, "name");
	CLEANUP(freep) char *device = registry_noted(registry, socket_name, "device");
	if (!name || !device || !is_still_there(device))
		return 0;
	int r = strv_add(ret_devices, device, err);
	return r < 0 ? r : strv_add(ret_names, name, err);
}

int mapping_glance(struct strv *ret_devices, struct strv *ret_names, struct err *err)
{
	CLEANUP(registry_close) struct registry registry = REGISTRY_NONE;
	CLEANUP(strv_deinit) struct strv sockets = STRV_EMPTY;
	int r = registry_open_existing(&registry, err);
	if (r == 0)
		r = registry_sockets(&registry, &sockets, err);
	for (size_t i = 0; r == 0 && i < sockets.n; i++)
		r = glance_at(&registry, sockets.items[i], ret_devices, ret_names, err);
	return r;
}

/* -- which one ------------------------------------------------------------------------------- */

static bool is_device(const struct mapping_info *info, const char *path)
{
	if (strcmp(info->device, path) == 0 || (*info->uri && strcmp(info->uri, path) == 0))
		return true;
	for (size_t i = 0; i < info->partitions.n; i++)
		if (strcmp(info->partitions.items[i], path) == 0)
			return true;
	return false;
}

static bool is_tail(const char *name, const char *tail)
{
	size_t len = strlen(name), tail_len = strlen(tail);
	return tail_len && tail_len < len && name[len - tail_len - 1] == '/' &&
	       strcmp(name + len - tail_len, tail) == 0;
}

enum likeness { NOT_MEANT, MEANT_BY_TAIL, MEANT_EXACTLY };

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* Of /dev/loop3 and /dev/nbd3. */
static bool has_number(const struct mapping_info *info, const char *number)
{
	size_t len = strlen(info->device), number_len = strlen(number);
	return is_block(info) && len > number_len && strcmp(info->device + len - number_len, number) == 0 &&
	       !is_number(info->device + len - number_len - 1);
}

static enum likeness is_meant(const struct mapping_info *info, const char *which, const char *path)
{
	if (is_number(which) && has_number(info, which))
		return MEANT_EXACTLY;
	if ((path && is_device(info, path)) || strcmp(info->name, which) == 0)
		return MEANT_EXACTLY;
	return is_tail(info->name, which) ? MEANT_BY_TAIL : NOT_MEANT;
}

/* The device a user means by a number or a path; NULL = neither. */
static char *path_meant(const char *which)
{
	char *path = NULL;
	if (is_number(which))
		return asprintf(&path, "/dev/loop%s", which) < 0 ? NULL : path;
	path = realpath(which, NULL);
	/* A dead mount's path cannot be resolved by looking at it, and a URI is none. */
	return path || (*which != '/' && !strstr(which, "://")) ? path : strdup(which);
}

static int add_candidates(const struct found_list *list, const char *which, const char *path, enum likeness likeness,
			  struct failure *why)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		const struct mapping_info *info = &list->items[i].info;
		if (likeness == NOT_MEANT || is_meant(info, which, path) == likeness)
			r = strv_add(&why->candidates, info->name, &why->err);
	}
	return r;
}

/* What a device is that is none of these mappings. */
static const char *what_else(const char *path)
{
	static const char others[] = "another user's or run directory's mapping";
	char sys[64], mark[64];
	unsigned number;
	if (sscanf(path, "/dev/nbd%u", &number) == 1)
		return nbd_kernel_is_ours(number) ? others : NULL;
	if (sscanf(path, "/dev/loop%u", &number) != 1)
		return NULL;
	(void) snprintf(sys, sizeof sys, "/sys/block/loop%u/loop/backing_file", number);
	if (access(sys, F_OK) < 0)
		return "not mapped";
	return loop_is_ours(number, mark) ? others : "in use, but not by pbsmap";
}

static int say_candidates(const struct found_list *list, const char *which, enum likeness likeness,
			  struct failure *why)
{
	CLEANUP(freep) char *path = path_meant(which);
	char shown[160], instead[200] = "there are no mappings";
	int r = add_candidates(list, which, path, likeness, why);
	if (r < 0)
		return r;
	strv_describe(&why->candidates, 4, shown, sizeof shown);
	if (likeness != NOT_MEANT)
		return err_set(&why->err, -ENOTUNIQ, "%s fits several mappings: %s", which, shown);
	if (why->candidates.n)
		(void) snprintf(instead, sizeof instead, "there is: %s", shown);
	const char *what = path ? what_else(path) : NULL;
	if (what)
		return err_set(&why->err, -ENOENT, "%s is %s; %s", path, what, instead);
	return err_set(&why->err, -ENOENT, "nothing is mapped as %s; %s", which, instead);
}

static int find_one(const struct found_list *list, const char *which, const struct found **ret,
		    struct failure *why)
{
	CLEANUP(freep) char *path = path_meant(which);
	for (int likeness = MEANT_EXACTLY; likeness > NOT_MEANT; likeness--) {
		const struct found *fits = NULL;
		for (size_t i = 0; i < list->n; i++) {
			if (is_meant(&list->items[i].info, which, path) != (enum likeness)likeness)
				continue;
			if (fits)
				return say_candidates(list, which, (enum likeness)likeness, why);
			fits = &list->items[i];
		}
		if (fits) {
			*ret = fits;
			return 0;
		}
	}
	return say_candidates(list, which, NOT_MEANT, why);
}

/* -- unmap ----------------------------------------------------------------------------------- */

static int say_busy(const struct mapping_info *info, struct failure *why)
{
	char shown[320];
	strv_describe(&why->holders, 4, shown, sizeof shown);
	return err_set(&why->err, -EBUSY, "%s is in use: %s", info->device, shown);
}

/* A server process knows best who is connected with it; one that went away has nobody. */
static int find_users_now(const struct registry *registry, const struct found *found, struct strv *ret,
			  struct err *err)
{
	CLEANUP(found_list_deinit) struct found_list now = { 0 };
	int r = ask_status(registry, found->socket_name, &now, err);
	return r < 0 || now.n == 0 ? r : add_all(ret, &now.items[0].info.users, err);
}

static int find_holders_now(const struct registry *registry, const struct found *found, struct strv *ret,
			    struct err *err)
{
	if (found->info.via == VIA_SOCKET)
		return find_users_now(registry, found, ret, err);
	const struct holders_query query = query_about(&found->info, HOLDERS_CLOSELY, ret);
	return *found->info.device ? holders_find(&query, 1, err) : 0;
}

/* 0 = nobody uses it now. */
static int wait_until_free(const struct registry *registry, const struct found *found, struct deadline until,
			   struct failure *why)
{
	const struct mapping_info *info = &found->info;
	struct deadline grace = deadline_in_ms(BUSY_GRACE_MS);
	for (;;) {
		strv_deinit(&why->holders);
		int r = find_holders_now(registry, found, &why->holders, &why->err);
		if (r < 0 || why->holders.n == 0)
			return r;
		if (deadline_is_over(until) && deadline_is_over(grace))
			return say_busy(info, why);
		sleep_ms(BUSY_RETRY_MS);
	}
}

static int wait_until_unmounted(const char *path, struct deadline until, struct err *err)
{
	while (is_mounted(path)) {
		if (deadline_is_over(until))
			return err_set(err, -ETIMEDOUT, "%s does not go away", path);
		sleep_ms(2);
	}
	return 0;
}

/* The path's mount is the keeper's to take away; where there is none left, ours. */
static int clean_path(const struct mapping_info *info, struct err *err)
{
	int r = wait_until_unmounted(info->device, deadline_in_ms(1000), err);
	if (r < 0) {
		(void) fuse_path_unmount(info->device, true, NULL);
		r = wait_until_unmounted(info->device, deadline_in_ms(END_MS), err);
	}
	return r;
}

/* A socket is the keeper's to remove, at once when the server process is gone; where there is no keeper left, ours. */
static int clean_socket(const char *path, struct err *err)
{
	struct deadline until = deadline_in_ms(1000);
	while (*path == '/' && access(path, F_OK) == 0) {
		if (deadline_is_over(until))
			return nbd_path_clean(path, err);
		sleep_ms(2);
	}
	return 0;
}

/* It is the one we are connected with: that it does not go on is why it is killed. */
static int kill_server(int fd, struct err *err)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return err_set(err, -ETIMEDOUT, "its process does not answer");
	CLEANUP(closep) int pid_fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	struct pollfd has_ended = { .fd = fd };
	if (pid_fd < 0 && errno != ESRCH)
		return err_errno(err, -errno, "cannot kill process %d", (int)peer.pid);
	/* While the connection stands, the number is still its own. */
	if (pid_fd < 0 || poll(&has_ended, 1, 0) > 0)
		return 0;
	if (syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0) < 0)
		return err_errno(err, -errno, "cannot kill process %d", (int)peer.pid);
	return control_wait_for_end(fd, deadline_in_ms(END_MS), err);
}

static int tell_to_end(const struct registry *registry, const struct found *found, bool is_forced,
		       struct failure *why)
{
	CLEANUP(closep) int fd = -EBADF;
	CLEANUP(json_freep) json_t *answer = NULL;
	struct err *err = &why->err;
	int r = registry_connect(registry, found->socket_name, &fd, err);
	if (r == -ECONNREFUSED || r == -ENOENT)
		return 0;
	if (r == 0)
		r = control_ask(fd, json_pack("{s:s, s:b}", "do", "end", "force", (int)is_forced),
				deadline_in_ms(is_forced ? ANSWER_MS : END_MS), &answer, err);
	if (r == 0)
		r = control_wait_for_end(fd, deadline_in_ms(END_MS), err);
	if (r == -ETIMEDOUT && is_forced)
		r = kill_server(fd, err);
	return r == -ECONNRESET || r == -EPIPE ? 0 : r;
}

static int unmap_dead(const struct mapping_info *info, struct err *err)
{
	(void) fuse_path_unmount(info->device, true, NULL);
	return clean_path(info, err);
}

static int unmap(const struct registry *registry, const struct found *found, enum unmap_flags flags,
		 struct deadline until, struct failure *why)
{
	const struct mapping_info *info = &found->info;
	bool is_forced = flags & UNMAP_FORCE;
	if (info->state == MAPPING_DEAD)
		return unmap_dead(info, &why->err);
	int r = is_forced ? 0 : wait_until_free(registry, found, until, why);
	if (r == -EBUSY)
		return r; /* it names the device */
	if (r == 0)
		r = tell_to_end(registry, found, is_forced, why);
	if (r < 0) {
		/* Somebody came between our look and its end: then it goes with that user. */
		if (r == -ETIMEDOUT && !is_forced &&
		    find_holders_now(registry, found, &why->holders, NULL) == 0 && why->holders.n)
			return say_busy(info, why);
		bool answers = info->state != MAPPING_SILENT;
		if (r == -ETIMEDOUT && mapping_is_on_path(info->via) && answers && !is_forced && !is_mounted(info->device))
			return err_set(&why->err, -EBUSY, "%s is unmounted, but its files are mounted elsewhere as well, and "
				       "served until they are not", info->device);
		/* Its keeper cannot unmount it: perhaps we can, or learn why not. */
		if (r == -ETIMEDOUT && mapping_is_on_path(info->via) && answers)
			return fuse_path_unmount(info->device, is_forced, &why->err);
		return err_while(&why->err, r, "unmapping %s", info->device);
	}
	if (mapping_is_on_path(info->via))
		return clean_path(info, &why->err);
	if (info->via == VIA_SOCKET)
		return clean_socket(info->device, &why->err);
	if (!is_forced)
		return 0; /* its process ended because the device had gone */
	/* A file system of a device that only gives errors is of no use; whoever has it open keeps it. */
	return holders_detach_mounts(info->device, &why->err);
}

int mapping_unmap(const char *which, enum unmap_flags flags, struct deadline until,
		  struct failure *why)
{
	CLEANUP(registry_close) struct registry registry = REGISTRY_NONE;
	CLEANUP(found_list_deinit) struct found_list list = { 0 };
	const struct found *found = NULL;
	int r = registry_open(&registry, &why->err);
	if (r == 0)
		r = find_all(&registry, &list, &why->err);
	if (r == 0)
		r = find_one(&list, which, &found, why);
	return r < 0 ? r : unmap(&registry, found, flags, until, why);
}

int mapping_unmap_all(enum unmap_flags flags, struct deadline until, struct failure *why)
{
	CLEANUP(registry_close) struct registry registry = REGISTRY_NONE;
	CLEANUP(found_list_deinit) struct found_list list = { 0 };
	int result = registry_open(&registry, &why->err);
	if (result == 0)
		result = find_all(&registry, &list, &why->err);
	for (size_t i = 0; i < list.n; i++) {
		struct failure one = FAILURE_NONE;
		int r = unmap(&registry, &list.items[i], flags, until, &one);
		if (r < 0 && result == 0) {
			result = r;
			*why = one;
		} else {
			failure_deinit(&one);
		}
	}
	return result;
}
