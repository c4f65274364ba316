/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pbs_repository.h"

#include <stdio.h>
#include <string.h>

#include "data.h"
#include "unit.h"

static struct pbs_repository parsed(const char *text)
{
	struct pbs_repository repository = { 0 };
	struct err err = ERR_NONE;
	CLEANUP(freep) char *copy = (char *)exact_copy(text, strlen(text) + 1);
	expect(text, pbs_repository_parse(copy, &repository, &err), &err, 0, NULL);
	return repository;
}

/* The first eight were put to the reference client. */
static void takes_a_string_apart_as_the_reference_client_does(void **state)
{
	static const struct {
		const char *text, *auth_id, *host;
		unsigned port;
		const char *store;
		bool is_token;
		const char *printed;
	} rows[] = {
		{ "store", "root@pam", "localhost", 8007, "store", false, "store" },
		{ "8007:store", "root@pam", "8007", 8007, "store", false, "8007:store" },
		{ "127.0.0.1:1:store", "root@pam", "127.0.0.1", 1, "store", false, "127.0.0.1:1:store" },
		{ "u@pam!t@127.0.0.1:1:s_a", "u@pam!t", "127.0.0.1", 1, "s_a", true,
		  "u@pam!t@127.0.0.1:1:s_a" },
		{ "u!t@pam@127.0.0.1:1:s", "u!t@pam", "127.0.0.1", 1, "s", false, "u!t@pam@127.0.0.1:1:s" },
		{ "u@x@pam@127.0.0.1:1:sto", "u@x@pam", "127.0.0.1", 1, "sto", false,
		  "u@x@pam@127.0.0.1:1:sto" },
		{ "[::1]:sto", "root@pam", "[::1]", 8007, "sto", false, "[::1]:sto" },
		{ "1.2.3.999:1:sto", "root@pam", "1.2.3.999", 1, "sto", false, "1.2.3.999:1:sto" },
		{ "u@pam@h:sto", "u@pam", "h", 8007, "sto", false, "u@pam@h:8007:sto" },
		{ "h:8007:sto", "root@pam", "h", 8007, "sto", false, "h:sto" },
		{ "localhost:sto", "root@pam", "localhost", 8007, "sto", false, "localhost:sto" },
		{ "h:08007:sto", "root@pam", "h", 8007, "sto", false, "h:sto" },
		{ "h:65535:sto", "root@pam", "h", 65535, "sto", false, "h:65535:sto" },
		{ "u@pve@[2001:db8::1.2.3.4]:9:a.b-c", "u@pve", "[2001:db8::1.2.3.4]", 9, "a.b-c", false,
		  "u@pve@[2001:db8::1.2.3.4]:9:a.b-c" },
		{ "a-b.c--d.example.com:s", "root@pam", "a-b.c--d.example.com", 8007, "s", false,
		  "a-b.c--d.example.com:s" },
		{ "J\xc3\xbcrgen@ad@H:s", "J\xc3\xbcrgen@ad", "H", 8007, "s", false, "J\xc3\xbcrgen@ad@H:8007:s" },
		{ "u@a@b!c!@r!t@h:s", "u@a@b!c!@r!t", "h", 8007, "s", true, "u@a@b!c!@r!t@h:8007:s" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct pbs_repository r = parsed(rows[i].text);
		char printed[PBS_REPOSITORY_TEXT_SIZE];
		assert_string_equal(r.auth_id, rows[i].auth_id);
		assert_string_equal(r.host, rows[i].host);
		assert_int_equal(r.port, rows[i].port);
		assert_string_equal(r.store, rows[i].store);
		assert_int_equal(r.is_token, rows[i].is_token);
		pbs_repository_format(&r, printed);
		assert_string_equal(printed, rows[i].printed);
	}
}

static void says_which_part_is_wrong(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "::1:sto", "':' is no name or address of a server; an IPv6 address is written [::1], while" },
		{ "", "the name of the datastore is missing" },
		{ ":", "the name of the datastore is missing" },
		{ "h:", "the name of the datastore is missing" },
		{ ":store", "the name of the server is missing" },
		{ "u@pam@h:1:.s", "'.s' is no name of a datastore, while" },
		{ "~/store", "'~/store' is no name of a datastore; a directory is written /path or ./path" },
		{ "dir/store", "a directory is written /path or ./path" },
		{ "h:dir/store", "'dir/store' is no name of a datastore" },
		{ "a\x1b[31m", "'a\\x1b[31m' is no name of a datastore, while reading the repository 'a\\x1b[31m'" },
		{ "sto re", "'sto re' is no name of a datastore" },
		{ "[fe80::1%eth0]:1:sto", "IPv6 addresses are in brackets, without a zone" },
		{ "[127.0.0.1]:1:sto", "'[127.0.0.1]' is no name or address of a server" },
		{ "[::1:1:sto", "'[::1' is no name or address of a server; an IPv6 address is written [::1]" },
		{ "[]:sto", "'[]' is no name or address" },
		{ "[::1]x:sto", "'[::1]x' is no name or address" },
		{ "[::1]:x:sto", "'x' is no port" },
		{ "fe80::1:2:sto", "'fe80::1' is no name or address of a server; an IPv6 address is written [::1]" },
		{ "u@pam@:sto", "the name of the server is missing" },
		{ "u@pam@:1:sto", "the name of the server is missing" },
		{ "u@pam:store", "'u' is no user: USER@REALM" },
		{ "@h:store", "'' is no user" },
		{ "@pam@h:store", "'@pam' is no user" },
		{ "u@@h:store", "'u@' is no user" },
		{ "u@.pam@h:store", "'u@.pam' is no user" },
		{ "a b@pam@h:store", "'a b@pam' is no user" },
		{ "a/b@pam@h:store", "'a/b@pam' is no user" },
		{ "a:b@pam@h:store", "'a:b@pam' is no user" },
		{ "\xff@pam@h:store", "'\\xff@pam' is no user" },
		{ "u@pam!@h:store", "'u@pam!' has no name of a token behind the '!'" },
		{ "u@pam!a!b@h:store", "'u@pam!a!b' has no name of a token" },
		{ "host_a:1:sto", "'host_a' is no name or address of a server" },
		{ "host.:1:sto", "'host.' is no name or address" },
		{ ".host:1:sto", "'.host' is no name or address" },
		{ "a..b:1:sto", "'a..b' is no name or address" },
		{ "-a:1:sto", "'-a' is no name or address" },
		{ "a-:1:sto", "'a-' is no name or address" },
		{ "a.-b:1:sto", "'a.-b' is no name or address" },
		{ "a-.b:1:sto", "'a-.b' is no name or address" },
		{ "h:123456:sto", "'123456' is no port: a number from 1 to 65535" },
		{ "h:65536:sto", "'65536' is no port" },
		{ "h:0:sto", "'0' is no port" },
		{ "h:+1:sto", "'+1' is no port" },
		{ "h::sto", "'' is no port" },
		{ "h:1:2:sto", "'h:1' is no name or address" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pbs_repository repository;
		struct err err = ERR_NONE;
		CLEANUP(freep) char *copy = (char *)exact_copy(rows[i].text, strlen(rows[i].text) + 1);
		expect(rows[i].text, pbs_repository_parse(copy, &repository, &err), &err, -EINVAL, rows[i].words);
	}
}

