/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "stream/stream.h"

#define DAMAGE_TEXT_SIZE 1024

/* "vm/100/…/drive-scsi0.img: bytes 0 to 4194303 cannot be read: … (chunk …)"; names the chunk once */
void damage_describe(const struct damage *damage, const char *snapshot, const char *archive,
		     char ret[static DAMAGE_TEXT_SIZE]);
