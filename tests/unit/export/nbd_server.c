/* SPDX-License-Identifier: Apache-2.0 */
#include "export/nbd_server.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "memory_source.h"
#include "unit.h"
#include "util/bytes.h"
#include "util/deadline.h"

/* A real server with real sockets, over a memory source; the clients are written here, byte by byte. */
enum { CHUNK = 64 << 10, N_CHUNKS = 40, TAIL = 777, PATIENCE_MS = 20000 };

struct scene {
	struct memory_source memory;
	struct stream_shared *shared;
	struct stream *stream;
	struct image *image;
	struct nbd_export export;
	struct nbd_server *server;
};

static void begin_with(struct scene *s, struct nbd_server_options options)
{
	*s = (struct scene){ 0 };
	memory_source_init(&s->memory, (uint64_t)N_CHUNKS * CHUNK + TAIL, CHUNK, NULL);
	struct stream_limits limits = { .cache_size = 100 * CHUNK, .n_decoders = 2, .typical_chunk = CHUNK };
	assert_int_equal(stream_shared_new(&limits, &s->shared, NULL), 0);
	struct stream_options stream = { .source = &s->memory.source, .index = &s->memory.index };
	assert_int_equal(stream_open(s->shared, &stream, &s->stream, NULL), 0);
	assert_int_equal(image_disk_open(s->stream, 1, &s->image, NULL), 0);
	s->export = (struct nbd_export){ "disk.img", "a disk", s->image->size, s->image };
	options.offer = (struct nbd_offer){ &s->export, 1, .has_default = true };
	assert_int_equal(nbd_server_open(&options, &s->server, NULL), 0);
}

static void begin(struct scene *s)
{
	begin_with(s, (struct nbd_server_options){ 0 });
}

static void end(struct scene *s)
{
	nbd_server_close(s->server);
	image_close(s->image);
	stream_close(s->stream);
	stream_shared_free(s->shared);
	memory_source_deinit(&s->memory);
}

static bool comes_true(bool (*question)(struct scene *s), struct scene *s)
{
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	while (!question(s)) {
		if (deadline_is_over(until))
			return false;
		(void) poll(NULL, 0, 1);
	}
	return true;
}

static bool has_no_user(struct scene *s)
{
	return nbd_server_n_users(s->server) == 0;
}

static bool has_ended(struct scene *s)
{
	return nbd_server_has_ended(s->server);
}

/* -- a client -- */

