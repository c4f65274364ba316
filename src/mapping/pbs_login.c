/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/pbs_login.h"

#include <stdlib.h>
#include <string.h>

#include "format/fingerprint.h"
#include "mapping/environment.h"
#include "mapping/fingerprints.h"
#include "mapping/privileges.h"
#include "mapping/prompt.h"
#include "mapping/tickets.h"
#include "source/pbs.h"
#include "util/buf.h"
#include "util/text.h"

/*
 * What a source may ask while it is set up.  It belongs to the source, because only that knows how long it goes on
 * asking; it all happens before rights are dropped, where the terminal and the user's files are at hand.
 *
 * What the environment says is read at once, asked for or not: so it is gone from there.
 */
struct login {
	struct pbs_repository repository;
	struct secret password; /* from the environment, or typed once */
	bool has_password;
	bool has_ticket;    /* one of an earlier log-in was given to the source */
	bool is_cache_said; /* that something is wrong with it */
	bool is_known;	    /* the certificate this server had when the user confirmed it */
	uint8_t known[DIGEST_SIZE];
	struct repository_options options; /* of the command; its strings are lent until it is open */
};

#define SHOWN_SIZE 160

static const char *shown_host(const struct login *login, char ret[static SHOWN_SIZE])
{
	return text_escape(login->repository.host, ret, SHOWN_SIZE);
}

static const char *shown_user(const struct login *login, char ret[static SHOWN_SIZE])
{
	return text_escape(login->repository.auth_id, ret, SHOWN_SIZE);
}

static void login_free(void *user)
{
	struct login *login = user;
	secret_deinit(&login->password);
	free(login);
}

static void login_freep(struct login **login)
{
	if (*login)
		login_free(*login);
}

/* -- tickets --------------------------------------------------------------------------------- */

/* Once is enough. */
static void say_cache(struct login *login, int r, const struct err *err)
{
	if (r < 0 && !login->is_cache_said)
		repository_say(&login->options, "warning: the ticket cache is left out: %s", err->msg);
	login->is_cache_said |= r < 0;
}

static void load_ticket(struct login *login, struct pbs_ticket *ret)
{
	struct err err = ERR_NONE;
	int r = tickets_load(login->repository.host, login->repository.auth_id, ret, &err);
	login->has_ticket = r > 0;
	say_cache(login, r, &err);
}

static void keep_ticket(void *user, const struct pbs_ticket *ticket)
{
	struct login *login = user;
	struct err err = ERR_NONE;
	if (login->repository.is_token)
		return;
	int r = tickets_save(login->repository.host, login->repository.auth_id, ticket, &err);
	say_cache(login, r, &err);
}

/* -- the password ---------------------------------------------------------------------------- */

static int no_password(const struct login *login, struct err *err)
{
	char name[SHOWN_SIZE];
	bool is_token = login->repository.is_token;
	return err_set(err, -EACCES, "%s %s: set PBS_PASSWORD, or its _FD, _FILE or _CMD form "
		       "(sudo drops it: sudo --preserve-env=PBS_PASSWORD)%s",
		       is_token ? "API token secret must be provided for" : "no password for", shown_user(login, name),
		       is_token ? "" : ", or call from a terminal");
}

static int read_password(struct login *login, struct err *err)
{
	int r = environment_value("PBS_PASSWORD", "password", &login->password, err);
	if (r < 0)
		return r;
	login->has_password = r > 0 && (login->password.len || !login->repository.is_token);
	/* Only a credential is not cut at its first line. */
	if (r > 0 && login->password.len && login->password.data[login->password.len - 1] == '\n')
		repository_say(&login->options, "warning: the credential proxmox-backup-client.password ends with a "
			       "line end, which is taken for a part of the password");
	return login->has_password || !login->repository.is_token ? 0 : no_password(login, err);
}

static int ask_password(struct login *login, struct err *err)
{
	char name[SHOWN_SIZE];
	CLEANUP(buf_deinit) struct buf question = BUF_EMPTY;
	int r = buf_printf(&question, err, "Password for \"%s\": ", shown_user(login, name));
	if (r == 0 && !login->options.never_asks)
		r = prompt_password(question.data, &login->password, err);
	if (r == 0)
		return no_password(login, err);
	login->has_password = r > 0;
	return r < 0 ? r : 0;
}

static int give_password(void *user, struct secret *ret, struct err *err)
{
	struct login *login = user;
	struct err why = ERR_NONE;
	/* It is asked for although there was a ticket: the server did not take that. */
	if (login->has_ticket)
		say_cache(login, tickets_forget(login->repository.host, login->repository.auth_id, &why), &why);
	login->has_ticket = false;
	int r = login->has_password ? 0 : ask_password(login, err);
	return r < 0 ? r : secret_init_copy(ret, login->password.data, login->password.len, err);
}

/* -- the certificate ------------------------------------------------------------------------- */

