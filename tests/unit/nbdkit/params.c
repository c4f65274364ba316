/* SPDX-License-Identifier: Apache-2.0 */
#include "nbdkit/params.h"

#include <string.h>

#include "unit.h"

static void begin(struct params *params)
{
	memset(params, 0, sizeof *params);
	params_init(params);
}

static void has_the_defaults_of_the_command_line(void **state)
{
	struct params params;
	begin(&params);
	assert_int_equal(params.cache_size, 256u << 20);
	assert_int_equal(params.read_ahead, 32u << 20);
	assert_int_equal(params.timeout_ms, 60000);
	struct repository_options options = params_repository(&params);
	assert_int_equal(options.n_repositories, 0);
	assert_null(options.ns);
	assert_null(options.keyfile);
	assert_null(options.fingerprint);
	assert_false(options.allow_unsigned);
	params_deinit(&params);
}

static void understands_each_parameter(void **state)
{
	static const char *const words[][2] = {
		{ "repository", "./store" }, { "ns", "a/b" }, { "snapshot", "vm/100" }, { "archive", "x.img" },
		{ "keyfile", "/k" }, { "fingerprint", "ab" }, { "chunks", "/c" }, { "allow-unsigned", "yes" }, { "cache", "1G" },
		{ "read-ahead", "0" }, { "connections", "16" }, { "timeout", "5s" },
	};
	struct params params;
	begin(&params);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_int_equal(params_set(&params, words[i][0], words[i][1], NULL), 0);
	struct repository_options options = params_repository(&params);
	assert_int_equal(options.n_repositories, 1);
	assert_string_equal(options.repositories[0], "./store");
	assert_string_equal(options.ns, "a/b");
	assert_string_equal(options.keyfile, "/k");
	assert_string_equal(options.fingerprint, "ab");
	assert_string_equal(options.chunks, "/c");
	assert_true(options.allow_unsigned);
	assert_int_equal(options.n_connections, 16);
	assert_int_equal(options.timeout_ms, 5000);
	assert_string_equal(params.values[PARAM_SNAPSHOT], "vm/100");
	assert_string_equal(params.values[PARAM_ARCHIVE], "x.img");
	assert_int_equal(params.cache_size, 1u << 30);
	assert_int_equal(params.read_ahead, 0);
	assert_int_equal(params.timeout_ms, 5000);
	params_deinit(&params);
}

static void refuses_what_is_no_parameter_or_no_value(void **state)
{
	static const struct {
		const char *key, *value, *words;
	} rows[] = {
		{ "Cache", "1G", "there is no parameter 'Cache'" },
		{ "password", "x", "there is no parameter 'password'" },
		{ "cache", "1X", "cache= wants a size (64M, 1G, 4096): '1X' is none" },
		{ "read-ahead", "-1", "read-ahead= wants a size (64M, 1G, 4096): '-1' is none" },
		{ "connections", "17", "connections= wants a number from 1 to 16: '17' is none" },
		{ "connections", "0", "connections= wants a number from 1 to 16: '0' is none" },
		{ "timeout", "1m", "timeout= wants seconds: '1m' is none" },
		{ "allow-unsigned", "maybe\n", "allow-unsigned= wants true or false: 'maybe\\x0a' is none" },
		{ "snapshot", "vm/101", "snapshot= is given twice: 'vm/101'" },
	};
	struct params params;
	begin(&params);
	assert_int_equal(params_set(&params, "snapshot", "vm/100", NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		assert_int_equal(params_set(&params, rows[i].key, rows[i].value, &err), -EINVAL);
		assert_string_equal(err.msg, rows[i].words);
	}
	assert_string_equal(params.values[PARAM_SNAPSHOT], "vm/100");
	assert_null(params.values[PARAM_CACHE]);
	params_deinit(&params);
}

static void wants_a_snapshot(void **state)
{
	struct params params;
	begin(&params);
	assert_int_equal(params_check(&params, NULL), -EINVAL);
	assert_int_equal(params_set(&params, "snapshot", "vm/100", NULL), 0);
	assert_int_equal(params_check(&params, NULL), 0);
	assert_int_equal(params_set(&params, "chunks", "/c", NULL), 0);
	assert_int_equal(params_check(&params, NULL), 0);
	assert_int_equal(params_set(&params, "archive", "x.img", NULL), 0);
	assert_int_equal(params_check(&params, NULL), -EINVAL);
	params_deinit(&params);
}

/* The filter of that name takes cache= for itself. */
static void the_cache_has_another_name_for_the_filter_s_sake(void **state)
{
	struct params params;
	begin(&params);
	assert_int_equal(params_set(&params, "cache-size", "8M", NULL), 0);
	assert_int_equal(params.cache_size, 8u << 20);
	assert_int_equal(params_set(&params, "cache", "16M", NULL), -EINVAL);
	assert_int_equal(params.cache_size, 8u << 20);
	params_deinit(&params);
}

/* Whatever there is to set, `nbdkit pbs --help` shows. */
static void explains_each_parameter(void **state)
{
	static const char *const names[N_PARAMS] = {
		"repository=", "ns=", "snapshot=", "archive=", "keyfile=", "fingerprint=", "chunks=", "allow-unsigned=", "cache=",
		"read-ahead=", "connections=", "timeout=",
	};
	for (size_t i = 0; i < N_PARAMS; i++)
		assert_non_null(strstr(params_help, names[i]));
}

static void speaks_of_parameters_and_not_of_options(void **state)
{
	static const struct {
		const char *message, *want;
	} rows[] = {
		{ "missing key: give its --keyfile", "missing key: give its keyfile=" },
		{ "give it as --fingerprint or PBS_FINGERPRINT", "give it as fingerprint= or PBS_FINGERPRINT" },
		{ "--allow-unsigned accepts it", "allow-unsigned=true accepts it" },
		{ "--key, --keyfiles, sudo --preserve-env=X, a--b, --", "--key, --keyfiles, sudo --preserve-env=X, a--b, --" },
		{ "", "" },
	};
	char words[100];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(params_words(rows[i].message, words, sizeof words), rows[i].want);
	for (size_t len = 1; len < sizeof words; len++)
		assert_int_equal(strncmp(params_words(rows[0].message, words, len), rows[0].want, len - 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(has_the_defaults_of_the_command_line),
		TEST(understands_each_parameter),
		TEST(refuses_what_is_no_parameter_or_no_value),
		TEST(wants_a_snapshot),
		TEST(the_cache_has_another_name_for_the_filter_s_sake),
		TEST(explains_each_parameter),
		TEST(speaks_of_parameters_and_not_of_options),
	};
	return RUN_TESTS(tests);
}
