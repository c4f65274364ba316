/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

#include "format/pxar.h"
#include "format/pxar_attrs.h"

/* Memory of its own for each length, so that one byte too many is seen. */
static uint8_t *copy_of(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	MUST(copy);
	memcpy(copy, data, len);
	return copy;
}

/* Attributes of an entry that was let pass are good. */
static void check_attrs(const uint8_t *data, const struct pxar_entry *entry)
{
	struct pxar_xattrs xattrs;
	MUST(pxar_xattrs_make(data + entry->attrs_off, entry->attrs_len, entry->mode, &xattrs, NULL) == 0);
	for (size_t i = 0; i < xattrs.n; i++) {
		MUST(i == 0 || strcmp(xattrs.items[i - 1].name, xattrs.items[i].name) < 0);
		MUST(pxar_xattrs_find(&xattrs, xattrs.items[i].name) == &xattrs.items[i]);
	}
	pxar_xattrs_deinit(&xattrs);
}

/* What there is of an entry when it comes in the pieces it asks for is what it is in one. */
static void check_entry(const uint8_t *data, size_t len)
{
	struct pxar_entry whole, entry;
	size_t want = 0, have = 0;
	int expected = pxar_entry_parse(data, len, len, &whole, &want, NULL), r;
	MUST(expected == 1 || expected == -EBADMSG);
	do {
		uint8_t *in = copy_of(data, have);
		r = pxar_entry_parse(in, have, len, &entry, &want, NULL);
		free(in);
		MUST(r != 0 || (want > have && want <= len));
		have = r == 0 ? want : have;
	} while (r == 0);
	MUST(r == expected);
	if (r != 1)
		return;
	MUST(entry.len <= len && entry.len == whole.len && entry.payload_size == whole.payload_size);
	MUST(entry.content != PXAR_HAS_PAYLOAD || entry.payload_size <= len - entry.payload_off);
	check_attrs(data, &whole);
}

static void check_member(const uint8_t *data, size_t len)
{
	struct pxar_member member;
	size_t want = 0, have = 0;
	int r;
	do {
		uint8_t *in = copy_of(data, have);
		r = pxar_member_parse(in, have, len, &member, &want, NULL);
		if (r == 1)
			MUST(strlen(member.name) == member.name_len && !strchr(member.name, '/') &&
			     member.name_len > 0 && member.len <= len);
		free(in);
		MUST(r != 0 || (want > have && want <= len));
		have = r == 0 ? want : have;
	} while (r == 0);
}

static void check_table(const uint8_t *data, size_t len)
{
	struct pxar_table table;
	if (len < PXAR_SLOT_SIZE || pxar_table_parse(data + len - PXAR_SLOT_SIZE, len, &table, NULL) < 0)
		return;
	MUST(table.off < len && table.dir_off < table.off && table.n <= PXAR_MEMBERS_MAX);
	MUST(table.off + PXAR_HEADER_SIZE + (table.n + 1ull) * PXAR_SLOT_SIZE == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct pxar_xattrs xattrs;
	check_entry(data, len);
	check_member(data, len);
	check_table(data, len);
	if (pxar_xattrs_make(data, len, 0040755, &xattrs, NULL) == 0)
		pxar_xattrs_deinit(&xattrs);
	return 0;
}
