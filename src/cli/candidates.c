/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/candidates.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/repository_words.h"
#include "format/json.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/home.h"
#include "util/text.h"

#define WORD_SIZE     4096	  /* bytes; longer ones nobody wants to have completed */
#define REPO_LIST_MAX (64u << 10) /* bytes; the reference client keeps ten repositories */

static bool is_fit(const char *text)
{
	char escaped[2 * WORD_SIZE];
	return strlen(text) < WORD_SIZE && strcmp(text_escape(text, escaped, sizeof escaped), text) == 0;
}

int candidate_add(struct strv *ret, const char *word, const char *description, struct err *err)
{
	CLEANUP(buf_deinit) struct buf line = BUF_EMPTY;
	if (!*word || !is_fit(word))
		return 0;
	int r = buf_puts(&line, word, err);
	if (r == 0 && description && is_fit(description))
		r = buf_printf(&line, err, "\t%s", description);
	return r < 0 ? r : strv_add(ret, line.data, err);
}

/* -- from the tables ------------------------------------------------------------------------- */

static int find_commands(const struct question *question, struct strv *ret, struct err *err)
{
	int r = 0;
	for (const struct command *c = commands; r == 0 && c->name; c++)
		r = candidate_add(ret, c->name, c->summary, err);
	if (r < 0 || question->line.wants_help)
		return r;
	return candidate_add(ret, ARGS_HELP_WORD, "the help of a command", err);
}

static int find_options(const struct question *question, struct strv *ret, struct err *err)
{
	int r = 0;
	for (int id = 0; r == 0 && id < N_OPTIONS; id++) {
		const struct option_row *row = &option_rows[id];
		char name[64];
		if (!row->help || !args_is_taken(question->line.command, (enum option_id)id))
			continue;
		(void) snprintf(name, sizeof name, "--%s", row->name);
		r = candidate_add(ret, name, row->help, err);
	}
	return r;
}

/* "loop|file" */
static int find_choices(const struct question *question, struct strv *ret, struct err *err)
{
	int r = 0;
	for (const char *at = option_rows[question->option].value; r == 0 && *at;) {
		char word[64];
		size_t len = strcspn(at, "|");
		(void) snprintf(word, sizeof word, "%.*s", (int)len, at);
		r = candidate_add(ret, word, NULL, err);
		at += len + (at[len] == '|');
	}
	return r;
}

static int find_bools(struct strv *ret, struct err *err)
{
	int r = candidate_add(ret, "true", NULL, err);
	return r < 0 ? r : candidate_add(ret, "false", NULL, err);
}

/* -- repositories ---------------------------------------------------------------------------- */

/* What the reference client used lately: {"root@pam@host:store": 7}. */
static int find_known_repositories(const char *except, struct strv *ret, struct err *err)
{
	CLEANUP(freep) char *cache = home_dir("XDG_CACHE_HOME", ".cache");
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	CLEANUP(json_freep) json_t *list = NULL;
	CLEANUP(freep) uint8_t *text = NULL;
	size_t len;
	if (!cache)
		return 0;
	int r = buf_printf(&path, err, "%s/proxmox-backup/repo-list", cache);
	if (r < 0 || read_file_at(AT_FDCWD, path.data, O_NONBLOCK, REPO_LIST_MAX, &text, &len, NULL) < 0 ||
	    json_parse_object((const char *)text, len, path.data, &list, NULL) < 0)
		return r;
	const char *repository;
	json_t *count;
	json_object_foreach(list, repository, count)
		if (r == 0 && (!except || strcmp(repository, except) != 0))
			r = candidate_add(ret, repository, NULL, err);
	return r;
}

static int find_repositories(struct strv *ret, struct err *err)
{
	const char *own = getenv("PBS_REPOSITORY");
	int r = own ? candidate_add(ret, own, "PBS_REPOSITORY", err) : 0;
	if (r == 0)
		r = find_known_repositories(own, ret, err);
	if (r == 0)
		r = candidate_add(ret, "/", "a datastore directory", err);
	return r < 0 ? r : candidate_add(ret, "./", "a datastore directory", err);
}

/* -- mappings -------------------------------------------------------------------------------- */

static int find_mappings(struct strv *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv devices = STRV_EMPTY;
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = mapping_glance(&devices, &names, err);
	for (size_t i = 0; r == 0 && i < devices.n; i++)
		r = candidate_add(ret, devices.items[i], names.items[i], err);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = candidate_add(ret, names.items[i], devices.items[i], err);
	return r;
}

int candidates_find(const struct question *question, struct strv *ret, struct failure *why)
{
	switch (question->kind) {
	case WORD_COMMAND:
		return find_commands(question, ret, &why->err);
	case WORD_OPTION:
		return find_options(question, ret, &why->err);
	case WORD_BOOL:
		return find_bools(ret, &why->err);
	case WORD_CHOICE:
		return find_choices(question, ret, &why->err);
	case WORD_REPOSITORY:
		return find_repositories(ret, &why->err);
	case WORD_MAPPING:
		return find_mappings(ret, &why->err);
	case WORD_NAMESPACE:
	case WORD_GROUP:
	case WORD_SNAPSHOT:
	case WORD_IMAGE:
	case WORD_TREE:
		return repository_words(question, ret, why);
	default:
		return 0; /* the shell's own, or nothing is known */
	}
}
