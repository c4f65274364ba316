/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>

#include "format/json.h"
#include "mapping/control.h"
#include "mapping/environment.h"
#include "mapping/info.h"
#include "mapping/inherited.h"
#include "mapping/privileges.h"
#include "mapping/server.h"

/*
 * How a mapping begins.  The process is forked before there is a thread, and does everything itself; the
 * caller only waits, passes on what it says, and leaves with its result:
 *
 *   caller                          server process                    keeper
 *     │ fork ─────────────────────────▶│ fork ───────────────────────────▶│ waits
 *     │                                │ backup: key, manifest, index (may ask for a password)
 *     │◀─ {"say": …} ──────────────────│ lets go of all it inherited, works in "/"
 *     │                                │ stream, FUSE ◀──────────────────▶│ mount, device, partitions
 *     │                                │ name, control socket             │ (see keeper_process.c)
 *     │                                │ gives up rights, leaves the session; now NBD clients are served
 *     │◀─ {"ready": …} or {"failed": …}│ serves
 *
 * Until "ready" Ctrl-C reaches both, and the death of the caller kills the server process; keeper and
 * kernel take device and mount away with it.
 */
#define UNDO_MS 10000 /* of taking a device away that nobody uses */

/* -- in the server process ------------------------------------------------------------------- */

struct child {
	int fd; /* to the caller; -EBADF once it was told */
	struct server server;
};

static void say_to_caller(void *user, const char *line)
{
	const struct child *child = user;
	(void) control_send(child->fd, json_pack("{s:o}", "say", text_to_json(line)), NULL);
}

static void say_to_log(void *user, const char *line)
{
	syslog(LOG_WARNING, "%s", line);
}

/* The layers up to the device, found by commands from here on. */
static int set_up(struct server *server, const struct mapping_options *options, struct err *err)
{
	int r = privileges_begin(server->served.backup->source->uid, err);
	if (r == 0)
		r = registry_open(&server->registry, err);
	if (r == 0)
		r = registry_sweep(&server->registry, err);
	if (r == 0)
		r = served_show(&server->served, options, server->registry.path, err);
	if (r == 0)
		r = server_block_signals(server, err);
	if (r == 0)
		r = server_register(server, options->name, err);
	return r;
}

static int give_up_rights(const struct server *server, struct err *err)
{
	const struct source *source = server->served.backup->source;
	openlog("pbsmap", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	return privileges_drop(source->uid, source->gid, source->is_remote ? PRIVILEGES_REMOTE : PRIVILEGES_LOCAL,
			       err);
}

/* Strangers are talked to by who has no rights. */
static int begin_to_serve(struct server *server, struct err *err)
{
	int r = give_up_rights(server, err);
	return r < 0 ? r : served_nbd_listen(&server->served, err);
}

static int child_begin(struct child *child, const struct mapping_options *options,
		       struct failure *why)
{
	CLEANUP(inherited_deinit) struct inherited inherited = INHERITED_NONE;
	struct server *server = &child->server;
	int r = inherited_list(child->fd, &inherited, &why->err);
	if (r == 0)
		r = keeper_start(&server->served.keeper, &why->err);
	if (r == 0)
		r = served_open_backup(&server->served, options, why);
	if (r == 0)
		r = inherited_let_go(&inherited, &why->err);
	if (r == 0)
		r = set_up(server, options, &why->err);
	if (r == 0)
		r = begin_to_serve(server, &why->err);
	if (r == 0)
		served_look(&server->served, options);
	return r;
}

/*
 * When the caller has told whoever asked for it, this process is on its own; else nobody knows of it, and the caller
 * waits for the end of the connection, which comes with that of this process: all is undone then.
 */
static int child_tell_ready(struct child *child, struct err *err)
{
	CLEANUP(json_freep) json_t *taken = NULL;
	json_t *info = mapping_info_to_json(&child->server.served.info);
	/* From here on the caller's end is seen by the closed connection, and by nothing else: its terminal may
	 * hang up the moment it was told. */
	(void) setsid();
	(void) prctl(PR_SET_PDEATHSIG, 0);
	int r = control_ask(child->fd, json_pack("{s:o}", "ready", info), DEADLINE_NEVER, &taken, err);
	if (r == 0)
		closep(&child->fd);
	return r;
}

static _Noreturn void child_main(int fd, const struct mapping_options *options, pid_t caller)
{
	struct child child = { .fd = fd };
	struct repository_options repository = *options->repository;
	struct mapping_options own = *options;
	own.repository = &repository;
	repository.say = say_to_caller;
	repository.user = &child;
	server_init(&child.server);
	child.server.served.say = say_to_log;

	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != caller)
		_exit(1); /* it died before the line above */
	struct failure why = FAILURE_NONE;
	int r = child_begin(&child, &own, &why);
	if (r < 0)
		(void) control_send(child.fd, json_pack("{s:o}", "failed", failure_to_json(&why)), NULL);
	else if (child_tell_ready(&child, NULL) == 0)
		server_run(&child.server);
	if (child.server.is_forced)
		_exit(0); /* something hangs, that is why: nothing is joined */
	server_deinit(&child.server);
	failure_deinit(&why);
	exit(r < 0);
}

