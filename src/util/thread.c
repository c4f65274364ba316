/* SPDX-License-Identifier: Apache-2.0 */
#include "util/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define STACK_SIZE (256u << 10) /* bytes */

struct start {
	char name[16]; /* with the NUL: all the kernel takes */
	void *(*run)(void *arg);
	void *arg;
};

/* A thread names itself: naming another one opens a file for writing, which a server process may not. */
static void *begin(void *arg)
{
	struct start start = *(struct start *)arg;
	free(arg);
	(void) prctl(PR_SET_NAME, start.name);
	return start.run(start.arg);
}

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *arg), void *arg)
{
	CLEANUP(freep) struct start *start = malloc(sizeof *start);
	if (!start)
		return -ENOMEM;
	*start = (struct start){ .run = run, .arg = arg };
	(void) snprintf(start->name, sizeof start->name, "%s", name);
	sigset_t all, before;
	(void) sigfillset(&all);
	pthread_attr_t attr;
	(void) pthread_attr_init(&attr);
	(void) pthread_attr_setstacksize(&attr, STACK_SIZE);
	(void) pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(ret, &attr, begin, start);
	(void) pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void) pthread_attr_destroy(&attr);
	if (r != 0)
		return -EAGAIN;
	(void) STEAL(start);
	return 0;
}