/* @before, @n times 'a', @behind. */
static int parse_long(const char *before, size_t n, const char *behind, struct err *err)
{
	static char text[600];
	struct pbs_repository repository;
	(void) snprintf(text, sizeof text, "%s%0*d%s", before, (int)n, 0, behind);
	return pbs_repository_parse(text, &repository, err);
}

static void bounds_every_length(void **state)
{
	static const struct {
		const char *before, *behind, *words;
		size_t most;
	} rows[] = {
		{ "u@r@", ":s", "repository 'u@r@", PBS_REPOSITORY_MAX - 6 },
		{ "", "", "is no name of a datastore", SAFE_ID_MAX },
		{ "", "@r@h:s", "is longer than 64 bytes", PBS_AUTH_ID_MAX - 2 },
		{ "u@", "@h:s", "is longer than 64 bytes", PBS_AUTH_ID_MAX - 2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		expect("most", parse_long(rows[i].before, rows[i].most, rows[i].behind, &err), &err, 0, NULL);
		expect("more", parse_long(rows[i].before, rows[i].most + 1, rows[i].behind, &err), &err, -EINVAL,
		       rows[i].words);
	}
}

/* Nothing is cut off, whatever was parsed. */
static void the_longest_fits_when_it_is_printed(void **state)
{
	struct pbs_repository r = { .port = 65535, .has_auth_id = true, .has_host = true };
	char printed[PBS_REPOSITORY_TEXT_SIZE];
	memset(r.auth_id, 'a', PBS_AUTH_ID_MAX);
	memset(r.host, 'h', PBS_REPOSITORY_MAX);
	memset(r.store, 's', SAFE_ID_MAX);
	pbs_repository_format(&r, printed);
	assert_int_equal(strlen(printed), PBS_AUTH_ID_MAX + 1 + PBS_REPOSITORY_MAX + 7 + SAFE_ID_MAX);
}

static void joins_parts_that_come_one_by_one(void **state)
{
	static const struct {
		struct pbs_repository_parts parts;
		const char *printed; /* NULL: refused with */
		const char *words;
	} rows[] = {
		{ { .store = "s" }, "s", NULL },
		{ { .store = "s", .host = "h" }, "h:s", NULL },
		{ { .store = "s", .port = "1" }, "localhost:1:s", NULL },
		{ { .store = "s", .auth_id = "u@pam!t" }, "u@pam!t@localhost:8007:s", NULL },
		{ { "u@pam", "::1", "9", "s" }, "u@pam@[::1]:9:s", NULL },
		{ { "u@pam", "[::1]", "9", "s" }, "u@pam@[::1]:9:s", NULL },
		{ { .store = "s", .host = "2001:db8::255.255.255.255" }, "[2001:db8::255.255.255.255]:s", NULL },
		{ { .store = "" }, NULL, "the name of the datastore is missing" },
		{ { .store = "h:s" }, NULL, "'h:s' is no name of a datastore" },
		{ { .store = "s", .host = "h:1" }, NULL, "'h:1' is no name or address" },
		{ { .store = "s", .host = "u@h" }, NULL, "'u@h' is no name or address" },
		{ { .store = "s", .host = "" }, NULL, "the name of the server is missing" },
		{ { .store = "s", .port = "x" }, NULL, "'x' is no port" },
		{ { .store = "s", .auth_id = "u" }, NULL, "'u' is no user" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pbs_repository r;
		struct err err = ERR_NONE;
		char printed[PBS_REPOSITORY_TEXT_SIZE];
		expect(rows[i].parts.store, pbs_repository_join(&rows[i].parts, &r, &err), &err,
		       rows[i].printed ? 0 : -EINVAL, rows[i].words);
		if (!rows[i].printed)
			continue;
		pbs_repository_format(&r, printed);
		assert_string_equal(printed, rows[i].printed);
	}
}

static void bounds_a_host_that_comes_alone(void **state)
{
	char host[PBS_REPOSITORY_MAX + 2];
	const struct pbs_repository_parts parts = { .host = host, .store = "s" };
	struct pbs_repository r;
	struct err err = ERR_NONE;
	memset(host, 'h', sizeof host);
	host[PBS_REPOSITORY_MAX + 1] = '\0';
	expect("long", pbs_repository_join(&parts, &r, &err), &err, -EINVAL, "longer than 256 bytes");
	host[PBS_REPOSITORY_MAX] = '\0';
	expect("most", pbs_repository_join(&parts, &r, &err), &err, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_a_string_apart_as_the_reference_client_does),
		TEST(says_which_part_is_wrong),
		TEST(bounds_every_length),
		TEST(the_longest_fits_when_it_is_printed),
		TEST(joins_parts_that_come_one_by_one),
		TEST(bounds_a_host_that_comes_alone),
	};
	return RUN_TESTS(tests);
}