static void put(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

/* False = the other side has hung up. */
static bool try_get(int fd, void *bytes, size_t len)
{
	for (size_t have = 0; have < len;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
		ssize_t n = recv(fd, (uint8_t *)bytes + have, len - have, 0);
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	return true;
}

static void get(int fd, void *bytes, size_t len)
{
	assert_true(try_get(fd, bytes, len));
}

static bool is_hung_up(int fd)
{
	uint8_t byte;
	while (try_get(fd, &byte, 1))
		; /* what was sent before */
	return true;
}

static int connect_to(struct scene *s)
{
	int fds[2];
	uint8_t greeting[NBD_GREETING_SIZE], want[NBD_GREETING_SIZE];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(nbd_server_add_client(s->server, fds[1], NULL), 0);
	get(fds[0], greeting, sizeof greeting);
	nbd_greeting_write(want);
	assert_memory_equal(greeting, want, sizeof want);
	return fds[0];
}

static void put_option(int fd, uint32_t id, const void *data, uint32_t len)
{
	uint8_t header[NBD_OPTION_HEADER_SIZE] = "IHAVEOPT";
	store_be32(header + 8, id);
	store_be32(header + 12, len);
	put(fd, header, sizeof header);
	if (len)
		put(fd, data, len);
}

/* Answers up to the last one; returns its kind. */
static uint32_t get_option_answer(int fd)
{
	for (;;) {
		uint8_t header[20], data[4096];
		get(fd, header, sizeof header);
		get(fd, data, load_be32(header + 16));
		uint32_t kind = load_be32(header + 12);
		if (kind == NBD_REP_ACK || kind >> 31)
			return kind;
	}
}

static int client_of(struct scene *s, enum nbd_style style)
{
	int fd = connect_to(s);
	put(fd, "\0\0\0\3", 4);
	if (style != NBD_SIMPLE) {
		put_option(fd, style == NBD_EXTENDED ? NBD_OPT_EXTENDED_HEADERS : NBD_OPT_STRUCTURED_REPLY, NULL, 0);
		assert_int_equal(get_option_answer(fd), NBD_REP_ACK);
		put_option(fd, NBD_OPT_SET_META_CONTEXT, "\0\0\0\0\0\0\0\1\0\0\0\17base:allocation", 27);
		assert_int_equal(get_option_answer(fd), NBD_REP_ACK);
	}
	put_option(fd, NBD_OPT_GO, "\0\0\0\0\0\0", 6);
	assert_int_equal(get_option_answer(fd), NBD_REP_ACK);
	return fd;
}

static void ask(int fd, enum nbd_style style, uint16_t command, uint16_t flags, uint64_t off, uint64_t len)
{
	uint8_t request[32];
	store_be32(request, style == NBD_EXTENDED ? 0x21e41c71 : 0x25609513);
	store_be16(request + 4, flags);
	store_be16(request + 6, command);
	store_be64(request + 8, off ^ 0xabcd); /* the cookie tells which it was */
	store_be64(request + 16, off);
	if (style == NBD_EXTENDED)
		store_be64(request + 24, len);
	else
		store_be32(request + 24, (uint32_t)len);
	put(fd, request, style == NBD_EXTENDED ? 32 : 28);
}

/* One message of a reply in chunks. */
struct chunk_got {
	bool is_last;
	uint16_t type;
	uint64_t cookie, len;
	uint8_t *payload; /* free() */
};

static struct chunk_got get_chunk(int fd, enum nbd_style style)
{
	uint8_t head[32];
	bool is_extended = style == NBD_EXTENDED;
	get(fd, head, is_extended ? 32 : 20);
	assert_int_equal(load_be32(head), is_extended ? 0x6e8a278c : 0x668e33ef);
	struct chunk_got chunk = {
		.is_last = load_be16(head + 4) & 1,
		.type = load_be16(head + 6),
		.cookie = load_be64(head + 8),
		.len = is_extended ? load_be64(head + 24) : load_be32(head + 16),
	};
	assert_true(chunk.len <= (64u << 20));
	chunk.payload = malloc(chunk.len + 1);
	assert_non_null(chunk.payload);
	get(fd, chunk.payload, chunk.len);
	return chunk;
}

/* A read's reply, put together; returns NBD's error. */
static uint32_t get_read(int fd, enum nbd_style style, uint64_t off, size_t len, uint8_t *ret)
{
	if (style == NBD_SIMPLE) {
		uint8_t head[16];
		get(fd, head, sizeof head);
		assert_int_equal(load_be32(head), 0x67446698);
		assert_true(load_be64(head + 8) == (off ^ 0xabcd));
		if (load_be32(head + 4) == 0)
			get(fd, ret, len);
		return load_be32(head + 4);
	}
	uint32_t error = 0;
	size_t have = 0;
	for (bool is_last = false; !is_last;) {
		struct chunk_got chunk = get_chunk(fd, style);
		assert_true(chunk.cookie == (off ^ 0xabcd));
		is_last = chunk.is_last;
		if (chunk.type >> 15) {
			error = load_be32(chunk.payload);
		} else {
			uint64_t at = load_be64(chunk.payload) - off;
			size_t n = chunk.type == 2 ? load_be32(chunk.payload + 8) : chunk.len - 8;
			assert_true(at <= len && n > 0 && n <= len - at);
			if (chunk.type == 2)
				memset(ret + at, 0, n);
			else
				memcpy(ret + at, chunk.payload + 8, n);
			have += n;
		}
		free(chunk.payload);
	}
	assert_true(error || have == len);
	return error;
}

static void expect_read(struct scene *s, int fd, enum nbd_style style, uint64_t off, size_t len)
{
	CLEANUP(freep) uint8_t *got = malloc(len);
	assert_non_null(got);
	assert_int_equal(get_read(fd, style, off, len, got), 0);
	assert_memory_equal(got, s->memory.image + off, len);
}

/* -- reads -- */

static const enum nbd_style styles[] = { NBD_SIMPLE, NBD_STRUCTURED, NBD_EXTENDED };

static void reads_any_range_in_every_style(void **state)
{
	struct scene s;
	begin(&s);
	uint64_t size = s.memory.size, seed = 1;
	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		int fd = client_of(&s, styles[i]);
		ask(fd, styles[i], NBD_CMD_READ, 0, 0, size);
		expect_read(&s, fd, styles[i], 0, size);
		ask(fd, styles[i], NBD_CMD_READ, 0, size - 1, 1);
		expect_read(&s, fd, styles[i], size - 1, 1);
		for (int n = 0; n < 200; n++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			uint64_t off = (seed >> 20) % size;
			size_t len = 1 + (size_t)min_u64((seed >> 33) % (5 * CHUNK), size - off - 1);
			uint16_t flags = styles[i] != NBD_SIMPLE && n % 2 ? NBD_CMD_FLAG_DF : 0;
			ask(fd, styles[i], NBD_CMD_READ, flags, off, len);
			expect_read(&s, fd, styles[i], off, len);
		}
		close(fd);
	}
	end(&s);
}

static void zeros_travel_as_a_hole(void **state)
{
	struct scene s;
	begin(&s);
	int fd = client_of(&s, NBD_STRUCTURED);
	ask(fd, NBD_STRUCTURED, NBD_CMD_READ, 0, 0, 3 * CHUNK); /* data, zeros, data */
	static const uint16_t want[] = { 1, 2, 1 };
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		struct chunk_got chunk = get_chunk(fd, NBD_STRUCTURED);
		assert_int_equal(chunk.type, want[i]);
		assert_int_equal(chunk.is_last, i + 1 == ARRAY_LEN(want));
		free(chunk.payload);
	}
	ask(fd, NBD_STRUCTURED, NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 3 * CHUNK);
	struct chunk_got chunk = get_chunk(fd, NBD_STRUCTURED);
	assert_true(chunk.type == 1 && chunk.is_last && chunk.len == 8 + 3 * CHUNK);
	assert_memory_equal(chunk.payload + 8, s.memory.image, 3 * CHUNK);
	free(chunk.payload);
	close(fd);
	end(&s);
}

