/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/value.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECONDS_MAX (365ll * 24 * 3600)

/* Words first, numbers behind them. */
static const char *const yes[] = { "true", "yes", "on", "1" };
static const char *const no[] = { "false", "no", "off", "0" };

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
	bool is_end = !*rest || strcasecmp(rest, "B") == 0 || (unit && strcasecmp(rest, "iB") == 0);
	if (!is_end || n > (uint64_t)INT64_MAX >> shift)
		return false;
	*ret = (uint64_t)n << shift;
	return true;
}

bool number_parse(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	unsigned long n = strtoul(text, &end, 10); /* ULONG_MAX where it is too large */
	if (*end || n < min || n > max)
		return false;
	*ret = (unsigned)n;
	return true;
}

bool seconds_parse(const char *text, int64_t *ret_ms)
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

bool bool_parse(const char *text, bool *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		bool is_yes = strcasecmp(text, yes[i]) == 0;
		if (!is_yes && strcasecmp(text, no[i]) != 0)
			continue;
		*ret = is_yes;
		return true;
	}
	return false;
}

bool bool_is_word(const char *text)
{
	bool ignored;
	return !isdigit((unsigned char)*text) && bool_parse(text, &ignored);
}
