/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where a user keeps things of one kind: the directory that @variable names, else @below the home directory, where
 * that is not NULL.  Of the variables only a caller that did not gain rights by running us may choose.
 *
 * Given, free(); NULL = no variable says where, or no memory.
 */
char *home_dir(const char *variable, const char *below);
