/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/blob.h"
#include "format/index.h"
#include "net/url.h"
#include "source/pbs_answers.h"
#include "source/pbs_chunks.h"
#include "util/file.h"

/*
 * Lists, and the manifests of snapshots that are only looked at, are calls of the server's API.  A snapshot
 * that is read has a session (pbs_session.c): set-up uses the first connection itself, then a thread takes it
 * over (pbs_chunks.c).
 */
#define LIST_MAX (256u << 20) /* bytes of an answer; tens of MiB happen */

struct source_pbs {
	struct source source;
	struct pbs_server server;
	struct pbs_reader reader;
	struct pbs_chunks *chunks;
	unsigned n_connections;
	uint8_t *manifest; /* as stored, read when the snapshot was opened; NULL = not */
	size_t manifest_len;
};

static struct source_pbs *pbs_of(struct source *source)
{
	return CONTAINER_OF(source, struct source_pbs, source);
}

/* -- calls ----------------------------------------------------------------------------------- */

/* "/api2/json/admin/datastore/STORE/WHAT?ns=…" */
static int call_begin(const struct source_pbs *pbs, const char *what, const char *ns, struct buf *ret,
		      struct err *err)
{
	int r = buf_printf(ret, err, "/api2/json/admin/datastore/%s/%s", pbs->server.repository.store, what);
	if (r == 0 && *ns)
		r = url_add_query(ret, "ns", ns, err);
	return r;
}

static int call_add_group(struct buf *call, const struct group *group, struct err *err)
{
	int r = url_add_query(call, "backup-type", backup_type_name(group->type), err);
	return r < 0 ? r : url_add_query(call, "backup-id", group->id, err);
}

static int call_add_snapshot(struct buf *call, const struct snapshot *snapshot, struct err *err)
{
	char time[24];
	(void) snprintf(time, sizeof time, "%lld", (long long)snapshot->time);
	int r = call_add_group(call, &snapshot->group, err);
	return r < 0 ? r : url_add_query(call, "backup-time", time, err);
}

static int listing(const struct source_pbs *pbs, const char *ns, int r, struct err *err)
{
	return r < 0 ? err_while(err, r, "listing %s%s%s", pbs->server.name, *ns ? ", namespace " : "", ns)
		     : 0;
}

/* Not through a session: nothing is locked, and the server has no task for it. */
static int call_for_blob(struct source_pbs *pbs, const char *ns, const struct snapshot *snapshot, const char *name,
			 struct http_answer *ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf call = BUF_EMPTY;
	int r = call_begin(pbs, "download", ns, &call, err);
	if (r == 0)
		r = call_add_snapshot(&call, snapshot, err);
	if (r == 0)
		r = url_add_query(&call, "file-name", name, err);
	return r < 0 ? r : pbs_server_get(&pbs->server, call.data, BLOB_FILE_MAX, ret, err);
}

/* -- lists ----------------------------------------------------------------------------------- */

static int pbs_list_namespaces(struct source *source, struct strv *ret, struct err *err)
{
	struct source_pbs *pbs = pbs_of(source);
	CLEANUP(buf_deinit) struct buf call = BUF_EMPTY;
	CLEANUP(http_answer_deinit) struct http_answer answer = HTTP_ANSWER_EMPTY;
	int r = call_begin(pbs, "namespace", "", &call, err);
	if (r == 0)
		r = pbs_server_get(&pbs->server, call.data, LIST_MAX, &answer, err);
	if (r == 0)
		r = pbs_answer_namespaces(answer.body.data, answer.body.len, ret, err);
	return listing(pbs, "", r, err);
}

/*
 * The server lists a snapshot whose manifest it cannot read like one that is not finished, and an older one would
 * stand for it.  Whether there is a manifest, only asking for it tells.
 */
static int settle_snapshot(struct source_pbs *pbs, const char *ns, struct snapshot_info *info, struct err *err)
{
	CLEANUP(http_answer_deinit) struct http_answer manifest = HTTP_ANSWER_EMPTY;
	struct err why = ERR_NONE;
	int r = call_for_blob(pbs, ns, &info->snapshot, MANIFEST_NAME, &manifest, &why);
	info->is_finished = r == 0 || r == -EREMOTEIO;
	bool is_being_written = r == -ENOENT || r == -EBUSY;
	if (info->is_finished || is_being_written || r == -EACCES)
		return 0;
	return err_set(err, r, "%s", why.msg);
}

static int list_snapshots(struct source_pbs *pbs, const char *ns, const struct group *group,
			  struct snapshot_list *ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf call = BUF_EMPTY;
	CLEANUP(http_answer_deinit) struct http_answer answer = HTTP_ANSWER_EMPTY;
	int r = call_begin(pbs, "snapshots", ns, &call, err);
	if (r == 0 && group)
		r = call_add_group(&call, group, err);
	if (r == 0)
		r = pbs_server_get(&pbs->server, call.data, LIST_MAX, &answer, err);
	if (r == 0)
		r = pbs_answer_snapshots(answer.body.data, answer.body.len, ret, err);
	for (size_t i = 0; r == 0 && i < ret->n; i++)
		if (!ret->items[i].is_finished)
			r = settle_snapshot(pbs, ns, &ret->items[i], err);
	return r;
}

