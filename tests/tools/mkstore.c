/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkstore - a backup without a server: images and files become a snapshot in a datastore
 * directory, laid out and encoded as the backup server and its client would leave it.
 *
 * A test tool: what can go wrong in the store it writes to is an error, not something to repair,
 * and a snapshot that failed half-way stays, without a manifest, as on a server.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/blob.h"
#include "format/index.h"
#include "format/key_file.h"
#include "format/manifest.h"
#include "format/snapshot.h"
#include "image_backup.h"
#include "store.h"
#include "synthetic.h"
#include "tree_backup.h"
#include "util/bytes.h"
#include "util/file.h"
#include "util/secret.h"
#include "util/text.h"

static const char usage[] =
"mkstore [OPTIONS] DATASTORE SNAPSHOT ARCHIVE=FILE...\n"
"\n"
"Backs up FILEs as a snapshot of a datastore directory, which is made when it is missing.\n"
"SNAPSHOT is vm/100/2026-01-02T03:04:05Z, or vm/100: then the time is --time, or now.\n"
"ARCHIVE.img becomes a fixed index, everything else a blob; file archives are made up.\n"
"Prints the snapshot's full name.\n"
"\n"
"  --ns NS            namespace, made when it is missing\n"
"  --time TIME        seconds since 1970, or 2026-01-02T03:04:05Z\n"
"  --keyfile FILE     encrypt and sign; a password comes from PBS_ENCRYPTION_PASSWORD\n"
"  --sign-only        sign with the key, do not encrypt\n"
"  --level N          zstd level, default 1 as the client has it\n"
"  --plain            do not compress\n"
"  --chunk-size SIZE  default 4M; in file archives about that\n"
"  --synthetic SIZE[:compressible|random|zero]\n"
"                     ARCHIVE.img (no =FILE) has content made from its offsets\n"
"  --index-only SIZE  ARCHIVE.img (no =FILE) is mostly zeros, with a few chunks of data\n"
"                     that come again and again: 16T take a moment\n"
"  --synthetic-tree FILES:SIZE[:MODE]\n"
"                     ARCHIVE.pxar, or ARCHIVE.mpxar with its .ppxar (no =FILE), has FILES files\n"
"                     of SIZE bytes together: what files is said in tests/tools/tree_backup.h;\n"
  "                     MODE is the root's, as in 0700\n"
"  --lazy             make only the chunk directories that are needed, not all 65536\n"
"  --unfinished       leave out the manifest, as a backup that broke off\n";

#define MAX_FILES 64

struct options {
	const char *ns, *time, *keyfile;
	bool sign_only, unfinished;
	enum store_layout layout;
	int level;
	uint64_t chunk_size;
	enum image_input_kind input_kind; /* of archives without "=FILE" */
	bool has_made_input;
	struct synthetic synthetic;
	struct tree_shape tree; /* no files = not given */
	const char *datastore, *snapshot;
	char **archives; /* ends with NULL */
};

/* What is put together for the manifest. */
struct session {
	const struct options *options;
	struct store store;
	int snapshot_fd;
	struct snapshot snapshot;
	struct crypt_key *key;		/* NULL = none */
	enum crypt_mode mode;
	struct blob_codec *codec;
	struct manifest_file files[MAX_FILES];
	size_t n_files;
};

#define SESSION_NONE ((struct session){ .store = STORE_NONE, .snapshot_fd = -EBADF })

static void session_deinit(struct session *s)
{
	store_close(&s->store);
	closep(&s->snapshot_fd);
	crypt_key_free(s->key);
	blob_codec_free(s->codec);
}

static const struct crypt_key *encrypting_key(const struct session *s)
{
	return s->mode == CRYPT_ENCRYPT ? s->key : NULL;
}

static int open_key_file(const struct key_file *file, struct crypt_key **ret, struct err *err)
{
	CLEANUP(secret_deinit) struct secret password = SECRET_EMPTY;
	if (file->kdf == KEY_KDF_NONE)
		return key_file_open(file, NULL, ret, err);
	const char *text = getenv("PBS_ENCRYPTION_PASSWORD");
	if (!text)
		return err_set(err, -EACCES, "the key needs PBS_ENCRYPTION_PASSWORD");
	int r = secret_init_copy(&password, text, strlen(text), err);
	return r < 0 ? r : key_file_open(file, &password, ret, err);
}

static int load_key(const char *path, struct crypt_key **ret, struct err *err)
{
	CLEANUP(freep) uint8_t *text = NULL;
	size_t len = 0;
	int r = read_file_at(AT_FDCWD, path, 0, KEY_FILE_MAX, &text, &len, err);
	if (r < 0)
		return r;
	struct key_file file;
	r = key_file_parse((const char *)text, len, &file, err);
	secret_wipe(text, len);
	if (r == 0) {
		r = open_key_file(&file, ret, err);
		key_file_deinit(&file);
	}
	return r < 0 ? err_while(err, r, "opening key file %s", path) : 0;
}

