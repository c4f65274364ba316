/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/served_nbd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "export/nbd_kernel.h"
#include "export/nbd_listen.h"
#include "mapping/choose.h"
#include "mapping/served.h"
#include "util/buf.h"

#define TABLE_MS    20000 /* to read a partition table; a disk is shown without, too */
#define DESCRIPTORS 4096  /* of which most are for clients */
#define KERNEL_LINKS 4	    /* connections of a kernel device: one for each of a few processors */
#define KERNEL_GRACE_S 10   /* by which the kernel waits longer than a read may take */
#define KERNEL_FOREVER_S 86400 /* instead of for ever: a server that hangs must not hang its readers so */

/* -- what needs no backup -------------------------------------------------------------------- */

static int check_where(struct served_nbd *nbd, const struct mapping_options *options, struct err *err)
{
	if (options->target)
		return nbd_path_check(options->target, err);
	if (options->listen)
		return nbd_address_check(options->listen, err);
	int r = activation_take(&nbd->sockets, err);
	if (r == 0 && nbd->sockets.n == 0)
		return err_set(err, -EINVAL, "where to listen is not said: give --socket PATH or --listen PORT");
	return r;
}

static int parse_number(const char *target, uint32_t *ret, struct err *err)
{
	*ret = NBD_KERNEL_ANY;
	if (!target)
		return 0;
	const char *digits = strncmp(target, "/dev/nbd", 8) == 0 ? target + 8 : target;
	size_t len = strlen(digits);
	if (len == 0 || len > 6 || strspn(digits, "0123456789") != len)
		return err_set(err, -EINVAL, "'%s' is no NBD device: it is written /dev/nbd3, or 3", target);
	*ret = (uint32_t)atoi(digits);
	return 0;
}

int served_nbd_prepare(struct served *served, const struct mapping_options *options, struct err *err)
{
	uint32_t number;
	if (options->via == VIA_NBD)
		return parse_number(options->target, &number, err);
	int r = check_where(&served->nbd, options, err);
	if (r == 0 && (options->tls.certificates || options->tls.psk_file))
		r = tls_server_open(&options->tls, &served->nbd.tls, err);
	return r;
}

/* -- the other archives ---------------------------------------------------------------------- */

static int add_archive(struct served *served, const struct mapping_options *options, const char *archive,
		       struct failure *why)
{
	struct served_nbd *nbd = &served->nbd;
	struct served_beside *beside = &nbd->beside[nbd->n_beside];
	int r = backup_open_beside(options->repository, served->backup, archive, &beside->backup, why);
	if (r < 0)
		return r;
	beside->served = served;
	nbd->n_beside++;
	return 0;
}

static int add_archives(struct served *served, const struct mapping_options *options,
			const char *const *archives, size_t n, struct failure *why)
{
	int r = 0;
	if (n == 0)
		return 0;
	served->nbd.beside = calloc(n, sizeof *served->nbd.beside);
	if (!served->nbd.beside)
		return err_set(&why->err, -ENOMEM, "no memory");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_archive(served, options, archives[i], why);
	return r;
}

/* One name, one export. */
static int check_names(const struct served_nbd *nbd, const char *first, struct err *err)
{
	for (size_t i = 0; i < nbd->n_beside; i++) {
		const char *name = nbd->beside[i].backup->archive;
		bool is_there = strcmp(name, first) == 0;
		for (size_t j = 0; j < i; j++)
			is_there |= strcmp(name, nbd->beside[j].backup->archive) == 0;
		if (is_there)
			return err_set(err, -EINVAL, "archive %s is given twice", name);
	}
	return 0;
}

static int open_archives(struct served *served, const struct mapping_options *options, struct failure *why)
{
	CLEANUP(strv_deinit) struct strv images = STRV_EMPTY;
	bool is_all = !options->archive && served->backup->manifest && !options->repository->chunks;
	if (!is_all)
		return add_archives(served, options, options->more_archives, options->n_more_archives, why);
	int r = choose_images(served->backup->manifest, &images, &why->err);
	/* The first one is open. */
	return r < 0 ? r : add_archives(served, options, (const char *const *)images.items + 1, images.n - 1, why);
}

int served_nbd_open(struct served *served, const struct mapping_options *options, struct failure *why)
{
	int r = open_archives(served, options, why);
	return r < 0 ? r : check_names(&served->nbd, served->backup->archive, &why->err);
}

/* -- streams --------------------------------------------------------------------------------- */

static void tell_damage(void *user, const struct damage *damage)
{
	const struct served_beside *beside = user;
	served_tell_damage(beside->served, beside->backup->archive, damage);
}