static int pbs_list_snapshots(struct source *source, const char *ns, const struct group *group,
			      struct snapshot_list *ret, struct err *err)
{
	struct source_pbs *pbs = pbs_of(source);
	int r = list_snapshots(pbs, ns, group, ret, err);
	/* The server has an empty list for a group that is not there. */
	if (r == 0 && group && ret->n == 0)
		return err_set(err, -ENOENT, "there is no group %s/%s in %s",
			       backup_type_name(group->type), group->id, pbs->server.name);
	return listing(pbs, ns, r, err);
}

/* Groups whose newest snapshot is not finished: the answer does not tell which one is. */
static int settle_groups(struct source_pbs *pbs, const char *ns, struct group_list *groups, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < groups->n; i++) {
		CLEANUP(snapshot_list_deinit) struct snapshot_list list = SNAPSHOT_LIST_EMPTY;
		if (!pbs_group_is_open(&groups->items[i]))
			continue;
		r = list_snapshots(pbs, ns, &groups->items[i].group, &list, err);
		if (r == 0)
			pbs_group_settle(&groups->items[i], &list);
	}
	return r;
}

static int pbs_list_groups(struct source *source, const char *ns, struct group_list *ret, struct err *err)
{
	struct source_pbs *pbs = pbs_of(source);
	CLEANUP(buf_deinit) struct buf call = BUF_EMPTY;
	CLEANUP(http_answer_deinit) struct http_answer answer = HTTP_ANSWER_EMPTY;
	int r = call_begin(pbs, "groups", ns, &call, err);
	if (r == 0)
		r = pbs_server_get(&pbs->server, call.data, LIST_MAX, &answer, err);
	if (r == 0)
		r = pbs_answer_groups(answer.body.data, answer.body.len, ret, err);
	if (r == 0)
		r = settle_groups(pbs, ns, ret, err);
	return listing(pbs, ns, r, err);
}

/* -- one snapshot ---------------------------------------------------------------------------- */

static int add_to_buf(void *user, const uint8_t *data, size_t len, struct err *err)
{
	return buf_add(user, data, len, err);
}

static int download_blob(struct source_pbs *pbs, const char *name, uint8_t **ret, size_t *ret_len,
			 struct err *err)
{
	CLEANUP(buf_deinit) struct buf blob = BUF_EMPTY;
	const struct pbs_sink sink = { .take = add_to_buf, .user = &blob, .max_len = BLOB_FILE_MAX };
	struct pbs_session *session = pbs_chunks_session(pbs->chunks);
	int r = pbs_session_download(session, name, &sink, err);
	if (r == 0)
		r = buf_puts(&blob, "", err);
	if (r < 0)
		return r;
	*ret_len = blob.len;
	*ret = (uint8_t *)STEAL(blob.data);
	return 0;
}

static int look_at_blob(struct source_pbs *pbs, const char *name, uint8_t **ret, size_t *ret_len, struct err *err)
{
	CLEANUP(http_answer_deinit) struct http_answer answer = HTTP_ANSWER_EMPTY;
	int r = call_for_blob(pbs, pbs->reader.ns, &pbs->reader.snapshot, name, &answer, err);
	if (r < 0)
		return r;
	*ret_len = answer.body.len;
	*ret = (uint8_t *)STEAL(answer.body.data);
	return 0;
}

static int begin_reading(struct source_pbs *pbs, struct err *err)
{
	char text[SNAPSHOT_TEXT_SIZE];
	snapshot_format(&pbs->reader.snapshot, text);
	int r = pbs_chunks_new(&pbs->source, &pbs->reader, pbs->n_connections, &pbs->chunks, err);
	if (r == 0)
		r = pbs_session_open(pbs_chunks_session(pbs->chunks), err);
	if (r == -ENOENT)
		return err_set(err, r, "there is no snapshot %s in %s", text, pbs->server.name);
	if (r == 0)
		r = download_blob(pbs, MANIFEST_NAME, &pbs->manifest, &pbs->manifest_len, err);
	if (r == -ENOENT)
		return err_set(err, -EAGAIN, "snapshot %s is not finished: it has no manifest", text);
	return r < 0 ? err_while(err, r, "opening snapshot %s", text) : 0;
}

static void end_reading(struct source_pbs *pbs)
{
	pbs_chunks_free(STEAL(pbs->chunks));
	free(STEAL(pbs->manifest));
	pbs->reader.n_indexes = 0;
}