static void a_read_longer_than_the_layers_below_take(void **state)
{
	struct scene s = { 0 };
	uint64_t size = NBD_PAYLOAD_MAX + 2 * CHUNK;
	memory_source_init(&s.memory, size, 1 << 20, NULL);
	struct stream_limits limits = { .cache_size = 8 << 20, .n_decoders = 2, .typical_chunk = 1 << 20 };
	assert_int_equal(stream_shared_new(&limits, &s.shared, NULL), 0);
	struct stream_options stream = { .source = &s.memory.source, .index = &s.memory.index };
	assert_int_equal(stream_open(s.shared, &stream, &s.stream, NULL), 0);
	assert_int_equal(image_disk_open(s.stream, 1, &s.image, NULL), 0);
	s.export = (struct nbd_export){ "big", "", size, s.image };
	struct nbd_server_options options = { .offer = { &s.export, 1, .has_default = true } };
	assert_int_equal(nbd_server_open(&options, &s.server, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		int fd = client_of(&s, styles[i]);
		ask(fd, styles[i], NBD_CMD_READ, 0, 12345, NBD_PAYLOAD_MAX);
		expect_read(&s, fd, styles[i], 12345, NBD_PAYLOAD_MAX);
		ask(fd, styles[i], NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1);
		assert_int_equal(get_read(fd, styles[i], 0, 0, NULL), 75);
		close(fd);
	}
	end(&s);
}

static void what_is_there_overtakes_what_is_not(void **state)
{
	struct scene s;
	begin(&s);
	memory_source_hold(&s.memory);
	int fd = client_of(&s, NBD_SIMPLE);
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, 2 * CHUNK, 512); /* to be fetched */
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, CHUNK, 512);     /* zeros */
	expect_read(&s, fd, NBD_SIMPLE, CHUNK, 512);
	memory_source_release(&s.memory);
	expect_read(&s, fd, NBD_SIMPLE, 2 * CHUNK, 512);
	close(fd);
	end(&s);
}

static void damage_fails_only_what_touches_it(void **state)
{
	struct scene s;
	begin(&s);
	s.memory.bad_chunk = 3;
	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		uint8_t got[512];
		int fd = client_of(&s, styles[i]);
		ask(fd, styles[i], NBD_CMD_READ, 0, 3 * CHUNK, 512);
		assert_int_equal(get_read(fd, styles[i], 3 * CHUNK, 512, got), 5);
		ask(fd, styles[i], NBD_CMD_READ, 0, 2 * CHUNK, 512);
		expect_read(&s, fd, styles[i], 2 * CHUNK, 512);
		close(fd);
	}
	end(&s);
}

static void a_read_ends_at_its_deadline(void **state)
{
	struct scene s;
	uint8_t got[512];
	begin_with(&s, (struct nbd_server_options){ .timeout_ms = 20 });
	memory_source_hold(&s.memory);
	int fd = client_of(&s, NBD_SIMPLE);
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512);
	assert_int_equal(get_read(fd, NBD_SIMPLE, 0, 512, got), 5);
	memory_source_release(&s.memory);
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512);
	expect_read(&s, fd, NBD_SIMPLE, 0, 512);
	close(fd);
	end(&s);
}

/* -- other commands -- */