/* -- in the caller --------------------------------------------------------------------------- */

/* 1 = more to come, 0 = the server process is ready, else its failure. */
static int take_message(const json_t *message, const struct repository_options *repository,
			struct mapping_info *ret, struct failure *why)
{
	CLEANUP(freep) char *said = text_from_json(json_object_get(message, "say"));
	if (said) {
		repository->say(repository->user, said);
		return 1;
	}
	const json_t *ready = json_object_get(message, "ready");
	if (ready)
		return mapping_info_from_json(ready, ret, &why->err);
	failure_from_json(json_object_get(message, "failed"), why);
	return why->err.code;
}

static int say_how_it_died(pid_t child, struct err *err)
{
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, -errno, "the server process is lost");
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
		return err_set(err, -EINTR, "interrupted");
	if (WIFSIGNALED(status))
		return err_set(err, -ECHILD, "the server process was killed by signal %d",
			       WTERMSIG(status));
	return err_set(err, -ECHILD, "the server process ended without a word");
}

static int wait_for_child(pid_t child, int fd, const struct mapping_options *options,
			  struct mapping_info *ret, struct failure *why)
{
	for (;;) {
		CLEANUP(json_freep) json_t *message = NULL;
		int r = control_receive(fd, DEADLINE_NEVER, &message, &why->err);
		if (r == 0)
			return say_how_it_died(child, &why->err);
		if (r > 0)
			r = take_message(message, options->repository, ret, why);
		if (r <= 0)
			return r;
	}
}

/* It failed, or who asked for it cannot be told of it: nothing of it stays. */
static void wait_until_undone(int fd)
{
	(void) shutdown(fd, SHUT_WR);
	(void) control_wait_for_end(fd, deadline_in_ms(UNDO_MS), NULL);
}

static int start_in_background(const struct mapping_options *options,
			       int (*ready)(void *user, const struct mapping_info *info, struct err *err),
			       void *user, struct failure *why)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(&why->err, -errno, "cannot make a socket");
	CLEANUP(closep) int ours = fds[0];
	CLEANUP(closep) int theirs = fds[1];
	pid_t caller = getpid(), child = fork();
	if (child < 0)
		return err_errno(&why->err, -errno, "cannot start the server process");
	if (child == 0) {
		closep(&ours);
		child_main(steal_fd(&theirs), options, caller);
	}
	closep(&theirs);
	environment_forget_secrets(); /* it may wait for long, in everybody's sight */
	struct mapping_info info = MAPPING_INFO_EMPTY;
	int r = wait_for_child(child, ours, options, &info, why);
	if (r == 0)
		r = ready(user, &info, &why->err);
	if (r == 0)
		r = control_send(ours, json_object(), &why->err);
	else
		wait_until_undone(ours);
	mapping_info_deinit(&info);
	return r;
}

/* -- without a process of its own ------------------------------------------------------------ */

static int start_in_foreground(const struct mapping_options *options,
			       int (*ready)(void *user, const struct mapping_info *info, struct err *err),
			       void *user, struct failure *why)
{
	struct server server;
	server_init(&server);
	server.served.say = options->repository->say;
	server.served.user = options->repository->user;
	int r = keeper_start(&server.served.keeper, &why->err);
	if (r == 0)
		r = served_open_backup(&server.served, options, why);
	if (r == 0)
		r = set_up(&server, options, &why->err);
	/* Before rights go: who is told (a service manager, a pipe) may be out of reach then. */
	if (r == 0)
		r = ready(user, &server.served.info, &why->err);
	if (r == 0)
		r = begin_to_serve(&server, &why->err);
	if (r == 0) {
		served_look(&server.served, options);
		server_run(&server);
	}
	if (server.is_forced)
		_exit(0); /* see child_main() */
	server_deinit(&server);
	return r;
}

int mapping_start(const struct mapping_options *options,
		  int (*ready)(void *user, const struct mapping_info *info, struct err *err),
		  void *user, struct failure *why)
{
	return options->foreground ? start_in_foreground(options, ready, user, why)
				   : start_in_background(options, ready, user, why);
}
