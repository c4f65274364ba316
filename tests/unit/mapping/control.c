/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/control.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "format/data.h"
#include "format/json.h"
#include "unit.h"

/* Two ends of a connection; as test state. */
static int ends[2];

static int set_up(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
	closep(&ends[0]);
	closep(&ends[1]);
	return 0;
}

/* What comes at an end, as text; "" = it was closed. */
static void must_receive(int fd, const char *want)
{
	CLEANUP(json_freep) json_t *json = NULL;
	struct err err = ERR_NONE;
	expect(want, control_receive(fd, deadline_in_ms(20000), &json, &err), &err, *want != '\0', NULL);
	CLEANUP(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : strdup("");
	assert_string_equal(text, want);
}

static void must_fail(int fd, int r, const char *words)
{
	json_t *json = NULL;
	struct err err = ERR_NONE;
	expect(words, control_receive(fd, deadline_in_ms(0), &json, &err), &err, r, words);
	assert_null(json);
}

static void packets_come_in_order_and_whole(void **state)
{
	assert_int_equal(control_send(ends[0], json_pack("{s:s}", "do", "status"), NULL), 0);
	assert_int_equal(control_send(ends[0], json_object(), NULL), 0);
	assert_int_equal(control_send(ends[1], json_pack("{s:b}", "x", 1), NULL), 0);
	must_receive(ends[1], "{\"do\":\"status\"}");
	must_receive(ends[1], "{}");
	must_receive(ends[0], "{\"x\":true}");
	closep(&ends[0]);
	must_receive(ends[1], "");
}

static void a_long_packet_is_one_too(void **state)
{
	enum { LEN = 100000 };
	CLEANUP(freep) char *text = calloc(1, LEN + 1);
	CLEANUP(json_freep) json_t *json = NULL;
	memset(text, 'x', LEN);
	assert_int_equal(control_send(ends[0], json_pack("{s:s}", "k", text), NULL), 0);
	assert_int_equal(control_receive(ends[1], deadline_in_ms(20000), &json, NULL), 1);
	assert_string_equal(json_string_value(json_object_get(json, "k")), text);
}

static void what_was_sent_before_the_end_is_received(void **state)
{
	assert_int_equal(control_send(ends[0], json_pack("{s:i}", "n", 1), NULL), 0);
	closep(&ends[0]);
	must_receive(ends[1], "{\"n\":1}");
	must_receive(ends[1], "");
}

/* Also where it was closed with packets of ours unread, which the kernel calls a reset. */
static void an_end_with_words_unread_is_an_end(void **state)
{
	assert_int_equal(control_send(ends[1], json_object(), NULL), 0);
	closep(&ends[0]);
	must_receive(ends[1], "");
}

static void refuses_what_is_no_message(void **state)
{
	static const char *const rows[] = { "{", "[]", "x", "{} {}", "{\"a\":1,\"a\":2}", "5", "null", "{\"a\":\"\xff\"}" };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(send(ends[0], rows[i], strlen(rows[i]), 0), strlen(rows[i]));
		must_fail(ends[1], -EPROTO, "a message that is none");
	}
	assert_int_equal(control_send(ends[0], json_object(), NULL), 0);
	must_receive(ends[1], "{}");
}

static void refuses_a_packet_that_is_too_long(void **state)
{
	enum { LEN = CONTROL_PACKET_MAX + 2 };
	const int room = 4 * LEN;
	if (setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0) {
		print_message("takes root: a send buffer that is large enough\n");
		skip();
	}
	CLEANUP(freep) char *text = malloc(LEN);
	memset(text, 'x', LEN);
	memcpy(text, "{\"k\":\"", 6);
	memcpy(text + LEN - 2, "\"}", 2);
	assert_int_equal(send(ends[0], text, LEN, 0), LEN);
	must_fail(ends[1], -EPROTO, "a message that is none");
}

static void waits_no_longer_than_told(void **state)
{
	struct err err = ERR_NONE;
	must_fail(ends[0], -ETIMEDOUT, "no answer");
	expect("end", control_wait_for_end(ends[0], deadline_in_ms(1), &err), &err, -ETIMEDOUT, NULL);
	json_t *answer = NULL;
	expect("ask", control_ask(ends[0], json_object(), deadline_in_ms(1), &answer, &err), &err, -ETIMEDOUT, NULL);
	assert_null(answer);
}

static void sends_to_nobody_without_a_signal(void **state)
{
	struct err err = ERR_NONE;
	json_t *answer = NULL;
	closep(&ends[1]);
	assert_ptr_not_equal(signal(SIGPIPE, SIG_DFL), SIG_ERR);
	expect("send", control_send(ends[0], json_object(), &err), &err, -EPIPE, "cannot send a message");
	expect("ask", control_ask(ends[0], json_object(), DEADLINE_NEVER, &answer, &err), &err, -EPIPE, NULL);
	expect("no memory", control_send(ends[0], NULL, &err), &err, -ENOMEM, NULL);
}

static void a_question_without_an_answer_is_a_lost_link(void **state)
{
	CLEANUP(json_freep) json_t *answer = NULL;
	struct err err = ERR_NONE;
	assert_int_equal(control_send(ends[1], json_pack("{s:i}", "n", 7), NULL), 0);
	assert_int_equal(control_ask(ends[0], json_object(), DEADLINE_NEVER, &answer, NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "n")), 7);
	must_receive(ends[1], "{}");

	json_t *none = NULL;
	assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
	expect("gone", control_ask(ends[0], json_object(), DEADLINE_NEVER, &none, &err), &err, -ECONNRESET,
	       "the server process went away");
	assert_null(none);
}

static void waits_for_the_end_whatever_is_said_before(void **state)
{
	assert_int_equal(control_send(ends[1], json_object(), NULL), 0);
	assert_int_equal(control_send(ends[1], json_object(), NULL), 0);
	closep(&ends[1]);
	assert_int_equal(control_wait_for_end(ends[0], DEADLINE_NEVER, NULL), 0);
}

#define TEST_HERE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_HERE(packets_come_in_order_and_whole),
		TEST_HERE(a_long_packet_is_one_too),
		TEST_HERE(what_was_sent_before_the_end_is_received),
		TEST_HERE(an_end_with_words_unread_is_an_end),
		TEST_HERE(refuses_what_is_no_message),
		TEST_HERE(refuses_a_packet_that_is_too_long),
		TEST_HERE(waits_no_longer_than_told),
		TEST_HERE(sends_to_nobody_without_a_signal),
		TEST_HERE(a_question_without_an_answer_is_a_lost_link),
		TEST_HERE(waits_for_the_end_whatever_is_said_before),
	};
	return RUN_TESTS(tests);
}
