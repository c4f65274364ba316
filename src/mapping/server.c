/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/server.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "format/json.h"
#include "mapping/control.h"
#include "mapping/info.h"
#include "util/buf.h"

/*
 *   READY ── "end", SIGTERM, SIGINT ──▶ ENDING ── last user gone ──▶ gone
 *     │                                   │
 *     └────────── "end" with force, a second signal: readers get errors ──▶ gone
 *
 * A path that is unmounted by somebody else ends it as well.
 */
#define ANSWER_MS 2000 /* a command that connects and says nothing is not waited for */
#define RETRY_MS  1000 /* nobody tells when a shell leaves a directory */

void server_init(struct server *server)
{
	*server = (struct server){
		.served = SERVED_NONE,
		.registry = REGISTRY_NONE,
		.listen_fd = -EBADF,
		.signal_fd = -EBADF,
		.owner = geteuid(),
	};
}

void server_deinit(struct server *server)
{
	if (server->listen_fd >= 0)
		registry_remove(&server->registry, server->socket_name);
	closep(&server->listen_fd);
	served_close(&server->served);
	closep(&server->signal_fd);
	registry_close(&server->registry);
}

/* -- the name -------------------------------------------------------------------------------- */

static int names_in_use(const struct registry *registry, struct strv *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv sockets = STRV_EMPTY;
	int r = registry_sockets(registry, &sockets, err);
	for (size_t i = 0; r == 0 && i < sockets.n; i++) {
		CLEANUP(freep) char *name = registry_noted(registry, sockets.items[i], "name");
		if (name)
			r = strv_add(ret, name, err);
	}
	return r;
}

static bool is_in(const struct strv *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->items[i], name) == 0)
			return true;
	return false;
}

/* REPOSITORY:[NAMESPACE/]SNAPSHOT/ARCHIVE, with "#2" and so on behind it. */
static int make_name(const struct mapping_info *info, const struct strv *taken, char **ret,
		     struct err *err)
{
	CLEANUP(buf_deinit) struct buf name = BUF_EMPTY;
	int r = buf_printf(&name, err, "%s:%s%s%s/%s", info->repository, info->ns, *info->ns ? "/" : "",
			   info->snapshot, info->archive);
	size_t len = name.len;
	for (unsigned n = 2; r == 0 && is_in(taken, name.data); n++) {
		name.len = len;
		r = buf_printf(&name, err, "#%u", n);
	}
	if (r == 0)
		*ret = STEAL(name.data);
	return r;
}

static int choose_name(struct mapping_info *info, const struct strv *taken, const char *name,
		       struct err *err)
{
	if (!name)
		return make_name(info, taken, &info->name, err);
	if (is_in(taken, name))
		return err_set(err, -EEXIST, "there is a mapping with the name %s already", name);
	info->name = strdup(name);
	return info->name ? 0 : err_set(err, -ENOMEM, "no memory");
}

/* One mount over another would be in its way when that is to be taken away. */
static int check_path(const struct registry *registry, const struct mapping_info *info, struct err *err)
{
	CLEANUP(strv_deinit) struct strv sockets = STRV_EMPTY;
	int r = registry_sockets(registry, &sockets, err);
	for (size_t i = 0; r == 0 && i < sockets.n; i++) {
		CLEANUP(freep) char *device = registry_noted(registry, sockets.items[i], "device");
		CLEANUP(freep) char *name = registry_noted(registry, sockets.items[i], "name");
		if (device && strcmp(device, info->device) == 0)
			return err_set(err, -EBUSY, "%s shows %s already; take that away first", device,
				       name ? name : "another mapping");
	}
	return r;
}

int server_register(struct server *server, const char *name, struct err *err)
{
	CLEANUP(closep) int lock = -EBADF;
	CLEANUP(strv_deinit) struct strv taken = STRV_EMPTY;
	struct mapping_info *info = &server->served.info;
	info->pid = getpid();
	info->keeper_pid = server->served.keeper.pid;
	char keeper[16];
	(void) snprintf(keeper, sizeof keeper, "%d", (int)info->keeper_pid);
	int r = registry_lock(&server->registry, &lock, err);
	if (r == 0)
		r = names_in_use(&server->registry, &taken, err);
	if (r == 0 && mapping_is_on_path(info->via))
		r = check_path(&server->registry, info, err);
	if (r == 0)
		r = choose_name(info, &taken, name, err);
	if (r == 0)
		r = registry_listen(&server->registry, server->socket_name, &server->listen_fd, err);
	if (r == 0)
		r = registry_note(&server->registry, server->socket_name, "name", info->name, err);
	if (r == 0)
		r = registry_note(&server->registry, server->socket_name, "device", info->device, err);
	if (r == 0)
		r = registry_note(&server->registry, server->socket_name, "keeper", keeper, err);
	if (r == 0)
		r = registry_note(&server->registry, server->socket_name, "via", mapping_via_name(info->via), err);
	return r;
}

