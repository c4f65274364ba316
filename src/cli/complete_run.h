/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * The hidden command that the scripts in completion/ run when TAB is pressed:
 *
 *   pbsmap __complete words WORD...       those behind the program's name, the last at the cursor
 *   pbsmap __complete bash LINE BREAKS    bash_line.h
 *
 * The first line it prints says what the shell adds itself: "files", "directories" or nothing.  Then
 * one candidate per line: for words as WORD or WORD<TAB>DESCRIPTION, all there are; for bash those that
 * fit, quoted, as COMPREPLY wants them.
 *
 * Silent whatever happens, and done in time: the work is done by a child without a terminal, that
 * nobody waits for when the time is over, because one that hangs in a dead mount cannot even be killed.
 */
bool complete_is_asked(int argc, const char *const *argv);
void complete_run(int argc, const char *const *argv);
