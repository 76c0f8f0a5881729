// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what flannel's API writes of leases: acquire, renew, revoke.
//
// DOC: whose lease is it
//
// flannel's rule, for its clients have no other: whoever says the same public address. One who acquires gets the
// first lease with its address, if that fits the config, and it is deleted if not; else a new one. What flannel
// writes whatever is there (a renewal above all) is compared here: a lease that went to another host meanwhile is
// not written over, and the client is told so.
#include "controller/v1_internal.h"

#include "core/mem.h"
#include "core/text.h"
#include "store/v1_wire.h"

#include <errno.h>
#include <string.h>

// ---- the lease that is found or made, and told ----

static void answer(struct v1_request *request, int64_t expires_ms)
{
	struct strbuf out = STRBUF_INIT(2 * (size_t)LEASE_VALUE_MAX + 1024);

	v1_add_pair(&out, &request->lease, expires_ms);
	http_answer(request->exchange, 200, V1_TYPE_JSON, strbuf_text(&out), out.len);
	strbuf_free(&out);
	v1_request_end(request);
}

// The key went, or another is at it, and the mirror does not know yet.
static void retry_without(struct v1_request *request)
{
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->lease.subnet.v4);
	const struct pair *pair = v1_find(request->v1, key);

	if (pair && pair->mod_revision == request->lease.mod_revision)
		v1_request_await_gone(request, pair);
	v1_request_retry(request, 0);
}

static void on_renewed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct v1_request *request = arg;

	(void)session;
	if (r == 0)
		answer(request, timestamp_now_ms() + ttl_s * 1000);
	else if (r == -ENOENT)
		retry_without(request);
	else
		v1_request_fail(request, err_msg(e));
}

// Written as it is to be; now for its time.
static void renew(struct v1_request *request)
{
	if (request->lease.session != 0)
		registry_lease_renew(request->network->registry, request->lease.session, on_renewed,
				     request);
	else
		answer(request, request->is_renewal ? v1_expires_ms(1) : TIMESTAMP_ZERO_MS);
}

static void on_written(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct v1_request *request = arg;

	if (r == 0) {
		v1_note_written(request->v1, lease->mod_revision);
		lease_free(&request->lease);
		lease_copy(lease, &request->lease);
		renew(request);
	} else if (r == -EEXIST || r == -ESTALE || r == -EBUSY) {
		v1_request_retry(request, lease ? lease->mod_revision : 0);
	} else if (r == -ENOENT) {
		retry_without(request);
	} else {
		v1_request_fail(request, err_msg(e));
	}
}

// request->lease is its client's.
static void keep(struct v1_request *request)
{
	const struct lease_attrs *old = &request->lease.attrs;
	struct lease_attrs attrs;

	if (ip_equal(&old->public_ip, &request->attrs.public_ip) && !ip_is_set(&old->public_ipv6) &&
	    strcmp(old->backend_type, request->attrs.backend_type) == 0 &&
	    text_equal(old->backend_data, request->attrs.backend_data) && !old->backend_v6_data) {
		renew(request);
		return;
	}
	lease_attrs_copy(&request->attrs, &attrs);
	attrs.extra = xstrdup(old->extra); // others' members
	registry_lease_update(request->network->registry, &request->lease, &attrs, on_written, request);
	lease_attrs_free(&attrs);
}

static void create(struct v1_request *request)
{
	const struct subnet subnet = { .v4 = request->subnet };

	// Refused for a key that the mirror does not have yet, it is found by its own name.
	request->lease.subnet = subnet;
	v1_request_create(request, LEASE_TTL_S, on_written);
}

// ---- acquire ----

static void on_unfit_deleted(void *arg, int r, const struct err *e)
{
	struct v1_request *request = arg;

	if (r == 0 || r == -ENOENT || r == -ESTALE)
		retry_without(request);
	else
		v1_request_fail(request, err_msg(e));
}

// Does it say that it is this client's? Ten thousand values are not parsed for the one.
static bool may_have_address(const struct pair *pair, const char *quoted)
{
	return pair->has_value &&
	       memmem(v1_pair_value(pair), pair->value_len, quoted, strlen(quoted)) != NULL;
}

static bool is_clients(const struct v1_request *request, const struct pair *pair,
		       const char *quoted, struct lease *ret)
{
	if (!may_have_address(pair, quoted) || !v1_pair_lease(request->network, pair, ret))
		return false;
	if (ip_equal(&ret->attrs.public_ip, &request->attrs.public_ip))
		return true;
	lease_free(ret);
	return false;
}