/* Lengths in order, as the image has it: data and zeros in turn, data first. */
static void block_status_tells_zeros_from_data(void **state)
{
	struct scene s;
	begin(&s);
	for (size_t i = 1; i < ARRAY_LEN(styles); i++) {
		bool is_extended = styles[i] == NBD_EXTENDED;
		size_t head = is_extended ? 8 : 4, each = is_extended ? 16 : 8;
		int fd = client_of(&s, styles[i]);
		ask(fd, styles[i], NBD_CMD_BLOCK_STATUS, 0, 100, s.memory.size - 100);
		struct chunk_got chunk = get_chunk(fd, styles[i]);
		assert_int_equal(chunk.type, is_extended ? 6 : 5);
		assert_int_equal(load_be32(chunk.payload), NBD_CONTEXT_ID);
		uint64_t off = 100;
		for (size_t at = head; at < chunk.len; at += each) {
			const uint8_t *extent = chunk.payload + at;
			uint64_t len = is_extended ? load_be64(extent) : load_be32(extent);
			uint64_t flags = is_extended ? load_be64(extent + 8) : load_be32(extent + 4);
			assert_true(len > 0 && len <= s.memory.size - off);
			uint64_t last = off + len - 1;
			assert_int_equal(flags, off / CHUNK % 3 == 1 ? 3 : 0);
			assert_int_equal(last / CHUNK % 3 == 1, off / CHUNK % 3 == 1);
			off += len;
		}
		assert_true(off == s.memory.size);
		free(chunk.payload);

		ask(fd, styles[i], NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, CHUNK + 5, 10);
		chunk = get_chunk(fd, styles[i]);
		assert_int_equal(chunk.len, head + each);
		assert_int_equal(chunk.payload[head + each / 2 - 1], 10);
		free(chunk.payload);
		close(fd);
	}
	end(&s);
}

/* A disk of as many extents as there can be; the first look at them waits. */
struct patchy {
	struct image image;
	struct image *disk; /* what is read of it */
	sem_t is_looked_at, may_go_on;
	unsigned n_looks, n_looks_before_a_read;
};

static void patchy_submit(struct image *image, struct read *read)
{
	struct patchy *patchy = CONTAINER_OF(image, struct patchy, image);
	patchy->n_looks_before_a_read = patchy->n_looks;
	image_submit(patchy->disk, read);
}

static bool patchy_next_extent(struct image *image, uint64_t off, uint64_t limit, uint64_t *ret_end)
{
	struct patchy *patchy = CONTAINER_OF(image, struct patchy, image);
	if (patchy->n_looks++ == 0) {
		(void) sem_post(&patchy->is_looked_at);
		(void) sem_wait(&patchy->may_go_on);
	}
	*ret_end = min_u64(round_up(off + 1, 4096), limit);
	return off / 4096 % 2;
}

static void who_asks_for_much_status_lets_others_have_their_turn(void **state)
{
	static const struct image_ops ops = { .submit = patchy_submit, .next_extent = patchy_next_extent };
	struct scene s;
	struct patchy patchy = { .image = { &ops, 1 << 30 } };
	begin(&s);
	nbd_server_close(s.server);
	patchy.disk = s.image;
	(void) sem_init(&patchy.is_looked_at, 0, 0);
	(void) sem_init(&patchy.may_go_on, 0, 0);
	s.export = (struct nbd_export){ "disk.img", "", patchy.image.size, &patchy.image };
	struct nbd_server_options options = { .offer = { &s.export, 1, .has_default = true } };
	assert_int_equal(nbd_server_open(&options, &s.server, NULL), 0);
	int greedy = client_of(&s, NBD_EXTENDED), user = client_of(&s, NBD_SIMPLE);
	ask(greedy, NBD_EXTENDED, NBD_CMD_BLOCK_STATUS, 0, 0, 1 << 30);
	(void) sem_wait(&patchy.is_looked_at);
	for (unsigned i = 0; i < 100; i++)
		ask(greedy, NBD_EXTENDED, NBD_CMD_BLOCK_STATUS, 0, 0, 1 << 30);
	ask(user, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512);
	(void) sem_post(&patchy.may_go_on);
	expect_read(&s, user, NBD_SIMPLE, 0, 512);
	/* The rest of the first turn, and at most one more. */
	assert_in_range(patchy.n_looks_before_a_read, 1, 1000);
	close(greedy);
	close(user);
	end(&s);
}

static void a_cache_request_fetches_and_says_so(void **state)
{
	struct scene s;
	begin(&s);
	int fd = client_of(&s, NBD_STRUCTURED);
	ask(fd, NBD_STRUCTURED, NBD_CMD_CACHE, 0, 0, 6 * CHUNK);
	struct chunk_got chunk = get_chunk(fd, NBD_STRUCTURED);
	assert_true(chunk.type == 0 && chunk.is_last && chunk.len == 0);
	free(chunk.payload);
	unsigned fetched = s.memory.n_fetches;
	assert_true(fetched >= 4);
	ask(fd, NBD_STRUCTURED, NBD_CMD_READ, 0, 0, CHUNK);
	expect_read(&s, fd, NBD_STRUCTURED, 0, CHUNK);
	assert_int_equal(s.memory.n_fetched[0], 1);
	close(fd);
	end(&s);
}