static int refuse_change(const struct login *login, const char *now, struct err *err)
{
	char host[SHOWN_SIZE], before[FINGERPRINT_TEXT_SIZE];
	fingerprint_format(login->known, DIGEST_SIZE, before);
	return err_set(err, -EACCES, "the certificate of %.80s has changed: its fingerprint was %s, and is %s; if that is "
		       "right, remove its line from the file proxmox-backup/fingerprints", shown_host(login, host),
		       before, now);
}

static int refuse_unknown(const struct login *login, const char *fingerprint, struct err *err)
{
	char host[SHOWN_SIZE];
	return err_set(err, -EACCES, "nothing vouches for the certificate of %.80s, whose fingerprint is %s; if that is "
		       "right, give it as --fingerprint or PBS_FINGERPRINT", shown_host(login, host), fingerprint);
}

static void remember(const struct login *login, const uint8_t fingerprint[static DIGEST_SIZE])
{
	struct err err = ERR_NONE;
	if (fingerprints_remember(login->repository.host, fingerprint, &err) < 0)
		repository_say(&login->options, "warning: the fingerprint is not remembered: %s", err.msg);
}

static int confirm_certificate(void *user, const uint8_t fingerprint[static DIGEST_SIZE], struct err *err)
{
	const struct login *login = user;
	char text[FINGERPRINT_TEXT_SIZE], host[SHOWN_SIZE];
	CLEANUP(buf_deinit) struct buf question = BUF_EMPTY;
	fingerprint_format(fingerprint, DIGEST_SIZE, text);
	if (login->is_known && memcmp(login->known, fingerprint, DIGEST_SIZE) != 0)
		return refuse_change(login, text, err);
	int r = buf_printf(&question, err, "Nothing vouches for the certificate of %s.\nfingerprint: %s\n"
			   "Are you sure you want to continue connecting? (y/n): ", shown_host(login, host), text);
	if (r == 0 && !login->options.never_asks)
		r = prompt_yes_no(question.data, err);
	if (r == PROMPT_NO_TERMINAL)
		return refuse_unknown(login, text, err);
	if (r == PROMPT_NO)
		return err_set(err, -EACCES, "the certificate was not confirmed");
	if (r == PROMPT_YES)
		remember(login, fingerprint);
	return r < 0 ? r : 0;
}

/* @source: the option or the variable. */
static int pin(const char *text, const char *source, struct pbs_options *ret, struct err *err)
{
	if (!fingerprint_parse(text, ret->fingerprint))
		return err_set(err, -EINVAL, "%s is no fingerprint: SHA-256, 64 hexadecimal digits, as 0a:1b:...", source);
	ret->is_pinned = true;
	return 0;
}

static int pin_from_environment(struct pbs_options *ret, struct err *err)
{
	struct secret value = SECRET_EMPTY;
	int r = environment_line("PBS_FINGERPRINT", "fingerprint", &value, err);
	if (r > 0)
		r = value.len ? pin((char *)value.data, "PBS_FINGERPRINT", ret, err) : 0;
	secret_deinit(&value);
	return r;
}

static void find_known(struct login *login, struct pbs_options *ret)
{
	struct err err = ERR_NONE;
	int r = fingerprints_find(login->repository.host, login->known, &err);
	if (r < 0)
		repository_say(&login->options, "warning: the known fingerprints are left out: %s", err.msg);
	login->is_known = ret->is_known = r > 0;
	if (r > 0)
		memcpy(ret->fingerprint, login->known, DIGEST_SIZE);
}

static int choose_fingerprint(struct login *login, struct pbs_options *ret, struct err *err)
{
	const char *option = login->options.fingerprint;
	int r = option ? pin(option, "--fingerprint", ret, err) : pin_from_environment(ret, err);
	if (r < 0 || ret->is_pinned)
		return r < 0 ? r : 0;
	find_known(login, ret);
	return 0;
}

/* -------------------------------------------------------------------------------------------- */

int pbs_login_open(const struct repository_options *options, const struct pbs_repository *repository,
		   struct source **ret, struct err *err)
{
	CLEANUP(login_freep) struct login *login = calloc(1, sizeof *login);
	if (!login)
		return err_set(err, -ENOMEM, "no memory");
	login->repository = *repository;
	login->options = *options;
	struct pbs_options pbs = {
		.repository = repository,
		.guide = {
			.password = give_password,
			.unknown_certificate = confirm_certificate,
			.new_ticket = keep_ticket,
			.free = login_free,
			.user = login,
		},
		.take_ticket = PBS_TICKET_NONE,
		.n_connections = options->n_connections,
		.timeout_ms = options->timeout_ms,
	};
	int r = read_password(login, err);
	if (r == 0)
		r = choose_fingerprint(login, &pbs, err);
	if (r < 0)
		return r;
	pbs.guide.is_typed = !login->has_password && !login->options.never_asks && prompt_has_terminal();
	if (!login->has_password)
		load_ticket(login, &pbs.take_ticket);
	(void) STEAL(login); /* the source's from here on */
	r = source_pbs_open(&pbs, ret, err);
	if (r == 0)
		privileges_service_user(&(*ret)->uid, &(*ret)->gid);
	return r;
}
