// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the Internet checksum, by the widest instructions that the machine has.
#include "udp/checksum.h"

#include "core/mem.h"

#include <stdbool.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static uint64_t add_tail(uint64_t sum, const uint8_t *at, size_t len)
{
	uint64_t word = 0;
	memcpy(&word, at, len);
	return sum + (word & 0xffffffff) + (word >> 32);
}

// 32-bit halves in 64-bit sums: no carry gets lost below 2^31 words.
static uint64_t add_plain(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64_t low = 0, high = 0;
	for (; len >= 16; at += 16, len -= 16) {
		uint64_t words[2];
		memcpy(words, at, sizeof(words));
		low += (words[0] & 0xffffffff) + (words[1] & 0xffffffff);
		high += (words[0] >> 32) + (words[1] >> 32);
	}
	sum += low + high;
	if (len >= 8) {
		sum = add_tail(sum, at, 8);
		at += 8;
		len -= 8;
	}
	return len > 0 ? add_tail(sum, at, len) : sum;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t add_avx2(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *at = data;
	const __m256i mask = _mm256_set1_epi64x(0xffffffff);
	__m256i low[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
	__m256i high[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
	for (; len >= 64; at += 64, len -= 64) {
		__m256i a = _mm256_loadu_si256((const __m256i_u *)(const void *)at);
		__m256i b = _mm256_loadu_si256((const __m256i_u *)(const void *)(at + 32));
		low[0] = _mm256_add_epi64(low[0], _mm256_and_si256(a, mask));
		high[0] = _mm256_add_epi64(high[0], _mm256_srli_epi64(a, 32));
		low[1] = _mm256_add_epi64(low[1], _mm256_and_si256(b, mask));
		high[1] = _mm256_add_epi64(high[1], _mm256_srli_epi64(b, 32));
	}
	uint64_t lanes[4];
	__m256i all = _mm256_add_epi64(_mm256_add_epi64(low[0], low[1]),
				       _mm256_add_epi64(high[0], high[1]));
	_mm256_storeu_si256((__m256i_u *)(void *)lanes, all);
	return add_plain(sum + lanes[0] + lanes[1] + lanes[2] + lanes[3], at, len);
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#elif defined(__aarch64__)
static uint64_t add_neon(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64x2_t a = vdupq_n_u64(0), b = vdupq_n_u64(0);
	for (; len >= 32; at += 32, len -= 32) {
		a = vpadalq_u32(a, vreinterpretq_u32_u8(vld1q_u8(at)));
		b = vpadalq_u32(b, vreinterpretq_u32_u8(vld1q_u8(at + 16)));
	}
	return add_plain(sum + vaddvq_u64(vaddq_u64(a, b)), at, len);
}
#endif

static const struct checksum_method methods[] = {
#if defined(__x86_64__)
	{ "avx2", add_avx2 },
#elif defined(__aarch64__)
	{ "neon", add_neon },
#endif
	{ "plain", add_plain },
};

const struct checksum_method *checksum_method_at(size_t index)
{
#if defined(__x86_64__)
	index += !has_avx2();
#endif
	return index < ARRAY_SIZE(methods) ? &methods[index] : NULL;
}

static uint64_t add_first(uint64_t sum, const void *data, size_t len);
static uint64_t (*add_best)(uint64_t sum, const void *data, size_t len) = add_first;

// The first call chooses; each thread that comes at the same time chooses the same.
static uint64_t add_first(uint64_t sum, const void *data, size_t len)
{
	__atomic_store_n(&add_best, checksum_method_at(0)->add, __ATOMIC_RELAXED);
	return checksum_method_at(0)->add(sum, data, len);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	// Headers: not worth an indirect call.
	if (len < 64)
		return add_plain(sum, data, len);
	return __atomic_load_n(&add_best, __ATOMIC_RELAXED)(sum, data, len);
}
