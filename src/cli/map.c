/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cli/output.h"
#include "util/text.h"

static json_t *info_to_json(const struct mapping_info *info)
{
	json_t *json = json_pack("{s:s, s:s, s:I, s:o}", "via", mapping_via_name(info->via), "snapshot",
				 info->snapshot, "size", (json_int_t)info->size, "partitions",
				 json_names(&info->partitions));
	if (json_set_name(json, "name", info->name) < 0 || json_set_name(json, "device", info->device) < 0 ||
	    json_set_name(json, "archive", info->archive) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

/* sd_notify(3): a datagram to the service manager, who asked for it by a variable. */
static void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const char text[] = "READY=1";
	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
		return;
	size_t len = strlen(path);
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (fd >= 0)
		(void) sendto(fd, text, sizeof text - 1, MSG_NOSIGNAL, (const struct sockaddr *)&address,
			      address_len);
}

static int print_ready(void *user, const struct mapping_info *info, struct err *err)
{
	const struct options *options = user;
	if (options->is_verbose || isatty(STDERR_FILENO)) {
		char name[1024];
		(void) fprintf(stderr, "Image '%s' mapped as %s\n", text_escape(info->name, name, sizeof name),
			       info->device);
	}
	int r;
	if (options->is_json) {
		r = output_json(options, info_to_json(info), err);
	} else {
		(void) printf("%s\n", info->device);
		r = output_flush(err);
	}
	if (r == 0 && options->is_foreground)
		notify_ready();
	return r;
}

/* SNAPSHOT ARCHIVE [TARGET], or with --chunks INDEX [TARGET] */
static int take_args(const struct options *options, struct mapping_options *ret, struct err *err)
{
	bool is_loose = options->repository.chunks;
	size_t n_source = is_loose ? 1 : 2;
	size_t n_wanted = n_source + (options->via == VIA_FILE);
	if (options->n_args < n_source)
		return err_set(err, -EINVAL, "map needs: SNAPSHOT ARCHIVE, as in vm/100 drive-scsi0.img");
	if (options->n_args < n_wanted)
		return err_set(err, -EINVAL, "--via file needs a path: the TARGET behind the archive");
	if (options->n_args > n_wanted)
		return err_set(err, -EINVAL, "map: one word too many: '%s'%s", options->args[n_wanted],
			       options->via == VIA_LOOP ? " (a TARGET is for --via file)" : "");
	ret->snapshot = options->args[0];
	ret->archive = is_loose ? NULL : options->args[1];
	ret->target = options->via == VIA_FILE ? options->args[n_source] : NULL;
	return 0;
}

int cmd_map(const struct options *options, struct failure *why)
{
	struct options own = *options;
	own.is_foreground |= own.is_verbose; /* as the reference client does */
	struct mapping_options mapping = {
		.repository = &own.repository,
		.via = own.via,
		.name = own.name,
		.foreground = own.is_foreground,
		.cache_size = own.cache_size,
		.read_ahead = own.read_ahead,
		.timeout_ms = own.timeout_ms,
	};
	int r = take_args(&own, &mapping, &why->err);
	return r < 0 ? r : mapping_start(&mapping, print_ready, &own, why);
}
