/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include "cli/args.h"
#include "cli/output.h"

static void print_commands(FILE *to)
{
	(void) fprintf(to, "Usage: pbsmap COMMAND [OPTIONS] ...\n\n"
			   "Shows the inside of Proxmox Backup Server backups: a disk image becomes a block device or a\n"
			   "file, at once, read on demand.\n\n");
	for (const struct command *c = commands; c->name; c++)
		(void) fprintf(to, "  %-11s %s\n", c->name, c->summary);
	(void) fprintf(to, "\nSNAPSHOT is vm/100/2026-01-02T03:04:05Z, or vm/100 for its newest finished one.\n"
			   "pbsmap COMMAND --help tells more; --version what is built in.\n\n"
			   "Exit status: 0 it is so now, 1 failed, 2 usage, 3 no such thing, 4 refused (key, signature,\n"
			   "permission, unfinished), 5 busy, 6 data damaged.\n");
}

static void print_command(FILE *to, const struct command *command)
{
	(void) fprintf(to, "Usage: pbsmap %s [OPTIONS]%s%s\n\n%s\n\n", command->name,
		       *command->args ? " " : "", command->args, command->help);
	for (int id = 0; id < N_OPTIONS; id++) {
		const struct option_row *row = &option_rows[id];
		char left[64];
		bool is_taken = command->options & 1u << id || id == OPT_HELP;
		if (!is_taken || !row->help)
			continue;
		const char *value = row->value ? row->value : "";
		const char *between = !row->value ? "" : *value == '[' ? "[=" : " ";
		(void) snprintf(left, sizeof left, "--%s%s%s", row->name, between,
				*value == '[' ? value + 1 : value);
		(void) fprintf(to, "  %-20s %s\n", left, row->help);
	}
}

int help_print(FILE *to, const struct command *command, struct err *err)
{
	if (command)
		print_command(to, command);
	else
		print_commands(to);
	return to == stdout ? output_flush(err) : 0;
}

int help_version(struct err *err)
{
	(void) printf("pbsmap %s\n%s\n", PBSMAP_VERSION, PBSMAP_PARTS);
	return output_flush(err);
}
