/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <stdlib.h>
#include <string.h>

#include "cli/lookup.h"
#include "cli/value.h"

/*
 * In three steps, so that a message about an option can speak of the command: the words are split
 * into options and the rest, the rest names the command, then the options get their meaning.
 */
const struct option_row option_rows[N_OPTIONS] = {
	[OPT_REPOSITORY] = { "repository", 0, "R", NULL,
			     "user@realm@host:store, /path or ./path (PBS_REPOSITORY)", WORD_REPOSITORY },
	[OPT_FINGERPRINT] = { "fingerprint", 0, "FP", NULL,
			      "the server's certificate must be this (PBS_FINGERPRINT)" },
	[OPT_NS] = { "ns", 0, "NS", NULL, "namespace, a or a/b (PBS_NAMESPACE); else the root",
		     WORD_NAMESPACE },
	[OPT_KEYFILE] = { "keyfile", 0, "FILE", NULL, "encryption key; else the default key file",
			  WORD_FILE },
	[OPT_CHUNKS] = { "chunks", 0, "DIR", NULL,
			 "SNAPSHOT is an index file, its chunks are in DIR", WORD_DIRECTORY },
	[OPT_ALLOW_UNSIGNED] = { "allow-unsigned", 0, NULL, NULL,
				 "with --keyfile: a manifest needs no signature" },
	[OPT_VIA] = { "via", 0, "loop|nbd|file|socket", "loop, nbd, file or socket",
		      "two devices; a file or socket at TARGET" },
	[OPT_NAME] = { "name", 0, "NAME", "a name", "what list and unmap call it" },
	[OPT_FOREGROUND] = { "foreground", 0, NULL, NULL,
			     "serve until it is unmapped; tells systemd when ready" },
	[OPT_VERBOSE] = { "verbose", 'v', NULL, NULL, "more words, in the foreground" },
	[OPT_CACHE] = { "cache", 0, "SIZE", "a size (64M, 1G, 4096)",
			"memory for chunks (default 256M)" },
	[OPT_READ_AHEAD] = { "read-ahead", 0, "SIZE", "a size (64M, 1G, 4096)",
			     "most to fetch in advance (default 32M, 0 = none)" },
	[OPT_CONNECTIONS] = { "connections", 0, "N", "a number from 1 to 16",
			      "to a server, at the same time (default 1)" },
	[OPT_TIMEOUT] = { "timeout", 0, "SEC", "seconds",
			  "a read that takes longer fails (default 60, 0 = never)" },
	[OPT_SOCKET] = { "socket", 0, "PATH", NULL, "listen at a unix socket, for its owner only",
			 WORD_FILE },
	[OPT_LISTEN] = { "listen", 0, "PORT", NULL,
			 "listen with TCP for this machine; ADDR:PORT: others" },
	[OPT_TLS_CERTIFICATES] = { "tls-certificates", 0, "DIR", NULL,
				   "clients need TLS; DIR has server-cert.pem and others",
				   WORD_DIRECTORY },
	[OPT_TLS_PSK] = { "tls-psk", 0, "FILE", NULL, "clients need TLS, and a key in FILE", WORD_FILE },
	[OPT_IDLE] = { "idle", 0, "SEC", "seconds", "end when there was no client for so long" },
	[OPT_WAIT] = { "wait", 0, "[SEC]", "seconds",
		       "until nobody uses it any more; at most SEC seconds" },
	[OPT_FORCE] = { "force", 0, NULL, NULL, "although it is used: its readers get errors" },
	[OPT_ALL] = { "all", 0, NULL, NULL, "every mapping" },
	[OPT_RECURSIVE] = { "recursive", 'R', NULL, NULL, "and all that is below" },
	[OPT_EXACT_LINKS] = { "exact-links", 0, NULL, NULL, "count the names of each file: goes through all" },
	[OPT_TO] = { "to", 0, "DIR", NULL, "a directory that is empty, or is made", WORD_DIRECTORY },
	[OPT_OPTIONS] = { "options", 'o', "OPT[,OPT]", NULL, "FUSE mount options" },
	[OPT_TAR] = { "tar", 0, "FILE", NULL, "as a tar archive; - is the standard output", WORD_FILE },
	[OPT_JSON] = { "json", 0, NULL, NULL, "the result as one JSON document" },
	[OPT_OUTPUT_FORMAT] = { "output-format", 0, "text|json|json-pretty", "text, json or json-pretty", NULL },
	[OPT_HELP] = { "help", 'h', NULL, NULL, "this text" },
	[OPT_VERSION] = { "version", 0, NULL, NULL, "version, and what is built in" },
};

