// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reserving a subnet for a host, and giving it free.
//
// DOC: reserving
//
//   CONFIG -> LEASES --free--> CREATE without a session -> LEASES again --still alone--> done, 0
//                                                                       --another one was first--> UNDO
//                    --the host's--> UPDATE without the session -> CLOSE the session --> done, 0
//                    --reserved for it--> done, 0
//                    --another's, or the host has another one--> done, failed
//
// CREATE and UPDATE are compare-and-set; when something else was written in between all is read anew. Two
// keys may claim one range (of other lengths, or one with IPv6 and one without), which no compare sees:
// therefore LEASES again.
#include "store/registry.h"

#include "core/mem.h"
#include "core/netconf.h"
#include "store/registry_internal.h"

#include <errno.h>
#include <string.h>

#define ROUNDS_MAX 10

struct reserve_op {
	struct registry_op op;
	registry_lease_fn *fn;
	void *arg;
	struct subnet subnet;
	struct lease_attrs host;
	struct netconf conf;
	int64_t config_revision;
	int64_t session; // to be closed
	bool is_creating;
	unsigned int rounds;
	int64_t created; // its revision, if we made the key: what is read now says whether it may stay
	// What the leases said.
	struct lease at; // the subnet's own key
	bool has_at;
	struct err refusal; // code 0: none
	// How it ends.
	int r;
	struct err err;
};

static void reserve_op_destroy(struct registry_op *op)
{
	struct reserve_op *reserve = (struct reserve_op *)op;

	lease_free(&reserve->at);
	lease_attrs_free(&reserve->host);
	netconf_free(&reserve->conf);
	free(reserve);
}

static struct reserve_op *reserve_op_new(struct registry *registry, const struct subnet *subnet,
					 registry_lease_fn *fn, void *arg)
{
	struct reserve_op *op = xnew(struct reserve_op);

	op->fn = fn;
	op->arg = arg;
	op->subnet = *subnet;
	registry_op_begin(registry, &op->op, reserve_op_destroy);
	return op;
}

static void take_at(struct reserve_op *op, const struct lease *lease)
{
	lease_free(&op->at);
	op->has_at = lease != NULL;
	if (lease)
		lease_copy(lease, &op->at);
}

static void reserve_end(struct reserve_op *op, int r, const struct err *e)
{
	registry_op_end(&op->op);
	op->fn(op->arg, r, r == 0 ? &op->at : NULL, e);
	reserve_op_destroy(&op->op);
}

static void session_closed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct reserve_op *op = arg;

	// One that is not closed has no key any more, and expires.
	(void)r;
	(void)session;
	(void)ttl_s;
	(void)e;
	reserve_end(op, op->r, op->r < 0 ? &op->err : NULL);
}

// Closes op->session before.
static void close_and_end(struct reserve_op *op, int r, const struct err *e)
{
	op->r = r;
	if (e)
		op->err = *e;
	if (op->session != 0)
		kv_session_close(op->op.registry->kv, op->session, session_closed, op);
	else
		reserve_end(op, r, r < 0 ? &op->err : NULL);
}

static bool is_worth_another_round(struct reserve_op *op, int r)
{
	return (r == -EEXIST || r == -ESTALE || r == -ENOENT || r == -EBUSY || r == -EINPROGRESS) &&
	       ++op->rounds < ROUNDS_MAX;
}

// ---- what the config says ----

static int check_family(const struct netconf_family *family, const struct ipnet *net,
			const char *name, struct err *e)
{
	char text[IPNET_STR_MAX], min[IP_STR_MAX], max[IP_STR_MAX];

	if (!family->enabled && !ipnet_is_set(net))
		return 0;
	if (!family->enabled)
		return err_set(e, -EINVAL, "%s: the network has no %s", ipnet_str(net, text), name);
	if (!ipnet_is_set(net))
		return err_set(e, -EINVAL,
			       "an %s subnet is missing: hosts get 10.1.2.0/24,fd00::/64", name);
	if (netconf_family_fits(family, net))
		return 0;
	return err_set(e, -EINVAL, "%s is no subnet that hosts get: these are /%u, from %s to %s",
		       ipnet_str(net, text), family->subnet_len, ip_str(&family->subnet_min, min),
		       ip_str(&family->subnet_max, max));
}

