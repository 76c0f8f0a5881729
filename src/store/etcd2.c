// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the etcd v2 store as kv.c sees it: opening, closing, and which part does what.
#include "store/etcd2.h"

#include "core/base64.h"
#include "core/mem.h"
#include "store/etcd2_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static struct etcd2 *etcd2_of(const struct kv *kv)
{
	assert(kv->ops == &etcd2_ops);
	return (struct etcd2 *)kv;
}

static void range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
		  kv_range_done_fn *done, void *arg)
{
	etcd2_range(etcd2_of(kv), key, is_prefix, each, done, arg);
}

static void txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
		void *arg)
{
	etcd2_txn(etcd2_of(kv), txn, each, done, arg);
}

static void session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	etcd2_session_open(etcd2_of(kv), ttl_s, done, arg);
}

static void session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	etcd2_session_keep_alive(etcd2_of(kv), session, done, arg);
}

static void session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	etcd2_session_query(etcd2_of(kv), session, done, arg);
}

static void session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	etcd2_session_close(etcd2_of(kv), session, done, arg);
}

// ---- open and close ----

// v2 takes basic authentication, with each request.
static int set_authorization(struct etcd2 *etcd, const struct store_config *config, struct err *e)
{
	char *both;
	char *encoded;

	if (!config->username || !config->username[0])
		return 0;
	if (strchr(config->username, ':'))
		return err_set(e, -EINVAL, "a user name with a colon in it");
	both = xasprintf("%s:%s", config->username, config->password ? config->password : "");
	encoded = base64_encode_new(both, strlen(both));
	etcd->authorization = xasprintf("Authorization: Basic %s", encoded);
	secret_text_free(both);
	secret_text_free(encoded);
	return 0;
}

static int etcd2_open(struct kv *kv, const struct store_config *config, struct err *e)
{
	struct etcd2 *etcd = etcd2_of(kv);
	int r;

	etcd->sessions = etcd2_sessions_new();
	r = set_authorization(etcd, config, e);
	if (r == 0)
		r = kv_http_open(&etcd->http, config, e);
	return r < 0 ? err_wrap(e, "etcd") : 0;
}

static void etcd2_close(struct kv *kv)
{
	struct etcd2 *etcd = etcd2_of(kv);

	kv_http_close(&etcd->http);
	secret_text_free(etcd->authorization);
	etcd2_sessions_free(etcd->sessions);
}

const struct kv_ops etcd2_ops = {
	.kind = "etcd2",
	.txn_max = 1,
	.limits = KV_LIMIT_PATHS | KV_LIMIT_TEXT | KV_LIMIT_KEY_SESSIONS,
	.size = sizeof(struct etcd2),
	.watch_size = sizeof(struct etcd2_watch),
	.open = etcd2_open,
	.close = etcd2_close,
	.range = range,
	.txn = txn,
	.session_open = session_open,
	.session_keep_alive = session_keep_alive,
	.session_query = session_query,
	.session_close = session_close,
	.watch = etcd2_watch_start,
	.watch_free = etcd2_watch_end,
	.endpoint = kv_http_endpoint,
	.reconnect = kv_http_reconnect,
};
