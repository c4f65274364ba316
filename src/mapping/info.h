/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "mapping/mapping.h"

/* What a mapping says of itself, as its control socket sends it.  NULL = no memory. */
json_t *mapping_info_to_json(const struct mapping_info *info);

/* -EPROTO: something is missing or of the wrong type. */
int mapping_info_from_json(const json_t *json, struct mapping_info *ret, struct err *err) MUST_CHECK;

/* A failure on its way from the server process to the one that waits for it. */
json_t *failure_to_json(const struct failure *why);
void failure_from_json(const json_t *json, struct failure *ret);
