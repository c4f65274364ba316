/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "image_backup.h"

/*
 * A file archive that exists nowhere, about as a file server's:
 *
 *   dI/dJ/dK/fileNNNNNNNN   n_files, in 1000 directories three levels deep, half to one and a half
 *                           times as long as the average
 *   large/one               a quarter of all bytes
 *   large/two               a sixteenth
 *
 * The data is SYNTHETIC_COMPRESSIBLE, the same nowhere.  A chunk ends at the end of the member that
 * makes it longer than the chunk size; the data of a large file is in chunks of its own, of exactly
 * that size, which no other chunk has.
 */
struct tree_shape {
	uint64_t n_files;
	uint64_t size; /* bytes of all data, about */
	uint32_t root_mode; /* of the root */
};

/* "FILES:SIZE", "FILES:SIZE:MODE": "100000:4G", "10:1M:0700".  -EINVAL */
int tree_shape_parse(const char *text, struct tree_shape *ret, struct err *err) MUST_CHECK;

/* One stream of an archive, as the manifest has it. */
struct tree_part {
	uint64_t size;
	uint8_t csum[DIGEST_SIZE];
	struct image_backup_stats stats;
};

/**
 * tree_backup - the chunks of such an archive and its dynamic index, or both of a split one
 *
 * @options:       name is "root.pxar.didx", or "root.mpxar.didx"
 * @payload_name:  "root.ppxar.didx"; NULL = not split
 * @ret_payload:   of a split one
 */
int tree_backup(const struct image_backup_options *options, const char *payload_name,
		const struct tree_shape *shape, struct tree_part *ret_meta, struct tree_part *ret_payload,
		struct err *err) MUST_CHECK;
