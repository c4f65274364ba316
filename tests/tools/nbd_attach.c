/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/block_partitions.h"
#include "export/nbd_kernel.h"
#include "util/cleanup.h"

/*
 * A kernel NBD device over connections that somebody else has made, for tests with servers of all kinds:
 *
 *   nbd_attach NUMBER|any SIZE TIMEOUT_S FD…
 *
 * Prints the device and its partitions in one line, or why there is none, and holds it.  "disconnect" on stdin takes
 * it away from its users; the end of stdin lets go of it.
 */
enum { FDS_MAX = 16 };

static int show(const struct nbd_kernel *device)
{
	CLEANUP(strv_deinit) struct strv partitions = STRV_EMPTY;
	struct err err = ERR_NONE;
	if (block_add_partitions(device->fd, device->path, &partitions, &err) < 0) {
		(void) fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	(void) printf("%s", device->path);
	for (size_t i = 0; i < partitions.n; i++)
		(void) printf(" %s", partitions.items[i]);
	(void) printf("\n");
	return fflush(stdout) ? 1 : 0;
}

static void hold(const struct nbd_kernel *device)
{
	char line[32];
	while (fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "disconnect\n") == 0)
			nbd_kernel_disconnect(device);
		(void) puts("done");
		(void) fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	int fds[FDS_MAX];
	size_t n = 0;
	if (argc < 5 || argc > 4 + FDS_MAX)
		return 2;
	for (int i = 4; i < argc; i++)
		fds[n++] = atoi(argv[i]);
	const struct nbd_kernel_options options = {
		.number = strcmp(argv[1], "any") == 0 ? NBD_KERNEL_ANY : (uint32_t)strtoul(argv[1], NULL, 10),
		.size = strtoull(argv[2], NULL, 10),
		.timeout_s = (uint32_t)strtoul(argv[3], NULL, 10),
		.mark = "a test",
		.fds = fds,
		.n_fds = n,
	};
	struct nbd_kernel device = NBD_KERNEL_NONE;
	struct err err = ERR_NONE;
	if (nbd_kernel_attach(&options, &device, &err) < 0) {
		(void) fprintf(stderr, "%d %s\n", -err.code, err.msg);
		return 1;
	}
	while (n)
		closep(&fds[--n]); /* the kernel has its own */
	int r = show(&device);
	if (r == 0)
		hold(&device);
	nbd_kernel_detach(&device);
	return r;
}
