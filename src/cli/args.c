/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/text.h"

#define SHOWN_SIZE 128
#define SECONDS_MAX (365ll * 24 * 3600)

const struct option_row option_rows[N_OPTIONS] = {
	[OPT_REPOSITORY] = { "repository", "R", "a datastore directory, /path or ./path; else PBS_REPOSITORY" },
	[OPT_NS] = { "ns", "NS", "namespace, a or a/b; else PBS_NAMESPACE, else the root" },
	[OPT_KEYFILE] = { "keyfile", "FILE", "encryption key; else the default key file, where it is needed" },
	[OPT_CHUNKS] = { "chunks", "DIR", "SNAPSHOT is an index file (./drive.img.fidx), its chunks are in DIR" },
	[OPT_ALLOW_UNSIGNED] = { "allow-unsigned", NULL, "with --keyfile: accept a manifest without a signature" },
	[OPT_VIA] = { "via", "loop|file", "a block device (default), or a plain file at TARGET" },
	[OPT_NAME] = { "name", "NAME", "what list and unmap call it" },
	[OPT_FOREGROUND] = { "foreground", NULL, "serve until it is unmapped; tells systemd when it is ready" },
	[OPT_VERBOSE] = { "verbose", NULL, "more words; stays in the foreground" },
	[OPT_CACHE] = { "cache", "SIZE", "memory for chunks (default 256M)" },
	[OPT_READ_AHEAD] = { "read-ahead", "SIZE", "most to fetch in advance (default 32M; 0 = nothing)" },
	[OPT_TIMEOUT] = { "timeout", "SEC", "a read that takes longer is an error (default 60; 0 = never)" },
	[OPT_WAIT] = { "wait", "[SEC]", "wait until nobody uses it any more, SEC seconds at most" },
	[OPT_FORCE] = { "force", NULL, "take it away although it is used: its readers get errors" },
	[OPT_ALL] = { "all", NULL, "all mappings" },
	[OPT_JSON] = { "json", NULL, "the result as one JSON document" },
	[OPT_OUTPUT_FORMAT] = { "output-format", "json", NULL },
	[OPT_HELP] = { "help", NULL, "this text" },
	[OPT_VERSION] = { "version", NULL, "version, and what is built in" },
};

/* Options that take a word behind them only if it is one of these, as the reference client has it. */
#define BOOL_WORDS "true", "yes", "on", "false", "no", "off"

/* Two words of the reference client that are one of ours. */
static const struct {
	const char *first, *second, *command;
} habits[] = {
	{ "snapshot", "list", "snapshots" }, { "snapshot", "files", "files" },
	{ "namespace", "list", "namespaces" }, { "group", "list", "groups" },
};

static const struct {
	const char *word, *hint;
} not_ours[] = {
	{ "restore", "map the image instead, and copy from the device; or proxmox-backup-client restore" },
	{ "mount", "file archives cannot be mounted yet; an image can be mapped, and its partitions mounted" },
	{ "umount", "unmap takes a mapping away" },
	{ "backup", "pbsmap only reads backups; proxmox-backup-client makes them" },
	{ "version", "pbsmap --version" },
};

/* The parser on its way through the words. */
struct parser {
	int argc;
	const char *const *argv;
	int next;
	uint32_t seen; /* bits of options */
	struct command_line *ret;
	struct err *err;
};

static const char *shown(const char *text, char buf[static SHOWN_SIZE])
{
	return text_escape(text, buf, SHOWN_SIZE);
}

/* -- values ---------------------------------------------------------------------------------- */

bool size_parse(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno)
		return false;
	const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	const char *rest = end + (unit ? 1 : 0);
	bool is_end = !*rest || (unit && strcasecmp(rest, "iB") == 0) || strcasecmp(rest, "B") == 0;
	if (!is_end || n > UINT64_MAX >> shift || n << shift > INT64_MAX)
		return false;
	*ret = (uint64_t)n << shift;
	return true;
}

