/* SPDX-License-Identifier: Apache-2.0 */
#include "util/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *home_dir(const char *variable, const char *below)
{
	const char *chosen = secure_getenv(variable), *home = secure_getenv("HOME");
	char *path = NULL;
	if (chosen && *chosen)
		return strdup(chosen);
	if (!below || !home || !*home || asprintf(&path, "%s/%s", home, below) < 0)
		return NULL;
	return path;
}
