/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/keeper.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/json.h"
#include "mapping/control.h"
#include "mapping/info.h"
#include "mapping/keeper_process.h"

/* The server process's side: each function is a question, and waits for its answer; see keeper_process.c. */
#define CLOSE_MS 1000

int keeper_start(struct keeper *ret, struct err *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, -errno, "cannot make a socket");
	CLEANUP(closep) int ours = fds[0];
	CLEANUP(closep) int theirs = fds[1];
	pid_t child = fork();
	if (child < 0)
		return err_errno(err, -errno, "cannot start a process");
	if (child == 0) {
		closep(&ours);
		keeper_process(theirs);
	}
	*ret = (struct keeper){ .fd = steal_fd(&ours), .pid = child };
	return 0;
}

static int ask(struct keeper *keeper, json_t *take_question, json_t **ret, int *ret_fd, struct err *err)
{
	CLEANUP(json_freep) json_t *reply = NULL;
	int r = control_send(keeper->fd, take_question, err);
	if (r == 0)
		r = control_receive_fd(keeper->fd, DEADLINE_NEVER, &reply, ret_fd, err);
	if (r == 0)
		return err_set(err, -ECHILD, "the keeper process is gone");
	if (r < 0)
		return r;
	const json_t *failed = json_object_get(reply, "failed");
	if (failed) {
		CLEANUP(failure_deinit) struct failure why = FAILURE_NONE;
		failure_from_json(failed, &why);
		return err_set(err, why.err.code, "%s", why.err.msg);
	}
	*ret = STEAL(reply);
	return 0;
}

int keeper_mount(struct keeper *keeper, const struct keeper_mount *what, int *ret_fuse_fd, struct err *err)
{
	CLEANUP(json_freep) json_t *reply = NULL;
	CLEANUP(closep) int fd = -EBADF;
	json_t *question = json_pack("{s:s, s:o, s:o, s:o, s:b, s:o}", "do", "mount", "target",
				     text_or_null_to_json(what->target), "fs_name", text_to_json(what->fs_name), "run_dir",
				     text_to_json(what->run_dir), "is_directory", (int)what->is_directory,
				     "options", text_or_null_to_json(what->options));
	int r = ask(keeper, question, &reply, &fd, err);
	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(err, -EPROTO, "the keeper process sent no connection");
	*ret_fuse_fd = steal_fd(&fd);
	return 0;
}

static int ask_for_device(struct keeper *keeper, json_t *take_question, char **ret_device,
			  struct strv *ret_partitions, struct err *err)
{
	CLEANUP(json_freep) json_t *reply = NULL;
	CLEANUP(closep) int none = -EBADF;
	int r = ask(keeper, take_question, &reply, &none, err);
	if (r < 0)
		return r;
	*ret_device = text_from_json(json_object_get(reply, "device"));
	if (!*ret_device)
		return err_set(err, -EPROTO, "the keeper process names no device");
	return strv_from_json(json_object_get(reply, "partitions"), ret_partitions, err);
}

int keeper_show(struct keeper *keeper, const char *mark, char **ret_device, struct strv *ret_partitions,
		struct err *err)
{
	return ask_for_device(keeper, json_pack("{s:s, s:s%}", "do", "show", "mark", mark, strlen(mark)), ret_device,
			      ret_partitions, err);
}

int keeper_link(struct keeper *keeper, int *ret_fd, struct err *err)
{
	CLEANUP(json_freep) json_t *reply = NULL;
	CLEANUP(closep) int fd = -EBADF;
	int r = ask(keeper, json_pack("{s:s}", "do", "link"), &reply, &fd, err);
	if (r == 0 && fd < 0)
		r = err_set(err, -EPROTO, "the keeper process sent no socket");
	if (r == 0)
		*ret_fd = steal_fd(&fd);
	return r;
}

int keeper_connect(struct keeper *keeper, uint64_t size, uint32_t number, uint32_t timeout_s, const char *mark,
		   char **ret_device, struct strv *ret_partitions, struct err *err)
{
	json_t *question = json_pack("{s:s, s:s%, s:I, s:I, s:I}", "do", "connect", "mark", mark, strlen(mark), "size",
				     (json_int_t)size, "number", (json_int_t)number, "timeout", (json_int_t)timeout_s);
	return ask_for_device(keeper, question, ret_device, ret_partitions, err);
}

int keeper_listen(struct keeper *keeper, const char *path, const char *address, char **ret_path, int *ret_fd,
		  struct err *err)
{
	CLEANUP(json_freep) json_t *reply = NULL;
	CLEANUP(closep) int fd = -EBADF;
	int r = ask(keeper, json_pack("{s:s, s:o, s:o}", "do", "listen", "path", text_or_null_to_json(path), "address",
				      text_or_null_to_json(address)), &reply, &fd, err);
	if (r < 0)
		return r;
	*ret_path = text_from_json(json_object_get(reply, "path"));
	if (fd < 0 || !*ret_path != !path)
		return err_set(err, -EPROTO, "the keeper process sent no socket");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int keeper_rest(struct keeper *keeper, struct err *err)
{
	CLEANUP(json_freep) json_t *reply = NULL;
	CLEANUP(closep) int none = -EBADF;
	return ask(keeper, json_pack("{s:s}", "do", "rest"), &reply, &none, err);
}

void keeper_end(struct keeper *keeper)
{
	(void) control_send(keeper->fd, json_pack("{s:s}", "do", "end"), NULL);
}

void keeper_close(struct keeper *keeper)
{
	if (keeper->fd < 0)
		return;
	(void) shutdown(keeper->fd, SHUT_WR);
	(void) control_wait_for_end(keeper->fd, deadline_in_ms(CLOSE_MS), NULL);
	closep(&keeper->fd);
}
