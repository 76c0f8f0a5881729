// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the "decoding" figure of the benchmarks: how long it takes to make leases of etcd's answer to a range of them, and nothing else.
//
// Usage: bench_decode FILE. FILE is the answer's body.

#include "core/json_stream.h"
#include "core/lease.h"
#include "core/mem.h"
#include "io/file.h"
#include "store/etcd3_json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define BODY_MAX ((size_t)256 * 1024 * 1024)
#define PIECE_BYTES 16384 // as they come from a socket

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int take_pair(void *arg, const char *text, size_t len)
{
	size_t *count = arg;
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	struct lease_attrs attrs = { 0 };
	struct subnet subnet;
	const char *key;
	int r = etcd3_read_pair(text, len, &pair, NULL);

	if (r < 0)
		return r;
	key = strrchr(pair.pair.key, '/');
	if (key && subnet_parse_key(key + 1, strlen(key + 1), &subnet, NULL) == 0 &&
	    lease_attrs_parse(pair.pair.value, pair.pair.value_len, &attrs, NULL) == 0)
		(*count)++;
	lease_attrs_free(&attrs);
	return 0;
}

static size_t decode(const char *body, size_t len)
{
	size_t count = 0;
	struct json_stream *stream =
		json_stream_new("kvs", ETCD3_ELEMENT_MAX, ETCD3_ANSWER_MAX, take_pair, &count);
	int r = 0;

	for (size_t at = 0; r == 0 && at < len; at += PIECE_BYTES)
		r = json_stream_feed(stream, body + at,
				     len - at < PIECE_BYTES ? len - at : PIECE_BYTES, NULL);
	json_stream_free(stream);
	return r < 0 ? 0 : count;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *body = NULL;
	size_t len = 0, count;
	double begin;
	struct err e;

	if (argc != 2) {
		(void)fputs("usage: bench_decode FILE\n", stderr);
		return 2;
	}
	if (file_read(argv[1], BODY_MAX, &body, &len, &e) < 0) {
		(void)fprintf(stderr, "bench_decode: %s\n", e.msg);
		return 1;
	}
	begin = now_ms();
	count = decode(body, len);
	printf("%zu leases in %.2f ms\n", count, now_ms() - begin);
	return count > 0 ? 0 : 1;
}
