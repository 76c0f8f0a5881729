// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: hash functions: SipHash-2-4 with a key of this process, and a stable one.
#include "core/hash.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static uint64_t process_key[2];

static void key_choose(void)
{
	const void *seed;

	// Never wait for entropy at boot; the kernel gave every process 16 bytes at exec.
	if (getrandom(process_key, sizeof(process_key), GRND_NONBLOCK) == (ssize_t)sizeof(process_key))
		return;
	seed = (const void *)getauxval(AT_RANDOM);
	if (seed)
		memcpy(process_key, seed, sizeof(process_key));
}

static uint64_t rotate_left(uint64_t value, unsigned int bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void sip_round(uint64_t v[static 4])
{
	v[0] += v[1];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[0] = rotate_left(v[0], 32);
	v[2] += v[3];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[2] = rotate_left(v[2], 32);
}

static void sip_word(uint64_t v[static 4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

uint64_t hash_siphash(const uint64_t key[static 2], const void *data, size_t len)
{
	uint64_t v[4] = {
		key[0] ^ 0x736f6d6570736575,
		key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261,
		key[1] ^ 0x7465646279746573,
	};
	const unsigned char *byte = data;
	uint64_t word, last = (uint64_t)len << 56;
	size_t whole = len - len % 8;

	for (size_t i = 0; i < whole; i += 8) {
		memcpy(&word, byte + i, 8);
		sip_word(v, le64toh(word));
	}
	for (size_t i = whole; i < len; i++)
		last |= (uint64_t)byte[i] << (8 * (i - whole));
	sip_word(v, last);
	v[2] ^= 0xff;
	for (unsigned int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_bytes(const void *data, size_t len)
{
	(void)pthread_once(&key_once, key_choose);
	return hash_siphash(process_key, data, len);
}

uint64_t hash_stable(const void *data, size_t len)
{
	const unsigned char *byte = data;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ byte[i]) * 0x100000001b3;
	// FNV alone leaves the high bits of short inputs nearly alike.
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53;
	return hash ^ hash >> 33;
}
