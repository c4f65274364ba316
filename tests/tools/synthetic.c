/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every block of 4 KiB is made from its own number, so that any thread can make any part, and the
 * size of the chunks does not matter.  Compressible blocks look to zstd like a database or a
 * system disk does: words that come again, some much more often than others, between bytes that
 * do not; level 1 leaves less than half of them, at about the speed of real images.
 */
#include "synthetic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"

#define N_WORDS	  2048u /* in three classes, see pick_word */
#define WORD_MAX  24u
#define BLOCK_SALT UINT64_C(0x243f6a8885a308d3)

/* splitmix64: one multiplication chain a word, good enough to be incompressible */
static uint64_t mix(uint64_t v)
{
	v += UINT64_C(0x9e3779b97f4a7c15);
	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	return v ^ v >> 31;
}

static void fill_random(uint64_t block, uint8_t *ret, size_t len)
{
	uint64_t seed = mix(block ^ BLOCK_SALT);
	for (size_t pos = 0; pos < len; pos += 8) {
		uint64_t v = mix(seed + pos);
		memcpy(ret + pos, &v, min_size(8, len - pos));
	}
}

/* Half of all words come from the 32 most common ones, a quarter from the next 224. */
static uint64_t pick_word(uint64_t r)
{
	static const uint32_t class_mask[4] = { 31, 31, 255, N_WORDS - 1 };
	return r >> 8 & class_mask[r & 3];
}

static size_t write_word(uint64_t word, uint8_t *ret)
{
	uint64_t letters[WORD_MAX / 8];
	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		letters[i] = mix(word * 8 + i);
	memcpy(ret, letters, sizeof letters);
	return 6 + (letters[0] >> 8 & 15);
}

static void fill_compressible(uint64_t block, uint8_t *ret, size_t len)
{
	uint8_t made[SYNTHETIC_BLOCK + WORD_MAX + 8];
	uint64_t seed = mix(block ^ BLOCK_SALT);
	for (size_t pos = 0; pos < len;) {
		uint64_t r = mix(seed + pos);
		pos += write_word(pick_word(r), made + pos);
		memcpy(made + pos, &r, 8);
		pos += r >> 32 & 7;
	}
	memcpy(ret, made, len);
}

void synthetic_fill(enum synthetic_kind kind, uint64_t off, uint8_t *ret, size_t len)
{
	if (kind == SYNTHETIC_ZERO) {
		memset(ret, 0, len);
		return;
	}
	for (size_t pos = 0; pos < len; pos += SYNTHETIC_BLOCK) {
		uint64_t block = (off + pos) / SYNTHETIC_BLOCK;
		size_t n = min_size(SYNTHETIC_BLOCK, len - pos);
		if (kind == SYNTHETIC_RANDOM)
			fill_random(block, ret + pos, n);
		else
			fill_compressible(block, ret + pos, n);
	}
}

/* The digits and the letter of a size; *ret_end is what is behind them. */
static int parse_size_prefix(const char *text, uint64_t *ret, const char **ret_end)
{
	static const char units[] = "KMGT";
	char *end = NULL;
	errno = 0;
	uint64_t n = strtoull(text, &end, 10);
	if (errno || end == text || *text < '0' || *text > '9')
		return -EINVAL;
	const char *unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);
		if (n > UINT64_MAX >> shift)
			return -EINVAL;
		n <<= shift;
		end++;
	}
	*ret = n;
	*ret_end = end;
	return 0;
}

int size_parse(const char *text, uint64_t *ret, struct err *err)
{
	uint64_t size = 0;
	const char *end = text;
	if (parse_size_prefix(text, &size, &end) < 0 || *end)
		return err_set(err, -EINVAL, "not a size: %s", text);
	*ret = size;
	return 0;
}

int synthetic_parse(const char *text, struct synthetic *ret, struct err *err)
{
	static const struct {
		const char *name;
		enum synthetic_kind kind;
	} kinds[] = {
		{ "", SYNTHETIC_COMPRESSIBLE },
		{ ":compressible", SYNTHETIC_COMPRESSIBLE },
		{ ":random", SYNTHETIC_RANDOM },
		{ ":zero", SYNTHETIC_ZERO },
	};
	uint64_t size = 0;
	const char *end = text;
	if (parse_size_prefix(text, &size, &end) == 0 && size > 0) {
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			if (strcmp(end, kinds[i].name) != 0)
				continue;
			*ret = (struct synthetic){ .kind = kinds[i].kind, .size = size };
			return 0;
		}
	}
	return err_set(err, -EINVAL, "not SIZE[:compressible|random|zero]: %s", text);
}
