/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "util/buf.h"
#include "util/strv.h"

/*
 * A line as bash has it while it is typed.  bash splits at more than blanks: what it replaces begins
 * behind the last ':' or '=' of the word (COMP_WORDBREAKS), or behind a quote that is still open.
 */
struct bash_line {
	struct strv words; /* without their quotes; the last is the one at the cursor, maybe "" */
	size_t skip;	   /* bytes of the last word that bash keeps */
	char quote;	   /* the open one, ' or "; '\0' = none */
};

#define BASH_LINE_EMPTY ((struct bash_line){ 0 })
void bash_line_deinit(struct bash_line *line);

/*
 * @text:    from the program's name up to the cursor
 * @breaks:  COMP_WORDBREAKS
 *
 * Nothing is expanded.  -ENOMEM is the only failure.
 */
int bash_line_split(const char *text, const char *breaks, struct bash_line *ret,
		    struct err *err) MUST_CHECK;

/*
 * @word as it can stand in the line behind @quote: bash reads exactly these bytes again.
 *
 * @word:  without control characters
 *
 * Returns: 1 = added to @ret, 0 = it cannot stand there
 */
int bash_quote(char quote, const char *word, struct buf *ret, struct err *err) MUST_CHECK;
