/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/backup.h"

#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "format/blob.h"
#include "mapping/choose.h"
#include "mapping/index_copy.h"
#include "mapping/key_source.h"
#include "source/dir.h"
#include "util/text.h"

/*
 * The way to trust: manifest (an envelope, then JSON), is it the snapshot that was asked for, its
 * signature by the key, the archive's entry, the index by size and csum of that entry.  After that every
 * chunk is what the index says, or is not shown.
 */
enum content { IMAGE, TREE }; /* of the archive that is opened: a disk, or files */

void backup_close(struct backup *backup)
{
	if (!backup)
		return;
	if (backup->map)
		(void) munmap(backup->map, backup->map_len);
	if (backup->payload.map)
		(void) munmap(backup->payload.map, backup->payload.map_len);
	crypt_key_free(backup->key);
	if (!backup->is_beside) {
		manifest_free(backup->manifest);
		source_close(backup->source);
	}
	free(backup->ns);
	free(backup);
}

int backup_read_manifest(struct source *source, struct manifest **ret, struct err *err)
{
	CLEANUP(freep) uint8_t *raw = NULL;
	CLEANUP(blob_codec_freep) struct blob_codec *codec = NULL;
	size_t len;
	int r = source_read_blob(source, MANIFEST_NAME, &raw, &len, err);
	if (r == 0)
		r = blob_codec_new(&codec, err);
	if (r == 0)
		r = manifest_decode(codec, raw, len, ret, err);
	return r;
}

/* Somebody who may write to the store must not show one snapshot as another. */
static int check_identity(const struct backup *backup, const struct snapshot *wanted, struct err *err)
{
	char found[SNAPSHOT_TEXT_SIZE], asked[SNAPSHOT_TEXT_SIZE];
	if (snapshot_compare(&backup->manifest->snapshot, wanted) == 0)
		return 0;
	snapshot_format(&backup->manifest->snapshot, found);
	snapshot_format(wanted, asked);
	return err_set(err, -EBADMSG, "the manifest in %s is that of %s", asked, found);
}

static int open_snapshot(struct backup *backup, const struct repository_options *options,
			 const char *text, struct failure *why)
{
	struct snapshot snapshot;
	const char *ns;
	int r = repository_namespace(options, &ns, &why->err);
	if (r < 0)
		return r;
	backup->ns = strdup(ns);
	if (!backup->ns)
		return err_set(&why->err, -ENOMEM, "no memory");
	r = repository_open(options, &backup->source, why);
	if (r == 0)
		r = choose_snapshot(options, backup->source, ns, text, &snapshot, why);
	if (r == 0)
		r = choose_open(backup->source, ns, &snapshot, why);
	if (r < 0)
		return r;
	snapshot_format(&snapshot, backup->snapshot);
	for (size_t i = 0; i < backup->source->notes.n; i++)
		repository_say(options, "%s", backup->source->notes.items[i]);
	r = backup_read_manifest(backup->source, &backup->manifest, &why->err);
	if (r == 0)
		r = check_identity(backup, &snapshot, &why->err);
	return r < 0 ? err_while(&why->err, r, "reading the manifest of %s", backup->snapshot) : 0;
}

/* -- key ------------------------------------------------------------------------------------- */

static int missing_key(const struct manifest *manifest, struct err *err)
{
	char wanted[FINGERPRINT_SHORT_SIZE];
	if (!manifest->has_fingerprint)
		return err_set(err, -ENOKEY, "missing key: the backup is encrypted; give its --keyfile");
	fingerprint_format(manifest->fingerprint, 8, wanted);
	return err_set(err, -ENOKEY, "missing key: the backup was made with key %s; give its --keyfile",
		       wanted);
}

static void warn_not_checked(const struct repository_options *options, const struct manifest *manifest)
{
	char wanted[FINGERPRINT_SHORT_SIZE] = "";
	if (manifest->has_fingerprint)
		fingerprint_format(manifest->fingerprint, 8, wanted);
	repository_say(options, "warning: the signature of the manifest was not checked: that takes the key%s%s",
	    *wanted ? " " : "", wanted);
}

