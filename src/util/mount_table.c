/* SPDX-License-Identifier: Apache-2.0 */
#include "util/mount_table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* "\040" and its like, in place */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		unsigned value;
		bool is_escape = *from == '\\' && strspn(from + 1, "01234567") >= 3;
		if (is_escape && sscanf(from + 1, "%3o", &value) == 1) {
			*to = (char)value;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool parse_row(char *line, struct mount_row *ret)
{
	unsigned maj, min;
	char *rest = line, *fields[5];
	for (int i = 0; i < 5; i++)
		if (!(fields[i] = strsep(&rest, " ")))
			return false;
	char *behind = rest ? strstr(rest, " - ") : NULL;
	if (!behind || sscanf(fields[2], "%u:%u", &maj, &min) != 2)
		return false;
	behind += 3;
	ret->type = strsep(&behind, " ");
	ret->source = behind ? strsep(&behind, " ") : NULL;
	if (!ret->source)
		return false;
	ret->dev = makedev(maj, min);
	ret->target = fields[4];
	unescape(ret->target);
	unescape(ret->type);
	unescape(ret->source);
	return true;
}

int mount_table_each(const char *path, mount_fn *each, void *user, struct err *err)
{
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	CLEANUP(freep) char *line = NULL;
	size_t cap = 0;
	int r = 0;
	while (r == 0 && file && getline(&line, &cap, file) > 0) {
		struct mount_row row;
		line[strcspn(line, "\n")] = '\0';
		if (parse_row(line, &row))
			r = each(user, &row, err);
	}
	return r;
}
