/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/tickets.h"

#include <string.h>
#include <time.h>

#include "format/json.h"
#include "mapping/client_files.h"

#define AGE_MAX	   7140 /* seconds; the server takes them for 7200 */
#define FUTURE_MAX 300	/* seconds; clocks differ, and the server takes no more */

static const char file_name[] = "tickets";

/* -- values that are secret ------------------------------------------------------------------ */

/* Tickets in what is about to be freed; what is no ticket may be wiped as well. */
static void wipe_strings(json_t *json)
{
	const char *key;
	json_t *value;
	if (json_is_string(json))
		secret_wipe((char *)(uintptr_t)json_string_value(json), json_string_length(json));
	json_object_foreach(json, key, value)
		wipe_strings(value);
}

static void json_wipep(json_t **json)
{
	wipe_strings(*json);
	json_decref(*json);
}

/* What may stand in a header: nothing that ends one. */
static bool is_printable(const json_t *text)
{
	const char *s = json_string_value(text);
	for (size_t i = 0; s && i < json_string_length(text); i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return s && *s;
}

static bool is_current(const json_t *entry, int64_t now)
{
	const json_t *since = json_object_get(entry, "timestamp");
	return json_is_integer(since) && json_integer_value(since) > now - AGE_MAX &&
	       json_integer_value(since) <= now + FUTURE_MAX;
}

static bool is_ticket(const json_t *entry, int64_t now)
{
	return is_current(entry, now) && is_printable(json_object_get(entry, "ticket")) &&
	       is_printable(json_object_get(entry, "token"));
}

static int copy_text(const json_t *text, struct secret *ret, struct err *err)
{
	return secret_init_copy(ret, json_string_value(text), json_string_length(text), err);
}

static int ticket_from_json(const json_t *entry, struct pbs_ticket *ret, struct err *err)
{
	struct pbs_ticket ticket = PBS_TICKET_NONE;
	ticket.since = json_integer_value(json_object_get(entry, "timestamp"));
	int r = copy_text(json_object_get(entry, "ticket"), &ticket.ticket, err);
	if (r == 0)
		r = copy_text(json_object_get(entry, "token"), &ticket.csrf, err);
	if (r < 0) {
		pbs_ticket_deinit(&ticket);
		return r;
	}
	*ret = ticket;
	return 0;
}

static json_t *text_of(const struct secret *secret)
{
	return json_stringn((const char *)secret->data, secret->len);
}

static json_t *ticket_to_json(const struct pbs_ticket *ticket)
{
	return json_pack("{s:o, s:I, s:o}", "ticket", text_of(&ticket->ticket), "timestamp",
			 (json_int_t)ticket->since, "token", text_of(&ticket->csrf));
}

/* -- the file -------------------------------------------------------------------------------- */

/* 1 = read, 0 = there is none */
static int read_cache(const struct client_dir *dir, json_t **ret, struct err *err)
{
	uint8_t *text = NULL;
	size_t len = 0;
	int r = client_file_read(dir, file_name, &text, &len, err);
	if (r > 0)
		r = json_parse_object((char *)text, len, "it", ret, err);
	secret_wipe_and_free(text, len);
	return r < 0 ? r : *ret != NULL;
}

static int write_cache(const struct client_dir *dir, const json_t *cache, struct err *err)
{
	char *text = json_dumps(cache, JSON_COMPACT);
	if (!text)
		return err_set(err, -ENOMEM, "no memory");
	size_t len = strlen(text);
	int r = client_file_replace(dir, file_name, text, len, err);
	secret_wipe_and_free(text, len);
	return r;
}

static void remove_key(json_t *object, const char *key)
{
	wipe_strings(json_object_get(object, key));
	(void) json_object_del(object, key);
}

/* Those nobody could use any more, and hosts that have no other. */
static void drop_expired(json_t *cache, int64_t now)
{
	const char *host, *user;
	json_t *users, *entry;
	void *next_host, *next_user;
	json_object_foreach_safe(cache, next_host, host, users) {
		json_object_foreach_safe(users, next_user, user, entry)
			if (!is_ticket(entry, now))
				remove_key(users, user);
		if (json_object_size(users) == 0)
			remove_key(cache, host);
	}
}

/* Takes @take_entry; NULL = a host has no such user from now on. */
static int set_entry(json_t *cache, const char *host, const char *user, json_t *take_entry, struct err *err)
{
	json_t *users = json_object_get(cache, host);
	if (!take_entry) {
		remove_key(users, user);
		return 0;
	}
	if (!users && json_object_set_new(cache, host, users = json_object()) < 0)
		users = NULL;
	if (json_object_set_new(users, user, take_entry) < 0)
		return err_set(err, -ENOMEM, "no memory for a ticket");
	return 0;
}

/* What others of us write meanwhile is not lost: read and written under the lock. */
static int change(const struct client_dir *dir, const char *host, const char *user, json_t *take_entry,
		  struct err *err)
{
	CLEANUP(json_wipep) json_t *cache = NULL;
	CLEANUP(json_wipep) json_t *entry = take_entry;
	int r = client_dir_lock(dir, err);
	if (r == 0 && read_cache(dir, &cache, NULL) <= 0)
		cache = json_object();
	if (r < 0)
		return r;
	if (!entry && !json_object_get(json_object_get(cache, host), user))
		return 0;
	r = set_entry(cache, host, user, json_incref(entry), err);
	drop_expired(cache, time(NULL));
	return r < 0 ? r : write_cache(dir, cache, err);
}

/* -------------------------------------------------------------------------------------------- */

int tickets_load(const char *host, const char *user, struct pbs_ticket *ret, struct err *err)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	CLEANUP(json_wipep) json_t *cache = NULL;
	int r = client_dir_open(CLIENT_RUNTIME, false, &dir, err);
	if (r > 0)
		r = read_cache(&dir, &cache, err);
	if (r <= 0)
		return r;
	const json_t *entry = json_object_get(json_object_get(cache, host), user);
	if (!is_ticket(entry, time(NULL)))
		return 0;
	r = ticket_from_json(entry, ret, err);
	return r < 0 ? r : 1;
}

int tickets_save(const char *host, const char *user, const struct pbs_ticket *ticket, struct err *err)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	int r = client_dir_open(CLIENT_RUNTIME, true, &dir, err);
	if (r <= 0)
		return r; /* nowhere to keep it is no failure */
	json_t *entry = ticket_to_json(ticket);
	return entry ? change(&dir, host, user, entry, err) : err_set(err, -ENOMEM, "no memory for a ticket");
}

int tickets_forget(const char *host, const char *user, struct err *err)
{
	CLEANUP(client_dir_close) struct client_dir dir = CLIENT_DIR_NONE;
	int r = client_dir_open(CLIENT_RUNTIME, false, &dir, err);
	return r <= 0 ? r : change(&dir, host, user, NULL, err);
}
