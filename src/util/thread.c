/* SPDX-License-Identifier: Apache-2.0 */
#include "util/thread.h"

#include <signal.h>
#include <stdio.h>

#define STACK_SIZE (256u << 10) /* bytes */

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;
	(void) sigfillset(&all);
	pthread_attr_t attr;
	(void) pthread_attr_init(&attr);
	(void) pthread_attr_setstacksize(&attr, STACK_SIZE);
	(void) pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(ret, &attr, run, arg);
	(void) pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void) pthread_attr_destroy(&attr);
	if (r != 0)
		return -EAGAIN;
	char cut[16]; /* with the NUL: all the kernel takes */
	(void) snprintf(cut, sizeof cut, "%s", name);
	(void) pthread_setname_np(*ret, cut);
	return 0;
}