#define UNKNOWN N_OPTIONS

/* An option as it was typed. */
struct given {
	enum option_id id; /* UNKNOWN: no such option */
	const char *word;  /* "--cache=1G" */
	const char *value; /* NULL = none */
};

/* The parser on its way through the words. */
struct parser {
	int argc;
	const char *const *argv;
	int next;
	struct given *given;
	size_t n_given;
	struct command_line *ret;
	struct failure *why;
};

/* -- words into options and the rest --------------------------------------------------------- */

/* The name in "--cache=1G". */
static const char *name_in(const char *word, size_t *ret_len)
{
	const char *name = word + (word[1] == '-' ? 2 : 1);
	*ret_len = strcspn(name, "=");
	return name;
}

enum option_id args_find_option(const char *word)
{
	size_t len;
	const char *name = name_in(word, &len);
	for (int id = 0; id < N_OPTIONS; id++) {
		const struct option_row *row = &option_rows[id];
		bool is_name = strlen(row->name) == len && memcmp(row->name, name, len) == 0;
		bool is_letter = word[1] != '-' && len == 1 && name[0] == row->letter;
		if (is_name || is_letter)
			return (enum option_id)id;
	}
	return UNKNOWN;
}

/* Does an option take the word behind it? */
static bool takes_next(enum option_id id, const char *next)
{
	if (id == UNKNOWN)
		return false;
	const char *value = option_rows[id].value;
	return value ? value[0] != '[' : bool_is_word(next);
}

static struct given take_option(struct parser *parser, const char *word)
{
	const char *equals = strchr(word, '=');
	struct given given = {
		.id = args_find_option(word),
		.word = word,
		.value = equals ? equals + 1 : NULL,
	};
	bool is_last = parser->next == parser->argc;
	if (!given.value && !is_last && takes_next(given.id, parser->argv[parser->next]))
		given.value = parser->argv[parser->next++];
	if (!given.value && is_last && takes_next(given.id, ""))
		parser->ret->pending = given.id;
	return given;
}

static void split(struct parser *parser)
{
	struct command_line *line = parser->ret;
	struct options *options = &line->options;
	while (parser->next < parser->argc) {
		const char *word = parser->argv[parser->next++];
		if (!line->is_end && strcmp(word, "--") == 0)
			line->is_end = true;
		else if (!line->is_end && word[0] == '-' && word[1])
			parser->given[parser->n_given++] = take_option(parser, word);
		else
			options->args[options->n_args++] = word;
	}
}

/* -- what an option does --------------------------------------------------------------------- */

/* The mark an option without a value sets; NULL = it has a value. */
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
	case OPT_RECURSIVE:
		return &line->options.is_recursive;
	case OPT_EXACT_LINKS:
		return &line->options.counts_links;
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

static bool set_text(const char **ret, const char *value)
{
	*ret = value;
	return true;
}

static bool set_name(struct options *options, const char *value)
{
	options->name = value;
	return *value;
}

static bool set_via(struct options *options, const char *value)
{
	static const enum mapping_via all[] = { VIA_LOOP, VIA_FILE, VIA_SOCKET, VIA_NBD };
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (strcmp(value, mapping_via_name(all[i])) != 0)
			continue;
		options->via = all[i];
		return true;
	}
	return false;
}

/* Of a read, and of an answer of the server before there are any. */
static bool set_timeout(struct options *options, const char *value)
{
	if (!seconds_parse(value, &options->timeout_ms))
		return false;
	options->repository.timeout_ms = options->timeout_ms;
	return true;
}

