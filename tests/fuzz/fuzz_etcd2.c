// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what reads etcd's v2 answers, which must not depend on how the bytes arrive.
#include "fuzz.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "store/etcd2_json.h"

#include <errno.h>

static int told(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct strbuf *out = arg;

	must(node->key && node->key[node->key_len] == '\0' && node->key_len <= ETCD2_KEY_MAX);
	must(!node->value || node->value[node->value_len] == '\0');
	must(node->modified_index >= 0 && node->created_index >= 0 && node->ttl_s >= 0);
	strbuf_add(out, node->key, node->key_len + 1);
	if (node->value)
		strbuf_add(out, node->value, node->value_len + 1);
	strbuf_printf(out, "%s %d %d %d %lld %lld %lld\n", so_far->action, node->has_ttl,
		      node->is_dir, node->is_previous, (long long)node->ttl_s,
		      (long long)node->modified_index, (long long)node->created_index);
	return 0;
}

static int run(const uint8_t *data, size_t size, size_t step, struct strbuf *out)
{
	struct etcd2_reader *reader = etcd2_reader_new(told, out);
	struct etcd2_reply reply;
	struct err e = { 0 };
	size_t at;
	int r = 0;

	for (at = 0; r == 0 && at < size; at += step) {
		size_t len = step < size - at ? step : size - at;
		_cleanup_free_ char *piece = xmemdup(data + at, len);

		r = etcd2_reader_feed(reader, piece, len, &e);
	}
	if (r == 0)
		r = etcd2_reader_end(reader, &reply, &e);
	must(r == 0 || ((r == -EPROTO || r == -ENODATA) && e.code == r && e.msg[0] != '\0'));
	if (r == 0)
		strbuf_printf(out, "%s|%s|%s|%lld", reply.action, reply.message, reply.cause,
			      (long long)reply.error_code);
	etcd2_reader_free(reader);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf whole = STRBUF_INIT(SIZE_MAX);
	_cleanup_json_ json_t *json = NULL;
	size_t step;
	int r;

	if (size > 4096)
		return 0;
	r = run(data, size, size + 1, &whole);
	for (step = 1; step < 8; step += 3) {
		struct strbuf pieces = STRBUF_INIT(SIZE_MAX);

		must(run(data, size, step, &pieces) == r);
		must(whole.len == pieces.len &&
		     (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
		strbuf_free(&pieces);
	}
	// What the JSON parser finds well-formed has brackets that match.
	if (size > 0 && json_read((const char *)data, size, 4096, &json, NULL) == 0 &&
	    json_is_array(json))
		must(r == -EPROTO);
	strbuf_free(&whole);
	return 0;
}