static int parse_time(const char *text, int64_t *ret, struct err *err)
{
	if (!text) {
		*ret = time(NULL);
		return 0;
	}
	if (snapshot_time_parse(text, ret))
		return 0;
	char *end = NULL;
	errno = 0;
	long long seconds = strtoll(text, &end, 10);
	if (errno || end == text || *end || seconds < 0)
		return err_set(err, -EINVAL, "not a time: %s", text);
	*ret = seconds;
	return 0;
}

/* A whole name, or a group and the time from the options. */
static int choose_snapshot(const struct options *o, struct snapshot *ret, struct err *err)
{
	if (snapshot_parse(o->snapshot, ret, NULL) == 0) {
		if (o->time)
			return err_set(err, -EINVAL, "--time is for a group, %s has a time already",
				       o->snapshot);
		return 0;
	}
	int r = group_parse(o->snapshot, &ret->group, err);
	return r < 0 ? r : parse_time(o->time, &ret->time, err);
}

static int add_file(struct session *s, const char *name, uint64_t size,
		    const uint8_t csum[static DIGEST_SIZE], struct err *err)
{
	if (s->n_files == MAX_FILES)
		return err_set(err, -E2BIG, "more than %d archives", MAX_FILES);
	struct manifest_file *file = &s->files[s->n_files++];
	*file = (struct manifest_file){ .size = size, .mode = s->mode };
	(void) snprintf(file->name, sizeof file->name, "%s", name);
	memcpy(file->csum, csum, DIGEST_SIZE);
	return 0;
}

static int put_blob(struct session *s, const char *name, const uint8_t *data, size_t len,
		    const struct crypt_key *key, uint8_t ret_csum[static DIGEST_SIZE],
		    size_t *ret_len, struct err *err)
{
	CLEANUP(freep) uint8_t *raw = malloc(blob_encode_bound(len));
	if (!raw)
		return err_set(err, -ENOMEM, "no memory for %s", name);
	int r = blob_encode(s->codec, data, len, key, s->options->level, raw, ret_len, err);
	if (r == 0)
		r = sha256_once(raw, *ret_len, ret_csum, err);
	if (r == 0)
		r = store_put_file(&s->store, s->snapshot_fd, name, raw, *ret_len, err);
	return r;
}

static int back_up_blob(struct session *s, const char *name, const char *path, struct err *err)
{
	CLEANUP(freep) uint8_t *data = NULL;
	uint8_t csum[DIGEST_SIZE];
	size_t len = 0, raw_len = 0;
	int r = read_file_at(AT_FDCWD, path, 0, BLOB_MAX_FILE, &data, &len, err);
	if (r == 0)
		r = put_blob(s, name, data, len, encrypting_key(s), csum, &raw_len, err);
	return r < 0 ? r : add_file(s, name, raw_len, csum, err);
}

static int open_input(const struct options *o, const char *path, struct image_input *ret,
		      struct err *err)
{
	if (!path) {
		*ret = (struct image_input){ .kind = o->input_kind, .fd = -EBADF,
					     .synthetic = o->synthetic, .size = o->synthetic.size };
		return 0;
	}
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "cannot open image %s", path);
	off_t size = lseek(fd, 0, SEEK_END); /* block devices too */
	if (size < 0)
		return err_errno(err, -errno, "cannot tell the size of image %s", path);
	*ret = (struct image_input){ .kind = INPUT_FILE, .size = (uint64_t)size };
	ret->fd = steal_fd(&fd);
	return 0;
}

static void say_stats(const char *name, uint64_t size, const struct image_backup_stats *stats)
{
	char size_text[32], written_text[32];
	(void) text_size(size, size_text, sizeof size_text);
	(void) text_size(stats->written_bytes, written_text, sizeof written_text);
	(void) fprintf(stderr,
		       "%s: %s, %" PRIu64 " chunks, %" PRIu64 " of zeros, %" PRIu64 " new (%s)\n",
		       name, size_text, stats->n_chunks, stats->n_zero, stats->n_written,
		       written_text);
}

static struct image_backup_options backup_options(const struct session *s, const char *name)
{
	return (struct image_backup_options){
		.store = &s->store,
		.snapshot_fd = s->snapshot_fd,
		.name = name,
		.time = s->snapshot.time,
		.chunk_size = s->options->chunk_size,
		.level = s->options->level,
		.key = encrypting_key(s),
	};
}