static int open_streams(struct served *served, const struct mapping_options *options, struct err *err)
{
	struct served_nbd *nbd = &served->nbd;
	int r = 0;
	for (size_t i = 0; r == 0 && i < nbd->n_beside; i++) {
		struct served_beside *beside = &nbd->beside[i];
		r = served_open_stream(served, beside->backup, options, tell_damage, beside, &beside->stream, err);
		if (r == 0)
			r = image_disk_open(beside->stream, 1, &beside->image, err);
	}
	return r;
}

static int add_disk(struct served *served, const char *archive, struct image *disk, struct err *err)
{
	CLEANUP(buf_deinit) struct buf about = BUF_EMPTY;
	struct err why = ERR_NONE;
	const char *snapshot = served->backup->snapshot;
	int r = buf_printf(&about, err, "%s%s%s", snapshot, *snapshot ? "/" : "", archive);
	if (r == 0)
		r = exports_add_disk(&served->nbd.exports, archive, about.data, disk, deadline_in_ms(TABLE_MS), &why);
	if (r > 0) {
		char line[640];
		(void) snprintf(line, sizeof line, "warning: %s: its partition table cannot be read: %s", archive, why.msg);
		served->say(served->user, line);
	}
	return r < 0 ? err_set(err, r, "%s", why.msg) : 0;
}

static int add_disks(struct served *served, struct err *err)
{
	const struct served_nbd *nbd = &served->nbd;
	int r = add_disk(served, served->backup->archive, served->image, err);
	for (size_t i = 0; r == 0 && i < nbd->n_beside; i++)
		r = add_disk(served, nbd->beside[i].backup->archive, nbd->beside[i].image, err);
	return r;
}

/* -- sockets --------------------------------------------------------------------------------- */

static int listen_somewhere(struct served *served, const struct mapping_options *options, char **ret_path,
			    struct err *err)
{
	struct activation *sockets = &served->nbd.sockets;
	if (sockets->n)
		return keeper_rest(&served->keeper, err);
	sockets->fds = calloc(1, sizeof *sockets->fds);
	if (!sockets->fds)
		return err_set(err, -ENOMEM, "no memory");
	int r = keeper_listen(&served->keeper, options->target, options->listen, ret_path, &sockets->fds[0], err);
	sockets->n = r == 0;
	return r;
}

/* What a client uses for the only disk, or to ask which ones there are; then what else can be asked for. */
static int name_exports(struct served *served, int fd, const char *path, const char *as_given, struct err *err)
{
	/* In full it may be one that clients cannot name: then there is a shorter one, from where we are. */
	const char *named = path && nbd_path_check(path, NULL) < 0 ? as_given : path;
	const struct exports *exports = &served->nbd.exports;
	bool is_only = served->nbd.n_beside == 0, has_tls = served->nbd.tls;
	CLEANUP(buf_deinit) struct buf uri = BUF_EMPTY;
	int r = nbd_uri_add(&uri, fd, named, has_tls, is_only ? exports->items[0].name : "", err);
	for (size_t i = is_only; r == 0 && i < exports->n; i++) {
		CLEANUP(buf_deinit) struct buf other = BUF_EMPTY;
		r = nbd_uri_add(&other, fd, named, has_tls, exports->items[i].name, err);
		if (r == 0)
			r = strv_add(&served->info.partitions, other.data, err);
	}
	if (r < 0)
		return r;
	free(served->info.uri);
	served->info.uri = STEAL(uri.data);
	served->info.device = strdup(path ? path : served->info.uri);
	return served->info.device ? 0 : err_set(err, -ENOMEM, "no memory");
}

static void warn_of_strangers(const struct served_nbd *nbd, const struct mapping_options *options)
{
	bool is_for_others = false;
	for (size_t i = 0; i < nbd->sockets.n; i++)
		is_for_others |= nbd_is_for_others(nbd->sockets.fds[i]);
	if (is_for_others && !nbd->tls)
		repository_say(options->repository, "warning: anybody who reaches %s can read the backup, and who is on the "
			       "way can as well; see --tls-certificates and --tls-psk",
			       options->listen ? options->listen : "the socket that was passed");
}

static void allow_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
}

