// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the life of a request of flannel's API: its waiting for the mirror, and its end.
#include "controller/v1_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define TICK_MS 500
#define WAIT_MS 4000 // as ranges of the controller's own API wait

struct v1_request *v1_request_new(struct v1 *v1, struct http_exchange *exchange,
				  struct v1_network *network)
{
	struct v1_request *request = xnew(struct v1_request);

	request->v1 = v1;
	request->exchange = exchange;
	request->network = network;
	request->revision = v1->controller->written; // who wrote sees it
	request->next = v1->requests;
	if (request->next)
		request->next->previous = request;
	v1->requests = request;
	return request;
}

static void request_free(struct v1_request *request)
{
	kv_forget(request->v1->controller->kv, request);
	v1_network_put(request->network);
	lease_attrs_free(&request->attrs);
	lease_free(&request->lease);
	free(request->gone_key);
	free(request);
}

void v1_request_create(struct v1_request *request, int64_t ttl_s, registry_lease_fn *fn)
{
	const struct subnet subnet = { .v4 = request->subnet };
	const struct registry_create_terms terms = { .ttl_s = ttl_s,
						     .config_revision = request->config_revision };

	registry_lease_create(request->network->registry, &subnet, &request->attrs, &terms, fn,
			      request);
}

void v1_request_end(struct v1_request *request)
{
	struct v1 *v1 = request->v1;

	if (request->previous)
		request->previous->next = request->next;
	else
		v1->requests = request->next;
	if (request->next)
		request->next->previous = request->previous;
	if (request->is_acquire) // another one of the same host may go on
		timer_start(v1->wake, 0);
	request_free(request);
}

void v1_requests_end(struct v1 *v1)
{
	while (v1->requests) {
		struct v1_request *request = v1->requests;

		v1->requests = request->next;
		request_free(request);
	}
}

void v1_request_fail(struct v1_request *request, const char *text)
{
	v1_answer_error(request->exchange, text);
	v1_request_end(request);
}

void v1_request_not_found(struct v1_request *request, const char *key)
{
	_cleanup_free_ char *text = xasprintf("100: Key not found (%s)", key);

	v1_request_fail(request, text);
}

void v1_note_written(struct v1 *v1, int64_t revision)
{
	if (v1->controller->written < revision)
		v1->controller->written = revision;
}

// ---- waiting ----

static bool is_still_there(const struct v1_request *request)
{
	const struct pair *pair = request->gone_key ? v1_find(request->v1, request->gone_key) : NULL;

	return pair && pair->mod_revision == request->gone_revision;
}

// Two requests of one host at once would get two leases. The list has the newer ones first.
static bool has_predecessor(const struct v1_request *request)
{
	if (!request->is_acquire)
		return false;
	for (const struct v1_request *other = request->next; other; other = other->next)
		if (other->is_acquire && other->network == request->network &&
		    ip_equal(&other->attrs.public_ip, &request->attrs.public_ip))
			return true;
	return false;
}

static bool is_ready(const struct v1_request *request)
{
	const struct mirror *mirror = request->v1->controller->mirror;

	return mirror_is_up(mirror, NULL) && mirror_header(mirror).revision >= request->revision &&
	       !is_still_there(request) && !has_predecessor(request);
}

static void run(struct v1_request *request)
{
	v1_step_fn *step = request->step;

	request->step = NULL;
	step(request);
}

void v1_request_wait(struct v1_request *request, v1_step_fn *step)
{
	request->step = step;
	request->until_ms = loop_now_ms() + WAIT_MS;
	if (is_ready(request))
		run(request);
	else
		v1_tick_soon(request->v1);
}

void v1_request_retry(struct v1_request *request, int64_t revision)
{
	if (++request->tries >= V1_TRIES) {
		v1_request_fail(request, "Max retries reached trying to acquire a subnet");
		return;
	}
	if (request->revision < revision)
		request->revision = revision;
	lease_free(&request->lease);
	v1_request_wait(request, request->again);
}

void v1_request_await_gone(struct v1_request *request, const struct pair *pair)
{
	free(request->gone_key);
	request->gone_key = xstrndup(pair->bytes, pair->key_len);
	request->gone_revision = pair->mod_revision;
}

void v1_requests_go_on(struct v1 *v1)
{
	struct v1_request *next;

	for (struct v1_request *request = v1->requests; request; request = next) {
		next = request->next;
		if (request->step && is_ready(request))
			run(request);
	}
}

static void give_up(struct v1_request *request)
{
	const struct err *why;

	request->step = NULL;
	if (!mirror_is_up(request->v1->controller->mirror, &why))
		v1_request_fail(request, err_msg(why));
	else if (request->late)
		request->late(request);
	else
		v1_request_fail(request, has_predecessor(request)
						 ? "another request of this host is under way"
						 : "the store's watch lags behind");
}

void v1_requests_tick(struct v1 *v1)
{
	uint64_t now_ms = loop_now_ms();
	struct v1_request *next;

	for (struct v1_request *request = v1->requests; request; request = next) {
		next = request->next;
		if (request->step && request->until_ms <= now_ms)
			give_up(request);
	}
}

void v1_tick_soon(struct v1 *v1)
{
	if (!timer_is_pending(v1->tick))
		timer_start(v1->tick, TICK_MS);
}