/* A key that was named is there to be trusted by; without a signature it vouches for nothing. */
static int check_unsigned(const struct repository_options *options, const struct key_source *keys,
			  enum crypt_mode mode, struct err *err)
{
	if (keys->is_explicit && !options->allow_unsigned)
		return err_set(err, -EACCES, "the manifest is not signed, although a key was given; "
			       "--allow-unsigned accepts it");
	if (mode == CRYPT_NONE)
		repository_say(options, "warning: the manifest is not signed and the archive not encrypted: the key "
		    "vouches for nothing");
	else
		repository_say(options, "warning: the manifest is not signed");
	return 0;
}

/* Is the default key file the one of this backup?  One without a fingerprint may be. */
static bool could_fit(const struct key_source *keys, const struct manifest *manifest)
{
	if (!keys->path)
		return false;
	return !keys->file.has_fingerprint || !manifest->has_fingerprint ||
	       memcmp(keys->file.fingerprint, manifest->fingerprint, DIGEST_SIZE) == 0;
}

static int check_key(struct backup *backup, const struct repository_options *options,
		     const struct key_source *keys, enum crypt_mode mode, struct err *err)
{
	int r = manifest_check(backup->manifest, backup->key, err);
	if (r == MANIFEST_UNSIGNED && backup->key)
		return check_unsigned(options, keys, mode, err);
	if (r == MANIFEST_NOT_CHECKED && !backup->is_beside) /* one manifest, one warning */
		warn_not_checked(options, backup->manifest);
	return r < 0 ? r : 0;
}

static int use_key(struct backup *backup, const struct repository_options *options,
		   const struct key_source *keys, enum crypt_mode mode, struct err *err)
{
	/* The default key file is nobody's word: it is used where it is needed and fits. */
	bool is_used = keys->is_explicit ||
		       (mode != CRYPT_NONE && could_fit(keys, backup->manifest));
	if (!is_used && mode == CRYPT_ENCRYPT)
		return missing_key(backup->manifest, err);
	int r = is_used ? key_source_open(keys, &backup->key, err) : 0;
	if (r == 0)
		r = check_key(backup, options, keys, mode, err);
	if (r == 0 && mode == CRYPT_ENCRYPT)
		backup->stream_key = backup->key;
	return r;
}

static int find_and_use_key(struct backup *backup, const struct repository_options *options,
			    enum crypt_mode mode, struct err *err)
{
	struct key_source keys;
	CLEANUP(freep) char *note = NULL;
	int r = key_source_find(options->keyfile, &keys, &note, err);
	if (r < 0)
		return r;
	if (note && mode != CRYPT_NONE)
		repository_say(options, "warning: %s", note);
	r = use_key(backup, options, &keys, mode, err);
	key_source_deinit(&keys);
	return r;
}

/* -- indexes --------------------------------------------------------------------------------- */

/* The csum in the index's own header is only a hint that somebody touched it: the reference never looks. */
static int check_index(const struct index *index, const struct repository_options *options,
		       const char *name, const struct manifest_file *file, struct err *err)
{
	uint8_t csum[DIGEST_SIZE];
	if (file && index->size != file->size)
		return err_set(err, -EBADMSG, "wrong size for file '%s' (%" PRIu64 " != %" PRIu64 ")",
			       name, file->size, index->size);
	int r = index_csum(index, csum, err);
	if (r < 0)
		return r;
	if (file && memcmp(csum, file->csum, DIGEST_SIZE) != 0)
		return err_set(err, -EBADMSG, "wrong checksum for file '%s'", name);
	if (memcmp(csum, index->header_csum, DIGEST_SIZE) != 0)
		repository_say(options, "warning: the checksum in the header of %s is not that of its entries%s", name,
			       file ? "; the manifest's is" : "");
	return 0;
}