static int pbs_open_snapshot(struct source *source, const char *ns, const struct snapshot *snapshot,
			     struct err *err)
{
	struct source_pbs *pbs = pbs_of(source);
	end_reading(pbs);
	(void) snprintf(pbs->reader.ns, sizeof pbs->reader.ns, "%s", ns);
	pbs->reader.snapshot = *snapshot;
	return source->only_looks ? 0 : begin_reading(pbs, err);
}

static int pbs_read_blob(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
			 struct err *err)
{
	struct source_pbs *pbs = pbs_of(source);
	if (!pbs->chunks)
		return look_at_blob(pbs, name, ret, ret_len, err);
	if (!pbs->manifest || strcmp(name, MANIFEST_NAME) != 0)
		return download_blob(pbs, name, ret, ret_len, err);
	*ret_len = pbs->manifest_len;
	*ret = STEAL(pbs->manifest);
	return 0;
}

/* -- indexes --------------------------------------------------------------------------------- */

struct index_copy {
	int to_fd;
	uint64_t len;
	struct sha256 *hash;
};

static int copy_index(void *user, const uint8_t *data, size_t len, struct err *err)
{
	struct index_copy *copy = user;
	int r = write_full(copy->to_fd, data, len);
	if (r < 0)
		return err_errno(err, r, "cannot keep a copy");
	copy->len += len;
	return sha256_add(copy->hash, data, len, err);
}

static int pbs_copy_index(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
			  struct err *err)
{
	struct source_pbs *pbs = pbs_of(source);
	struct pbs_reader *reader = &pbs->reader;
	struct pbs_index *index = &reader->indexes[reader->n_indexes];
	CLEANUP(sha256_freep) struct sha256 *hash = NULL;
	if (reader->n_indexes == PBS_INDEXES_MAX)
		return err_set(err, -EINVAL, "too many indexes at once");
	int r = sha256_new(&hash, err);
	if (r == 0)
		r = sha256_begin(hash, err);
	struct index_copy copy = { .to_fd = to_fd, .hash = hash };
	const struct pbs_sink sink = { .take = copy_index, .user = &copy, .max_len = INDEX_FILE_MAX };
	if (r == 0)
		r = pbs_session_download(pbs_chunks_session(pbs->chunks), name, &sink, err);
	if (r == 0)
		r = sha256_end(hash, index->csum, err);
	if (r < 0)
		return r;
	(void) snprintf(index->name, sizeof index->name, "%s", name);
	reader->n_indexes++;
	*ret_len = copy.len;
	return 0;
}

/* -- chunks ---------------------------------------------------------------------------------- */

static void pbs_fetch(struct source *source, struct fetch *fetch)
{
	pbs_chunks_fetch(pbs_of(source)->chunks, fetch);
}

static void pbs_raise(struct source *source, struct fetch *fetch, enum priority priority)
{
	pbs_chunks_raise(pbs_of(source)->chunks, fetch, priority);
}

static void pbs_shutdown(struct source *source)
{
	if (pbs_of(source)->chunks)
		pbs_chunks_shutdown(pbs_of(source)->chunks);
}

static void pbs_health(struct source *source, struct source_health *ret)
{
	if (pbs_of(source)->chunks)
		pbs_chunks_health(pbs_of(source)->chunks, ret);
}

/* The server is the only one to ask, and does not look into chunks itself. */
static void pbs_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
}

/* -- life ------------------------------------------------------------------------------------ */

static void pbs_close(struct source *source)
{
	struct source_pbs *pbs = pbs_of(source);
	end_reading(pbs);
	pbs_server_deinit(&pbs->server);
	free(pbs);
}

static const struct source_ops pbs_ops = {
	.close = pbs_close,
	.list_namespaces = pbs_list_namespaces,
	.list_groups = pbs_list_groups,
	.list_snapshots = pbs_list_snapshots,
	.open_snapshot = pbs_open_snapshot,
	.read_blob = pbs_read_blob,
	.copy_index = pbs_copy_index,
	.fetch = pbs_fetch,
	.raise = pbs_raise,
	.verdict = pbs_verdict,
	.shutdown = pbs_shutdown,
	.health = pbs_health,
};

int source_pbs_open(struct pbs_options *options, struct source **ret, struct err *err)
{
	struct source_pbs *pbs = calloc(1, sizeof *pbs);
	if (!pbs) {
		pbs_ticket_deinit(&options->take_ticket);
		options->guide.free(options->guide.user);
		return err_set(err, -ENOMEM, "no memory");
	}
	pbs->source.ops = &pbs_ops;
	pbs->source.is_remote = true;
	pbs->n_connections = options->n_connections ? options->n_connections : 1;
	pbs->reader.server = &pbs->server;
	int r = pbs_server_init(&pbs->server, options, err);
	if (r == 0 && !(pbs->source.name = strdup(pbs->server.name)))
		r = err_set(err, -ENOMEM, "no memory");
	if (r < 0) {
		source_close(&pbs->source);
		return r;
	}
	*ret = &pbs->source;
	return 0;
}
