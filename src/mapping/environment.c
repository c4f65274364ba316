/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/environment.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "util/buf.h"
#include "util/strv.h"
#include "util/text.h"

#define VALUE_MAX (64u << 10) /* bytes; a secret is a line */

enum cut { FIRST_LINE, WHOLE };

static bool is_read(const uint8_t *data, size_t len, enum cut cut)
{
	return cut == FIRST_LINE && memchr(data, '\n', len);
}

/*
 * Not read_fd(): a line is waited for, not the end of the file, because whoever wrote it may keep a pipe
 * or a terminal open; and memory that is given back holds no secret.
 */
static int read_value(int fd, enum cut cut, uint8_t **ret, size_t *ret_len, struct err *err)
{
	uint8_t *data = malloc(VALUE_MAX + 1);
	if (!data)
		return err_set(err, -ENOMEM, "no memory");
	size_t len = 0;
	int r = 0;
	while (r == 0 && !is_read(data, len, cut)) {
		ssize_t n = read(fd, data + len, VALUE_MAX + 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = err_errno(err, -errno, "cannot read");
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > VALUE_MAX && !is_read(data, len, cut))
			r = err_set(err, -EFBIG, "longer than %u bytes", VALUE_MAX);
	}
	if (r < 0) {
		secret_wipe_and_free(data, len);
		return r;
	}
	*ret = data;
	*ret_len = len;
	return 0;
}

/* Takes bytes that may be secret: they are wiped. */
static int take_value(uint8_t *take_data, size_t len, enum cut cut, const char *from,
		      struct secret *ret, struct err *err)
{
	size_t n = len;
	if (cut == FIRST_LINE) {
		const uint8_t *end = memchr(take_data, '\n', len);
		n = end ? (size_t)(end - take_data) : len;
		if (end && n && take_data[n - 1] == '\r')
			n--;
	}
	int r = text_is_utf8((const char *)take_data, n)
			? secret_init_copy(ret, take_data, n, err)
			: err_set(err, -EACCES, "%s contains bad characters: it is not UTF-8", from);
	secret_wipe_and_free(take_data, len);
	return r;
}

/* The memory is where the kernel shows the environment from. */
static void forget(const char *name, char *value)
{
	secret_wipe(value, strlen(value));
	(void) unsetenv(name);
}

void environment_forget_secrets(void)
{
	static const char *const names[] = { "PBS_PASSWORD", "PBS_ENCRYPTION_PASSWORD" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *value = getenv(names[i]);
		if (value)
			forget(names[i], value);
	}
}

static int from_variable(const char *name, char *value, struct secret *ret, struct err *err)
{
	size_t len = strlen(value);
	uint8_t *copy = malloc(len + 1);
	if (!copy)
		return err_set(err, -ENOMEM, "no memory for %s", name);
	memcpy(copy, value, len + 1);
	forget(name, value);
	return take_value(copy, len, FIRST_LINE, name, ret, err);
}

static int from_fd(const char *name, const char *value, struct secret *ret, struct err *err)
{
	char *end;
	long fd = strtol(value, &end, 10);
	uint8_t *data;
	size_t len;
	if (end == value || *end || fd < 0 || fd > 1 << 20)
		return err_set(err, -EACCES, "%s is not a number of a descriptor", name);
	int r = read_value((int)fd, FIRST_LINE, &data, &len, err);
	if (r < 0)
		return err_set(err, -EACCES, "cannot read descriptor %ld of %s", fd, name);
	return take_value(data, len, FIRST_LINE, name, ret, err);
}

static int from_file(const char *name, const char *path, enum cut cut, struct secret *ret,
		     struct err *err)
{
	struct err why = ERR_NONE;
	uint8_t *data;
	size_t len;
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? err_errno(&why, -errno, "cannot open %s", path)
		       : read_value(fd, cut, &data, &len, &why);
	if (r < 0)
		return err_set(err, -EACCES, "%s: %s", name, why.msg);
	return take_value(data, len, cut, name, ret, err);
}

/* -- NAME_CMD -------------------------------------------------------------------------------- */

/* One word from @at on, without its quotes; where it ends, NULL = a quote is open. */
static const char *split_word(const char *at, struct buf *word, struct err *err)
{
	char quote = '\0';
	for (; *at && (quote || !strchr(" \t\n", *at)); at++) {
		if (quote ? *at == quote : (*at == '\'' || *at == '"')) {
			quote = quote ? '\0' : *at;
			continue;
		}
		if (*at == '\\' && quote != '\'' && at[1] && (!quote || strchr("\"\\$`", at[1])))
			at++;
		if (buf_add(word, at, 1, err) < 0)
			return NULL;
	}
	return quote ? NULL : at;
}

