/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "export/nbd_server.h"
#include "mapping/activation.h"
#include "mapping/exports.h"

/*
 * What a mapping has beside its first disk when it is shown to NBD clients: more disks of the snapshot, the
 * sockets, and who serves them.
 */
struct served;
struct mapping_options;
struct failure;

struct served_beside {
	const struct served *served;
	struct backup *backup;
	struct stream *stream;
	struct image *image;
};

struct served_nbd {
	struct served_beside *beside;
	size_t n_beside;
	struct exports exports;
	struct activation sockets; /* until the server has them */
	struct tls_server *tls;	   /* NULL = none */
	struct nbd_server *server;
};

/*
 * What needs no backup, and is refused before one is looked for: where to listen, certificates and keys, the name of a
 * kernel device.  Takes the sockets that a service manager has passed.
 */
int served_nbd_prepare(struct served *served, const struct mapping_options *options, struct err *err) MUST_CHECK;

/* The other archives. */
int served_nbd_open(struct served *served, const struct mapping_options *options,
		    struct failure *why) MUST_CHECK;

/*
 * Streams of the others, sockets, server; the first disk is there.  Clients can connect; they are served from
 * served_nbd_listen() on, which does nothing where there are none.
 */
int served_nbd_show(struct served *served, const struct mapping_options *options, struct err *err) MUST_CHECK;
int served_nbd_listen(struct served *served, struct err *err) MUST_CHECK;

/* The same for a kernel device, which shows the first disk alone. */
int served_nbd_connect(struct served *served, const struct mapping_options *options, const char *mark,
		       struct err *err) MUST_CHECK;

/* Traffic of the others, added to served->info; who is there. */
void served_nbd_refresh(struct served *served);

/* That it ends with its last client, and who is there; nothing where nobody is. */
void served_nbd_say_who_is_there(struct served *served);

/* From now on the others' reads fail. */
void served_nbd_shutdown(struct served *served);

/* Before the first disk is closed. */
void served_nbd_close(struct served *served);