// Into request->lease the first lease of this client, into ret_taken the subnets of all: caller frees.
static bool look(struct v1_request *request, struct ipnet **ret_taken, size_t *ret_count)
{
	const struct v1_network *network = request->network;
	const struct pair_set *pairs = mirror_pairs(request->v1->controller->mirror);
	size_t len = strlen(network->leases_prefix);
	struct pair_position position = pair_set_seek(pairs, network->leases_prefix, len);
	struct ipnet *taken = xnew0_array(struct ipnet, pair_set_count(pairs) + 1);
	char ip[IP_STR_MAX];
	_cleanup_free_ char *quoted = xasprintf("\"%s\"", ip_str(&request->attrs.public_ip, ip));
	const struct pair *pair;
	struct subnet subnet;
	size_t count = 0;
	bool found = false;

	while ((pair = pair_set_next(pairs, &position)) &&
	       pair_starts_with(pair, network->leases_prefix, len)) {
		if (!v1_pair_subnet(network, pair, &subnet))
			continue;
		taken[count++] = subnet.v4;
		found = found || is_clients(request, pair, quoted, &request->lease);
	}
	*ret_taken = taken;
	*ret_count = count;
	return found;
}

static bool fits(const struct netconf *conf, const struct subnet *subnet)
{
	return netconf_family_fits(&conf->v4, &subnet->v4) && !ipnet_is_set(&subnet->v6);
}

void v1_serve_acquire(struct v1_request *request)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_free_ struct ipnet *taken = NULL;
	size_t count;

	request->again = v1_serve_acquire;
	if (!request->is_acquire) {
		request->is_acquire = true;
		v1_request_wait(request, v1_serve_acquire); // for an earlier one of the same host
		return;
	}
	if (!v1_read_config(request, &conf))
		return;
	if (look(request, &taken, &count)) {
		if (fits(&conf, &request->lease.subnet))
			keep(request);
		else
			registry_lease_delete(request->network->registry, &request->lease.subnet,
					      request->lease.mod_revision, on_unfit_deleted, request);
	} else if (v1_choose(&conf.v4, taken, count, &request->subnet) < 0) {
		v1_request_fail(request, "out of subnets");
	} else {
		create(request);
	}
}

// ---- renew ----

// A lease that is gone is made again, if nobody has any of its subnet.
static void regain(struct v1_request *request)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_free_ struct ipnet *taken = NULL;
	const struct subnet subnet = { .v4 = request->subnet };
	size_t count;

	if (!v1_read_config(request, &conf))
		return;
	if (!fits(&conf, &subnet)) {
		v1_request_fail(request, "the lease is gone, and its subnet does not fit the config");
		return;
	}
	(void)look(request, &taken, &count);
	lease_free(&request->lease);
	for (size_t i = 0; i < count; i++)
		if (ipnet_overlaps(&taken[i], &request->subnet)) {
			v1_request_fail(request,
					"the lease is gone, and another has some of its subnet");
			return;
		}
	create(request);
}

void v1_serve_renew(struct v1_request *request)
{
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->subnet);
	const struct pair *pair = v1_find(request->v1, key);

	request->again = v1_serve_renew;
	request->is_renewal = true;
	if (!pair)
		regain(request);
	else if (!v1_pair_lease(request->network, pair, &request->lease))
		v1_request_fail(request, "what is at the lease's key cannot be read");
	else if (!ip_equal(&request->lease.attrs.public_ip, &request->attrs.public_ip))
		v1_request_fail(request, "the subnet is leased to another host");
	else
		keep(request);
}

// ---- revoke ----

static void revoked(struct v1_request *request)
{
	http_answer_text(request->exchange, 200, V1_TYPE_JSON, "");
	v1_request_end(request);
}

static void on_revoked(void *arg, int r, const struct err *e)
{
	struct v1_request *request = arg;
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->subnet);

	if (r == 0) {
		request->late = revoked;
		v1_request_wait(request, revoked); // who deleted it does not see it
	} else if (r == -ENOENT) {
		v1_request_not_found(request, key);
	} else {
		v1_request_fail(request, err_msg(e));
	}
}

void v1_serve_revoke(struct v1_request *request)
{
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->subnet);
	const struct pair *pair = v1_find(request->v1, key);
	const struct subnet subnet = { .v4 = request->subnet };

	if (pair)
		v1_request_await_gone(request, pair);
	registry_lease_delete(request->network->registry, &subnet, 0, on_revoked, request);
}
