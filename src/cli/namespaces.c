/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

static int print_json(const struct options *options, const struct strv *names, struct err *err)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < names->n; i++)
		rows = json_with(rows, json_pack("{s:s}", "ns", names->items[i]));
	return output_json(options, rows, err);
}

/* One per line and no title: fit for a loop in a shell. */
static int print_lines(const struct strv *names, struct err *err)
{
	CLEANUP(buf_deinit) struct buf text = BUF_EMPTY;
	int r = buf_puts(&text, "", err);
	for (size_t i = 0; r == 0 && i < names->n; i++)
		r = buf_printf(&text, err, "%s\n", names->items[i]);
	return r < 0 ? r : output_text(text.data, text.len, err);
}

int cmd_namespaces(const struct options *options, struct failure *why)
{
	CLEANUP(source_closep) struct source *source = NULL;
	CLEANUP(strv_deinit) struct strv names = STRV_EMPTY;
	int r = repository_open(&options->repository, &source, why);
	if (r == 0)
		r = source_list_namespaces(source, &names, &why->err);
	if (r < 0)
		return r;
	return options->is_json ? print_json(options, &names, &why->err)
				: print_lines(&names, &why->err);
}
