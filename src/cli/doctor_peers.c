// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the checks of `weft doctor` that try the way to the other hosts.
//
// DOC: what a peer's findings follow from
//
// The first address of a peer's subnet is on its device: what comes back from there has gone through the backend both ways. Where
// nothing does, the peer's public address is asked: no answer either is a host or a network that is down, an answer leaves the backend's
// port, or the other end. Where small packets do, one as large as the network's MTU, not to be cut, shows whether the path takes it.
// A backend without a device (host-gw) has no such address, and only the host itself is asked.
#include "cli/doctor.h"

#include "cli/probe.h"
#include "cli/show.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 5
#define MTU_ROUNDS 3
#define CLOCK_ROUNDS 2
#define SLOW_MS 100	  // the best of some: a busy host does not look slow
#define CLOCK_OFF_MS 5000 // more than what hosts with NTP ever differ
#define PORTS_ASKED_MAX 16

struct peer {
	const json_t *json;
	struct ip public_ip;
	bool has_overlay;
	struct probe_target overlay, underlay, large, clock;
};

struct doctor_peers {
	struct peer *peers;
	size_t count;
	int64_t mtu;
	uint16_t port; // 0: the backend has none
};

static bool read_peer(const json_t *json, bool has_device, struct peer *ret)
{
	const char *ip = show_text(json, "public_ip"), *subnet = show_text(json, "subnet");
	const char *state = show_text(json, "state");
	struct ipnet net;

	*ret = (struct peer){ .json = json };
	if (strcmp(state, "ok") != 0 && strcmp(state, "held") != 0)
		return false;
	if (ip_parse(*ip ? ip : show_text(json, "public_ipv6"), &ret->public_ip) < 0)
		return false;
	if (ipnet_parse(*subnet ? subnet : show_text(json, "ipv6_subnet"), &net) < 0)
		return false;
	ret->has_overlay = has_device && strcmp(show_text(json, "path"), "none") != 0;
	ret->overlay.to = ret->large.to = net.addr;
	ret->underlay.to = ret->clock.to = ret->public_ip;
	return true;
}

// ---- probing ----

typedef bool wants_fn(const struct peer *peer);

static bool wants_overlay(const struct peer *peer)
{
	return peer->has_overlay;
}

static bool is_reached(const struct peer *peer)
{
	return peer->overlay.received > 0;
}

static bool wants_underlay(const struct peer *peer)
{
	return !is_reached(peer);
}

static bool wants_clock(const struct peer *peer)
{
	return peer->public_ip.family == AF_INET && (is_reached(peer) || peer->underlay.received > 0);
}

// Asks one target of each peer that is wanted; offset: of that target in struct peer.
static int probe(struct doctor_peers *probed, enum icmp_kind kind, wants_fn *wants, size_t offset,
		 unsigned int rounds, struct err *e)
{
	_cleanup_free_ size_t *indexes = xnew0_array(size_t, probed->count + 1);
	_cleanup_free_ struct probe_target *targets =
		xnew0_array(struct probe_target, probed->count + 1);
	size_t count = 0;
	int r;

	for (size_t i = 0; i < probed->count; i++) {
		if (!wants(&probed->peers[i]))
			continue;
		indexes[count] = i;
		memcpy(&targets[count++], (char *)&probed->peers[i] + offset, sizeof(*targets));
	}
	r = probe_run(kind, targets, count, rounds, e);
	for (size_t i = 0; r == 0 && i < count; i++)
		memcpy((char *)&probed->peers[indexes[i]] + offset, &targets[i], sizeof(*targets));
	return r;
}

#define PROBE(probed, kind, wants, member, rounds, e) \
	probe((probed), (kind), (wants), offsetof(struct peer, member), (rounds), (e))

static int probe_all(struct doctor_peers *probed, struct err *e)
{
	int r = PROBE(probed, ICMP_KIND_ECHO, wants_overlay, overlay, ROUNDS, e);

	if (r == 0)
		r = PROBE(probed, ICMP_KIND_ECHO, wants_underlay, underlay, ROUNDS, e);
	for (size_t i = 0; i < probed->count; i++) {
		probed->peers[i].large.size = (size_t)probed->mtu;
		probed->peers[i].large.dont_fragment = true;
	}
	if (r == 0)
		r = PROBE(probed, ICMP_KIND_ECHO, is_reached, large, MTU_ROUNDS, e);
	if (r == 0)
		r = PROBE(probed, ICMP_KIND_TIMESTAMP, wants_clock, clock, CLOCK_ROUNDS, e);
	return r;
}

static void read_peers(const struct doctor *doctor, struct doctor_peers *probed)
{
	const json_t *devices = show_member(show_member(doctor->status, "backend"), "devices");
	const json_t *device = json_array_get(devices, 0), *peer;
	size_t i;

	probed->mtu = show_number(device, "mtu");
	probed->port = (uint16_t)show_number(device, "port");
	probed->peers = xnew0_array(struct peer, json_array_size(doctor->peers) + 1);
	json_array_foreach(doctor->peers, i, peer)
		if (probed->count < PROBE_TARGETS_MAX &&
		    read_peer(peer, device != NULL, &probed->peers[probed->count]))
			probed->count++;
	if (json_array_size(doctor->peers) > PROBE_TARGETS_MAX)
		(void)cli_fail(CLI_OK, "%d of %zu peers are tried", PROBE_TARGETS_MAX,
			       json_array_size(doctor->peers));
}

