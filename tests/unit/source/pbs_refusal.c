/* SPDX-License-Identifier: Apache-2.0 */
#include "source/pbs_refusal.h"

#include <string.h>

#include "format/data.h"
#include "unit.h"
#include "util/text.h"

#define LOCKS "/run/proxmox-backup/locks/s/vm-100"

static void knows_what_the_server_means(void **state)
{
	/* Words of servers 3.2.4 and 4.2.3. */
	static const struct {
		unsigned status;
		const char *body;
		int code;
	} rows[] = {
		{ 401, "permission check failed.", -EACCES },
		{ 401, "authentication failed", -EACCES },
		{ 401, "authentication failed - invalid ticket - expired", -EACCES },
		{ 401, "", -EACCES },
		{ 401, "download chunk b15b151426b17a78a1c7105b334b9d0983a73d852ba40e7392552bcdaba04534 not allowed", -EACCES },
		{ 403, "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/golden-a", -EACCES },
		{ 400, "no permissions on /datastore/golden-a", -EACCES },
		{ 400, "backup owner check failed!", -EACCES },
		{ 400, "backup owner check failed (bkonly@pbs != oracle@pbs)", -EACCES },
		{ 400, "no such datastore 'nosuch'", -ENOENT },
		{ 400, "Unable to open fixed index \"/s/vm/1/a.img.fidx\" - got unknown magic number", -EBADMSG },
		{ 400, "Unable to open dynamic index \"/s/a\" - No such file or directory (os error 2)", -ENOENT },
		{ 400, "ENOENT: No such file or directory", -ENOENT },
		{ 400, "snapshot host/plain/2024-06-02T00:00:01Z does not exist.", -ENOENT },
		{ 400, "Unable to open fixed index \"/d/x.fidx\" - No such file or directory (os error 2)", -ENOENT },
		{ 404, "open file \"/d/nosuch.blob\" failed - not found", -ENOENT },
		{ 404, "Path '/api2/json/nosuch' not found.", -ENOENT },
		{ 400, "locked by another operation", -EBUSY },
		{ 400, "unable to acquire shared snapshot lock \"" LOCKS "\"", -EBUSY },
		{ 400, "datastore 's' is in offline maintenance mode: moving", -EAGAIN },
		{ 400, "datastore 's' is in datastore is being deleted", -EAGAIN },
		{ 400, "datastore 's' is unavailable: offline maintenance mode: moving", -EAGAIN },
		/* what an administrator wrote is not the server's */
		{ 400, "datastore 's' is unavailable: offline maintenance mode: locked by another operation", -EAGAIN },
		{ 400, "parameter verification failed - 'ns': value does not match the regex pattern", -EINVAL },
		{ 400, "something new", -EREMOTEIO },
		{ 400, "", -EREMOTEIO },
		{ 414, "URI Too Long", -EREMOTEIO },
		{ 500, "ENOENT", -EREMOTEIO },
		{ 503, "", -EREMOTEIO },
		{ 200, "<html>", -EPROTO },
		{ 301, "https://example.org:8007", -EPROTO },
		{ 101, "", -EPROTO },
		{ 0, "", -EPROTO },
		{ 999, "x", -EPROTO },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		size_t len = strlen(rows[i].body);
		CLEANUP(freep) uint8_t *body = exact_copy(rows[i].body, len);
		int r = pbs_refusal(rows[i].status, (char *)body, len, &err);
		expect(rows[i].body, r, &err, rows[i].code, *rows[i].body ? rows[i].body : "(status ");
		assert_int_equal(err.code, rows[i].code);
	}
}

static void shows_one_harmless_line(void **state)
{
	static const struct {
		const char *body, *shown;
	} rows[] = {
		{ "one\ntwo", "one" },
		{ "one\r\ntwo", "one" },
		{ "\r\n \t one \t\r\n", "one" },
		{ "\x1b[31mred\x07", "\\x1b[31mred\\x07" },
		{ "a\xff\xc3\xbc\xc2\x9b", "a\\xff\xc3\xbc\\xc2\\x9b" },
		{ " \r\n ", "(status 400)" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_NONE;
		(void) pbs_refusal(400, rows[i].body, strlen(rows[i].body), &err);
		size_t len = strlen(err.msg), shown = strlen(rows[i].shown);
		assert_true(len > shown);
		assert_string_equal(err.msg + len - shown, rows[i].shown);
	}
}

/* And leaves room for what is added on the way up. */
static void bounds_what_it_shows(void **state)
{
	static const char *const pieces[] = { "a", "\x01", "\xc3\xbc", "\\" };
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct err err = ERR_NONE;
		char body[5000];
		size_t n = strlen(pieces[i]);
		for (size_t at = 0; at < sizeof body; at++)
			body[at] = pieces[i][at % n];
		assert_int_equal(pbs_refusal(403, body, sizeof body, &err), -EACCES);
		assert_in_range(strlen(err.msg), 300, 400);
		assert_true(text_is_utf8(err.msg, strlen(err.msg)));
	}
}

static void ends_at_a_nul(void **state)
{
	struct err err = ERR_NONE;
	assert_int_equal(pbs_refusal(400, "no such\0datastore", 17, &err), -EREMOTEIO);
	assert_non_null(strstr(err.msg, ": no such"));
	assert_int_equal(pbs_refusal(400, NULL, 0, NULL), -EREMOTEIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(knows_what_the_server_means),
		TEST(shows_one_harmless_line),
		TEST(bounds_what_it_shows),
		TEST(ends_at_a_nul),
	};
	return RUN_TESTS(tests);
}