static const struct ip *address_of(const struct netconf *conf, const struct lease_attrs *attrs)
{
	return conf->v4.enabled ? &attrs->public_ip : &attrs->public_ipv6;
}

static int check_request(const struct reserve_op *op, struct err *e)
{
	const struct ip *ip = address_of(&op->conf, &op->host);
	char text[IP_STR_MAX];
	int r = check_family(&op->conf.v4, &op->subnet.v4, "IPv4", e);

	if (r == 0)
		r = check_family(&op->conf.v6, &op->subnet.v6, "IPv6", e);
	if (r == 0 && !ip_is_set(ip))
		r = err_set(e, -EINVAL,
			    "an %s public address is needed, by which hosts of this network are known",
			    op->conf.v4.enabled ? "IPv4" : "IPv6");
	else if (r == 0 && !ip_is_usable_endpoint(ip))
		r = err_set(e, -EINVAL, "%s is no address of a host", ip_str(ip, text));
	return r;
}

// ---- what the leases say ----

static void refuse(struct reserve_op *op, const struct lease *lease, const char *what)
{
	char wanted[SUBNET_STR_MAX], held[SUBNET_STR_MAX], ip[IP_STR_MAX];
	const struct lease_attrs *attrs = &lease->attrs;

	err_set(&op->refusal, -EADDRINUSE, "%s: %s (lease %s of %s)",
		subnet_str(&op->subnet, wanted), what, subnet_str(&lease->subnet, held),
		ip_str(ip_is_set(&attrs->public_ip) ? &attrs->public_ip : &attrs->public_ipv6, ip));
}

static void look_at_lease(void *arg, struct lease *lease)
{
	struct reserve_op *op = arg;
	bool is_hosts =
		ip_equal(address_of(&op->conf, &lease->attrs), address_of(&op->conf, &op->host));

	if (subnet_equal(&lease->subnet, &op->subnet)) {
		take_at(op, lease);
		if (!is_hosts)
			refuse(op, lease, "is held by another host");
	} else if (subnet_overlaps(&lease->subnet, &op->subnet)) {
		// Who was later gives way, as among agents.
		if (op->created == 0 || lease->mod_revision < op->created)
			refuse(op, lease, "overlaps another lease");
	} else if (is_hosts) {
		refuse(op, lease,
		       "its host has another lease already; reserve that, or delete it first");
	}
}

static void look_at_bad(void *arg, const struct registry_bad *bad)
{
	struct reserve_op *op = arg;
	char text[SUBNET_STR_MAX];

	if (bad->has_subnet && subnet_overlaps(&bad->subnet, &op->subnet))
		err_set(&op->refusal, -EADDRINUSE,
			"%s: %s cannot be read, and may be somebody's: %.100s",
			subnet_str(&op->subnet, text), bad->key, bad->why);
}

static void read_config(struct reserve_op *op);
static void read_leases(struct reserve_op *op);

static void on_undone(void *arg, int r, const struct err *e)
{
	struct reserve_op *op = arg;

	if (r < 0 && r != -ENOENT && r != -ESTALE)
		reserve_end(op, r, e);
	else
		reserve_end(op, op->refusal.code, &op->refusal);
}

static void on_written(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct reserve_op *op = arg;

	if (r < 0) {
		op->session = 0;
		if (is_worth_another_round(op, r))
			read_config(op);
		else
			reserve_end(op, r, e);
		return;
	}
	take_at(op, lease);
	if (!op->is_creating) {
		close_and_end(op, 0, NULL);
		return;
	}
	op->created = lease->mod_revision;
	read_leases(op);
}

static void make_permanent(struct reserve_op *op)
{
	struct lease current = op->at;

	op->session = current.session;
	current.session = 0;
	registry_lease_update(op->op.registry, &current, &op->at.attrs, on_written, op);
}

