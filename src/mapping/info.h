/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "mapping/mapping.h"

/*
 * Names are bytes, JSON wants UTF-8: what is not goes as an array of bytes.  It is rare, and both
 * ends are this program.  NULL = not such a text, or no memory.
 */
json_t *text_to_json(const char *text);
json_t *text_or_null_to_json(const char *text);
char *text_from_json(const json_t *json);
json_t *strv_to_json(const struct strv *v);
int strv_from_json(const json_t *json, struct strv *ret, struct err *err);

/* What a mapping says of itself, as its control socket sends it.  NULL = no memory. */
json_t *mapping_info_to_json(const struct mapping_info *info);

/* -EPROTO: something is missing or of the wrong type. */
int mapping_info_from_json(const json_t *json, struct mapping_info *ret, struct err *err) MUST_CHECK;

/* A failure on its way from the server process to the one that waits for it. */
json_t *failure_to_json(const struct failure *why);
void failure_from_json(const json_t *json, struct failure *ret);
