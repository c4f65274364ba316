/* SPDX-License-Identifier: Apache-2.0 */
#include "format/journal.h"

#include <string.h>

#include "util/bytes.h"

#define EXT_AT	 1024u
#define BTRFS_AT (64u << 10)

/* NULL = not all of it is there. */
static const uint8_t *super_at(const uint8_t *start, size_t len, size_t at, size_t n)
{
	return len >= at && len - at >= n ? start + at : NULL;
}

/* Set as long as it is mounted for writing; freezing it, as a guest's agent does, takes it away. */
static bool find_ext(const uint8_t *start, size_t len, struct journal *ret)
{
	enum { HAS_JOURNAL = 0x4, RECOVER = 0x4, EXT3_INCOMPAT = 0x16, EXT3_RO_COMPAT = 0x7 };
	const uint8_t *super = super_at(start, len, EXT_AT, 104);
	if (!super || super[56] != 0x53 || super[57] != 0xef)
		return false;
	uint32_t compat = load_le32(super + 92), incompat = load_le32(super + 96), ro_compat = load_le32(super + 100);
	if (!(compat & HAS_JOURNAL) || !(incompat & RECOVER))
		return false;
	bool is_ext3 = !(incompat & ~(uint32_t)EXT3_INCOMPAT) && !(ro_compat & ~(uint32_t)EXT3_RO_COMPAT);
	*ret = (struct journal){ .fs = is_ext3 ? "ext3" : "ext4", .option = "noload" };
	return true;
}

/* Its state is in the last record of the log, which is anywhere in there. */
static bool find_xfs(const uint8_t *start, size_t len, struct journal *ret)
{
	const uint8_t *super = super_at(start, len, 0, 4);
	if (!super || memcmp(super, "XFSB", 4) != 0)
		return false;
	*ret = (struct journal){ .fs = "xfs", .option = "norecovery", .is_perhaps = true };
	return true;
}

/* The tree of what was synced since the last commit; none: the commit has all. */
static bool find_btrfs(const uint8_t *start, size_t len, struct journal *ret)
{
	const uint8_t *super = super_at(start, len, BTRFS_AT, 104);
	if (!super || memcmp(super + 64, "_BHRfS_M", 8) != 0 || load_le64(super + 96) == 0)
		return false;
	*ret = (struct journal){ .fs = "btrfs", .option = "rescue=nologreplay" };
	return true;
}

bool journal_find(const uint8_t *start, size_t len, struct journal *ret)
{
	return find_ext(start, len, ret) || find_xfs(start, len, ret) || find_btrfs(start, len, ret);
}