static void a_write_is_refused_and_its_data_passed_over(void **state)
{
	struct scene s;
	begin(&s);
	CLEANUP(freep) uint8_t *data = malloc(3 * CHUNK);
	memset(data, 0x25, 3 * CHUNK);
	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		uint8_t got[512];
		int fd = client_of(&s, styles[i]);
		uint16_t flags = styles[i] == NBD_EXTENDED ? NBD_CMD_FLAG_PAYLOAD_LEN : 0;
		ask(fd, styles[i], NBD_CMD_WRITE, flags, 4096, 3 * CHUNK);
		put(fd, data, 3 * CHUNK - 1);
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, 20), 0); /* nothing before all of it is there */
		put(fd, data, 1);
		assert_int_equal(get_read(fd, styles[i], 4096, 0, got), 1);
		ask(fd, styles[i], NBD_CMD_READ, 0, 4096, 512);
		expect_read(&s, fd, styles[i], 4096, 512);
		close(fd);
	}
	end(&s);
}

static void a_goodbye_comes_after_the_answers(void **state)
{
	struct scene s;
	begin(&s);
	memory_source_hold(&s.memory);
	int fd = client_of(&s, NBD_SIMPLE);
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512);
	ask(fd, NBD_SIMPLE, NBD_CMD_DISC, 0, 0, 0);
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, CHUNK, 512); /* is not heard any more */
	memory_source_release(&s.memory);
	expect_read(&s, fd, NBD_SIMPLE, 0, 512);
	assert_true(is_hung_up(fd));
	assert_true(comes_true(has_no_user, &s));
	close(fd);
	end(&s);
}

/* -- clients that mean no good -- */

static void hangs_up_on_what_is_not_nbd(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\0\0\0\3GET / HTTP/1.1\r\n\r\n", 22 },
		{ "\377\377\377\377", 4 },
		{ "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\3abc", 23 },	   /* no such export */
		{ "\0\0\0\3IHAVEOPT\0\0\0\1\377\377\377\377", 20 }, /* no such name */
	};
	struct scene s;
	begin(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = connect_to(&s);
		put(fd, rows[i].bytes, rows[i].len);
		assert_true(is_hung_up(fd));
		close(fd);
	}
	int fd = client_of(&s, NBD_SIMPLE);
	put(fd, "this is not a request at all", 28);
	assert_true(is_hung_up(fd));
	close(fd);
	end(&s);
}

static void takes_one_byte_at_a_time(void **state)
{
	struct scene s;
	static const char bytes[] = "\0\0\0\3IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0"
				    "\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\xab\xcd\0\0\0\0\0\0\0\0\0\0\2\0";
	begin(&s);
	int fd = connect_to(&s);
	for (size_t i = 0; i + 1 < sizeof bytes; i++)
		put(fd, bytes + i, 1);
	assert_int_equal(get_option_answer(fd), NBD_REP_ACK);
	expect_read(&s, fd, NBD_SIMPLE, 0, 512);
	close(fd);
	end(&s);
}

static void passes_over_an_option_too_long(void **state)
{
	struct scene s;
	begin(&s);
	CLEANUP(freep) uint8_t *data = calloc(1, 1 << 20);
	int fd = connect_to(&s);
	put(fd, "\0\0\0\3", 4);
	put_option(fd, NBD_OPT_LIST_META_CONTEXT, data, 1 << 20);
	assert_int_equal(get_option_answer(fd), NBD_REP_ERR_TOO_BIG);
	put_option(fd, NBD_OPT_LIST, NULL, 0);
	assert_int_equal(get_option_answer(fd), NBD_REP_ACK);
	close(fd);
	end(&s);
}

static void who_does_not_say_what_it_wants_is_hung_up_on(void **state)
{
	struct scene s;
	begin_with(&s, (struct nbd_server_options){ .handshake_ms = 50 });
	int silent = connect_to(&s), slow = connect_to(&s), user = client_of(&s, NBD_SIMPLE);
	put(slow, "\0\0\0\3IHAVE", 9);
	assert_true(is_hung_up(silent));
	assert_true(is_hung_up(slow));
	ask(user, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512); /* whoever has chosen may be silent */
	expect_read(&s, user, NBD_SIMPLE, 0, 512);
	close(silent);
	close(slow);
	close(user);
	end(&s);
}

/* Asks without end and takes nothing; returns how much it could ask for. */
static size_t flood(int fd, uint16_t command, uint64_t len)
{
	uint8_t request[28] = { 0x25, 0x60, 0x95, 0x13 };
	size_t n = 0;
	store_be16(request + 6, command);
	store_be32(request + 24, (uint32_t)len);
	for (int misses = 0; misses < 50;) {
		ssize_t sent = send(fd, request, sizeof request, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent == sizeof request) {
			n++;
			misses = 0;
		} else if (sent < 0 && errno == EAGAIN) {
			misses++;
			(void) poll(NULL, 0, 2);
		} else {
			break;
		}
	}
	return n;
}

