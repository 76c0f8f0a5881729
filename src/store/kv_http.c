// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the servers of a store over HTTP, and its calls.
#include "store/kv_http.h"

#include "core/log.h"

#include <errno.h>

int kv_http_open(struct kv_http *store, const struct store_config *config, struct err *e)
{
	const struct http_client_config http = {
		.ca_file = config->ca_file,
		.cert_file = config->cert_file,
		.key_file = config->key_file,
		.pin = config->pin,
		.user_agent = "weft/" WEFT_VERSION,
	};
	int r = endpoint_set_open(&store->endpoints, config, e);

	store->request_timeout_ms = config->request_timeout_ms;
	store->dead_man_ms = config->dead_man_ms;
	return r < 0 ? r : http_client_new(store->base.loop, &http, &store->client, e);
}

void kv_http_close(struct kv_http *store)
{
	while (store->calls)
		kv_http_call_cancel(store->calls);
	http_client_free(store->client);
	endpoint_set_free(&store->endpoints);
}

const char *kv_http_endpoint(const struct kv *kv)
{
	return endpoint_set_url(&((const struct kv_http *)kv)->endpoints);
}

void kv_http_reconnect(struct kv *kv)
{
	http_client_disconnect(((struct kv_http *)kv)->client);
}

struct http_call *kv_http_start(struct kv_http *store, struct http_request *request)
{
	if (request->connect_timeout_ms == 0)
		request->connect_timeout_ms = store->endpoints.connect_timeout_ms;
	store->base.stats.requests++;
	return http_call_start(store->client, request);
}

// ---- calls ----

void kv_http_call_begin(struct kv_http_call *call, struct kv_http *store, bool once,
			void (*free)(struct kv_http_call *call))
{
	call->store = store;
	call->once = once;
	call->free = free;
	call->next = store->calls;
	if (call->next)
		call->next->previous = call;
	store->calls = call;
}

void kv_http_call_send(struct kv_http_call *call, struct http_request *request)
{
	request->once = call->once;
	call->http = kv_http_start(call->store, request);
}

const char *kv_http_call_url(const struct kv_http_call *call)
{
	return call->store->endpoints.items[call->endpoint].url;
}

void kv_http_call_works(struct kv_http_call *call)
{
	endpoint_set_works(&call->store->endpoints, call->endpoint);
}

bool kv_http_call_moves_on(struct kv_http_call *call, bool may_be_done)
{
	struct endpoint_set *endpoints = &call->store->endpoints;

	endpoint_set_failed(endpoints, call->endpoint);
	call->tried |= (uint64_t)1 << call->endpoint;
	if (may_be_done && call->once) {
		call->err.code = -EINPROGRESS;
		return false;
	}
	if (call->taken > 0 || endpoint_set_pick(endpoints, call->tried) == SIZE_MAX)
		return false;
	log_debug("%s: %s; trying another endpoint", call->store->base.ops->kind, err_msg(&call->err));
	return true;
}

void kv_http_call_end(struct kv_http_call *call)
{
	if (call->previous)
		call->previous->next = call->next;
	else
		call->store->calls = call->next;
	if (call->next)
		call->next->previous = call->previous;
}

struct kv_http_call *kv_http_call_cancel(struct kv_http_call *call)
{
	if (!call)
		return NULL;
	if (call->http)
		http_call_cancel(call->http);
	kv_http_call_end(call);
	call->free(call);
	return NULL;
}
