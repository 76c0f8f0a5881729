// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the checks of `weft doctor` that ask the agent, and what others want to know of its answers.
#include "cli/doctor.h"

#include "cli/show.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define WEFT_STATUS "weft status"
#define LEASE_LIST "weft lease list"

// ---- what others want to know ----

const char *doctor_device(const struct doctor *doctor, size_t index)
{
	const json_t *devices = show_member(show_member(doctor->status, "backend"), "devices");
	const json_t *device = json_array_get(devices, index);

	return device ? show_text(device, "name") : NULL;
}

const char *doctor_interface(const struct doctor *doctor)
{
	const char *name = show_text(show_member(doctor->status, "interface"), "name");

	return *name ? name : NULL;
}

const char *doctor_backend(const struct doctor *doctor)
{
	return show_text(show_member(doctor->status, "backend"), "type");
}

unsigned int doctor_ifindex(const char *name)
{
	return if_nametoindex(name);
}

// ---- the agent ----

void doctor_agent_answers(struct doctor *doctor)
{
	if (doctor->agent_error)
		doctor_find(doctor, "systemctl start weftd",
			    "the agent of this host does not answer: %s", doctor->agent_error);
}

void doctor_agent_ready(struct doctor *doctor)
{
	const json_t *reason;
	size_t i;

	json_array_foreach(show_member(doctor->status, "reasons"), i, reason)
		doctor_find(doctor, WEFT_STATUS, "%s",
			    json_string_value(reason) ? json_string_value(reason) : "");
}

void doctor_agent_version(struct doctor *doctor)
{
	const char *version = show_text(doctor->status, "version");

	if (doctor->status && strcmp(version, WEFT_VERSION) != 0)
		doctor_find(doctor, "systemctl restart weftd",
			    "weftd %s runs, and weft is " WEFT_VERSION, version);
}

// What makes it not ready was told already.
void doctor_store(struct doctor *doctor)
{
	const json_t *store = show_member(doctor->status, "store");

	if (store && !show_flag(store, "up") && show_flag(doctor->status, "ready"))
		doctor_find(doctor, WEFT_STATUS, "the store (%s) is not reached for %lld s: %s",
			    show_text(store, "kind"), (long long)show_number(store, "since_s"),
			    show_text(store, "error"));
}

void doctor_wars(struct doctor *doctor)
{
	const json_t *war;
	size_t i;

	json_array_foreach(show_member(doctor->status, "wars"), i, war)
		doctor_find(doctor, "weft watch", "another program keeps undoing %s",
			    show_text(war, "object"));
}

void doctor_restart(struct doctor *doctor)
{
	const json_t *line;
	size_t i;

	json_array_foreach(show_member(doctor->status, "restart_needed"), i, line)
		doctor_find(doctor, "systemctl restart weftd", "weftd runs with another config: %s",
			    json_string_value(line) ? json_string_value(line) : "");
}

// ---- leases ----

#define IS_DOUBLE "is_double" // a mark on a lease that was told of

static const char *name_of(const json_t *lease)
{
	static const char *const names[] = { "subnet", "ipv6_subnet", "key" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (*show_text(lease, names[i]))
			return show_text(lease, names[i]);
	return "?";
}

static bool is_state(const json_t *peer, const char *state)
{
	return strcmp(show_text(peer, "state"), state) == 0;
}

static const char *ip_of(const json_t *lease)
{
	const char *ip = show_text(lease, "public_ip");

	return *ip ? ip : show_text(lease, "public_ipv6");
}

// One lease by what must not be another one's too.
struct claim {
	json_t *lease;
	bool is_own;
	struct ip ip;
	struct ipnet net;
};

static int compare_ips(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;

	int order = ip_compare(&a->ip, &b->ip);

	return order != 0 ? order : strcmp(name_of(a->lease), name_of(b->lease));
}

static int compare_nets(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;

	return ipnet_compare(&a->net, &b->net);
}

static bool read_claim(json_t *lease, const char *net_member, struct claim *ret)
{
	*ret = (struct claim){ .lease = lease };
	if (net_member)
		return ipnet_parse(show_text(lease, net_member), &ret->net) == 0;
	return ip_parse(ip_of(lease), &ret->ip) == 0;
}

// Our own and all others', in order. net_member NULL: by address. Caller frees.
static struct claim *read_claims(const struct doctor *doctor, const char *net_member, size_t *ret_count)
{
	size_t peers = json_array_size(doctor->peers), count = 0;
	struct claim *claims = xnew0_array(struct claim, peers + 1);
	json_t *own = json_object_get(doctor->status, "lease");

	if (own && !is_state(own, "none") && read_claim(own, net_member, &claims[count]))
		claims[count++].is_own = true;
	// A peer that is held is gone from the store.
	for (size_t i = 0; i < peers; i++) {
		json_t *peer = json_array_get(doctor->peers, i);

		if (!is_state(peer, "held") && read_claim(peer, net_member, &claims[count]))
			count++;
	}
	qsort(claims, count, sizeof(*claims), net_member ? compare_nets : compare_ips);
	*ret_count = count;
	return claims;
}

static void mark(const struct claim *a, const struct claim *b)
{
	json_object_set_new(a->lease, IS_DOUBLE, json_true());
	json_object_set_new(b->lease, IS_DOUBLE, json_true());
}

static const char *whose(const struct claim *claim)
{
	return claim->is_own ? " (this host)" : "";
}

void doctor_duplicate_ip(struct doctor *doctor)
{
	size_t count;
	_cleanup_free_ struct claim *claims = read_claims(doctor, NULL, &count);

	for (size_t i = 1; i < count; i++) {
		const struct claim *a = &claims[i - 1], *b = &claims[i];

		if (!ip_equal(&a->ip, &b->ip))
			continue;
		mark(a, b);
		doctor_find(doctor, LEASE_LIST, "%s is the public address of %s%s and of %s%s",
			    ip_of(a->lease), name_of(a->lease), whose(a), name_of(b->lease), whose(b));
	}
}

static void find_overlaps(struct doctor *doctor, const char *net_member)
{
	size_t count;
	_cleanup_free_ struct claim *claims = read_claims(doctor, net_member, &count);
	const struct claim *outer = claims; // that reaches furthest

	for (size_t i = 1; i < count; i++) {
		const struct claim *claim = &claims[i];

		if (!ipnet_overlaps(&outer->net, &claim->net)) {
			outer = claim;
			continue;
		}
		mark(outer, claim);
		doctor_find(doctor, LEASE_LIST, "%s of %s%s overlaps %s of %s%s",
			    name_of(outer->lease), ip_of(outer->lease), whose(outer),
			    name_of(claim->lease), ip_of(claim->lease), whose(claim));
	}
}

void doctor_duplicate_subnet(struct doctor *doctor)
{
	find_overlaps(doctor, "subnet");
	find_overlaps(doctor, "ipv6_subnet");
}

// Those that are double were told of already.
void doctor_rejected(struct doctor *doctor)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(doctor->peers, i, peer)
		if (is_state(peer, "rejected") && !show_flag(peer, IS_DOUBLE))
			doctor_find(doctor, LEASE_LIST, "the lease %s is not good: %s",
				    show_text(peer, "key"), show_text(peer, "error"));
}

void doctor_failed(struct doctor *doctor)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(doctor->peers, i, peer)
		if (is_state(peer, "failed"))
			doctor_find(doctor, "weft status --peers", "%s of %s cannot be programmed: %s",
				    name_of(peer), ip_of(peer), show_text(peer, "error"));
}