/* A server that has little time may look as if it took nothing: again, until it hangs up. */
static size_t flood_to_the_end(int fd, uint16_t command, uint64_t len)
{
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	struct pollfd wait = { .fd = fd };
	size_t n = 0;
	do
		n += flood(fd, command, len);
	while (poll(&wait, 1, 0) == 0 && !deadline_is_over(until));
	return n;
}

static void who_takes_nothing_is_not_heard_and_then_hung_up_on(void **state)
{
	struct scene s;
	begin_with(&s, (struct nbd_server_options){ .send_ms = 1000 });
	int greedy = client_of(&s, NBD_SIMPLE), user = client_of(&s, NBD_SIMPLE);
	/* What is in the sockets' own buffers, and what one client may have; not all that it likes. */
	size_t n = flood(greedy, NBD_CMD_READ, CHUNK);
	for (uint64_t i = 0; i < 50; i++) {
		ask(user, NBD_SIMPLE, NBD_CMD_READ, 0, i * 4096, 4096);
		expect_read(&s, user, NBD_SIMPLE, i * 4096, 4096);
	}
	assert_true(n + flood_to_the_end(greedy, NBD_CMD_READ, CHUNK) < 50000);
	assert_int_equal(nbd_server_n_users(s.server), 1);
	close(greedy);
	close(user);
	end(&s);
}

/* -- chunks that are much larger than what is read of them -- */

enum { LARGE_CHUNK = 1 << 20, N_LARGE = 60, PIECE = 64 << 10 };

static size_t anonymous_bytes(void)
{
	char row[128];
	size_t kib = 0;
	FILE *file = fopen("/proc/self/status", "re");
	assert_non_null(file);
	while (fgets(row, sizeof row, file))
		(void) sscanf(row, "RssAnon: %zu", &kib);
	(void) fclose(file);
	return kib << 10;
}

static void begin_large(struct scene *s, size_t held_bytes)
{
	*s = (struct scene){ 0 };
	memory_source_init(&s->memory, (uint64_t)N_LARGE * LARGE_CHUNK, LARGE_CHUNK, NULL);
	struct stream_limits limits = { .cache_size = LARGE_CHUNK, .n_decoders = 1, .typical_chunk = LARGE_CHUNK };
	assert_int_equal(stream_shared_new(&limits, &s->shared, NULL), 0);
	struct stream_options stream = { .source = &s->memory.source, .index = &s->memory.index };
	assert_int_equal(stream_open(s->shared, &stream, &s->stream, NULL), 0);
	assert_int_equal(image_disk_open(s->stream, 1, &s->image, NULL), 0);
	s->export = (struct nbd_export){ "disk.img", "a disk", s->image->size, s->image };
	struct nbd_server_options options = { .offer = { &s->export, 1, .has_default = true },
					      .held_bytes = held_bytes };
	assert_int_equal(nbd_server_open(&options, &s->server, NULL), 0);
}

static bool all_are_fetched(struct scene *s)
{
	struct stream_stats stats;
	stream_get_stats(s->stream, &stats);
	return stats.fetched_chunks == N_LARGE - N_LARGE / 3;
}

static void expect_pieces(struct scene *s, int fd)
{
	CLEANUP(freep) uint8_t *piece = malloc(PIECE);
	for (unsigned i = 0; i < N_LARGE; i++) {
		uint8_t head[16];
		get(fd, head, sizeof head);
		get(fd, piece, PIECE);
		assert_int_equal(load_be32(head + 4), 0);
		assert_memory_equal(piece, s->memory.image + (load_be64(head + 8) ^ 0xabcd), PIECE);
	}
}

/* What it takes while they wait, beside what the answers have themselves. */
static size_t bytes_for_answers_that_wait(struct scene *s, size_t held_bytes)
{
	begin_large(s, held_bytes);
	size_t before = anonymous_bytes();
	int fd = client_of(s, NBD_SIMPLE);
	for (uint64_t i = 0; i < N_LARGE; i++)
		ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, i * LARGE_CHUNK + 4711, PIECE);
	assert_true(comes_true(all_are_fetched, s));
	/* The last ones were taken over by the server when it has answered another client. */
	int user = client_of(s, NBD_SIMPLE);
	ask(user, NBD_SIMPLE, NBD_CMD_READ, 0, LARGE_CHUNK, 512);
	expect_read(s, user, NBD_SIMPLE, LARGE_CHUNK, 512);
	stream_shared_trim(s->shared, true);
	size_t after = anonymous_bytes();
	expect_pieces(s, fd);
	close(user);
	close(fd);
	end(s);
	return after > before ? after - before : 0;
}

