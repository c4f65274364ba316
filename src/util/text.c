/* SPDX-License-Identifier: Apache-2.0 */
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

/* Bytes of the valid UTF-8 character at @s, 0 = none; RFC 3629, section 4. */
static size_t character_len(const uint8_t *s, size_t left)
{
	static const struct {
		uint8_t first_min, first_max, second_min, second_max, len;
	} forms[] = {
		{ 0x00, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (s[0] < forms[i].first_min || s[0] > forms[i].first_max)
			continue;
		size_t len = forms[i].len;
		if (len > left)
			return 0;
		if (len > 1 && (s[1] < forms[i].second_min || s[1] > forms[i].second_max))
			return 0;
		for (size_t k = 2; k < len; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)
				return 0;
		return len;
	}
	return 0;
}

bool text_is_utf8(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;
	while (len) {
		size_t n = character_len(p, len);
		if (n == 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

/* C0, DEL, and C1 in its UTF-8 form: terminals act on all three. */
static bool is_control(const uint8_t *s, size_t len)
{
	return (len == 1 && (s[0] < 0x20 || s[0] == 0x7f)) || (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

char *text_escape(const char *s, char *ret, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t left = strlen(s), have = 0;
	while (left) {
		size_t n = character_len(p, left);
		bool is_plain = n && !is_control(p, n) && *p != '\\';
		size_t step = is_plain ? n : 1;
		size_t need = is_plain ? n : *p == '\\' ? 2 : 4;
		if (have + need >= len)
			break;
		if (is_plain)
			memcpy(ret + have, p, n);
		else if (*p == '\\')
			memcpy(ret + have, "\\\\", 2);
		else
			(void) snprintf(ret + have, len - have, "\\x%02x", *p);
		have += need;
		p += step;
		left -= step;
	}
	if (len)
		ret[have] = '\0';
	return ret;
}

char *text_size(uint64_t bytes, char *ret, size_t len)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned unit = 0;
	double value = (double)bytes;
	while (value >= 1024 && unit + 1 < ARRAY_LEN(units)) {
		value /= 1024;
		unit++;
	}
	char number[32];
	(void) snprintf(number, sizeof number, "%.3f", value);
	char *end = number + strlen(number);
	while (end[-1] == '0')
		*--end = '\0';
	if (end[-1] == '.')
		*--end = '\0';
	(void) snprintf(ret, len, "%s %s", number, units[unit]);
	return ret;
}
