// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reservations, which are leases without an end, by flannel's API.
#include "controller/v1_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

static void done(struct v1_request *request)
{
	http_answer_text(request->exchange, 200, V1_TYPE_JSON, "");
	v1_request_end(request);
}

// A key that was tied to a session is not any more; where a session is nothing but its key's time there is none left.
static void close_session(struct v1_request *request, int64_t session)
{
	if (!(kv_limits(request->v1->controller->kv) & KV_LIMIT_KEY_SESSIONS))
		registry_close_session(request->network->registry, session);
}

static void retry(struct v1_request *request, const struct lease *lease)
{
	if (request->tries + 1 < V1_TRIES)
		v1_request_retry(request, lease ? lease->mod_revision : 0);
	else
		v1_request_fail(request, "subnet: no more tries");
}

// ---- add ----

static void on_reserved(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct v1_request *request = arg;

	if (r == 0) {
		v1_note_written(request->v1, lease->mod_revision);
		close_session(request, request->session);
		done(request);
	} else if (r == -EEXIST || r == -ESTALE || r == -ENOENT || r == -EBUSY) {
		retry(request, lease);
	} else {
		v1_request_fail(request, err_msg(e));
	}
}

// What is there is its owner's, and has an end.
static void untie(struct v1_request *request)
{
	request->session = request->lease.session;
	request->lease.session = 0;
	registry_lease_update(request->network->registry, &request->lease, &request->lease.attrs,
			      on_reserved, request);
}

// Of another length than its own.
static bool overlaps_another(const struct v1_request *request)
{
	const struct v1_network *network = request->network;
	const struct pair_set *pairs = mirror_pairs(request->v1->controller->mirror);
	size_t len = strlen(network->leases_prefix);
	struct pair_position position = pair_set_seek(pairs, network->leases_prefix, len);
	const struct pair *pair;
	struct subnet subnet;

	while ((pair = pair_set_next(pairs, &position)) &&
	       pair_starts_with(pair, network->leases_prefix, len))
		if (v1_pair_subnet(network, pair, &subnet) &&
		    ipnet_overlaps(&subnet.v4, &request->subnet))
			return true;
	return false;
}

static void reserve_found(struct v1_request *request, const struct pair *pair)
{
	if (!v1_pair_lease(request->network, pair, &request->lease) ||
	    !ip_equal(&request->lease.attrs.public_ip, &request->attrs.public_ip))
		v1_request_fail(request, "subnet: lease already taken");
	else if (request->lease.session == 0)
		done(request);
	else
		untie(request);
}

void v1_serve_reserve(struct v1_request *request)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->subnet);
	const struct pair *pair = v1_find(request->v1, key);

	request->again = v1_serve_reserve;
	if (!v1_read_config(request, &conf))
		return;
	if (request->subnet.len != conf.v4.subnet_len ||
	    !ipnet_overlaps(&request->subnet, &conf.v4.network))
		v1_request_fail(request,
				"reserved subnet is not one of the network's, or of another length");
	else if (pair)
		reserve_found(request, pair);
	else if (overlaps_another(request))
		v1_request_fail(request, "subnet: lease already taken");
	else
		v1_request_create(request, -1, on_reserved);
}

// ---- remove: from now on it has an end ----

static void on_unreserved(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct v1_request *request = arg;

	if (r == 0) {
		v1_note_written(request->v1, lease->mod_revision);
		done(request);
		return;
	}
	registry_close_session(request->network->registry, request->session);
	if (r == -ESTALE)
		retry(request, lease);
	else
		v1_request_fail(request, err_msg(e));
}

static void on_session(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct v1_request *request = arg;

	(void)ttl_s;
	if (r < 0) {
		registry_close_session(request->network->registry, session);
		v1_request_fail(request, err_msg(e));
		return;
	}
	request->session = session;
	request->lease.session = session;
	registry_lease_update(request->network->registry, &request->lease, &request->lease.attrs,
			      on_unreserved, request);
}

void v1_serve_unreserve(struct v1_request *request)
{
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->subnet);
	const struct pair *pair = v1_find(request->v1, key);

	request->again = v1_serve_unreserve;
	if (!pair || !v1_pair_lease(request->network, pair, &request->lease))
		v1_request_not_found(request, key);
	else if (request->lease.session != 0)
		done(request);
	else
		kv_session_open(request->v1->controller->kv, LEASE_TTL_S, on_session, request);
}
