/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "cli/args.h"

static const char head[] =
	"Usage: pbsmap COMMAND [OPTIONS] ...\n\n"
	"Shows the inside of Proxmox Backup Server backups: a disk image becomes a block\n"
	"device or a file, at once, read on demand.\n\n";

static const char foot[] =
	"\nSNAPSHOT is vm/100/2026-01-02T03:04:05Z, or vm/100: its newest finished one.\n"
	"pbsmap COMMAND --help tells more, pbsmap --version what is built in.\n\n"
	"Exit status: 0 it is so now, 1 failed, 2 usage, 3 no such thing, 4 refused\n"
	"(key, signature, permission, not finished), 5 busy, 6 data damaged.\n";

static int format_commands(struct buf *ret, struct err *err)
{
	int r = buf_puts(ret, head, err);
	for (const struct command *c = commands; r == 0 && c->name; c++)
		r = buf_printf(ret, err, "  %-11s %s\n", c->name, c->summary);
	return r < 0 ? r : buf_puts(ret, foot, err);
}

#define COLUMN 18 /* letters for an option; the text of a longer one is on the next line */

/* "--wait[=SEC]", "-v, --verbose" */
static int format_option(const struct option_row *row, struct buf *ret, struct err *err)
{
	char left[64], letter[] = { '-', row->letter, ',', ' ', '\0' };
	const char *value = row->value ? row->value : "";
	bool is_optional = *value == '[';
	(void) snprintf(left, sizeof left, "%s--%s%s%s", row->letter ? letter : "", row->name,
			is_optional ? "[=" : *value ? " " : "", value + is_optional);
	int r = 0;
	if (strlen(left) > COLUMN) {
		r = buf_printf(ret, err, "  %s\n", left);
		*left = '\0';
	}
	return r < 0 ? r : buf_printf(ret, err, "  %-*s %s\n", COLUMN, left, row->help);
}

static int format_command(const struct command *command, struct buf *ret, struct err *err)
{
	int r = buf_printf(ret, err, "Usage: pbsmap %s [OPTIONS]%s%s\n\n%s\n\n", command->name,
			   *command->args ? " " : "", command->args, command->help);
	for (int id = 0; r == 0 && id < N_OPTIONS; id++) {
		bool is_taken = command->options & 1u << id || id == OPT_HELP;
		if (is_taken && option_rows[id].help)
			r = format_option(&option_rows[id], ret, err);
	}
	return r;
}

int help_format(const struct command *command, struct buf *ret, struct err *err)
{
	return command ? format_command(command, ret, err) : format_commands(ret, err);
}

int help_version(struct buf *ret, struct err *err)
{
	return buf_printf(ret, err, "pbsmap %s\n%s\n", PBSMAP_VERSION, PBSMAP_PARTS);
}
