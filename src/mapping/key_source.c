/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/key_source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "mapping/environment.h"
#include "mapping/prompt.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/home.h"

#define PROMPT "Encryption Key Password: "

void key_source_deinit(struct key_source *source)
{
	if (source->path)
		key_file_deinit(&source->file);
	free(source->path);
	*source = (struct key_source){ 0 };
}

static int load(const char *path, int open_flags, struct key_source *ret, struct err *err)
{
	uint8_t *text;
	size_t len;
	int r = read_file_at(AT_FDCWD, path, open_flags, KEY_FILE_MAX, &text, &len, err);
	if (r == -ENOENT)
		return err_set(err, -ENOKEY, "there is no key file %s", path);
	if (r < 0)
		return r == -EFBIG ? err_set(err, -EKEYREJECTED, "%s is too long for a key file", path) : r;
	r = key_file_parse((char *)text, len, &ret->file, err);
	secret_wipe_and_free(text, len);
	if (r == -EBADMSG)
		r = -EKEYREJECTED; /* not the backup is damaged */
	if (r < 0)
		return err_while(err, r, "reading the key file %s", path);
	ret->path = strdup(path);
	if (!ret->path) {
		key_file_deinit(&ret->file);
		return err_set(err, -ENOMEM, "no memory");
	}
	return 0;
}

/* -- the default key file -------------------------------------------------------------------- */

/* 1 = it is there. */
static int find_in(const char *dir, size_t dir_len, struct buf *ret, struct err *err)
{
	ret->len = 0;
	int r = buf_printf(ret, err, "%.*s/proxmox-backup/encryption-key.json", (int)dir_len, dir);
	return r < 0 ? r : access(ret->data, F_OK) == 0;
}

static int find_default(struct buf *ret, struct err *err)
{
	CLEANUP(freep) char *config = home_dir("XDG_CONFIG_HOME", ".config");
	const char *dirs = getenv("XDG_CONFIG_DIRS");
	int r = config ? find_in(config, strlen(config), ret, err) : 0;
	if (!dirs || !*dirs)
		dirs = "/etc/xdg";
	while (r == 0 && *dirs) {
		size_t len = strcspn(dirs, ":");
		if (len)
			r = find_in(dirs, len, ret, err);
		dirs += len + (dirs[len] == ':');
	}
	return r;
}

int key_source_find(const char *keyfile, struct key_source *ret, char **ret_note, struct err *err)
{
	*ret = (struct key_source){ 0 };
	*ret_note = NULL;
	if (keyfile) {
		ret->is_explicit = true;
		return load(keyfile, 0, ret, err); /* it may be a pipe whose writer is slow */
	}
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	struct err why = ERR_NONE;
	int r = find_default(&path, err);
	if (r <= 0 || load(path.data, O_NONBLOCK, ret, &why) == 0)
		return r < 0 ? r : 0;
	if (asprintf(ret_note, "the default key file is left out: %s", why.msg) < 0)
		return err_set(err, -ENOMEM, "no memory");
	return 0;
}

/* -- the key --------------------------------------------------------------------------------- */

/* All that can be wrong with a key is one thing to the caller: this key does not open it. */
static int opened(const struct key_source *source, int r, struct err *err)
{
	if (r == -EINVAL || r == -EBADMSG)
		r = -EKEYREJECTED;
	return r < 0 ? err_while(err, r, "opening the key file %s", source->path) : 0;
}

int key_source_open(const struct key_source *source, struct crypt_key **ret, struct err *err)
{
	struct secret password = SECRET_EMPTY;
	int r;
	if (source->file.kdf == KEY_KDF_NONE)
		return opened(source, key_file_open(&source->file, NULL, ret, err), err);
	r = environment_value("PBS_ENCRYPTION_PASSWORD", "encryption-password", &password, err);
	if (r == 0)
		r = prompt_password(PROMPT, &password, err);
	if (r == 0)
		return err_set(err, -ENOKEY, "the key %s has a password: set PBS_ENCRYPTION_PASSWORD (or its "
			       "_FD, _FILE or _CMD form), or call from a terminal", source->path);
	if (r > 0)
		r = key_file_open(&source->file, &password, ret, err);
	secret_deinit(&password);
	return opened(source, r, err);
}
