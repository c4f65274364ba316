/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>
#include <sys/stat.h>

#include "archive/tree.h"
#include "archive/walk.h"
#include "util/bytes.h"

/*
 * The whole reader.  The first four bytes say where the archive ends and the payload begins; an archive that
 * takes all is not split.  Whatever is listed is found again by its name and its number, all data can be had
 * that was said to be there, and the walk comes to an end.
 */
#define STEPS_MAX 100000u /* more than there can be in what a fuzzer makes */

static void check_data(struct tree *tree, const struct node *node)
{
	uint8_t got[64];
	if (!S_ISREG(node->mode) || tree_check_payload(tree, node, DEADLINE_NEVER, NULL) < 0)
		return;
	uint64_t len = min_u64(node->size, sizeof got);
	MUST(tree_pread(tree, node, got, (size_t)len, node->size - len, DEADLINE_NEVER, NULL) == 0);
}

static void check_rest(struct tree *tree, const struct node *node)
{
	struct tree_xattrs xattrs = TREE_XATTRS_NONE;
	char target[PXAR_NAME_MAX + 1];
	MUST(tree_xattrs(tree, node, DEADLINE_NEVER, &xattrs, NULL) == 0);
	tree_xattrs_deinit(&xattrs);
	if (S_ISLNK(node->mode)) {
		MUST(tree_readlink(tree, node, DEADLINE_NEVER, target, NULL) == 0);
		MUST(strlen(target) == node->size);
	}
}

static void check_node(struct tree *tree, const struct node *node)
{
	struct node again;
	MUST(tree_node(tree, node->ino, DEADLINE_NEVER, &again, NULL) == 0);
	MUST(again.pos == node->pos && again.mode == node->mode && again.size == node->size &&
	     again.end == node->end);
	MUST(node->nlink >= 1);
	check_data(tree, node);
	check_rest(tree, node);
}

static void check_path(struct tree *tree, const struct walk_item *item)
{
	struct node found;
	MUST(tree_resolve(tree, item->path, TREE_NO_LINKS, DEADLINE_NEVER, &found, NULL) == 0);
	MUST(found.ino == item->node->ino);
}

static void check_tree(struct tree *tree)
{
	struct walk *walk = NULL;
	struct walk_item item;
	int r, counted = tree_count_links(tree, 0, NULL);
	MUST(counted == 0 || counted == -EBADMSG);
	MUST(walk_open(tree, tree_root(tree), &walk, NULL) == 0);
	for (unsigned n = 0; (r = walk_next(walk, DEADLINE_NEVER, &item, NULL)) != 0; n++) {
		MUST(n < STEPS_MAX);
		MUST(r == 1 || r == -EBADMSG);
		if (r < 0 || item.event == WALK_LEAVE)
			continue;
		check_node(tree, item.node);
		if (n < 500) /* from the root again each time */
			check_path(tree, &item);
	}
	walk_close(walk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 4)
		return 0;
	size_t meta_len = min_size(load_le32(data), len - 4);
	uint8_t *meta = malloc(meta_len + 1); /* of its own: what is behind it is seen */
	MUST(meta);
	memcpy(meta, data + 4, meta_len);
	struct tree_options options = {
		.meta = { .size = meta_len, .memory = meta },
		.payload = { .size = len - 4 - meta_len, .memory = data + 4 + meta_len },
		.is_split = meta_len < len - 4,
	};
	struct tree *tree = NULL;
	int r = tree_open(&options, DEADLINE_NEVER, &tree, NULL);
	MUST(r == 0 || r == -EBADMSG);
	if (r == 0)
		check_tree(tree);
	tree_close(tree);
	free(meta);
	return 0;
}