static void who_takes_nothing_holds_few_chunks(void **state)
{
	struct scene s;
	size_t all = bytes_for_answers_that_wait(&s, (size_t)N_LARGE * LARGE_CHUNK);
	size_t few = bytes_for_answers_that_wait(&s, 8 * LARGE_CHUNK);
	/* The sanitizers have memory of their own beside each. */
	assert_true(few + 16u * LARGE_CHUNK < all);
}

/* All room is taken by those who take nothing; who asks for more than a little is not kept waiting for them. */
static void who_has_nothing_gets_room_from_who_takes_nothing(void **state)
{
	enum { N_GREEDY = 5, LONG = 16 * CHUNK };
	struct scene s;
	int greedy[N_GREEDY];
	begin_with(&s, (struct nbd_server_options){ .send_ms = PATIENCE_MS * 6 / 5 });
	for (unsigned i = 0; i < N_GREEDY; i++) {
		greedy[i] = client_of(&s, NBD_SIMPLE);
		assert_true(flood(greedy[i], NBD_CMD_READ, LONG) > 0);
	}
	int user = client_of(&s, NBD_SIMPLE);
	ask(user, NBD_SIMPLE, NBD_CMD_READ, 0, 0, LONG);
	expect_read(&s, user, NBD_SIMPLE, 0, LONG);
	assert_in_range(nbd_server_n_users(s.server), 2, N_GREEDY);
	for (unsigned i = 0; i < N_GREEDY; i++)
		close(greedy[i]);
	close(user);
	end(&s);
}

static void a_flood_of_errors_is_bounded(void **state)
{
	struct scene s;
	begin_with(&s, (struct nbd_server_options){ .send_ms = 200 });
	int fd = client_of(&s, NBD_STRUCTURED);
	assert_true(flood_to_the_end(fd, 99, 1) < 200000);
	assert_true(comes_true(has_no_user, &s));
	close(fd);
	end(&s);
}

static void who_leaves_takes_its_reads_along(void **state)
{
	struct scene s;
	begin(&s);
	memory_source_hold(&s.memory);
	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		int fd = client_of(&s, styles[i]);
		for (uint64_t n = 0; n < 30; n++)
			ask(fd, styles[i], NBD_CMD_READ, 0, n * CHUNK, 2 * CHUNK);
		close(fd);
	}
	assert_true(comes_true(has_no_user, &s));
	/* Its last answers are dropped before the server ends, without what it waits for. */
	nbd_server_close(s.server);
	memory_source_release(&s.memory);
	s.server = NULL;
	end(&s);
}

static void others_are_served_while_one_waits(void **state)
{
	struct scene s;
	begin(&s);
	memory_source_hold(&s.memory);
	int stuck = client_of(&s, NBD_SIMPLE), user = client_of(&s, NBD_STRUCTURED);
	ask(stuck, NBD_SIMPLE, NBD_CMD_READ, 0, 0, CHUNK);
	for (int i = 0; i < 20; i++) {
		ask(user, NBD_STRUCTURED, NBD_CMD_READ, 0, CHUNK, 512);
		expect_read(&s, user, NBD_STRUCTURED, CHUNK, 512);
	}
	memory_source_release(&s.memory);
	expect_read(&s, stuck, NBD_SIMPLE, 0, CHUNK);
	close(stuck);
	close(user);
	end(&s);
}

static void a_thousand_hagglers_lock_nobody_out(void **state)
{
	enum { MANY = 1200 };
	static int fds[MANY];
	struct rlimit limit;
	struct scene s;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < 2 * MANY + 200)
		skip();
	begin(&s);
	int user = client_of(&s, NBD_SIMPLE);
	for (int i = 0; i < MANY; i++) {
		int pair[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(nbd_server_add_client(s.server, pair[1], NULL), 0);
		fds[i] = pair[0];
	}
	int late = client_of(&s, NBD_SIMPLE);
	assert_true(is_hung_up(fds[0])); /* the oldest makes room */
	ask(late, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512);
	expect_read(&s, late, NBD_SIMPLE, 0, 512);
	ask(user, NBD_SIMPLE, NBD_CMD_READ, 0, 512, 512);
	expect_read(&s, user, NBD_SIMPLE, 512, 512);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	close(late);
	close(user);
	end(&s);
}

/* -- its life -- */

static int listen_anywhere(struct sockaddr_un *ret, socklen_t *ret_len)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A name of the kernel's choice. */
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 10), 0);
	*ret_len = sizeof *ret;
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, ret_len), 0);
	return fd;
}