static int back_up_image(struct session *s, const char *name, const char *path, struct err *err)
{
	struct image_input input;
	int r = open_input(s->options, path, &input, err);
	if (r < 0)
		return r;
	struct image_backup_options options = backup_options(s, name);
	struct image_backup_stats stats;
	uint8_t csum[DIGEST_SIZE];
	r = image_backup(&options, &input, csum, &stats, err);
	closep(&input.fd);
	if (r < 0)
		return r;
	say_stats(name, input.size, &stats);
	return add_file(s, name, input.size, csum, err);
}

static int add_tree_part(struct session *s, const char *name, const struct tree_part *part, struct err *err)
{
	say_stats(name, part->size, &part->stats);
	return add_file(s, name, part->size, part->csum, err);
}

/* @name: "root.pxar.didx", or "root.mpxar.didx" with its data in "root.ppxar.didx" */
static int make_tree(struct session *s, const char *name, struct err *err)
{
	char split_name[ARCHIVE_NAME_SIZE], payload_name[ARCHIVE_NAME_SIZE];
	int r = archive_pxar_name(name, "mpxar", split_name, err);
	if (r == 0)
		r = archive_pxar_name(name, "ppxar", payload_name, err);
	if (r < 0)
		return r;
	if (strcmp(name, payload_name) == 0)
		return err_set(err, -EINVAL, "%s comes with its .mpxar", name);
	bool is_split = strcmp(name, split_name) == 0;
	struct image_backup_options options = backup_options(s, name);
	struct tree_part meta, payload;
	r = tree_backup(&options, is_split ? payload_name : NULL, &s->options->tree, &meta, &payload, err);
	if (r == 0)
		r = add_tree_part(s, name, &meta, err);
	return r == 0 && is_split ? add_tree_part(s, payload_name, &payload, err) : r;
}

/* Can this be made without a file? */
static bool is_made_up(const struct options *o, enum archive_kind kind)
{
	return (kind == ARCHIVE_IMAGE && o->has_made_input) || (kind == ARCHIVE_PXAR && o->tree.n_files);
}

/* "drive-scsi0.img=/tmp/disk.raw", or "drive-scsi0.img" where the content is made up */
static int back_up_archive(struct session *s, char *arg, struct err *err)
{
	char name[ARCHIVE_NAME_SIZE];
	char *path = strchr(arg, '=');
	if (path)
		*path++ = '\0';
	int r = archive_server_name(arg, name, err);
	if (r < 0)
		return r;
	enum archive_kind kind = archive_kind_of(name);
	if (!path && !is_made_up(s->options, kind))
		return err_set(err, -EINVAL, "%s needs =FILE", arg);
	if (kind == ARCHIVE_IMAGE)
		r = back_up_image(s, name, path, err);
	else if (kind == ARCHIVE_BLOB)
		r = back_up_blob(s, name, path, err);
	else if (kind == ARCHIVE_PXAR && !path)
		r = make_tree(s, name, err);
	else
		r = err_set(err, -EINVAL, "only images and blobs can be made of a file");
	return r < 0 ? err_while(err, r, "backing up %s", arg) : 0;
}

static int put_manifest(struct session *s, struct err *err)
{
	CLEANUP(freep) char *json = NULL;
	uint8_t csum[DIGEST_SIZE];
	size_t len = 0;
	int r = manifest_write(&s->snapshot, s->files, s->n_files, s->key, &json, err);
	if (r < 0)
		return r;
	return put_blob(s, "index.json.blob", (const uint8_t *)json, strlen(json), NULL, csum, &len,
			err);
}

static int session_begin(struct session *s, const struct options *o, struct err *err)
{
	s->options = o;
	int r = namespace_check(o->ns, err);
	if (r == 0)
		r = choose_snapshot(o, &s->snapshot, err);
	if (r == 0 && o->keyfile) {
		s->mode = o->sign_only ? CRYPT_SIGN_ONLY : CRYPT_ENCRYPT;
		r = load_key(o->keyfile, &s->key, err);
	}
	if (r == 0)
		r = blob_codec_new(&s->codec, err);
	if (r == 0)
		r = store_open(o->datastore, o->layout, &s->store, err);
	if (r == 0)
		r = store_add_snapshot(&s->store, o->ns, &s->snapshot, &s->snapshot_fd, err);
	return r;
}

static int back_up(const struct options *o, struct err *err)
{
	CLEANUP(session_deinit) struct session s = SESSION_NONE;
	int r = session_begin(&s, o, err);
	for (char **arg = o->archives; r == 0 && *arg; arg++)
		r = back_up_archive(&s, *arg, err);
	if (r == 0 && !o->unfinished)
		r = put_manifest(&s, err);
	if (r < 0)
		return r;
	char name[SNAPSHOT_TEXT_SIZE];
	snapshot_format(&s.snapshot, name);
	return printf("%s\n", name) < 0 ? err_errno(err, -errno, "cannot print") : 0;
}

