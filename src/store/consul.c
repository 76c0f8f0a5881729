// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a client of Consul: opening, closing, and the one way of its pairs to the caller.
#include "store/consul.h"

#include "core/mem.h"
#include "store/consul_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

// ---- what was handed on ----

int consul_complete_pair(struct consul *consul, struct consul_pair *pair, struct err *e)
{
	pair->pair.session = consul_session_number(consul->sessions, pair->session);
	return consul_decode_value(pair, e);
}

static void note_in(struct consul_known *known, const char *key, size_t len, int64_t revision)
{
	if (known && consul_known_has_prefix(known, key, len))
		(void)consul_known_add(known, key, len, revision);
}

void consul_note(struct consul *consul, const char *key, size_t len, int64_t revision)
{
	const struct consul_watch *watch;
	size_t i;

	for (i = 0; i < KV_WATCH_PREFIXES_MAX; i++)
		note_in(consul->ranges[i], key, len, revision);
	for (watch = consul->watches; watch; watch = watch->next)
		for (i = 0; i < watch->part_count; i++)
			note_in(watch->parts[i].known, key, len, revision);
}

// ---- open and close ----

static struct consul *consul_of(const struct kv *kv)
{
	assert(kv->ops == &consul_ops);
	return (struct consul *)kv;
}

static int set_token(struct consul *consul, const char *token, struct err *e)
{
	if (!token || token[0] == '\0')
		return 0;
	// What goes into a header must not end it.
	if (strpbrk(token, "\r\n"))
		return err_set(e, -EINVAL, "the token has a line break");
	consul->token = xasprintf("X-Consul-Token: %s", token);
	return 0;
}

static int consul_open(struct kv *kv, const struct store_config *config, struct err *e)
{
	struct consul *consul = consul_of(kv);
	int r;

	consul->sessions = consul_sessions_new();
	r = set_token(consul, config->token, e);
	if (r == 0)
		r = kv_http_open(&consul->http, config, e);
	return r < 0 ? err_wrap(e, "consul") : 0;
}

static void consul_close(struct kv *kv)
{
	struct consul *consul = consul_of(kv);
	size_t i;

	kv_http_close(&consul->http);
	consul_late_drop(consul);
	for (i = 0; i < KV_WATCH_PREFIXES_MAX; i++)
		consul_known_free(consul->ranges[i]);
	consul_sessions_free(consul->sessions);
	secret_text_free(consul->token);
}

const struct kv_ops consul_ops = {
	.kind = "consul",
	.txn_max = CONSUL_TXN_MAX,
	.limits = KV_LIMIT_TEXT_KEYS | KV_LIMIT_HISTORY,
	.size = sizeof(struct consul),
	.watch_size = sizeof(struct consul_watch),
	.open = consul_open,
	.close = consul_close,
	.range = consul_range,
	.txn = consul_txn,
	.session_open = consul_session_open,
	.session_keep_alive = consul_session_keep_alive,
	.session_query = consul_session_query,
	.session_close = consul_session_close,
	.watch = consul_watch_start,
	.watch_free = consul_watch_end,
	.endpoint = kv_http_endpoint,
	.reconnect = kv_http_reconnect,
};