static void on_leases(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct reserve_op *op = arg;
	const struct registry_create_terms terms = { .ttl_s = -1,
						     .config_revision = op->config_revision };

	(void)header;
	if (r < 0) {
		reserve_end(op, r, e);
	} else if (op->refusal.code != 0 && op->created != 0) {
		registry_lease_delete(op->op.registry, &op->subnet, op->created, on_undone, op);
	} else if (op->refusal.code != 0) {
		reserve_end(op, op->refusal.code, &op->refusal);
	} else if (!op->has_at && op->created == 0) {
		op->is_creating = true;
		registry_lease_create(op->op.registry, &op->subnet, &op->host, &terms, on_written, op);
	} else if (!op->has_at) {
		err_set(&op->err, -ESTALE, "was deleted by somebody else at once");
		reserve_end(op, op->err.code, &op->err);
	} else if (op->at.session != 0) {
		op->is_creating = false;
		make_permanent(op);
	} else {
		reserve_end(op, 0, NULL);
	}
}

static void read_leases(struct reserve_op *op)
{
	static const struct registry_snapshot_fns fns = { look_at_lease, look_at_bad, on_leases };

	op->refusal = (struct err){ 0 };
	take_at(op, NULL);
	registry_leases(op->op.registry, &fns, op);
}

static void on_config(void *arg, int r, const char *text, int64_t mod_revision,
		      const struct kv_header *header, const struct err *e)
{
	struct reserve_op *op = arg;
	struct err why;

	(void)header;
	if (r < 0) {
		reserve_end(op, r, e);
		return;
	}
	netconf_free(&op->conf);
	op->config_revision = mod_revision;
	r = netconf_parse(text, strlen(text), &op->conf, &why);
	if (r < 0)
		(void)err_wrap(&why, "%s", op->op.registry->config_key);
	else
		r = check_request(op, &why);
	if (r < 0) {
		reserve_end(op, r, &why);
		return;
	}
	op->created = 0;
	read_leases(op);
}

static void read_config(struct reserve_op *op)
{
	registry_config_get(op->op.registry, on_config, op);
}

void registry_reserve(struct registry *registry, const struct subnet *subnet,
		      const struct lease_attrs *host, registry_lease_fn *fn, void *arg)
{
	struct reserve_op *op = reserve_op_new(registry, subnet, fn, arg);

	op->host.public_ip = host->public_ip;
	op->host.public_ipv6 = host->public_ipv6;
	read_config(op);
}

// ---- giving it free ----

static void read_reservation(struct reserve_op *op);

static void on_freed(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct reserve_op *op = arg;

	if (r == 0) {
		take_at(op, lease);
		reserve_end(op, 0, NULL);
	} else if (is_worth_another_round(op, r)) {
		registry_close_session(op->op.registry, op->session);
		read_reservation(op);
	} else {
		close_and_end(op, r, e);
	}
}

static void on_session(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct reserve_op *op = arg;
	struct lease current = op->at;

	(void)ttl_s;
	op->session = session;
	if (r < 0) {
		close_and_end(op, r, e);
		return;
	}
	current.session = session;
	registry_lease_update(op->op.registry, &current, &op->at.attrs, on_freed, op);
}

static void on_reservation(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct reserve_op *op = arg;
	char text[SUBNET_STR_MAX];
	struct err none;

	if (r < 0) {
		reserve_end(op, r, e);
	} else if (lease->session != 0) {
		err_set(&none, -EALREADY, "%s: is an ordinary lease, no reservation",
			subnet_str(&op->subnet, text));
		reserve_end(op, none.code, &none);
	} else {
		take_at(op, lease);
		kv_session_open(op->op.registry->kv, LEASE_TTL_S, on_session, op);
	}
}

static void read_reservation(struct reserve_op *op)
{
	registry_lease_get(op->op.registry, &op->subnet, on_reservation, op);
}

void registry_unreserve(struct registry *registry, const struct subnet *subnet,
			registry_lease_fn *fn, void *arg)
{
	read_reservation(reserve_op_new(registry, subnet, fn, arg));
}