static int read_index(struct backup *backup, const struct repository_options *options, const char *name,
		      const struct manifest_file *file, struct backup_index *ret, struct err *err)
{
	int r = index_copy(backup->source, name, &ret->map, &ret->map_len, err);
	if (r == -ENOENT && file)
		return err_set(err, -EBADMSG, "%s is in the manifest, but not in the snapshot", name);
	if (r == 0)
		r = index_parse(ret->map, ret->map_len, &ret->index, err);
	if (r == 0 && ret->index.kind != (archive_kind_of(name) == ARCHIVE_PXAR ? INDEX_DYNAMIC : INDEX_FIXED))
		r = err_set(err, -EBADMSG, archive_kind_of(name) == ARCHIVE_PXAR ? "not the index of a file archive"
										 : "not the index of an image");
	if (r < 0)
		return err_while(err, r, "reading the index %s", name);
	return check_index(&ret->index, options, name, file, err);
}

static int open_index(struct backup *backup, const struct repository_options *options, const char *name,
		      const struct manifest_file *file, struct err *err)
{
	struct backup_index opened = { .map = NULL };
	int r = read_index(backup, options, name, file, &opened, err);
	backup->index = opened.index;
	backup->map = opened.map;
	backup->map_len = opened.map_len;
	return r;
}

static int choose_file(const struct backup *backup, const char *archive, const struct manifest_file **ret,
		       struct failure *why)
{
	CLEANUP(strv_deinit) struct strv images = STRV_EMPTY;
	if (archive)
		return choose_image(backup->manifest, archive, ret, why);
	int r = choose_images(backup->manifest, &images, &why->err);
	if (r < 0)
		return r;
	if (images.n == 0)
		return err_set(&why->err, -ENOENT, "snapshot %s has no disk image", backup->snapshot);
	return choose_image(backup->manifest, images.items[0], ret, why);
}

static int open_archive(struct backup *backup, const struct repository_options *options,
			const char *archive, struct failure *why)
{
	const struct manifest_file *file = NULL;
	int r = choose_file(backup, archive, &file, why);
	if (r < 0)
		return r;
	archive_user_name(file->name, backup->archive);
	r = find_and_use_key(backup, options, file->mode, &why->err);
	return r < 0 ? r : open_index(backup, options, file->name, file, &why->err);
}

/*
 * Checked with the manifest once, and kept by the first one, whoever needs it first: a password can be read from the
 * environment only once.
 */
static int use_key_of(struct backup *backup, struct backup *first, const struct repository_options *options,
		      enum crypt_mode mode, struct err *err)
{
	int r = first->key ? 0 : find_and_use_key(backup, options, mode, err);
	if (r < 0)
		return r;
	if (!first->key)
		first->key = STEAL(backup->key);
	backup->stream_key = mode == CRYPT_ENCRYPT ? first->key : NULL;
	return 0;
}

int backup_open_beside(const struct repository_options *options, struct backup *first,
		       const char *archive, struct backup **ret, struct failure *why)
{
	CLEANUP(backup_closep) struct backup *backup = calloc(1, sizeof *backup);
	const struct manifest_file *file = NULL;
	if (!backup)
		return err_set(&why->err, -ENOMEM, "no memory");
	backup->is_beside = true;
	backup->source = first->source;
	backup->manifest = first->manifest;
	memcpy(backup->snapshot, first->snapshot, sizeof backup->snapshot);
	backup->ns = strdup(first->ns);
	if (!backup->ns)
		return err_set(&why->err, -ENOMEM, "no memory");
	int r = choose_image(backup->manifest, archive, &file, why);
	if (r < 0)
		return r;
	archive_user_name(file->name, backup->archive);
	r = use_key_of(backup, first, options, file->mode, &why->err);
	if (r == 0)
		r = open_index(backup, options, file->name, file, &why->err);
	if (r < 0)
		return r;
	*ret = STEAL(backup);
	return 0;
}