static int parse_chunk_size(const char *text, uint64_t *ret, struct err *err)
{
	uint64_t size = 0;
	int r = size_parse(text, &size, err);
	if (r < 0)
		return r;
	if (size < INDEX_CHUNK_SIZE_MIN || size > INDEX_CHUNK_SIZE_MAX || size & (size - 1))
		return err_set(err, -EINVAL, "chunk size %s: no power of two from 4K to 16M", text);
	*ret = size;
	return 0;
}

static int parse_level(const char *text, int *ret, struct err *err)
{
	char *end = NULL;
	long level = strtol(text, &end, 10);
	if (end == text || *end || level < 1 || level > 19)
		return err_set(err, -EINVAL, "compression level %s is not 1 to 19", text);
	*ret = (int)level;
	return 0;
}

enum option_id {
	OPT_NS = 256,
	OPT_TIME,
	OPT_KEYFILE,
	OPT_SIGN_ONLY,
	OPT_LEVEL,
	OPT_PLAIN,
	OPT_CHUNK_SIZE,
	OPT_SYNTHETIC,
	OPT_INDEX_ONLY,
	OPT_SYNTHETIC_TREE,
	OPT_LAZY,
	OPT_UNFINISHED,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "ns", required_argument, NULL, OPT_NS },
	{ "time", required_argument, NULL, OPT_TIME },
	{ "keyfile", required_argument, NULL, OPT_KEYFILE },
	{ "sign-only", no_argument, NULL, OPT_SIGN_ONLY },
	{ "level", required_argument, NULL, OPT_LEVEL },
	{ "plain", no_argument, NULL, OPT_PLAIN },
	{ "chunk-size", required_argument, NULL, OPT_CHUNK_SIZE },
	{ "synthetic", required_argument, NULL, OPT_SYNTHETIC },
	{ "index-only", required_argument, NULL, OPT_INDEX_ONLY },
	{ "synthetic-tree", required_argument, NULL, OPT_SYNTHETIC_TREE },
	{ "lazy", no_argument, NULL, OPT_LAZY },
	{ "unfinished", no_argument, NULL, OPT_UNFINISHED },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int parse_option(struct options *o, int id, const char *value, struct err *err)
{
	switch (id) {
	case OPT_NS:
		o->ns = value;
		return 0;
	case OPT_TIME:
		o->time = value;
		return 0;
	case OPT_KEYFILE:
		o->keyfile = value;
		return 0;
	case OPT_SIGN_ONLY:
		o->sign_only = true;
		return 0;
	case OPT_LEVEL:
		return parse_level(value, &o->level, err);
	case OPT_PLAIN:
		o->level = 0;
		return 0;
	case OPT_CHUNK_SIZE:
		return parse_chunk_size(value, &o->chunk_size, err);
	case OPT_SYNTHETIC:
		o->has_made_input = true;
		o->input_kind = INPUT_SYNTHETIC;
		return synthetic_parse(value, &o->synthetic, err);
	case OPT_INDEX_ONLY:
		o->has_made_input = true;
		o->input_kind = INPUT_INDEX_ONLY;
		return size_parse(value, &o->synthetic.size, err);
	case OPT_SYNTHETIC_TREE:
		return tree_shape_parse(value, &o->tree, err);
	case OPT_LAZY:
		o->layout = STORE_LAZY;
		return 0;
	case OPT_UNFINISHED:
		o->unfinished = true;
		return 0;
	default:
		return err_set(err, -EINVAL, "try --help");
	}
}

/* 1 = only the help was wanted */
static int parse_options(int argc, char **argv, struct options *ret, struct err *err)
{
	struct options o = { .ns = "", .level = 1, .chunk_size = 4u << 20 };
	for (;;) {
		int id = getopt_long(argc, argv, "", long_options, NULL);
		if (id < 0)
			break;
		if (id == OPT_HELP)
			return 1;
		int r = parse_option(&o, id, optarg, err);
		if (r < 0)
			return r;
	}
	if (argc - optind < 3)
		return err_set(err, -EINVAL, "DATASTORE SNAPSHOT ARCHIVE... needed, try --help");
	if (o.sign_only && !o.keyfile)
		return err_set(err, -EINVAL, "--sign-only needs --keyfile");
	o.datastore = argv[optind];
	o.snapshot = argv[optind + 1];
	o.archives = argv + optind + 2;
	*ret = o;
	return 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_NONE;
	struct options options;
	(void) umask(022);
	int r = parse_options(argc, argv, &options, &err);
	if (r == 1)
		return fputs(usage, stdout) < 0 || fflush(stdout) < 0;
	if (r == 0)
		r = back_up(&options, &err);
	if (r == 0 && fflush(stdout) < 0)
		r = err_errno(&err, -errno, "cannot print");
	if (r < 0)
		(void) fprintf(stderr, "mkstore: %s\n", err.msg);
	return r < 0;
}