static bool set_output_format(struct options *options, const char *value)
{
	options->is_json_pretty = strcmp(value, "json-pretty") == 0;
	options->is_json = options->is_json_pretty || strcmp(value, "json") == 0;
	return options->is_json || strcmp(value, "text") == 0;
}

/* false = not a value of this option */
static bool set_value(struct options *o, enum option_id id, const char *value)
{
	switch (id) {
	case OPT_REPOSITORY:
		return set_text(&o->repositories[o->repository.n_repositories++], value);
	case OPT_NS:
		return set_text(&o->repository.ns, value);
	case OPT_FINGERPRINT:
		return set_text(&o->repository.fingerprint, value);
	case OPT_KEYFILE:
		return set_text(&o->repository.keyfile, value);
	case OPT_CHUNKS:
		return set_text(&o->repository.chunks, value);
	case OPT_OPTIONS:
		return set_text(&o->mount_options, value);
	case OPT_TO:
		return set_text(&o->to, value);
	case OPT_TAR:
		return set_text(&o->tar, value);
	case OPT_NAME:
		return set_name(o, value);
	case OPT_VIA:
		return set_via(o, value);
	case OPT_OUTPUT_FORMAT:
		return set_output_format(o, value);
	case OPT_CACHE:
		return size_parse(value, &o->cache_size);
	case OPT_READ_AHEAD:
		return size_parse(value, &o->read_ahead);
	case OPT_CONNECTIONS:
		return number_parse(value, 1, CONNECTIONS_MAX, &o->repository.n_connections);
	case OPT_TIMEOUT:
		return set_timeout(o, value);
	case OPT_SOCKET:
		return set_text(&o->socket, value);
	case OPT_LISTEN:
		return set_text(&o->listen, value);
	case OPT_TLS_CERTIFICATES:
		return set_text(&o->tls.certificates, value);
	case OPT_TLS_PSK:
		return set_text(&o->tls.psk_file, value);
	case OPT_IDLE:
		return seconds_parse(value, &o->idle_ms);
	case OPT_WAIT:
		return seconds_parse(value, &o->wait_ms);
	default:
		return false;
	}
}

static int apply_flag(const struct given *given, bool *flag, struct err *err)
{
	*flag = true;
	if (given->value && !bool_parse(given->value, flag))
		return err_set(err, -EINVAL, "--%s takes no value, but true or false: '%s' is neither",
			       option_rows[given->id].name, given->value);
	return 0;
}

static int apply_value(const struct given *given, struct options *options, struct err *err)
{
	const struct option_row *row = &option_rows[given->id];
	if (!given->value && row->value[0] == '[') { /* only --wait is such a one */
		options->wait_ms = INT64_MAX;
		return 0;
	}
	if (!given->value)
		return err_set(err, -EINVAL, "--%s needs a value: %s", row->name, row->value);
	if (!set_value(options, given->id, given->value))
		return err_set(err, -EINVAL, "--%s wants %s, not '%s'", row->name, row->wants,
			       given->value);
	return 0;
}

static int apply(const struct given *given, struct command_line *line, struct err *err)
{
	bool *flag = flag_of(line, given->id);
	return flag ? apply_flag(given, flag, err) : apply_value(given, &line->options, err);
}

/* -- which options are in place -------------------------------------------------------------- */

bool args_is_taken(const struct command *command, enum option_id id)
{
	const uint32_t always = 1u << OPT_HELP | 1u << OPT_VERSION;
	if (id == OPT_OUTPUT_FORMAT)
		id = OPT_JSON;
	return !command || (command->options | always) & 1u << id;
}

static int unknown_option(const char *word, const struct command *command, struct err *err)
{
	size_t len;
	const char *name = name_in(word, &len), *closest = NULL;
	unsigned best = LOOKUP_FAR;
	for (int id = 0; id < N_OPTIONS; id++) {
		const struct option_row *row = &option_rows[id];
		unsigned distance = lookup_distance(name, len, row->name);
		if (distance >= best || !row->help || !args_is_taken(command, (enum option_id)id))
			continue;
		best = distance;
		closest = row->name;
	}
	if (closest)
		return err_set(err, -EINVAL, "unknown option %s; did you mean --%s?", word, closest);
	return err_set(err, -EINVAL, "unknown option %s", word);
}