/* The pair's data may be encrypted and its entries not, for all a manifest can say: one key does for both. */
static int use_key_of_tree(struct backup *backup, const struct repository_options *options,
			   const struct chosen_tree *files, struct err *err)
{
	enum crypt_mode mode = files->meta->mode;
	bool is_encrypted = mode == CRYPT_ENCRYPT, is_payload_encrypted = false;
	if (files->payload) {
		is_payload_encrypted = files->payload->mode == CRYPT_ENCRYPT;
		if (is_payload_encrypted || mode == CRYPT_NONE)
			mode = files->payload->mode;
	}
	int r = find_and_use_key(backup, options, is_encrypted ? CRYPT_ENCRYPT : mode, err);
	if (r < 0)
		return r;
	backup->stream_key = is_encrypted ? backup->key : NULL;
	backup->payload_key = is_payload_encrypted ? backup->key : NULL;
	return 0;
}

/* Without it names can be seen still, and each file's data is an error. */
static int open_payload(struct backup *backup, const struct repository_options *options,
			const struct manifest_file *file, struct err *err)
{
	struct err why = ERR_NONE;
	int r = read_index(backup, options, file->name, file, &backup->payload, &why);
	if (r == -EBADMSG) {
		backup->lacks_payload = true;
		repository_say(options, "warning: no file's data can be read: %s", why.msg);
		return 0;
	}
	if (r < 0)
		*err = why;
	return r;
}

static int open_tree_files(struct backup *backup, const struct repository_options *options,
			   const struct chosen_tree *files, struct err *err)
{
	char whole[ARCHIVE_NAME_SIZE];
	int r = archive_pxar_name(files->meta->name, "pxar", whole, err);
	if (r == 0)
		r = use_key_of_tree(backup, options, files, err);
	if (r == 0)
		r = open_index(backup, options, files->meta->name, files->meta, err);
	if (r < 0)
		return r;
	archive_user_name(whole, backup->archive);
	backup->is_split = files->payload;
	return files->payload ? open_payload(backup, options, files->payload, err) : 0;
}

static int open_tree(struct backup *backup, const struct repository_options *options, const char *archive,
		     struct failure *why)
{
	struct chosen_tree files;
	int r = choose_tree(backup->manifest, archive, &files, why);
	return r < 0 ? r : open_tree_files(backup, options, &files, &why->err);
}

/* -- a loose index --------------------------------------------------------------------------- */

/* Without a manifest only the user can know whether chunks are encrypted: by giving the key. */
static int open_without_manifest(struct backup *backup, const struct repository_options *options,
				 const char *name, struct err *err)
{
	struct key_source keys;
	CLEANUP(freep) char *note = NULL;
	repository_say(options, "warning: there is no manifest beside the index: nothing vouches for it");
	int r = 0;
	if (options->keyfile)
		r = key_source_find(options->keyfile, &keys, &note, err);
	if (r == 0 && options->keyfile) {
		r = key_source_open(&keys, &backup->key, err);
		key_source_deinit(&keys);
	}
	backup->stream_key = backup->key;
	return r < 0 ? r : open_index(backup, options, name, NULL, err);
}

/* The same for a file archive.  The other half of a split one lies beside it. */
static int open_tree_without_manifest(struct backup *backup, const struct repository_options *options,
				      const char *name, struct err *err)
{
	char whole[ARCHIVE_NAME_SIZE], entries[ARCHIVE_NAME_SIZE], payload[ARCHIVE_NAME_SIZE];
	int r = archive_pxar_name(name, "pxar", whole, err);
	if (r < 0)
		return r;
	if (strcmp(name, whole) == 0)
		return open_without_manifest(backup, options, name, err);
	backup->is_split = true;
	r = archive_pxar_name(name, "mpxar", entries, err);
	if (r == 0)
		r = archive_pxar_name(name, "ppxar", payload, err);
	if (r == 0)
		r = open_without_manifest(backup, options, entries, err);
	if (r < 0)
		return r;
	backup->payload_key = backup->key;
	return read_index(backup, options, payload, NULL, &backup->payload, err);
}

static int open_with_manifest(struct backup *backup, const struct repository_options *options,
			      const char *name, struct err *err)
{
	const struct manifest_file *file = manifest_find(backup->manifest, name);
	if (!file)
		return err_set(err, -EBADMSG, "the manifest beside %s does not contain it", name);
	int r = find_and_use_key(backup, options, file->mode, err);
	return r < 0 ? r : open_index(backup, options, name, file, err);
}

