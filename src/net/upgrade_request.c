/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "net/upgrade.h"
#include "net/url.h"

/* Keys sorted, as the server's own clients send them. */
static int add_target(struct buf *b, const char *store, const char *ns, const struct snapshot *snapshot,
		      struct err *err)
{
	char time[24];
	(void) snprintf(time, sizeof time, "%" PRId64, snapshot->time);
	int r = buf_puts(b, "/api2/json/reader", err);
	if (r == 0)
		r = url_add_query(b, "backup-id", snapshot->group.id, err);
	if (r == 0)
		r = url_add_query(b, "backup-time", time, err);
	if (r == 0)
		r = url_add_query(b, "backup-type", backup_type_name(snapshot->group.type), err);
	if (r == 0 && *ns)
		r = url_add_query(b, "ns", ns, err);
	return r == 0 ? url_add_query(b, "store", store, err) : r;
}

/* All but the credential: what is not secret. */
static int add_rest(struct buf *b, const struct pbs_repository *repository, const char *ns,
		    const struct snapshot *snapshot, struct err *err)
{
	int r = buf_puts(b, "GET ", err);
	if (r == 0)
		r = add_target(b, repository->store, ns, snapshot, err);
	return r < 0 ? r : buf_printf(b, err, " HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: pbsmap\r\n"
				      "Connection: upgrade\r\nUpgrade: " UPGRADE_PROTOCOL "\r\n",
				      repository->host, repository->port);
}

int upgrade_request_format(const struct pbs_repository *repository, const char *ns,
			   const struct snapshot *snapshot, const struct secret *credential,
			   struct secret *ret, struct err *err)
{
	static const char end[] = "\r\n\r\n";
	CLEANUP(buf_deinit) struct buf rest = BUF_EMPTY;
	int r = add_rest(&rest, repository, ns, snapshot, err);
	if (r == 0)
		r = secret_init(ret, rest.len + credential->len + sizeof end - 1, err);
	if (r < 0)
		return r;
	memcpy(ret->data, rest.data, rest.len);
	memcpy(ret->data + rest.len, credential->data, credential->len);
	memcpy(ret->data + rest.len + credential->len, end, sizeof end - 1);
	return 0;
}