static int apply_all(struct parser *parser)
{
	struct command_line *line = parser->ret;
	struct err *err = &parser->why->err;
	int r = 0;
	for (size_t i = 0; r == 0 && i < parser->n_given; i++) {
		const struct given *given = &parser->given[i];
		if (given->id == UNKNOWN)
			r = unknown_option(given->word, line->command, err);
		else if (!args_is_taken(line->command, given->id))
			r = err_set(err, -EINVAL, "%s takes no --%s", line->command->name,
				    option_rows[given->id].name);
		else
			r = apply(given, line, err);
	}
	return r;
}

/* Even of a line that makes no sense one knows how the failure is to be said. */
static void apply_json(struct parser *parser)
{
	for (size_t i = 0; i < parser->n_given; i++) {
		const struct given *given = &parser->given[i];
		if (given->id == OPT_JSON || (given->id == OPT_OUTPUT_FORMAT && given->value))
			(void) apply(given, parser->ret, NULL);
	}
}

/* -- the whole line -------------------------------------------------------------------------- */

static void drop_words(struct options *options, size_t n)
{
	options->args += n;
	options->n_args -= n;
}

/* "pbsmap help map" is "pbsmap map --help". */
static void understand_help(struct command_line *line)
{
	if (line->options.n_args == 0 || strcmp(line->options.args[0], ARGS_HELP_WORD) != 0)
		return;
	line->wants_help = true;
	drop_words(&line->options, 1);
}

static int choose_command(struct command_line *line, struct failure *why)
{
	size_t n;
	if (line->options.n_args == 0)
		return 0;
	int r = lookup_command(line->options.args, line->options.n_args, &line->command, &n, why);
	if (r == 0)
		drop_words(&line->options, n);
	return r;
}

static int check_args(const struct command_line *line, struct err *err)
{
	const struct command *command = line->command;
	if (!command || line->wants_help || line->wants_version)
		return 0;
	if (line->options.n_args < command->min_args)
		return err_set(err, -EINVAL, "%s needs %s", command->name, command->args);
	if (line->options.n_args > command->max_args)
		return err_set(err, -EINVAL, "%s: one word too many: '%s'", command->name,
			       line->options.args[command->max_args]);
	return 0;
}

static int parse(struct parser *parser)
{
	struct command_line *line = parser->ret;
	split(parser);
	apply_json(parser);
	understand_help(line);
	int r = choose_command(line, parser->why);
	if (r == 0)
		r = apply_all(parser);
	if (r == 0)
		r = check_args(line, &parser->why->err);
	if (r == -EINVAL)
		r = args_point_to_help(line->command ? line->command->name : NULL, &parser->why->err);
	return r;
}

int args_parse(int argc, const char *const *argv, struct command_line *ret, struct failure *why)
{
	*ret = (struct command_line){
		.options = {
			.cache_size = UINT64_MAX,
			.read_ahead = UINT64_MAX,
			.timeout_ms = 60000,
		},
		.pending = N_OPTIONS,
	};
	/* one array for both: what is no repository may be an argument */
	const char **words = calloc(2 * (size_t)argc + 2, sizeof *words);
	CLEANUP(freep) struct given *given = calloc((size_t)argc + 1, sizeof *given);
	ret->options.repositories = words;
	if (!words || !given)
		return err_set(&why->err, -ENOMEM, "no memory for the command line");
	ret->options.repository.repositories = words;
	ret->options.args = words + argc + 1;
	struct parser parser = {
		.argc = argc, .argv = argv, .given = given, .ret = ret, .why = why,
	};
	return parse(&parser);
}

void command_line_deinit(struct command_line *line)
{
	free(line->options.repositories);
	*line = (struct command_line){ 0 };
}

int args_point_to_help(const char *name, struct err *err)
{
	struct err what = *err;
	return err_set(err, what.code, "%s (see pbsmap %s%s--help)", what.msg, name ? name : "",
		       name ? " " : "");
}
