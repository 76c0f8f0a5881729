// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what stores over HTTP have in common: their servers, and the way of a call from one to the next.
//
// DOC: life of a call
//
//   SEND to an endpoint -> answer -> done
//    ^                       |
//    +-- lost, or refused ---+   to one not yet tried, else done
//
// A call moves on only if the request surely was not done, or may be done twice. Each endpoint is tried once.
#pragma once

#include "io/http_client.h"
#include "store/endpoint_set.h"
#include "store/kv_internal.h"

// What such a store begins with.
struct kv_http {
	struct kv base;
	struct http_client *client;
	struct endpoint_set endpoints;
	uint32_t request_timeout_ms;
	uint32_t dead_man_ms;
	struct kv_http_call *calls;
};

int kv_http_open(struct kv_http *store, const struct store_config *config, struct err *e);
void kv_http_close(struct kv_http *store); // after a failed open as well
// The same for any such store, as kv_ops has them.
const char *kv_http_endpoint(const struct kv *kv);
void kv_http_reconnect(struct kv *kv);

// Counts it. A request without connect_timeout_ms gets that of the endpoints.
struct http_call *kv_http_start(struct kv_http *store, struct http_request *request);

// ---- calls ----
// What a call begins with.
struct kv_http_call {
	struct kv_http *store;
	struct kv_http_call *previous;
	struct kv_http_call *next;
	void (*free)(struct kv_http_call *call); // the memory, and what it owns beyond this
	bool once;				 // it must not be done twice
	struct http_call *http;			 // NULL: nothing is under way
	size_t endpoint;
	uint64_t tried;
	size_t taken;	// elements of its answer that were handed on: what was cannot be taken back
	struct err err; // of the last endpoint tried
};

void kv_http_call_begin(struct kv_http_call *call, struct kv_http *store, bool once,
			void (*free)(struct kv_http_call *call)); // call is zero
void kv_http_call_send(struct kv_http_call *call, struct http_request *request);
const char *kv_http_call_url(const struct kv_http_call *call); // of the endpoint
void kv_http_call_works(struct kv_http_call *call);	       // the endpoint does
// The endpoint failed, call->err says why. True: another one is to be asked. False: it is to end with call->err, which is
// -EINPROGRESS for what may have been done and is not to be done twice.
bool kv_http_call_moves_on(struct kv_http_call *call, bool may_be_done);
// Before its caller hears of it; its memory is left.
void kv_http_call_end(struct kv_http_call *call);
// Without calling back. NULL is fine; returns NULL.
struct kv_http_call *kv_http_call_cancel(struct kv_http_call *call);