static void takes_clients_that_come_by_themselves(void **state)
{
	struct scene s;
	struct sockaddr_un address;
	socklen_t len;
	int listen_fd = listen_anywhere(&address, &len);
	begin_with(&s, (struct nbd_server_options){ .listen_fds = &listen_fd, .n_listen_fds = 1 });

	uint8_t greeting[NBD_GREETING_SIZE];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0); /* and waits */
	assert_int_equal(nbd_server_listen(s.server, NULL), 0);
	get(fd, greeting, sizeof greeting);
	put(fd, "\0\0\0\3", 4);
	put_option(fd, NBD_OPT_GO, "\0\0\0\0\0\0", 6);
	assert_int_equal(get_option_answer(fd), NBD_REP_ACK);

	CLEANUP(strv_deinit) struct strv users = STRV_EMPTY;
	char want[64];
	(void) snprintf(want, sizeof want, "process %d (", (int)getpid());
	assert_int_equal(nbd_server_users(s.server, &users, NULL), 0);
	assert_int_equal(users.n, 1);
	assert_memory_equal(users.items[0], want, strlen(want));

	nbd_server_end(s.server);
	int late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct deadline until = deadline_in_ms(PATIENCE_MS);
	while (connect(late, (struct sockaddr *)&address, len) == 0 && !deadline_is_over(until)) {
		close(late);
		late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	assert_int_equal(errno, ECONNREFUSED);
	assert_false(nbd_server_has_ended(s.server)); /* it still has a user */
	ask(fd, NBD_SIMPLE, NBD_CMD_READ, 0, 0, 512);
	expect_read(&s, fd, NBD_SIMPLE, 0, 512);
	close(fd);
	close(late);
	assert_true(comes_true(has_ended, &s));
	end(&s);
}

static void who_waited_for_one_that_never_served_is_hung_up_on(void **state)
{
	struct scene s;
	struct sockaddr_un address;
	socklen_t len;
	int listen_fd = listen_anywhere(&address, &len);
	begin_with(&s, (struct nbd_server_options){ .listen_fds = &listen_fd, .n_listen_fds = 1 });
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	end(&s);
	assert_true(is_hung_up(fd));
	close(fd);
}

static void ends_when_nobody_came_for_long(void **state)
{
	struct scene s;
	begin_with(&s, (struct nbd_server_options){ .idle_ms = 100 });
	int user = client_of(&s, NBD_SIMPLE);
	(void) poll(NULL, 0, 250);
	assert_false(nbd_server_has_ended(s.server));
	int haggler = connect_to(&s);
	close(user);
	(void) poll(NULL, 0, 250);
	assert_false(nbd_server_has_ended(s.server));
	close(haggler);
	struct pollfd wait = { .fd = nbd_server_event_fd(s.server), .events = POLLIN };
	while (!nbd_server_has_ended(s.server)) {
		uint64_t ignored;
		assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
		(void) !read(wait.fd, &ignored, sizeof ignored);
	}
	end(&s);
}

static void close_hangs_up_on_everybody(void **state)
{
	struct scene s;
	begin(&s);
	int haggler = connect_to(&s), user = client_of(&s, NBD_SIMPLE);
	nbd_server_close(s.server);
	s.server = NULL;
	assert_true(is_hung_up(haggler));
	assert_true(is_hung_up(user));
	close(haggler);
	close(user);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_any_range_in_every_style),
		TEST(zeros_travel_as_a_hole),
		TEST(a_read_longer_than_the_layers_below_take),
		TEST(what_is_there_overtakes_what_is_not),
		TEST(damage_fails_only_what_touches_it),
		TEST(a_read_ends_at_its_deadline),
		TEST(block_status_tells_zeros_from_data),
		TEST(who_asks_for_much_status_lets_others_have_their_turn),
		TEST(a_cache_request_fetches_and_says_so),
		TEST(a_write_is_refused_and_its_data_passed_over),
		TEST(a_goodbye_comes_after_the_answers),
		TEST(hangs_up_on_what_is_not_nbd),
		TEST(takes_one_byte_at_a_time),
		TEST(passes_over_an_option_too_long),
		TEST(who_does_not_say_what_it_wants_is_hung_up_on),
		TEST(who_takes_nothing_is_not_heard_and_then_hung_up_on),
		TEST(who_takes_nothing_holds_few_chunks),
		TEST(who_has_nothing_gets_room_from_who_takes_nothing),
		TEST(a_flood_of_errors_is_bounded),
		TEST(who_leaves_takes_its_reads_along),
		TEST(others_are_served_while_one_waits),
		TEST(a_thousand_hagglers_lock_nobody_out),
		TEST(takes_clients_that_come_by_themselves),
		TEST(who_waited_for_one_that_never_served_is_hung_up_on),
		TEST(ends_when_nobody_came_for_long),
		TEST(close_hangs_up_on_everybody),
	};
	return RUN_TESTS(tests);
}