static bool seconds_parse(const char *text, int64_t *ret_ms)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (errno || (*end && strcmp(end, "s") != 0) || n > SECONDS_MAX)
		return false;
	*ret_ms = n * 1000;
	return true;
}

/* 1 and 0 only behind a '=': `unmap --force 1` means device 1. */
static int bool_parse(const char *text, bool *ret)
{
	static const char *const words[] = { BOOL_WORDS, "1", "0" };
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*ret = i < 3 || i == 6;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_bool_word(const char *text)
{
	static const char *const words[] = { BOOL_WORDS };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

static int take_via(struct options *options, const char *value)
{
	if (strcmp(value, mapping_via_name(VIA_LOOP)) == 0)
		options->via = VIA_LOOP;
	else if (strcmp(value, mapping_via_name(VIA_FILE)) == 0)
		options->via = VIA_FILE;
	else
		return -EINVAL;
	return 0;
}

static int take_output_format(struct options *options, const char *value)
{
	options->is_json_pretty = strcmp(value, "json-pretty") == 0;
	options->is_json = options->is_json_pretty || strcmp(value, "json") == 0;
	return options->is_json || strcmp(value, "text") == 0 ? 0 : -EINVAL;
}

static int take_value(struct options *o, enum option_id id, const char *value)
{
	switch (id) {
	case OPT_REPOSITORY:
		o->repositories[o->repository.n_repositories++] = value;
		return 0;
	case OPT_NS:
		o->repository.ns = value;
		return 0;
	case OPT_KEYFILE:
		o->repository.keyfile = value;
		return 0;
	case OPT_CHUNKS:
		o->repository.chunks = value;
		return 0;
	case OPT_NAME:
		o->name = value;
		return *value ? 0 : -EINVAL;
	case OPT_VIA:
		return take_via(o, value);
	case OPT_OUTPUT_FORMAT:
		return take_output_format(o, value);
	case OPT_CACHE:
		return size_parse(value, &o->cache_size) ? 0 : -EINVAL;
	case OPT_READ_AHEAD:
		return size_parse(value, &o->read_ahead) ? 0 : -EINVAL;
	case OPT_TIMEOUT:
		return seconds_parse(value, &o->timeout_ms) ? 0 : -EINVAL;
	case OPT_WAIT:
		return seconds_parse(value, &o->wait_ms) ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* The mark an option without a value sets. */
static bool *flag_of(struct command_line *line, enum option_id id)
{
	switch (id) {
	case OPT_ALLOW_UNSIGNED:
		return &line->options.repository.allow_unsigned;
	case OPT_FOREGROUND:
		return &line->options.is_foreground;
	case OPT_VERBOSE:
		return &line->options.is_verbose;
	case OPT_FORCE:
		return &line->options.is_forced;
	case OPT_ALL:
		return &line->options.is_all;
	case OPT_JSON:
		return &line->options.is_json;
	case OPT_HELP:
		return &line->wants_help;
	case OPT_VERSION:
		return &line->wants_version;
	default:
		return NULL;
	}
}

/* -- options --------------------------------------------------------------------------------- */

/* Letters to change, add or take away to make one of the other; more than 3 is "not alike". */
static unsigned distance(const char *a, size_t a_len, const char *b)
{
	unsigned row[33];
	size_t b_len = strlen(b);
	if (a_len > 32 || b_len > 32)
		return 4;
	for (size_t i = 0; i <= b_len; i++)
		row[i] = (unsigned)i;
	for (size_t j = 1; j <= a_len; j++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)j;
		for (size_t i = 1; i <= b_len; i++) {
			unsigned change = diagonal + (a[j - 1] != b[i - 1]);
			unsigned add = (row[i] < row[i - 1] ? row[i] : row[i - 1]) + 1;
			diagonal = row[i];
			row[i] = change < add ? change : add;
		}
	}
	return row[b_len];
}

static int unknown_option(struct parser *parser, const char *word, const char *name, size_t len)
{
	const char *closest = NULL;
	unsigned best = 3;
	char text[SHOWN_SIZE];
	for (int id = 0; id < N_OPTIONS; id++) {
		unsigned d = distance(name, len, option_rows[id].name);
		if (d < best && option_rows[id].help) {
			best = d;
			closest = option_rows[id].name;
		}
	}
	return err_set(parser->err, -EINVAL, "unknown option %s%s%s%s", shown(word, text),
		       closest ? "; did you mean --" : "", closest ? closest : "", closest ? "?" : "");
}

static int find_option(const char *name, size_t len)
{
	for (int id = 0; id < N_OPTIONS; id++)
		if (strlen(option_rows[id].name) == len && memcmp(option_rows[id].name, name, len) == 0)
			return id;
	return -1;
}

static int set_flag(struct parser *parser, enum option_id id, const char *value)
{
	bool *flag = flag_of(parser->ret, id);
	char text[SHOWN_SIZE];
	*flag = true;
	if (!value && parser->next < parser->argc && is_bool_word(parser->argv[parser->next]))
		value = parser->argv[parser->next++];
	if (value && bool_parse(value, flag) < 0)
		return err_set(parser->err, -EINVAL, "--%s takes no value '%s'", option_rows[id].name,
			       shown(value, text));
	return 0;
}

static int set_value(struct parser *parser, enum option_id id, const char *value)
{
	const struct option_row *row = &option_rows[id];
	char text[SHOWN_SIZE];
	if (!value && row->value[0] == '[') {
		parser->ret->options.wait_ms = INT64_MAX;
		return 0;
	}
	if (!value && parser->next == parser->argc)
		return err_set(parser->err, -EINVAL, "--%s needs a value: %s", row->name, row->value);
	if (!value)
		value = parser->argv[parser->next++];
	if (take_value(&parser->ret->options, id, value) < 0)
		return err_set(parser->err, -EINVAL, "--%s: '%s' is no %s", row->name, shown(value, text),
			       row->value);
	return 0;
}

static int take_option(struct parser *parser, const char *word)
{
	const char *name = word + (word[1] == '-' ? 2 : 1);
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	int id = strcmp(word, "-h") == 0 ? (int)OPT_HELP : find_option(name, len);
	if (id < 0)
		return unknown_option(parser, word, name, len);
	parser->seen |= 1u << id;
	return option_rows[id].value ? set_value(parser, (enum option_id)id, value)
				     : set_flag(parser, (enum option_id)id, value);
}

static int take_words(struct parser *parser)
{
	struct options *options = &parser->ret->options;
	int result = 0;
	bool is_end = false;
	while (parser->next < parser->argc) {
		const char *word = parser->argv[parser->next++];
		if (!is_end && strcmp(word, "--") == 0) {
			is_end = true;
		} else if (!is_end && word[0] == '-' && word[1]) {
			/* The first mistake is said; the rest is read to know whether JSON is wanted. */
			struct err later = ERR_NONE;
			struct err *err = parser->err;
			parser->err = result < 0 ? &later : err;
			int r = take_option(parser, word);
			parser->err = err;
			result = result < 0 ? result : r;
		} else {
			options->args[options->n_args++] = word;
		}
	}
	return result;
}

/* -- the command ----------------------------------------------------------------------------- */

static const struct command *find_command(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static const struct command *find_prefix(const char *word)
{
	const struct command *only = NULL;
	for (const struct command *c = commands; c->name; c++) {
		if (strncmp(c->name, word, strlen(word)) != 0)
			continue;
		if (only)
			return NULL;
		only = c;
	}
	return only;
}

static int unknown_command(const char *word, struct err *err)
{
	char text[SHOWN_SIZE];
	const char *closest = NULL;
	unsigned best = 3;
	for (size_t i = 0; i < ARRAY_LEN(not_ours); i++)
		if (strcmp(word, not_ours[i].word) == 0)
			return err_set(err, -EINVAL, "there is no command '%s': %s", word, not_ours[i].hint);
	for (const struct command *c = commands; c->name; c++) {
		unsigned d = distance(word, strlen(word), c->name);
		if (d < best) {
			best = d;
			closest = c->name;
		}
	}
	return err_set(err, -EINVAL, "there is no command '%s'%s%s%s", shown(word, text),
		       closest ? "; did you mean " : "", closest ? closest : "", closest ? "?" : "");
}

/* How many words it took; -EINVAL. */
static int choose_command(const struct options *options, const struct command **ret, struct err *err)
{
	const char *const *args = options->args;
	for (size_t i = 0; options->n_args > 1 && i < ARRAY_LEN(habits); i++) {
		if (strncmp(habits[i].first, args[0], strlen(args[0])) != 0 ||
		    strcmp(habits[i].second, args[1]) != 0)
			continue;
		*ret = find_command(habits[i].command);
		return 2;
	}
	*ret = find_command(args[0]);
	if (!*ret)
		*ret = find_prefix(args[0]);
	return *ret ? 1 : unknown_command(args[0], err);
}

static int check_options(const struct parser *parser, const struct command *command)
{
	const uint32_t always = 1u << OPT_HELP | 1u << OPT_VERSION;
	for (int id = 0; id < N_OPTIONS; id++) {
		uint32_t bit = 1u << id;
		if (id == OPT_OUTPUT_FORMAT)
			bit = 1u << OPT_JSON;
		if ((parser->seen & 1u << id) && !((command->options | always) & bit))
			return err_set(parser->err, -EINVAL, "%s takes no --%s", command->name,
				       option_rows[id].name);
	}
	return 0;
}

static int check_args(const struct command_line *line, struct err *err)
{
	const struct command *command = line->command;
	char text[SHOWN_SIZE];
	if (line->options.n_args < command->min_args)
		return err_set(err, -EINVAL, "%s needs: %s", command->name, command->args);
	if (line->options.n_args > command->max_args)
		return err_set(err, -EINVAL, "%s: one word too many: '%s'", command->name,
			       shown(line->options.args[command->max_args], text));
	return 0;
}

/* "pbsmap help map" is "pbsmap map --help". */
static void understand_help(struct command_line *line)
{
	struct options *options = &line->options;
	if (options->n_args == 0 || strcmp(options->args[0], "help") != 0)
		return;
	line->wants_help = true;
	options->args++;
	options->n_args--;
}

static int parse(struct parser *parser)
{
	struct command_line *line = parser->ret;
	struct options *options = &line->options;
	int r = take_words(parser);
	if (r < 0)
		return r;
	understand_help(line);
	if (options->n_args == 0)
		return 0;
	r = choose_command(options, &line->command, parser->err);
	if (r < 0)
		return r;
	options->args += r;
	options->n_args -= (size_t)r;
	if (line->wants_help || line->wants_version)
		return 0;
	r = check_options(parser, line->command);
	return r < 0 ? r : check_args(line, parser->err);
}

int args_parse(int argc, const char *const *argv, struct command_line *ret, struct failure *why)
{
	*ret = (struct command_line){
		.options = {
			.cache_size = UINT64_MAX,
			.read_ahead = UINT64_MAX,
			.timeout_ms = 60000,
		},
	};
	/* one array for both: what is no repository may be an argument */
	const char **words = calloc(2 * (size_t)argc + 2, sizeof *words);
	if (!words)
		return err_set(&why->err, -ENOMEM, "no memory");
	ret->options.repositories = words;
	ret->options.repository.repositories = words;
	ret->options.args = words + argc + 1;
	struct parser parser = { .argc = argc, .argv = argv, .ret = ret, .err = &why->err };
	return parse(&parser);
}

void command_line_deinit(struct command_line *line)
{
	free(line->options.repositories);
	*line = (struct command_line){ 0 };
}