// Once, for all checks.
static struct doctor_peers *probed_peers(struct doctor *doctor)
{
	struct err e = { 0 };

	if (doctor->probed)
		return doctor->probed;
	doctor->probed = xnew(struct doctor_peers);
	read_peers(doctor, doctor->probed);
	if (doctor->probed->count > 0 && probe_all(doctor->probed, &e) < 0) {
		(void)cli_fail(CLI_FAILED, "peers are not tried: %s", err_msg(&e));
		doctor->probed->count = 0;
	}
	return doctor->probed;
}

void doctor_peers_free(struct doctor *doctor)
{
	if (doctor->probed)
		free(doctor->probed->peers);
	free(doctor->probed);
}

// ---- judging ----

static const char *name_of(const struct peer *peer)
{
	const char *subnet = show_text(peer->json, "subnet");

	return *subnet ? subnet : show_text(peer->json, "ipv6_subnet");
}

void doctor_peer_underlay(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	char ip[IP_STR_MAX];

	for (size_t i = 0; i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];

		if (is_reached(peer) || peer->underlay.received > 0)
			continue;
		ip_str(&peer->public_ip, ip);
		_cleanup_free_ char *mend = xasprintf("ping %s", ip);
		doctor_find(doctor, mend, "%s, the host of %s, does not answer", ip, name_of(peer));
	}
}

static bool is_cut_off(const struct peer *peer)
{
	return peer->has_overlay && !is_reached(peer) && peer->underlay.received > 0;
}

void doctor_peer_port(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	size_t asked = 0;
	char ip[IP_STR_MAX];

	for (size_t i = 0; probed->port != 0 && i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];
		bool is_closed;

		if (!is_cut_off(peer))
			continue;
		ip_str(&peer->public_ip, ip);
		is_closed = asked++ < PORTS_ASKED_MAX &&
			    probe_port_is_closed(&peer->public_ip, probed->port);
		if (is_closed)
			doctor_find(doctor, "systemctl restart weftd",
				    "nobody listens at UDP port %u of %s, the host of %s",
				    probed->port, ip, name_of(peer));
		else
			doctor_find(doctor, NULL,
				    "%s, the host of %s, answers, and not through UDP port %u: let it pass both ways",
				    ip, name_of(peer), probed->port);
	}
}

void doctor_peer_overlay(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	char ip[IP_STR_MAX];

	for (size_t i = 0; probed->port == 0 && i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];

		if (is_cut_off(peer))
			doctor_find(doctor, NULL,
				    "%s, the host of %s, answers, and not through the %s tunnel: let its protocol pass both ways",
				    ip_str(&peer->public_ip, ip), name_of(peer),
				    doctor_backend(doctor));
	}
}

void doctor_peer_mtu(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	char ip[IP_STR_MAX];

	for (size_t i = 0; i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];

		if (is_reached(peer) && peer->large.received == 0)
			doctor_find(doctor, NULL,
				    "%s, the host of %s, is not reached by packets of %lld bytes: give all interfaces on the way the same MTU",
				    ip_str(&peer->public_ip, ip), name_of(peer),
				    (long long)probed->mtu);
	}
}

static const struct probe_target *best_of(const struct peer *peer)
{
	return is_reached(peer) ? &peer->overlay : &peer->underlay;
}

void doctor_peer_loss(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	char ip[IP_STR_MAX];

	for (size_t i = 0; i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];
		const struct probe_target *target = best_of(peer);

		if (target->received == 0 || target->received == target->sent)
			continue;
		ip_str(&peer->public_ip, ip);
		_cleanup_free_ char *mend = xasprintf("mtr %s", ip);
		doctor_find(doctor, mend, "of %u packets to %s, the host of %s, %u were lost",
			    target->sent, ip, name_of(peer), target->sent - target->received);
	}
}

void doctor_peer_latency(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	char ip[IP_STR_MAX];

	for (size_t i = 0; i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];
		const struct probe_target *target = best_of(peer);

		if (target->received == 0 || target->best_rtt_us < (uint64_t)SLOW_MS * 1000)
			continue;
		ip_str(&peer->public_ip, ip);
		_cleanup_free_ char *mend = xasprintf("mtr %s", ip);
		doctor_find(doctor, mend, "%s, the host of %s, takes more than %d ms to answer", ip,
			    name_of(peer), (int)(target->best_rtt_us / 1000 / SLOW_MS * SLOW_MS));
	}
}

void doctor_peer_clock(struct doctor *doctor)
{
	const struct doctor_peers *probed = probed_peers(doctor);
	char ip[IP_STR_MAX];

	for (size_t i = 0; i < probed->count; i++) {
		const struct peer *peer = &probed->peers[i];
		int64_t offset_ms = peer->clock.offset_ms;

		if (!peer->clock.has_offset || llabs(offset_ms) < CLOCK_OFF_MS)
			continue;
		doctor_find(doctor, "timedatectl set-ntp true",
			    "the clock of %s, the host of %s, is %lld s %s ours",
			    ip_str(&peer->public_ip, ip), name_of(peer),
			    (long long)(llabs(offset_ms) + 500) / 1000,
			    offset_ms > 0 ? "ahead of" : "behind");
	}
}
