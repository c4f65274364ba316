/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "net/upgrade.h"
#include "unit.h"

static void is_one_request_with_sorted_keys(void **state)
{
	static const char cookie[] = "Cookie: PBSAuthCookie=T";
	static const struct {
		const char *host, *ns, *target, *host_line;
		uint16_t port;
	} rows[] = {
		{ "localhost", "", "backup-id=100&backup-time=1704164645&backup-type=vm&store=store1",
		  "localhost:8007", 8007 },
		{ "[::1]", "a/b", "backup-id=100&backup-time=1704164645&backup-type=vm&ns=a%2Fb&store=store1",
		  "[::1]:443", 443 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(secret_deinit) struct secret credential = SECRET_EMPTY, request = SECRET_EMPTY;
		struct pbs_repository repository = { .port = rows[i].port, .store = "store1" };
		const struct snapshot snapshot = { { BACKUP_VM, "100" }, 1704164645 };
		char want[1024];
		strcpy(repository.host, rows[i].host);
		assert_int_equal(secret_init_copy(&credential, cookie, strlen(cookie), NULL), 0);
		assert_int_equal(upgrade_request_format(&repository, rows[i].ns, &snapshot, &credential, &request,
							NULL), 0);
		(void) snprintf(want, sizeof want, "GET /api2/json/reader?%s HTTP/1.1\r\nHost: %s\r\n"
				"User-Agent: pbsmap\r\nConnection: upgrade\r\n"
				"Upgrade: proxmox-backup-reader-protocol-v1\r\nCookie: PBSAuthCookie=T\r\n\r\n",
				rows[i].target, rows[i].host_line);
		assert_string_equal((char *)request.data, want);
		assert_int_equal(request.len, strlen(want));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_one_request_with_sorted_keys),
	};
	return RUN_TESTS(tests);
}