static int loose_name(const char *path, char ret[static ARCHIVE_NAME_SIZE], struct err *err)
{
	CLEANUP(freep) char *copy = strdup(path);
	if (!copy)
		return err_set(err, -ENOMEM, "no memory");
	const char *name = basename(copy);
	char shown[160];
	if (!is_safe_id(name))
		return err_set(err, -EINVAL, "%s is no name of an index file",
			       text_escape(name, shown, sizeof shown));
	(void) snprintf(ret, ARCHIVE_NAME_SIZE, "%s", name);
	return 0;
}

/* @ret_shown: what a user calls what the index is of; both halves of a split archive by one name. */
static int check_loose_name(const char *name, enum content content, char ret_shown[static ARCHIVE_NAME_SIZE],
			    struct err *err)
{
	char whole[ARCHIVE_NAME_SIZE];
	bool is_pxar = archive_kind_of(name) == ARCHIVE_PXAR;
	if (is_pxar && content == IMAGE)
		return err_set(err, -EISDIR, "%s is a file archive: mount shows it, ls, cat and extract look into it", name);
	if (!is_pxar && content == TREE)
		return err_set(err, -EINVAL, "%s is no file archive: the index of one is named *.pxar.didx, *.mpxar.didx or "
			       "*.ppxar.didx", name);
	int r = content == TREE ? archive_pxar_name(name, "pxar", whole, err) : 0;
	if (r == 0)
		archive_user_name(content == TREE ? whole : name, ret_shown);
	return r;
}

static int open_loose_source(struct backup *backup, const struct repository_options *options, const char *path,
			     struct err *err)
{
	backup->ns = strdup("");
	if (!backup->ns)
		return err_set(err, -ENOMEM, "no memory");
	return source_loose_open(path, options->chunks, &backup->source, err);
}

static int open_loose(struct backup *backup, const struct repository_options *options, const char *path,
		      enum content content, struct failure *why)
{
	char name[ARCHIVE_NAME_SIZE];
	struct err *err = &why->err;
	int r = loose_name(path, name, err);
	if (r == 0)
		r = check_loose_name(name, content, backup->archive, err);
	if (r == 0)
		r = open_loose_source(backup, options, path, err);
	if (r < 0)
		return r;
	r = backup_read_manifest(backup->source, &backup->manifest, err);
	if (r == -ENOENT)
		return content == TREE ? open_tree_without_manifest(backup, options, name, err)
				       : open_without_manifest(backup, options, name, err);
	if (r < 0)
		return err_while(err, r, "reading the manifest beside %s", path);
	snapshot_format(&backup->manifest->snapshot, backup->snapshot);
	return content == TREE ? open_tree(backup, options, name, why)
			       : open_with_manifest(backup, options, name, err);
}

/* -- an archive of a snapshot, or a loose index ---------------------------------------------- */

static int open_any(const struct repository_options *options, const char *snapshot, const char *archive,
		    enum content content, struct backup **ret, struct failure *why)
{
	CLEANUP(backup_closep) struct backup *backup = calloc(1, sizeof *backup);
	if (!backup)
		return err_set(&why->err, -ENOMEM, "no memory");
	int r = options->chunks ? open_loose(backup, options, snapshot, content, why)
				: open_snapshot(backup, options, snapshot, why);
	if (r == 0 && !options->chunks)
		r = content == TREE ? open_tree(backup, options, archive, why)
				    : open_archive(backup, options, archive, why);
	if (r < 0)
		return r;
	*ret = STEAL(backup);
	return 0;
}

int backup_open(const struct repository_options *options, const char *snapshot, const char *archive,
		struct backup **ret, struct failure *why)
{
	return open_any(options, snapshot, archive, IMAGE, ret, why);
}

int backup_open_tree(const struct repository_options *options, const char *snapshot, const char *archive,
		     struct backup **ret, struct failure *why)
{
	return open_any(options, snapshot, archive, TREE, ret, why);
}
