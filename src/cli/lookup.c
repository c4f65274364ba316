/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lookup.h"

#include <string.h>

#include "util/bytes.h"

#define WORD_MAX 32 /* bytes; no name of ours is that long */

/* Two words of the reference client that are one of ours. */
static const struct {
	const char *first, *second, *command;
} habits[] = {
	{ "snapshot", "list", "snapshots" },
	{ "snapshot", "files", "files" },
	{ "namespace", "list", "namespaces" },
	{ "group", "list", "groups" },
};

static const struct {
	const char *word, *hint;
} not_ours[] = {
	{ "restore", "map shows an image at once, extract takes files out of a file archive" },
	{ "backup", "pbsmap only reads backups; proxmox-backup-client makes them" },
	{ "version", "pbsmap --version tells it" },
};

unsigned lookup_distance(const char *a, size_t a_len, const char *b)
{
	unsigned row[WORD_MAX + 1];
	size_t b_len = strlen(b);
	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return LOOKUP_FAR;
	for (size_t i = 0; i <= b_len; i++)
		row[i] = (unsigned)i;
	for (size_t j = 1; j <= a_len; j++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)j;
		for (size_t i = 1; i <= b_len; i++) {
			size_t change = diagonal + (a[j - 1] != b[i - 1]);
			size_t add = min_size(row[i], row[i - 1]) + 1;
			diagonal = row[i];
			row[i] = (unsigned)min_size(change, add);
		}
	}
	return (unsigned)min_size(row[b_len], LOOKUP_FAR);
}

static const struct command *find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* Two words at once; the first may be cut short. */
static const struct command *find_habit(const char *first, const char *second)
{
	for (size_t i = 0; *first && i < ARRAY_LEN(habits); i++)
		if (strncmp(habits[i].first, first, strlen(first)) == 0 &&
		    strcmp(habits[i].second, second) == 0)
			return find(habits[i].command);
	return NULL;
}

static int unknown(const char *word, struct err *err)
{
	const struct command *closest = NULL;
	unsigned best = (unsigned)min_size(LOOKUP_FAR, strlen(word)); /* some of its letters must be right */
	for (size_t i = 0; i < ARRAY_LEN(not_ours); i++)
		if (strcmp(word, not_ours[i].word) == 0)
			return err_set(err, -EINVAL, "there is no command '%s': %s", word,
				       not_ours[i].hint);
	for (const struct command *c = commands; c->name; c++) {
		unsigned distance = lookup_distance(word, strlen(word), c->name);
		closest = distance < best ? c : closest;
		best = (unsigned)min_size(best, distance);
	}
	if (closest)
		return err_set(err, -EINVAL, "there is no command '%s'; did you mean %s?", word,
			       closest->name);
	return err_set(err, -EINVAL, "there is no command '%s'", word);
}

static int find_prefix(const char *word, const struct command **ret, struct failure *why)
{
	const struct command *only = NULL;
	int r = 0;
	for (const struct command *c = commands; r == 0 && c->name; c++) {
		if (!*word || strncmp(c->name, word, strlen(word)) != 0)
			continue;
		only = c;
		r = strv_add(&why->candidates, c->name, &why->err);
	}
	if (r < 0)
		return r;
	if (why->candidates.n > 1) {
		char names[256];
		strv_describe(&why->candidates, SIZE_MAX, names, sizeof names);
		return err_set(&why->err, -EINVAL, "'%s' fits several commands: %s", word, names);
	}
	strv_deinit(&why->candidates);
	if (!only)
		return unknown(word, &why->err);
	*ret = only;
	return 0;
}

int lookup_command(const char *const *words, size_t n_words, const struct command **ret,
		   size_t *ret_n_words, struct failure *why)
{
	const struct command *found = n_words > 1 ? find_habit(words[0], words[1]) : NULL;
	*ret_n_words = found ? 2 : 1;
	if (!found)
		found = find(words[0]);
	if (!found)
		return find_prefix(words[0], ret, why);
	*ret = found;
	return 0;
}
