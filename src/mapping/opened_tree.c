/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/opened_tree.h"

#include "mapping/damage_text.h"
#include "util/bytes.h"

static void tell_damage(void *user, const struct damage *damage)
{
	const struct opened_tree *opened = user;
	char line[DAMAGE_TEXT_SIZE];
	damage_describe(damage, opened->backup->snapshot, opened->backup->archive, line);
	opened->say(opened->user, line);
}

static int open_stream(struct opened_tree *opened, const struct index *index, const struct crypt_key *key,
		       const struct opened_tree_options *options, struct stream **ret, struct err *err)
{
	const struct stream_options stream = {
		.source = opened->backup->source,
		.index = index,
		.key = key,
		.read_ahead = options->read_ahead == UINT64_MAX ? STREAM_READ_AHEAD_DEFAULT
								: (size_t)options->read_ahead,
		.damaged = tell_damage,
		.user = opened,
	};
	return stream_open(opened->shared, &stream, ret, err);
}

static int open_streams(struct opened_tree *opened, const struct opened_tree_options *options, struct err *err)
{
	const struct backup *backup = opened->backup;
	uint32_t longest = backup->index.max_chunk;
	bool has_payload = backup->is_split && !backup->lacks_payload;
	if (has_payload)
		longest = (uint32_t)max_u64(longest, backup->payload.index.max_chunk);
	const struct stream_limits limits = {
		.cache_size = options->cache_size == UINT64_MAX ? STREAM_CACHE_DEFAULT : options->cache_size,
		.typical_chunk = longest,
	};
	int r = stream_shared_new(&limits, &opened->shared, err);
	if (r == 0)
		r = open_stream(opened, &backup->index, backup->stream_key, options, &opened->meta, err);
	if (r == 0 && has_payload)
		r = open_stream(opened, &backup->payload.index, backup->payload_key, options, &opened->payload, err);
	return r;
}

static int count_links(struct opened_tree *opened, enum count_links how, struct err *err)
{
	struct err *why = &opened->uncounted;
	int r = how == LINKS_AS_MET ? 0 : tree_count_links(opened->tree, opened->timeout_ms, why);
	if ((r == -EBADMSG || r == -ENOMEM) && how == LINKS_IF_POSSIBLE)
		return 0;
	if (r < 0)
		*err = *why;
	return r;
}

static int open_tree(struct opened_tree *opened, const struct opened_tree_options *options, struct err *err)
{
	const struct tree_options tree = {
		.meta = input_of_stream(opened->meta),
		.payload = opened->payload ? input_of_stream(opened->payload) : INPUT_NONE,
		.is_split = opened->backup->is_split,
	};
	int r = tree_open(&tree, opened_tree_deadline(opened), &opened->tree, err);
	if (r == 0)
		r = count_links(opened, options->links, err);
	return r < 0 ? err_while(err, r, "reading %s", opened->backup->archive) : 0;
}

int opened_tree_open(const struct opened_tree_options *options, struct opened_tree *ret, struct err *err)
{
	*ret = (struct opened_tree){
		.backup = options->backup,
		.timeout_ms = options->timeout_ms,
		.say = options->say,
		.user = options->user,
	};
	int r = open_streams(ret, options, err);
	return r < 0 ? r : open_tree(ret, options, err);
}

struct deadline opened_tree_deadline(const struct opened_tree *opened)
{
	return deadline_of_timeout(opened->timeout_ms);
}

void opened_tree_shutdown(struct opened_tree *opened)
{
	if (opened->meta)
		stream_shutdown(opened->meta);
	if (opened->payload)
		stream_shutdown(opened->payload);
}

void opened_tree_get_stats(struct opened_tree *opened, struct stream_stats *ret)
{
	stream_get_stats(opened->meta, ret);
	if (opened->payload)
		stream_add_stats(opened->payload, ret);
}

void opened_tree_close(struct opened_tree *opened)
{
	tree_close(opened->tree);
	stream_close(opened->meta);
	stream_close(opened->payload);
	stream_shared_free(opened->shared);
	*opened = OPENED_TREE_NONE;
}