int command_split(const char *line, struct strv *ret, struct err *err)
{
	for (line += strspn(line, " \t\n"); *line; line += strspn(line, " \t\n")) {
		CLEANUP(buf_deinit) struct buf word = BUF_EMPTY;
		int r = buf_puts(&word, "", err);
		if (r < 0)
			return r;
		line = split_word(line, &word, err);
		if (!line)
			return err_set(err, -EINVAL, "a quote is not closed");
		r = strv_add(ret, word.data, err);
		if (r < 0)
			return r;
	}
	return ret->n ? 0 : err_set(err, -EINVAL, "no command");
}

/* In the child: stdin is empty, stdout the pipe. */
static _Noreturn void run(const struct strv *words, int to)
{
	char **argv = calloc(words->n + 1, sizeof *argv);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!argv || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(to, STDOUT_FILENO) < 0)
		_exit(127);
	memcpy(argv, words->items, words->n * sizeof *argv);
	environment_forget_secrets(); /* another one may not be this command's to see */
	(void) signal(SIGPIPE, SIG_DFL); /* the command line ignores it */
	(void) execvp(argv[0], argv);
	_exit(127);
}

static int wait_for(pid_t child, const char *name, const char *command, struct err *err)
{
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, -EACCES, "%s", name);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, -EACCES, "%s: cannot run %s", name, command);
	return err_set(err, -EACCES, "%s: %s failed", name, command);
}

static int from_command(const char *name, const char *line, struct secret *ret, struct err *err)
{
	CLEANUP(strv_deinit) struct strv words = STRV_EMPTY;
	struct err why = ERR_NONE;
	if (command_split(line, &words, &why) < 0)
		return err_set(err, -EACCES, "%s: %s", name, why.msg);
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot make a pipe");
	CLEANUP(closep) int from = fds[0];
	CLEANUP(closep) int to = fds[1];
	pid_t child = fork();
	if (child < 0)
		return err_errno(err, -errno, "cannot start %s", words.items[0]);
	if (child == 0)
		run(&words, to);
	closep(&to);
	uint8_t *data = NULL;
	size_t len = 0;
	int r = read_value(from, WHOLE, &data, &len, err); /* a reader that goes away would make it fail */
	closep(&from);
	int ended = wait_for(child, name, words.items[0], err);
	if (r < 0)
		return err_set(err, -EACCES, "%s: cannot read what %s says", name, words.items[0]);
	if (ended == 0)
		return take_value(data, len, FIRST_LINE, name, ret, err);
	secret_wipe_and_free(data, len);
	return ended;
}

/* -- all of them ----------------------------------------------------------------------------- */

static int from_credential(const char *credential, struct secret *ret, struct err *err)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	CLEANUP(buf_deinit) struct buf path = BUF_EMPTY;
	if (!dir)
		return 0;
	int r = buf_printf(&path, err, "%s/proxmox-backup-client.%s", dir, credential);
	if (r < 0 || access(path.data, F_OK) < 0)
		return r;
	r = from_file("systemd credential", path.data, WHOLE, ret, err);
	return r < 0 ? r : 1;
}

int environment_value(const char *name, const char *credential, struct secret *ret, struct err *err)
{
	static const struct {
		const char *suffix;
		int (*read)(const char *name, const char *value, struct secret *ret, struct err *err);
	} forms[] = { { "_FD", from_fd }, { "_FILE", NULL }, { "_CMD", from_command } };
	char *own = getenv(name);
	if (own) {
		int r = from_variable(name, own, ret, err);
		return r < 0 ? r : 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		char full[64];
		(void) snprintf(full, sizeof full, "%s%s", name, forms[i].suffix);
		const char *value = getenv(full);
		if (!value)
			continue;
		int r = forms[i].read ? forms[i].read(full, value, ret, err)
				      : from_file(full, value, FIRST_LINE, ret, err);
		return r < 0 ? r : 1;
	}
	return from_credential(credential, ret, err);
}

int environment_line(const char *name, const char *credential, struct secret *ret, struct err *err)
{
	int r = environment_value(name, credential, ret, err);
	while (r > 0 && ret->len && strchr("\r\n", ret->data[ret->len - 1]))
		ret->data[--ret->len] = '\0';
	return r;
}
