/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tell the service manager that the program is ready, where NOTIFY_SOCKET says that one listens. */
void notify_ready(void);
