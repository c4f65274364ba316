/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The whole life of a keeper's process, for keeper_start(): answers the questions of keeper.c that come over
 * the connection, and lets go of all when the other end is closed.
 */
_Noreturn void keeper_process(int take_control_fd);
