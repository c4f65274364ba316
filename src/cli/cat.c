/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "cli/args.h"
#include "cli/inside.h"
#include "cli/output.h"
#include "util/bytes.h"

#define PIECE ((size_t)4 << 20) /* bytes; what is behind it is read ahead meanwhile */

static int print_data(const struct opened_tree *opened, const struct node *node, struct err *err)
{
	CLEANUP(freep) char *piece = malloc(PIECE);
	if (!piece)
		return err_set(err, -ENOMEM, "no memory for data");
	for (uint64_t off = 0; off < node->size;) {
		size_t len = (size_t)min_u64(PIECE, node->size - off);
		int r = tree_pread(opened->tree, node, piece, len, off, opened_tree_deadline(opened), err);
		if (r == 0)
			r = output_text(piece, len, err);
		if (r < 0)
			return r;
		off += len;
	}
	return 0;
}

static int print_file(const struct opened_tree *opened, const char *path, struct err *err)
{
	struct node node;
	int r = inside_resolve(opened, path, TREE_ALL_LINKS, &node, err);
	if (r < 0)
		return r;
	r = tree_check_payload(opened->tree, &node, opened_tree_deadline(opened), err);
	if (r == 0)
		r = print_data(opened, &node, err);
	return r == -EPIPE ? r : r < 0 ? err_while(err, r, "reading %s", path) : 0;
}

int cmd_cat(const struct options *options, struct failure *why)
{
	CLEANUP(inside_close) struct inside inside = INSIDE_NONE;
	size_t path = inside_first_path(options);
	if (options->n_args != path + 1) {
		(void) err_set(&why->err, -EINVAL, "cat needs one PATH");
		return args_point_to_help("cat", &why->err);
	}
	int r = inside_open(options, "cat", &inside, why);
	return r < 0 ? r : print_file(&inside.opened, options->args[path], &why->err);
}
