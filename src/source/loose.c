/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "source/chunk_dir.h"
#include "source/dir.h"
#include "source/folder.h"
#include "util/buf.h"

/* One index file anywhere, the chunks in a directory: the snapshot is the index's own folder. */
struct source_loose {
	struct source source;
	int folder_fd;
	struct chunk_dir *chunks;
};

static struct source_loose *loose_of(struct source *source)
{
	return CONTAINER_OF(source, struct source_loose, source);
}

static int refuse(struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "an index file with --chunks is no datastore: there is nothing to list");
}

static int loose_list_namespaces(struct source *source, struct strv *ret, struct err *err)
{
	return refuse(err);
}

static int loose_list_groups(struct source *source, const char *ns, struct group_list *ret,
			     struct err *err)
{
	return refuse(err);
}

static int loose_list_snapshots(struct source *source, const char *ns, const struct group *group,
				struct snapshot_list *ret, struct err *err)
{
	return refuse(err);
}

static int loose_open_snapshot(struct source *source, const char *ns,
			       const struct snapshot *snapshot, struct err *err)
{
	return 0;
}

static int loose_read_blob(struct source *source, const char *name, uint8_t **ret, size_t *ret_len,
			   struct err *err)
{
	return folder_read_blob(loose_of(source)->folder_fd, name, ret, ret_len, err);
}

static int loose_copy_index(struct source *source, const char *name, int to_fd, uint64_t *ret_len,
			    struct err *err)
{
	return folder_copy_index(loose_of(source)->folder_fd, name, to_fd, ret_len, err);
}

static void loose_fetch(struct source *source, struct fetch *fetch)
{
	chunk_dir_fetch(loose_of(source)->chunks, fetch);
}

static void loose_raise(struct source *source, struct fetch *fetch, enum priority priority)
{
	chunk_dir_raise(loose_of(source)->chunks, fetch, priority);
}

static void loose_shutdown(struct source *source)
{
	chunk_dir_shutdown(loose_of(source)->chunks);
}

static void loose_verdict(struct source *source, const struct fetch *fetch, bool is_good)
{
}

static void loose_close(struct source *source)
{
	struct source_loose *loose = loose_of(source);
	chunk_dir_close(loose->chunks);
	closep(&loose->folder_fd);
	free(loose);
}

static const struct source_ops loose_ops = {
	.close = loose_close,
	.list_namespaces = loose_list_namespaces,
	.list_groups = loose_list_groups,
	.list_snapshots = loose_list_snapshots,
	.open_snapshot = loose_open_snapshot,
	.read_blob = loose_read_blob,
	.copy_index = loose_copy_index,
	.fetch = loose_fetch,
	.raise = loose_raise,
	.verdict = loose_verdict,
	.shutdown = loose_shutdown,
};

/* The datastore itself was given, or its ".chunks", or a copy of the latter under another name. */
static int open_chunks(const char *path, struct chunk_dir **ret, struct err *err)
{
	CLEANUP(freep) char *absolute = realpath(path, NULL);
	if (!absolute)
		return err_errno(err, -errno, "cannot open the chunks' directory %s", path);
	CLEANUP(buf_deinit) struct buf inner = BUF_EMPTY;
	int r = buf_printf(&inner, err, "%s/.chunks", absolute);
	if (r < 0)
		return r;
	struct stat st;
	bool is_store = stat(inner.data, &st) == 0 && S_ISDIR(st.st_mode);
	return chunk_dir_open(is_store ? inner.data : absolute, ret, err);
}

static int loose_init(struct source_loose *loose, const char *index_path, const char *chunks_dir,
		      struct err *err)
{
	CLEANUP(freep) char *path = realpath(index_path, NULL);
	if (!path)
		return err_errno(err, -errno, "cannot open %s", index_path);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	loose->source.name = strdup(*path ? path : "/");
	if (!loose->source.name)
		return err_set(err, -ENOMEM, "no memory");
	loose->folder_fd = open(loose->source.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (loose->folder_fd < 0)
		return err_errno(err, -errno, "cannot open %s", loose->source.name);
	uint64_t size;
	CLEANUP(closep) int fd = folder_open_file(loose->folder_fd, slash + 1, &size);
	if (fd < 0)
		return err_errno(err, fd == -EBADMSG ? -EINVAL : fd, "cannot open %s", index_path);
	int r = open_chunks(chunks_dir, &loose->chunks, err);
	if (r == 0)
		chunk_dir_owner(loose->chunks, &loose->source.uid, &loose->source.gid);
	return r;
}

int source_loose_open(const char *index_path, const char *chunks_dir, struct source **ret,
		      struct err *err)
{
	struct source_loose *loose = calloc(1, sizeof *loose);
	if (!loose)
		return err_set(err, -ENOMEM, "no memory");
	loose->source.ops = &loose_ops;
	loose->folder_fd = -EBADF;
	int r = loose_init(loose, index_path, chunks_dir, err);
	if (r < 0) {
		source_close(&loose->source);
		return r;
	}
	*ret = &loose->source;
	return 0;
}
