/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/candidates.h"
#include "crypto/sha256.h"
#include "util/buf.h"
#include "util/bytes.h"
#include "util/file.h"

/*
 * A file is "words-" and the digest of its key; it holds a line with the length of the rest, then the
 * candidates, one per line.  It comes into being by rename, and goes when it is older than it may be and
 * another one is written.
 */
#define PREFIX	  "words-"
#define NAME_SIZE (sizeof PREFIX + 2 * DIGEST_SIZE)
#define HEAD	  "pbsmap words 1, %zu bytes\n"

/* -- the directory --------------------------------------------------------------------------- */

static bool is_own_directory(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* @name in @parent, made where it is missing; -EBADF = there is none of our own.  Closes @take_parent. */
static int enter(int take_parent, const char *name)
{
	CLEANUP(closep) int parent = take_parent;
	if (parent < 0 || !is_own_directory(parent))
		return -EBADF;
	(void) mkdirat(parent, name, 0700);
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* -EBADF = there is none that may be used. */
static int open_directory(void)
{
	const char *cache = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
	bool is_own = cache && *cache;
	const char *base = is_own ? cache : home;
	if (!base || *base != '/')
		return -EBADF;
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!is_own)
		fd = enter(fd, ".cache");
	CLEANUP(closep) int own = enter(fd, "pbsmap");
	return own >= 0 && is_own_directory(own) ? steal_fd(&own) : -EBADF;
}

static bool name_of(const char *key, char ret[static NAME_SIZE])
{
	uint8_t digest[DIGEST_SIZE];
	if (sha256_once(key, strlen(key), digest, NULL) < 0)
		return false;
	memcpy(ret, PREFIX, strlen(PREFIX));
	hex_encode(digest, sizeof digest, ret + strlen(PREFIX));
	return true;
}

static bool is_fresh(const struct stat *st)
{
	time_t age = time(NULL) - st->st_mtime;
	return age >= 0 && age <= WORDS_CACHE_SECONDS;
}

/* -- reading --------------------------------------------------------------------------------- */

/* The whole file, NUL behind it; NULL = there is none that may be used.  free() */
static char *read_own(const char *name)
{
	CLEANUP(closep) int dir = open_directory();
	CLEANUP(closep) int fd = dir < 0 ? -EBADF : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	uint8_t *text;
	size_t len;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & (S_IRWXG | S_IRWXO)) || !is_fresh(&st) ||
	    read_fd(fd, WORDS_CACHE_MAX, &text, &len, NULL) < 0)
		return NULL;
	return (char *)text;
}

/* Behind the head; NULL = it is not what was written. */
static char *skip_head(char *text)
{
	char head[64];
	char *end = strchr(text, '\n');
	if (!end)
		return NULL;
	(void) snprintf(head, sizeof head, HEAD, strlen(end + 1));
	return strncmp(text, head, strlen(head)) == 0 ? end + 1 : NULL;
}

static int add_line(char *line, struct strv *ret)
{
	char *tab = strchr(line, '\t');
	if (tab)
		*tab = '\0';
	return candidate_add(ret, line, tab ? tab + 1 : NULL, NULL);
}

bool words_cache_get(const char *key, struct strv *ret)
{
	char name[NAME_SIZE];
	CLEANUP(freep) char *text = name_of(key, name) ? read_own(name) : NULL;
	char *at = text ? skip_head(text) : NULL, *rest;
	bool is_there = at;
	for (char *line = at ? strtok_r(at, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
		if (add_line(line, ret) < 0)
			is_there = false;
	if (!is_there)
		strv_deinit(ret);
	return is_there;
}

/* -- writing --------------------------------------------------------------------------------- */

/* Removes what is too old; how many are left. */
static size_t clean(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t n = 0;
	if (!dir) {
		closep(&fd);
		return SIZE_MAX;
	}
	while ((entry = readdir(dir))) {
		struct stat st;
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		bool is_there = fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (is_there && is_fresh(&st))
			n++;
		else
			(void) unlinkat(dir_fd, entry->d_name, 0);
	}
	return n;
}

static int format(const struct strv *words, struct buf *ret)
{
	CLEANUP(buf_deinit) struct buf lines = BUF_EMPTY;
	int r = buf_puts(&lines, "", NULL);
	for (size_t i = 0; r == 0 && i < words->n; i++)
		r = buf_printf(&lines, NULL, "%s\n", words->items[i]);
	return r < 0 ? r : buf_printf(ret, NULL, HEAD "%s", lines.len, lines.data);
}

/* Under another name first: nobody sees half of it. */
static void write_own(int dir, const char *name, const struct buf *text)
{
	char temporary[NAME_SIZE + 16];
	(void) snprintf(temporary, sizeof temporary, "%s.%d", name, (int)getpid());
	int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	int r = write_full(fd, text->data, text->len);
	if (close(fd) < 0 || r < 0 || renameat(dir, temporary, dir, name) < 0)
		(void) unlinkat(dir, temporary, 0);
}

void words_cache_put(const char *key, const struct strv *words)
{
	char name[NAME_SIZE];
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	CLEANUP(closep) int dir = open_directory();
	if (dir < 0 || !name_of(key, name) || clean(dir) >= WORDS_CACHE_FILES)
		return;
	if (format(words, &text) == 0 && text.len <= WORDS_CACHE_MAX)
		write_own(dir, name, &text);
}
