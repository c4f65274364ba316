/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/image.h"
#include "util/strv.h"

#define JOURNAL_TEXTS 3u

/**
 * journals_find - which file systems of a device can only be mounted with their journal left alone
 *
 * @disk:    what is on it
 * @device:  "/dev/loop3"
 * @nodes:   of its partitions, as block_add_partitions() lists them; none: the device is looked at as a whole
 * @ret:     JOURNAL_TEXTS for each: "/dev/loop3p1", "ext4 that was in use", "ro,noload"; added to
 *
 * A hint and no more: what is damaged, or not there within 1.5 seconds in all, is left out, and so are
 * partitions behind the sixteenth.
 */
void journals_find(struct image *disk, const char *device, const struct strv *nodes, struct strv *ret);
