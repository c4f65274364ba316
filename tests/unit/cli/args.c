/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <string.h>

#include "unit.h"

#define WORDS 12

/* A line, parsed; the tests look at it and give it back. */
struct parsed {
	struct command_line line;
	struct failure why;
	int r;
};

static struct parsed parse(const char *const *words)
{
	struct parsed parsed = { 0 };
	int n = 0;
	while (n < WORDS && words[n])
		n++;
	parsed.r = args_parse(n, words, &parsed.line, &parsed.why);
	return parsed;
}

static void parsed_deinit(struct parsed *parsed)
{
	command_line_deinit(&parsed->line);
	failure_deinit(&parsed->why);
}

#define PARSE(...) parse((const char *const[WORDS + 1]){ __VA_ARGS__ })

static void nothing_at_all_is_no_command_and_no_mistake(void **state)
{
	struct parsed p = PARSE(NULL);
	assert_int_equal(p.r, 0);
	assert_null(p.line.command);
	assert_int_equal(p.line.options.cache_size, UINT64_MAX);
	assert_int_equal(p.line.options.read_ahead, UINT64_MAX);
	assert_int_equal(p.line.options.timeout_ms, 60000);
	assert_int_equal(p.line.options.wait_ms, 0);
	assert_int_equal(p.line.options.repository.n_connections, 0);
	parsed_deinit(&p);
}