static int start_server(struct served *served, const struct mapping_options *options, struct err *err)
{
	struct served_nbd *nbd = &served->nbd;
	const struct nbd_server_options server = {
		.offer = {
			.exports = nbd->exports.items,
			.n_exports = nbd->exports.n,
			.has_default = nbd->n_beside == 0,
			.needs_tls = nbd->tls,
		},
		.tls = nbd->tls,
		.listen_fds = nbd->sockets.fds,
		.n_listen_fds = nbd->sockets.n,
		.timeout_ms = options->timeout_ms,
		.idle_ms = options->idle_ms,
	};
	allow_descriptors();
	int r = nbd_server_open(&server, &nbd->server, err);
	if (r == 0)
		nbd->sockets.n = 0; /* the server's now */
	return r;
}

int served_nbd_show(struct served *served, const struct mapping_options *options, struct err *err)
{
	CLEANUP(freep) char *path = NULL;
	int r = open_streams(served, options, err);
	if (r == 0)
		r = add_disks(served, err);
	if (r == 0)
		r = listen_somewhere(served, options, &path, err);
	if (r == 0)
		r = name_exports(served, served->nbd.sockets.fds[0], path, options->target, err);
	if (r < 0)
		return r;
	warn_of_strangers(&served->nbd, options);
	return start_server(served, options, err);
}

int served_nbd_listen(struct served *served, struct err *err)
{
	return served->info.via == VIA_SOCKET ? nbd_server_listen(served->nbd.server, err) : 0;
}

/* -- a kernel device ------------------------------------------------------------------------- */

/* Requests that take longer than a read may are those of a server that hangs; without an end they could not be killed. */
static uint32_t kernel_timeout(const struct mapping_options *options)
{
	return options->timeout_ms ? (uint32_t)(options->timeout_ms / 1000) + KERNEL_GRACE_S : KERNEL_FOREVER_S;
}

static int add_links(struct served *served, struct err *err)
{
	int r = 0;
	for (int i = 0; r == 0 && i < KERNEL_LINKS; i++) {
		int fd;
		r = keeper_link(&served->keeper, &fd, err);
		if (r == 0)
			r = nbd_server_add_session(served->nbd.server, fd, err);
	}
	return r;
}

int served_nbd_connect(struct served *served, const struct mapping_options *options, const char *mark,
		       struct err *err)
{
	uint32_t number;
	struct mapping_info *info = &served->info;
	/* Partitions are the kernel's business here. */
	int r = parse_number(options->target, &number, err);
	if (r == 0)
		r = exports_add_whole(&served->nbd.exports, served->backup->archive, "", served->image, err);
	if (r == 0)
		r = start_server(served, options, err);
	if (r == 0)
		r = add_links(served, err);
	if (r == 0)
		r = keeper_connect(&served->keeper, served->image->size, number, kernel_timeout(options), mark,
				   &info->device, &info->partitions, err);
	/* The kernel's connections are all there will be: with them it ends. */
	if (r == 0)
		nbd_server_end(served->nbd.server);
	return r;
}

/* -- its life -------------------------------------------------------------------------------- */

void served_nbd_refresh(struct served *served)
{
	struct served_nbd *nbd = &served->nbd;
	for (size_t i = 0; i < nbd->n_beside; i++)
		stream_add_stats(nbd->beside[i].stream, &served->info.stats);
	strv_deinit(&served->info.users);
	if (served->info.via == VIA_SOCKET)
		(void) nbd_server_users(nbd->server, &served->info.users, NULL);
}

void served_nbd_say_who_is_there(struct served *served)
{
	CLEANUP(strv_deinit) struct strv users = STRV_EMPTY;
	char line[320];
	bool has_clients = served->info.via == VIA_SOCKET;
	if (!has_clients || nbd_server_users(served->nbd.server, &users, NULL) < 0 || users.n == 0)
		return;
	(void) snprintf(line, sizeof line, "it ends with its last client (%.200s%s); another signal ends it at once",
			users.items[0], users.n > 1 ? " and others" : "");
	served->say(served->user, line);
}

void served_nbd_shutdown(struct served *served)
{
	struct served_nbd *nbd = &served->nbd;
	for (size_t i = 0; i < nbd->n_beside; i++)
		if (nbd->beside[i].stream)
			stream_shutdown(nbd->beside[i].stream);
}

void served_nbd_close(struct served *served)
{
	struct served_nbd *nbd = &served->nbd;
	nbd_server_close(nbd->server);
	tls_server_close(nbd->tls);
	exports_deinit(&nbd->exports);
	activation_deinit(&nbd->sockets);
	for (size_t i = 0; i < nbd->n_beside; i++) {
		image_close(nbd->beside[i].image);
		stream_close(nbd->beside[i].stream);
		backup_close(nbd->beside[i].backup);
	}
	free(nbd->beside);
	*nbd = (struct served_nbd){ 0 };
}