/* -- answers --------------------------------------------------------------------------------- */

static void end(struct server *server, bool is_forced)
{
	server->is_forced |= is_forced;
	served_end(&server->served, is_forced);
}

static bool may_ask(const struct server *server, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == server->owner;
}

static void answer_status(struct server *server, int fd)
{
	served_refresh(&server->served);
	(void) control_send(fd, mapping_info_to_json(&server->served.info), NULL);
}

/* True = the connection is kept until the end. */
static bool answer_end(struct server *server, int fd, const json_t *question)
{
	end(server, json_is_true(json_object_get(question, "force")));
	(void) control_send(fd, json_object(), NULL);
	if (server->n_clients == ARRAY_LEN(server->clients))
		return false; /* that many wait already: this one asks again */
	server->clients[server->n_clients++] = fd;
	return true;
}

static void answer(struct server *server)
{
	CLEANUP(closep) int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	CLEANUP(json_freep) json_t *question = NULL;
	if (fd < 0 || !may_ask(server, fd) ||
	    control_receive(fd, deadline_in_ms(ANSWER_MS), &question, NULL) <= 0)
		return;
	const char *what = json_string_value(json_object_get(question, "do"));
	if (what && strcmp(what, "status") == 0)
		answer_status(server, fd);
	else if (what && strcmp(what, "end") == 0 && answer_end(server, fd, question))
		(void) steal_fd(&fd);
}

/* -- signals --------------------------------------------------------------------------------- */

int server_block_signals(struct server *server, struct err *err)
{
	sigset_t ours;
	(void) sigemptyset(&ours);
	(void) sigaddset(&ours, SIGTERM);
	(void) sigaddset(&ours, SIGINT);
	(void) sigaddset(&ours, SIGHUP);
	(void) sigprocmask(SIG_BLOCK, &ours, NULL);
	server->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server->signal_fd < 0)
		return err_errno(err, -errno, "cannot wait for signals");
	return 0;
}

/* The first one: as soon as nobody uses it.  The second one: now. */
static void take_signals(struct server *server)
{
	struct signalfd_siginfo signal;
	while (read(server->signal_fd, &signal, sizeof signal) == sizeof signal) {
		bool is_first = server->served.info.state != MAPPING_ENDING;
		end(server, !is_first);
		if (is_first) /* whoever has pressed Ctrl-C would wonder why it goes on */
			served_nbd_say_who_is_there(&server->served);
	}
}

static int timeout_ms(const struct server *server)
{
	const struct mapping_info *info = &server->served.info;
	return info->state == MAPPING_ENDING && mapping_is_on_path(info->via) ? RETRY_MS : -1;
}

void server_run(struct server *server)
{
	int event_fd = served_event_fd(&server->served);
	while (!server->is_forced && !served_has_ended(&server->served)) {
		struct pollfd wait[] = {
			{ .fd = server->signal_fd, .events = POLLIN },
			{ .fd = server->listen_fd, .events = POLLIN },
			{ .fd = event_fd, .events = POLLIN },
		};
		int n = poll(wait, ARRAY_LEN(wait), timeout_ms(server));
		if (n < 0)
			continue;
		if (n == 0)
			served_go_on(&server->served);
		if (wait[2].revents) {
			eventfd_t ignored;
			(void) eventfd_read(event_fd, &ignored);
			served_go_on(&server->served);
		}
		if (wait[0].revents)
			take_signals(server);
		if (wait[1].revents)
			answer(server);
	}
	/* No command finds it any more; a socket that is not ours to remove is swept by the next one. */
	registry_remove(&server->registry, server->socket_name);
	closep(&server->listen_fd);
	if (server->is_forced)
		keeper_close(&server->served.keeper);
}