/* One meaning, and how one may write it. */
static void options_may_stand_anywhere_in_any_form(void **state)
{
	static const char *const rows[][WORDS + 1] = {
		{ "map", "vm/100", "a.img", "--ns", "a/b", "--cache", "1G", "--verbose" },
		{ "--ns", "a/b", "--verbose", "map", "vm/100", "--cache=1G", "a.img" },
		{ "-ns", "a/b", "-verbose", "-cache=1024M", "map", "vm/100", "a.img" },
		{ "map", "-v", "vm/100", "--ns=a/b", "a.img", "--cache", "1024MiB" },
		{ "map", "--verbose", "true", "vm/100", "a.img", "--ns=a/b", "--cache=1G" },
		{ "map", "--verbose=1", "--ns=a/b", "--cache=1G", "--", "vm/100", "a.img" },
		{ "map", "--ns=x", "--cache=7", "vm/100", "a.img", "--ns=a/b", "--cache=1G", "-v" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parsed p = parse(rows[i]);
		const struct options *options = &p.line.options;
		assert_int_equal(p.r, 0);
		assert_string_equal(p.line.command->name, "map");
		assert_string_equal(options->repository.ns, "a/b");
		assert_int_equal(options->cache_size, 1 << 30);
		assert_true(options->is_verbose);
		assert_int_equal(options->n_args, 2);
		assert_string_equal(options->args[0], "vm/100");
		assert_string_equal(options->args[1], "a.img");
		parsed_deinit(&p);
	}
}

static void every_option_of_map_reaches_its_place(void **state)
{
	struct parsed p = parse((const char *const[]){
		"map", "--repository=/r", "--fingerprint=aa:bb", "--keyfile=/k", "--chunks=/c", "--allow-unsigned",
		"--via=file", "--name=n", "--foreground", "--read-ahead=2M", "--connections=4", "x.fidx", NULL });
	const struct options *options = &p.line.options;
	assert_int_equal(p.r, 0);
	assert_int_equal(options->repository.n_repositories, 1);
	assert_string_equal(options->repository.repositories[0], "/r");
	assert_string_equal(options->repository.fingerprint, "aa:bb");
	assert_int_equal(options->repository.n_connections, 4);
	assert_string_equal(options->repository.keyfile, "/k");
	assert_string_equal(options->repository.chunks, "/c");
	assert_true(options->repository.allow_unsigned);
	assert_int_equal(options->via, VIA_FILE);
	assert_string_equal(options->name, "n");
	assert_true(options->is_foreground);
	assert_int_equal(options->read_ahead, 2 << 20);
	assert_false(options->is_json);
	parsed_deinit(&p);
}

static void a_repository_may_be_given_again(void **state)
{
	struct parsed p = PARSE("groups", "--repository", "/a", "--repository=/b");
	assert_int_equal(p.r, 0);
	assert_int_equal(p.line.options.repository.n_repositories, 2);
	assert_string_equal(p.line.options.repository.repositories[1], "/b");
	parsed_deinit(&p);
}

static void a_number_behind_wait_and_force_is_the_device(void **state)
{
	struct parsed p = PARSE("unmap", "--wait", "3", "--force");
	assert_int_equal(p.r, 0);
	assert_int_equal(p.line.options.wait_ms, INT64_MAX);
	assert_true(p.line.options.is_forced);
	assert_string_equal(p.line.options.args[0], "3");
	parsed_deinit(&p);

	p = PARSE("unmap", "--force", "1", "--wait=5");
	assert_int_equal(p.r, 0);
	assert_int_equal(p.line.options.wait_ms, 5000);
	assert_int_equal(p.line.options.n_args, 1);
	parsed_deinit(&p);
}

static void an_option_can_be_taken_back(void **state)
{
	struct parsed p = PARSE("unmap", "--all", "--all=off", "--force", "no", "--json=false", "x");
	assert_int_equal(p.r, 0);
	assert_false(p.line.options.is_all);
	assert_false(p.line.options.is_forced);
	assert_false(p.line.options.is_json);
	parsed_deinit(&p);
}

static void output_formats_of_the_reference_client(void **state)
{
	static const struct {
		const char *format;
		bool is_json, is_pretty;
	} rows[] = { { "text", false, false }, { "json", true, false }, { "json-pretty", true, true } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parsed p = PARSE("snapshot", "list", "--output-format", rows[i].format);
		assert_int_equal(p.r, 0);
		assert_int_equal(p.line.options.is_json, rows[i].is_json);
		assert_int_equal(p.line.options.is_json_pretty, rows[i].is_pretty);
		assert_int_equal(p.line.options.n_args, 0);
		parsed_deinit(&p);
	}
}

static void words_behind_two_dashes_are_no_options(void **state)
{
	struct parsed p = PARSE("unmap", "--", "--all");
	assert_int_equal(p.r, 0);
	assert_false(p.line.options.is_all);
	assert_string_equal(p.line.options.args[0], "--all");
	parsed_deinit(&p);

	p = PARSE("unmap", "-");
	assert_int_equal(p.r, 0);
	assert_string_equal(p.line.options.args[0], "-");
	parsed_deinit(&p);
}

static void help_may_be_asked_for_in_many_ways(void **state)
{
	static const char *const rows[][WORDS + 1] = {
		{ "map", "--help" }, { "map", "-h" },	   { "map", "-help" },
		{ "--help", "map" }, { "help", "map" },	   { "map", "one", "--help" },
		{ "help", "ma" },    { "-h", "map", "a" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parsed p = parse(rows[i]);
		assert_int_equal(p.r, 0);
		assert_true(p.line.wants_help);
		assert_string_equal(p.line.command->name, "map");
		parsed_deinit(&p);
	}
	struct parsed p = PARSE("help");
	assert_int_equal(p.r, 0);
	assert_true(p.line.wants_help);
	assert_null(p.line.command);
	parsed_deinit(&p);
}

static void mistakes_name_the_word_and_the_help(void **state)
{
	static const struct {
		const char *words[WORDS + 1], *says, *help;
	} rows[] = {
		{ { "mpa" }, "'mpa'; did you mean map?", "pbsmap --help" },
		{ { "--bogus" }, "--bogus", "pbsmap --help" },
		{ { "help", "pigeon" }, "'pigeon'", "pbsmap --help" },
		{ { "map", "--keyfil=x" }, "--keyfil=x; did you mean --keyfile?", "pbsmap map --help" },
		{ { "map", "--no-such" }, "unknown option --no-such", "pbsmap map --help" },
		{ { "map", "-x" }, "unknown option -x", "pbsmap map --help" },
		{ { "list", "--keyfile", "x" }, "list takes no --keyfile", "pbsmap list --help" },
		{ { "list", "-v" }, "list takes no --verbose", "pbsmap list --help" },
		{ { "map", "--cache" }, "--cache needs a value: SIZE", "pbsmap map --help" },
		{ { "map", "--cache", "lots" }, "--cache wants a size", "pbsmap map --help" },
		{ { "map", "--via=pigeon" }, "loop, nbd, file or socket, not 'pigeon'", "pbsmap map --help" },
		{ { "map", "--name=" }, "--name wants a name", "pbsmap map --help" },
		{ { "map", "--connections=17" }, "--connections wants a number from 1 to 16, not '17'", "map --help" },
		{ { "groups", "--connections=2" }, "groups takes no --connections", "groups --help" },
		{ { "map", "--fingerprint" }, "--fingerprint needs a value: FP", "map --help" },
		{ { "map", "--timeout", "-1" }, "--timeout wants seconds, not '-1'", "map --help" },
		{ { "unmap", "--wait=soon" }, "--wait wants seconds, not 'soon'", "unmap --help" },
		{ { "unmap", "--wait=" }, "--wait wants seconds", "pbsmap unmap --help" },
		{ { "unmap", "--all=maybe" }, "'maybe'", "pbsmap unmap --help" },
		{ { "groups", "--output-format", "xml" }, "text, json or json-pretty", "groups --help" },
		{ { "map" }, "map needs SNAPSHOT ARCHIVE", "pbsmap map --help" },
		{ { "files" }, "files needs SNAPSHOT", "pbsmap files --help" },
		{ { "list", "too" }, "one word too many: 'too'", "pbsmap list --help" },
		{ { "snapshot", "list", "a", "b" }, "one word too many: 'b'", "snapshots --help" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parsed p = parse(rows[i].words);
		assert_int_equal(p.r, -EINVAL);
		assert_int_equal(p.why.err.code, -EINVAL);
		assert_non_null(strstr(p.why.err.msg, rows[i].says));
		assert_non_null(strstr(p.why.err.msg, rows[i].help));
		parsed_deinit(&p);
	}
}

static void suggests_only_what_the_command_takes(void **state)
{
	struct parsed p = PARSE("list", "--keyfil", "x");
	assert_int_equal(p.r, -EINVAL);
	assert_null(strstr(p.why.err.msg, "did you mean"));
	parsed_deinit(&p);
}

static void a_mistake_does_not_hide_that_json_is_wanted(void **state)
{
	static const char *const rows[][WORDS + 1] = {
		{ "--bogus", "--json" },
		{ "--json", "mpa" },
		{ "map", "--cache=lots", "--output-format=json" },
		{ "list", "too", "many", "--json" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct parsed p = parse(rows[i]);
		assert_int_equal(p.r, -EINVAL);
		assert_true(p.line.options.is_json);
		parsed_deinit(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_at_all_is_no_command_and_no_mistake),
		TEST(options_may_stand_anywhere_in_any_form),
		TEST(every_option_of_map_reaches_its_place),
		TEST(a_repository_may_be_given_again),
		TEST(a_number_behind_wait_and_force_is_the_device),
		TEST(an_option_can_be_taken_back),
		TEST(output_formats_of_the_reference_client),
		TEST(words_behind_two_dashes_are_no_options),
		TEST(help_may_be_asked_for_in_many_ways),
		TEST(mistakes_name_the_word_and_the_help),
		TEST(suggests_only_what_the_command_takes),
		TEST(a_mistake_does_not_hide_that_json_is_wanted),
	};
	return RUN_TESTS(tests);
}
